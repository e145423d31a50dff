"""Mean, standard deviation and interval of figures over several runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from encash.arrays import Float64


@dataclass(frozen=True, kw_only=True)
class Replicates:
    """Several runs that differ only in their seed, draw, phase or policy.

    An undefined figure of a run (NaN, such as the Sharpe ratio of an idle run) is left out. A figure that no run
    defines is NaN.
    """

    equity: Float64
    """Equity after costs of n runs, shape (n, S)."""
    figures: dict[str, Float64]
    """Each figure of each run, shape (n,)."""

    def mean(self, figure: str) -> float:
        """Return the mean over the runs that define a figure."""
        values = self._defined(figure)
        return float(values.mean()) if len(values) else math.nan

    def deviation(self, figure: str) -> float:
        """Return the sample standard deviation of a figure over the runs that define it.

        Exactly 0 for equal values, NaN for fewer than 2.
        """
        values = self._defined(figure)
        if len(values) < 2:
            return math.nan
        return float(values.std(ddof=1)) if np.ptp(values) else 0.0

    def interval(self, figure: str, level: float = 0.95) -> tuple[float, float]:
        """Return the central interval of a figure over the runs that define it."""
        values = self._defined(figure)
        if not len(values):
            return math.nan, math.nan
        tail = (1.0 - level) / 2.0 * 100.0
        low, high = np.percentile(values, [tail, 100.0 - tail])
        return float(low), float(high)

    def _defined(self, figure: str) -> Float64:
        values = self.figures[figure]
        return values[~np.isnan(values)]
