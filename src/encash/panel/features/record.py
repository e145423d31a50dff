"""The choice of features as a features file records it: JSON, and the membership periods of each ticker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from encash.arrays import Days
from encash.errors import FormatError
from encash.panel.features.config import FeatureConfig
from encash.panel.membership import Membership

FEATURE_SET, FEATURE_CONFIG = "feature_set", "feature_config"
"""Attributes of a features file: the name of the set, and `to_record`."""
MEMBER = "member"
"""Attribute of a ticker's group if there is a membership: its periods, bytes YYYY-MM-DD, shape (periods, 2)."""


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    spans: tuple[int, ...]
    scale_span: int
    ranks: bool | None
    max_gap: int | None
    membership: bool
    """The stays are attributes of the tickers."""


def to_record(config: FeatureConfig) -> str:
    """Return the JSON text of a config; of a membership, only that there is one.

    >>> to_record(FeatureConfig(spans=(1, 2), scale_span=2))
    '{"spans":[1,2],"scale_span":2,"ranks":null,"max_gap":null,"membership":false}'
    """
    record = _Record(
        spans=config.spans,
        scale_span=config.scale_span,
        ranks=config.ranks,
        max_gap=config.max_gap,
        membership=config.membership is not None,
    )
    return msgspec.json.encode(record).decode()


def from_record(
    feature_set: str, text: str, stays: Callable[[], Mapping[str, Days]], *, what: str
) -> FeatureConfig | None:
    """Return the config that `to_record` described, None if a later version wrote fields that this one does not know.

    Args:
        feature_set: the name of the set.
        text: from `to_record`.
        stays: returns the first and last day of each membership period by ticker of the file, each of shape
            (periods, 2); called only if a membership is recorded.
        what: the subject of an error message.

    Raises:
        FormatError: text of a different form.
    """
    try:
        record = msgspec.json.decode(text, type=_Record)
    except (msgspec.DecodeError, RecursionError) as error:
        if isinstance(error, msgspec.ValidationError):
            return None
        raise FormatError(
            f"{what}: the record of its features cannot be read ({error}); prepare the file again"
        ) from None
    return FeatureConfig(
        feature_set=feature_set,
        spans=record.spans,
        scale_span=record.scale_span,
        ranks=record.ranks,
        max_gap=record.max_gap,
        membership=_joined(stays()) if record.membership else None,
    )


def _joined(stays: Mapping[str, Days]) -> Membership:
    owner = np.repeat(np.array(list(stays), dtype=np.str_), [len(own) for own in stays.values()])
    both = np.concatenate(list(stays.values()))
    return Membership(tickers=owner, first=both[:, 0], last=both[:, 1])
