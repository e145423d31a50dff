"""The registered clusterers and their lookup by name; importing this file imports none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from encash.errors import InputError
from encash.plugins import find_plugin

if TYPE_CHECKING:
    from encash.clusters.clusterers.base import Clusterer

ENTRY_POINTS = "encash.clusterers"
"""The entry point group in which a package offers clusterers."""


class RegisteredClusterer(NamedTuple):
    """The location of a clusterer, and a description for help texts."""

    path: str
    """``module:attribute``."""
    assigns: str
    """How it assigns a new vector."""


CLUSTERERS = {
    "kmeans": RegisteredClusterer("encash.clusters.clusterers.kmeans:KMeans", "the nearest centroid"),
    "mixture": RegisteredClusterer(
        "encash.clusters.clusterers.scikit:GaussianMixture", "the most probable of k normal distributions"
    ),
    "hdbscan": RegisteredClusterer(
        "encash.clusters.clusterers.scikit:Hdbscan", "the nearest of some points of the k largest dense regions"
    ),
}
"""Add your clusterer here: one line."""


def make_clusterer(text: str, settings: Mapping[str, Any] | None = None) -> Clusterer:
    """Make the clusterer that ``NAME`` or ``NAME?field=value&…`` describes.

    Args:
        text: a registered name, ``module:attribute``, or the name of an entry point `encash.clusterers`, and values of
            fields. The module is imported, which runs its code.
        settings: values of the fields of the same name that the text does not give.

    Raises:
        InputError: an unknown name or field, or an invalid value.

    >>> make_clusterer("kmeans?starts=2", {"iterations": 5, "k": 3})
    KMeans(starts=2, rough_entries=500, rough_iterations=25, iterations=5)
    """
    from encash.clusters.clusterers.base import Clusterer  # noqa: PLC0415  # the command line's help needs no numpy

    name, _, query = text.partition("?")
    found = find_plugin(CLUSTERERS[name].path if name in CLUSTERERS else name, ENTRY_POINTS)
    if not (isinstance(found, type) and issubclass(found, Clusterer)):
        raise InputError(
            f"the clusterer is {name!r}; expected {', '.join(CLUSTERERS)}, or your own subclass of "
            f"encash.clusters.Clusterer: module:attribute, or an entry point {ENTRY_POINTS}; it must leave a rule for "
            "new entries, and an agglomerative clustering, for example, cannot assign any"
        )
    names = [one.name for one in fields(found)]
    given = dict(parse_qsl(query, keep_blank_values=True, separator="&"))
    try:
        if query and (not given or not given.keys() <= set(names)):
            raise ValueError(f"no field {', '.join(sorted(given.keys() - set(names))) or query}")
        own = {name: value for name, value in (settings or {}).items() if name in names}
        made: Clusterer = msgspec.convert(own | given, found, strict=False)
    except (ValueError, msgspec.ValidationError) as error:
        raise InputError(
            f"the clusterer is {text!r} ({error}); expected {name}, or {name}?field=value with "
            f"{', '.join(names) or 'no field'}"
        ) from None
    return made
