"""Names of pretrained models: ``chronos:FOLDER?features=64&feature=3,7`` or ``chronos:FOLDER?feature=return_1,gap_1``.

``features`` is the number of features of the data, and ``feature`` those that the model reads: numbers from 0, or names
if the data name their features. With data, ``features`` may be left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from encash.encoders.options import LoadOptions
from encash.errors import InputError
from encash.text_files import to_whole

_KEYS = ("features", "feature")


@dataclass(frozen=True, kw_only=True)
class SeriesSource:
    """The folder of a model and the features that it reads."""

    folder: Path
    num_features: int | None
    """Features of the data; None if neither the name nor the data say."""
    features: tuple[int, ...] | None
    """Features that the model reads, in order; None if the name does not say."""
    feature_names: tuple[str, ...] | None = None
    """The names of all features of the data, if features are given by name."""


def parse_source(name: str, options: LoadOptions) -> SeriesSource:
    """Parse the name of a pretrained model.

    Args:
        name: with its scheme.
        options: `LoadOptions.feature_names` are those of the data, if known.

    Raises:
        InputError: an unknown key, an invalid number, or a feature that the data do not have, or twice.
    """
    scheme, _, rest = name.partition(":")
    folder, _, query = rest.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    if not folder or len(given) != len(pairs) or not set(given) <= set(_KEYS):
        raise _usage(name, scheme)
    names = options.feature_names
    count = _whole(given["features"], name, scheme) if "features" in given else None if names is None else len(names)
    if count == 0:
        raise _usage(name, scheme)
    if "feature" not in given:
        return SeriesSource(folder=Path(folder), num_features=count, features=None)
    parts = [part.strip() for part in given["feature"].split(",")]
    by_number = all(part.isdecimal() for part in parts)
    if count is None or (not by_number and (names is None or count != len(names))):
        raise _usage(name, scheme)
    features = [_whole(part, name, scheme) if by_number else _place(part, names or (), name) for part in parts]
    if wrong := [feature for feature in features if not 0 <= feature < count]:
        raise InputError(f"{name}: there is no feature {wrong[0]} among {count}; give one from 0 to {count - 1}")
    if len(set(features)) != len(features):
        raise InputError(f"{name}: a feature is given twice; give each once")
    named = None if by_number else names
    return SeriesSource(folder=Path(folder), num_features=count, features=tuple(features), feature_names=named)


def _place(feature: str, names: tuple[str, ...], name: str) -> int:
    if feature not in names:
        some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise InputError(f"{name}: the data have no feature {feature!r} (they have {some}); give one of theirs")
    return names.index(feature)


def _whole(text: str, name: str, scheme: str) -> int:
    try:
        return to_whole(text)
    except InputError:
        raise _usage(name, scheme) from None


def _usage(name: str, scheme: str) -> InputError:
    return InputError(
        f"{name}: expected {scheme}:FOLDER?features=F&feature=I,J,… with the number of features of the data, and those "
        "that the model reads (from 0), or their names if the data name them"
    )
