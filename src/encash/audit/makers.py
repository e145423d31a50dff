"""The functions that compute features from prices: that of ``encash prepare``, or one that the user names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from encash.arrays import Days, Float32
from encash.audit.subject import FeatureMaker, Features
from encash.errors import EncashError, InputError
from encash.panel import Bars, Panel
from encash.panel.features import config_of, panel_features
from encash.plugins import find_plugin, is_attribute


class MakerFailed(EncashError):
    """A function that raised an error or returned something other than features."""


def named_maker(name: str) -> FeatureMaker:
    """Import the function ``module:function`` that computes features.

    Raises:
        InputError: a different form, no such module or function.
    """
    if not is_attribute(name):
        raise InputError(f"features_by is {name!r}; expected module:function, such as my_features:compute")
    found = find_plugin(name, "")
    if not callable(found):
        raise InputError(
            f"{name} has the type {type(found).__name__}; expected a function from {{ticker: Bars}} to features"
        )
    maker: FeatureMaker = found
    return maker


def maker_of(panel: Panel, bars: Mapping[str, Bars]) -> FeatureMaker | None:
    """Return the function of ``encash prepare``, if the panel has the features that it computes from the bars."""
    config = config_of(panel, bars)
    if config is None:
        return None

    def make(some: Mapping[str, Bars]) -> Features:
        return {ticker: (days, values) for ticker, days, values in panel_features(some, config)}

    return make


def features_of(make: FeatureMaker, bars: Mapping[str, Bars]) -> Features:
    """Call a function with copies of prices, so that it cannot change them, and check what it returns.

    A table with an index of days, such as a DataFrame, counts as its days and values. A ticker without rows counts as
    one that is missing.

    Raises:
        MakerFailed: it raised an error, or returned something else than rows of features by ticker.
    """
    copies = {
        ticker: Bars(**{one.name: _copy(getattr(own, one.name)) for one in fields(own)}) for ticker, own in bars.items()
    }
    try:
        made = make(copies)
        rows = {str(ticker): _rows(table) for ticker, table in made.items()}
    except Exception as error:
        raise MakerFailed(f"the function that computes the features raised {type(error).__name__}: {error}") from error
    return {ticker: row for ticker, row in rows.items() if len(row[0])}


def _rows(table: Any) -> tuple[Days, Float32]:
    """Return days (n,) and values (n, F) of one ticker."""
    given, numbers = (table.index, table) if hasattr(table, "index") and hasattr(table, "to_numpy") else table
    days: Days = np.asarray(given).astype("datetime64[D]")
    values: Float32 = np.asarray(numbers, dtype=np.float32)
    values = values[:, None] if values.ndim == 1 else values
    if days.ndim != 1 or values.ndim != 2 or len(days) != len(values):
        raise ValueError(f"days of shape {days.shape} and values of shape {values.shape}; expected (n,) and (n, F)")
    return days, values


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
