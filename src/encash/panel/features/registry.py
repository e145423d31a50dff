"""Feature sets by name; a new set is one file and one entry here."""

from __future__ import annotations

from encash.errors import InputError, UnknownKeyError
from encash.panel.features.config import FeatureConfig
from encash.panel.features.feature import FeatureSet
from encash.panel.features.prices_1 import PRICES_1
from encash.panel.features.prices_2 import PRICES_2

FEATURE_SETS: dict[str, FeatureSet] = {one.name: one for one in (PRICES_1, PRICES_2)}
"""Sets of features by name."""


def set_of(config: FeatureConfig) -> FeatureSet:
    """Return the feature set of a config.

    Raises:
        UnknownKeyError: no set of this name.
        InputError: ranks that the set cannot take.
    """
    if config.feature_set not in FEATURE_SETS:
        raise UnknownKeyError(f"unknown feature set {config.feature_set!r}; expected {' or '.join(FEATURE_SETS)}")
    found = FEATURE_SETS[config.feature_set]
    if config.membership is not None and config.ranks is False:
        raise InputError("a membership is given and ranks are off; give one of them")
    if config.membership is not None and found.ranks_among_all:
        raise InputError(
            f"{found.name} ranks among all tickers of the table; leave out the membership, or use prices-2"
        )
    if config.ranks and config.membership is None and not found.ranks_among_all:
        raise InputError(f"{found.name} ranks within a stated universe only; give a membership, or leave out ranks")
    return found


def has_ranks(config: FeatureConfig) -> bool:
    """Return whether ranks are added."""
    found = set_of(config)
    return config.membership is not None or (found.ranks_among_all if config.ranks is None else config.ranks)
