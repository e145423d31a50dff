"""Candidates and picks as a table, and the picks of one day for live use."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from encash.arrays import Bool, DayLike, Days, Float32, Float64, Int32, Text, to_day
from encash.backtest.allocation import Allocation, allocate
from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.lookahead import check_lookahead, check_missing
from encash.backtest.inputs.run_setup import open_sessions, set_up_run
from encash.backtest.inputs.signals import read_signals
from encash.backtest.inputs.universe import Schedule
from encash.errors import InputError


@dataclass(frozen=True, kw_only=True)
class PickTable:
    """One row per candidate of each rebalance, by day and ticker; all arrays have shape (n,)."""

    date: Days
    ticker: Text
    cluster: Int32
    """−1 for none."""
    distance: Float32
    kept: Bool
    forecast: Float32
    """NaN if the candidate has no entry."""
    confidence: Float32
    score: Float64
    """forecast × confidence, NaN if not ranked."""
    picked: Bool
    weight: Float64
    """Below 0 if sold short."""

    def columns(self) -> dict[str, np.ndarray]:
        """Return the columns by name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def picked_first(self) -> PickTable:
        """Return only the picks, best first within a day."""
        rows = np.flatnonzero(self.picked)
        rows = rows[np.lexsort((self.ticker[rows], -self.score[rows], self.date[rows]))]
        return PickTable(**{name: column[rows] for name, column in self.columns().items()})

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.date)


def pick_table(allocation: Allocation, horizon: int) -> PickTable:
    """Return one row per candidate of each rebalance, with the forecasts of a horizon."""
    setup, signals = allocation.setup, allocation.signals
    row, column = np.nonzero(setup.candidates)
    forecast, confidence = signals.of_horizon(horizon)
    cells = (row, column)
    return PickTable(
        date=setup.signal_days[row],
        ticker=np.asarray(setup.sessions.tickers)[column],
        cluster=signals.cluster[cells],
        distance=signals.distance[cells],
        kept=allocation.kept[cells],
        forecast=forecast[cells],
        confidence=confidence[cells],
        score=allocation.picks.score[cells],
        picked=allocation.picks.chosen()[cells],
        weight=allocation.weights_by_ticker()[cells],
    )


def latest_session(inputs: BacktestInputs) -> np.datetime64:
    """Return the last session of the prices that entries reach.

    Raises:
        InputError: no entry on or before the last session.
    """
    newest, days = inputs.lookup.newest_day, inputs.prices.days
    known = days if newest is None else days[days <= newest]
    if newest is None or not len(known):
        raise InputError("no entry on any session of the prices; build the cache, or give prices of the same days")
    latest: np.datetime64 = known[-1]
    return latest


def picks_of_day(config: BacktestConfig, inputs: BacktestInputs, day: DayLike) -> PickTable:
    """Pick as a backtest that rebalances on a day would: by the same draw, filter, ranking and weights.

    Args:
        config: universe, subset, confidence gate, top k and weights; its dates, costs and capital are not used.
        inputs: as for `run_backtest`.
        day: a session of the prices; nothing after it is read.

    Returns:
        One row per candidate of the day; `picked_first` returns the picks.

    Raises:
        InputError: no session, no candidate with a price, or too many candidates without an entry.
        LookaheadError: the filter or the encoder was fitted on that day.
        MismatchError: clusters of a different encoder.
    """
    own = replace(config, start=to_day(day), end=to_day(day), test_sessions=None)
    sessions = open_sessions(own, inputs.prices, inputs.candidates, inputs.groups)
    now = np.zeros(1, dtype=np.int64)
    setup = set_up_run(own, sessions, Schedule(signal=now, fill=now, exit=now, tranche=now, num_tranches=1))
    check_lookahead(own, inputs, sessions.days[0])
    (signals,) = read_signals([setup], inputs.lookup, horizons=(own.signal_horizon,), filters=(inputs.filter,))
    check_missing(own, setup, signals)
    return pick_table(allocate(own, setup, signals, inputs.filter), own.signal_horizon)
