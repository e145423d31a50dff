"""Features of tickers, as pure functions of arrays that use the past only.

The value on a day depends on the last `FeatureConfig.longest` + 1 sessions of that ticker and, for ranks, on other
tickers on the same day. Sums are computed afresh in every window, so that a restated price changes the features of the
sessions whose windows contain it and not a single bit of any later one. All values are limited to ±5 and mostly near
±1: returns are in units of the ticker's own recent volatility, because the model does not normalize them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from encash.arrays import Days, Float32, Float64, Int64
from encash.panel.bars import Bars
from encash.panel.features.config import FeatureConfig
from encash.panel.features.feature import LIMIT, Columns, available
from encash.panel.features.ranks import cross_ranks, member_ranks
from encash.panel.features.registry import FEATURE_SETS, has_ranks, set_of
from encash.panel.panel import Panel, distinct_days


def own_features(bars: Bars, config: FeatureConfig) -> Columns:
    """Compute the features of one unbroken history by name, in a fixed order.

    Returns:
        Each of shape (n − longest,), for the sessions from number `longest` on; empty for a shorter history.
    """
    return dict(zip(_own_names(bars, config), _own_values(bars, config), strict=True))


def feature_names(bars: Bars, config: FeatureConfig) -> tuple[str, ...]:
    """Return the names of the features that prices with these columns have, in order.

    >>> week = Bars(days=np.arange("2024-01-01", "2024-01-06", dtype="datetime64[D]"), close=np.ones(5))
    >>> feature_names(week, FeatureConfig(spans=(1, 2), scale_span=2))
    ('return_1', 'return_2', 'volatility_level')
    """
    own = _own_names(bars, config)
    return own + tuple(f"rank_{name}" for name in _ranked(own, config))


def left_out(bars: Bars, config: FeatureConfig) -> dict[str, tuple[str, ...]]:
    """Return the features of the set that prices with these columns do not have, by reason.

    >>> week = Bars(days=np.arange("2024-01-01", "2024-01-06", dtype="datetime64[D]"), close=np.ones(5))
    >>> list(left_out(week, FeatureConfig(spans=(1, 2), scale_span=2)))[0]
    'the table has no open, high and low'
    """
    reasons: dict[str, tuple[str, ...]] = {}
    for feature, span in set_of(config).pairs(config):
        if feature.needs not in available(bars):
            reasons[str(feature.needs)] = (*reasons.get(str(feature.needs), ()), feature.name_of(span))
    return reasons


def feature_days(bars: Bars, config: FeatureConfig) -> Days:
    """Return the days on which a ticker has a row of features, ascending.

    These are its sessions after the warm-up of each history and, if `max_gap` ends a history that has rows, the first
    session after the gap: its row is NaN, so that no window bridges the gap.
    """
    days: Days = bars.days[np.concatenate([np.arange(0), *(rows for _, rows in _histories(bars, config))])]
    return days


def panel_features(bars: Mapping[str, Bars], config: FeatureConfig) -> Iterator[tuple[str, Days, Float32]]:
    """Compute the features of many tickers, one ticker after another, in the order of `feature_names`.

    With ranks, of two passes over the prices, the first keeps only the features to be ranked, to limit memory.

    Args:
        bars: by ticker; all with the same columns.
        config: the choice of features.

    Yields:
        ticker, days (rows,) as `feature_days` returns them, and values (rows, F).
    """
    names = _own_names(next(iter(bars.values())), config) if bars else ()
    ranked = [names.index(name) for name in _ranked(names, config)]
    days = distinct_days([feature_days(own, config) for own in bars.values()]) if ranked else distinct_days([])
    ranks = _ranks(bars, config, days, ranked)
    for column, (ticker, own) in enumerate(bars.items()):
        own_days, values = _own_rows(own, config)
        rows = np.searchsorted(days, own_days)
        every = np.empty((len(values) + len(ranks), len(own_days)), dtype=np.float32)
        every[: len(values)] = values
        for number, rank in enumerate(ranks, start=len(values)):
            every[number] = rank[rows, column]
        yield ticker, own_days, np.ascontiguousarray(every.T)


def config_of(panel: Panel, bars: Mapping[str, Bars]) -> FeatureConfig | None:
    """Return the config with which ``encash prepare`` computes the features of a panel from these bars.

    It is the one that the panel's file records; for a file that records none, the default of the set that has its
    features. None if these bars give different features.
    """
    recorded, some = panel.feature_config, next(iter(bars.values()))
    candidates = [recorded] if recorded else [FeatureConfig(feature_set=name) for name in FEATURE_SETS]
    known = (one for one in candidates if one.feature_set in FEATURE_SETS)  # a later version may have more
    return next((one for one in known if panel.feature_names == feature_names(some, one)), None)


def _own_names(bars: Bars, config: FeatureConfig) -> tuple[str, ...]:
    there = available(bars)
    return tuple(feature.name_of(span) for feature, span in set_of(config).pairs(config) if feature.needs in there)


def _own_values(bars: Bars, config: FeatureConfig) -> Float64:
    """Return the features of one unbroken history in the order of `_own_names`, shape (F, rows)."""
    features, there = set_of(config), available(bars)
    history = features.history(bars, config)
    columns = [feature.compute(history, span) for feature, span in features.pairs(config) if feature.needs in there]
    return features.finish(np.clip(np.stack(columns), -LIMIT, LIMIT))


def _ranked(own: tuple[str, ...], config: FeatureConfig) -> tuple[str, ...]:
    return tuple(name for name in set_of(config).ranked_names(config) if name in own) if has_ranks(config) else ()


def _ranks(bars: Mapping[str, Bars], config: FeatureConfig, days: Days, ranked: list[int]) -> list[Float64]:
    """Return the ranks of the own features with these numbers; each of shape (days, tickers)."""
    grids = [np.full((len(days), len(bars)), np.nan) for _ in ranked]
    if not ranked:
        return grids
    for column, own in enumerate(bars.values()):
        own_days, values = _own_rows(own, config)
        for grid, number in zip(grids, ranked, strict=True):
            grid[np.searchsorted(days, own_days), column] = values[number]
    if config.membership is None:
        return [cross_ranks(grid) for grid in grids]
    member = config.membership.mask(days, tuple(bars))
    return [set_of(config).finish(member_ranks(grid, member)) for grid in grids]


def _own_rows(bars: Bars, config: FeatureConfig) -> tuple[Days, Float64]:
    """Return the days of `feature_days`, and the features of the ticker's own past on them, shape (F, rows)."""
    blocks, kept = [np.empty((len(_own_names(bars, config)), 0))], [np.arange(0)]
    for sessions, rows in _histories(bars, config):
        values = _own_values(bars.only(sessions), config)
        blocks += [np.full((len(values), len(rows) - values.shape[1]), np.nan), values]
        kept.append(rows)
    return bars.days[np.concatenate(kept)], np.concatenate(blocks, axis=1)


def _histories(bars: Bars, config: FeatureConfig) -> Iterator[tuple[slice, Int64]]:
    """Yield the sessions of each unbroken history, and the numbers of the sessions with a row."""
    starts = [0]
    if config.max_gap is not None:
        weekdays_without = np.busday_count(bars.days[:-1] + np.timedelta64(1, "D"), bars.days[1:])
        starts += (np.flatnonzero(weekdays_without > config.max_gap) + 1).tolist()
    begun = False
    for first, stop in zip(starts, [*starts[1:], len(bars.days)], strict=True):
        rows = np.arange(first + config.longest, stop)
        yield slice(first, stop), np.concatenate([[first], rows]) if begun else rows
        begun = begun or len(rows) > 0
