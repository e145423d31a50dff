"""The registered filters and their lookup by name; importing this file imports none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from encash.errors import InputError
from encash.plugins import find_entry_point, find_plugin, is_attribute

if TYPE_CHECKING:
    from encash.clusters.filters.base import CandidateFilter

ENTRY_POINTS = "encash.filters"
"""The entry point group in which a package offers filters."""
NO_FILTER = "none"
"""The name that stands for no filter: every candidate is kept."""


class RegisteredFilter(NamedTuple):
    """The location of a filter, and a description for help texts."""

    path: str
    """``module:attribute``."""
    keeps: str
    """The candidates that it keeps."""
    takes_share: bool = False
    """`takes_share` of the class, for the help of ``--keep``."""


FILTERS = {
    "hard": RegisteredFilter("encash.clusters.filters.hard:Hard", "candidates in the best clusters"),
    "nearest": RegisteredFilter(
        "encash.clusters.filters.nearest:Nearest", "the share (0.3) nearest to the best clusters", takes_share=True
    ),
    "static": RegisteredFilter(
        "encash.clusters.filters.static:Static", "tickers in the best clusters when it was fitted"
    ),
    "random": RegisteredFilter(
        "encash.clusters.filters.random:Random", "as many as hard, or a share, drawn at random", takes_share=True
    ),
}
"""Add your filter here: one line."""


def filter_names() -> tuple[str, ...]:
    """List the registered names and the one for no filter, as the command line offers them."""
    return (*FILTERS, NO_FILTER)


def is_filter(name: str) -> bool:
    """Return whether a name can be a filter: a registered one, no filter, ``module:attribute`` or an entry point.

    >>> is_filter("hard"), is_filter("my_filters:Semiconductors"), is_filter("soft")
    (True, True, False)
    """
    return name in filter_names() or is_attribute(name) or find_entry_point(ENTRY_POINTS, name) is not None


def filter_class(name: str) -> type[CandidateFilter]:
    """Import the class of a filter.

    Args:
        name: a registered name, ``module:attribute``, or the name of an entry point `encash.filters`. The module is
            imported, which runs its code.

    Raises:
        InputError: an unknown name, a module that cannot be imported, or something that is not a filter.
    """
    from encash.clusters.filters.base import CandidateFilter  # noqa: PLC0415  # the command line's help needs no filter

    found = find_plugin(FILTERS[name].path if name in FILTERS else name, ENTRY_POINTS)
    if found is None:
        raise InputError(
            f"the filter is {name!r}; expected one of {', '.join(filter_names())}, module:attribute of your own, or "
            f"the name of an entry point {ENTRY_POINTS}"
        )
    if not (isinstance(found, type) and issubclass(found, CandidateFilter)):
        raise InputError(
            f"{name} is not a filter; expected a subclass of encash.clusters.CandidateFilter "
            "(encash.testing.FilterContract checks yours)"
        )
    return found
