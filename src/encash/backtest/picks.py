"""The candidates and picks of rebalances as a table, and the list of one day for live use. Knows choices; nothing of
money."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from encash.arrays import Bool, DayLike, Days, Float32, Float64, Int32, Int64, Text, to_day
from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.lookahead import check_lookahead, check_missing
from encash.backtest.inputs.run_setup import make_frame, open_sessions
from encash.backtest.inputs.signals import read_signals
from encash.backtest.inputs.universe import Schedule
from encash.backtest.outcome import Allocation, allocate


@dataclass(frozen=True, kw_only=True)
class PickTable:
    """One row for each candidate of each rebalance, by day and ticker; all of shape (n,)."""

    date: Days
    ticker: Text
    cluster: Int32
    """−1 where there is none."""
    distance: Float32
    kept: Bool
    forecast: Float32
    """NaN where the candidate has no entry."""
    confidence: Float32
    score: Float64
    """forecast × confidence, NaN for those not ranked."""
    picked: Bool
    weight: Float64

    def columns(self) -> dict[str, np.ndarray]:
        """All columns by name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def picked_first(self) -> PickTable:
        """The picks alone, best first within a day."""
        rows = np.flatnonzero(self.picked)
        return self._rows(rows[np.lexsort((self.ticker[rows], -self.score[rows], self.date[rows]))])

    def _rows(self, rows: Int64) -> PickTable:
        return PickTable(**{name: column[rows] for name, column in self.columns().items()})

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.date)


def pick_table(allocation: Allocation, horizon: int) -> PickTable:
    """The candidates of all rebalances, one row each; forecasts are those of the horizon."""
    frame, signals = allocation.frame, allocation.signals
    row, column = np.nonzero(frame.asked)
    forecast, confidence = signals.of_horizon(horizon)
    weight = np.zeros(frame.asked.shape)
    rebalance, rank = np.nonzero(allocation.picks.column >= 0)
    weight[rebalance, allocation.picks.column[rebalance, rank]] = allocation.weight[rebalance, rank]
    cells = (row, column)
    return PickTable(
        date=frame.signal_days[row],
        ticker=np.asarray(frame.sessions.tickers)[column],
        cluster=signals.cluster[cells],
        distance=signals.distance[cells],
        kept=allocation.kept[cells],
        forecast=forecast[cells],
        confidence=confidence[cells],
        score=allocation.picks.score[cells],
        picked=allocation.picks.chosen()[cells],
        weight=weight[cells],
    )


def picks_of_day(config: BacktestConfig, inputs: BacktestInputs, day: DayLike) -> PickTable:
    """What a backtest that rebalances on a day would pick: the same draw, filter, ranking and weights.

    Args:
        config: its universe, subset, gate, top k and weights; its dates and its money do not matter.
        inputs: as for `run_backtest`.
        day: a session of the prices; nothing after it is looked at.

    Returns:
        A row for each candidate of the day; `picked_first` gives the list.

    Raises:
        InputError: no session, nobody with a price, or too many candidates without an entry.
        LookaheadError: the filter or the model knows that day.
        MismatchError: clusters of another encoder.
    """
    own = replace(config, start=to_day(day), end=to_day(day), test_sessions=None)
    sessions = open_sessions(own, inputs.prices, inputs.candidates)
    now = np.zeros(1, dtype=np.int64)
    frame = make_frame(own, sessions, Schedule(signal=now, fill=now, exit=now, tranche=now, num_tranches=1))
    check_lookahead(own, inputs, sessions.days[0])
    (signals,) = read_signals([frame], inputs.lookup, horizons=(own.signal_horizon,), filters=(inputs.filter,))
    check_missing(own, frame, signals)
    return pick_table(allocate(own, frame, signals, inputs.filter), own.signal_horizon)
