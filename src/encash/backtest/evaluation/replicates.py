"""Mean, deviation and interval of figures over several runs: the one rule for what is not defined. Knows numbers;
nothing of why the runs differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from encash.arrays import Float64


@dataclass(frozen=True, kw_only=True)
class RepeatedRuns:
    """Several runs of one thing: under other seeds, draws, phases or policies.

    A run in which a figure is not defined (NaN: the Sharpe ratio of one whose money never moved) is left out of that
    figure alone. A figure that no run defines is NaN.
    """

    equity: Float64
    """After costs, shape (n, S)."""
    figures: dict[str, Float64]
    """Each figure of each run, shape (n,)."""

    def mean(self, figure: str) -> float:
        """Mean over the runs that define it."""
        values = self._defined(figure)
        return float(values.mean()) if len(values) else math.nan

    def deviation(self, figure: str) -> float:
        """Sample deviation over the runs that define it: exactly 0 where all are the same, NaN for fewer than two."""
        values = self._defined(figure)
        if len(values) < 2:
            return math.nan
        return float(values.std(ddof=1)) if np.ptp(values) else 0.0

    def interval(self, figure: str, level: float = 0.95) -> tuple[float, float]:
        """The middle share of the runs that define it."""
        values = self._defined(figure)
        if not len(values):
            return math.nan, math.nan
        tail = (1.0 - level) / 2.0 * 100.0
        low, high = np.percentile(values, [tail, 100.0 - tail])
        return float(low), float(high)

    def _defined(self, figure: str) -> Float64:
        values = self.figures[figure]
        return values[~np.isnan(values)]
