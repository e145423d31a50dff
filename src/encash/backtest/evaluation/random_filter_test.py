"""Test of a filter against random filters, and the wording of its result, on the command line and on the page alike.

The page shows `RULES` beside the verdict: a change of the rule here changes the text there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05
FEWEST_DRAWS = 19
"""With fewer random filters even the best rank has p > 0.05."""
FORESEEN = "it may have known its future, so this proves nothing"
"""Verdict on a run with look-ahead, whatever its rank."""

RULES = (
    "Against chance: with n random filters of the same daily keep-rate, p = (1 + how many ended at or above the run) "
    f"/ (n + 1). The filter is “better than chance” if p ≤ {LEVEL} and the 95% interval of its yearly excess return "
    "over the random filters, where it is known, lies above 0. It is “worse than chance” if (1 + how many ended at or "
    f"below the run) / (n + 1) ≤ {LEVEL} and that interval lies below 0; else “no better than chance”. "
    f"Fewer than {FEWEST_DRAWS} draws allow no verdict.",
    "The percentile is the share of random filters that ended below the run, ties counted half.",
)


@dataclass(frozen=True, kw_only=True)
class RandomFilterRank:
    """Rank of a run among random filters."""

    draws: int
    percentile: float
    """0 to 100."""
    p_better: float
    p_worse: float
    excess_interval: tuple[float, float] | None = None
    """95% interval of the yearly excess return over the mean of the random filters; None if unknown."""
    no_filter_ahead: bool = False
    """True if the same run without a filter ended higher."""

    @property
    def judged(self) -> bool:
        """True if there are enough draws for a verdict."""
        return self.draws >= FEWEST_DRAWS

    @property
    def against_chance(self) -> str:
        """Finding in words, from the random filters only."""
        if not self.judged:
            return f"too few draws to tell the filter from chance ({FEWEST_DRAWS} are needed)"
        low, high = self.excess_interval or (math.inf, -math.inf)
        if self.p_better <= LEVEL and low > 0:
            return "better than chance"
        return "worse than chance" if self.p_worse <= LEVEL and high < 0 else "no better than chance"

    @property
    def finding(self) -> str:
        """Finding in words, qualified by the run without a filter."""
        finding = self.against_chance
        tempered = finding == "better than chance" and self.no_filter_ahead
        return f"{finding}, yet no filter at all did better" if tempered else finding


def rank_among(
    draws: Sequence[float],
    capital: float,
    *,
    excess_interval: tuple[float, float] | None = None,
    no_filter: float | None = None,
) -> RandomFilterRank:
    """Rank a run among its random filters.

    Args:
        draws: final capital of each random filter, at least one. Capitals that differ only by rounding are ties.
        capital: final capital of the run.
        excess_interval: of the yearly excess return; None or NaN if unknown.
        no_filter: final capital of the same run without a filter; None if unknown.

    >>> rank_among([1.0, 2.0, 4.0], 3.0).p_better
    0.5
    """
    ends = np.asarray(draws, dtype=np.float64)
    ties = np.isclose(ends, capital, rtol=1e-12, atol=0.0)
    level, below = int(ties.sum()), int((~ties & (ends < capital)).sum())
    known = excess_interval is not None and bool(np.isfinite(excess_interval).all())
    return RandomFilterRank(
        draws=len(ends),
        percentile=100.0 * (below + level / 2.0) / len(ends),
        p_better=(1 + len(ends) - below) / (len(ends) + 1),
        p_worse=(1 + below + level) / (len(ends) + 1),
        excess_interval=excess_interval if known else None,
        no_filter_ahead=no_filter is not None and no_filter > capital,
    )
