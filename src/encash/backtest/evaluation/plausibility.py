"""Figures that are too good to be true: beyond what any published daily strategy sustains, and not by luck.

A figure is implausible only if its lower confidence bound is above its limit, so that a short lucky run does not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from encash.metrics import SESSIONS_PER_YEAR

MOST_SHARPE = 3.5
"""Annual Sharpe ratio before capacity: the best public records of daily trading in stocks are between 2 and 3 over many
years; higher ones exist only at intraday horizons."""
MOST_RANK_IC = 0.15
"""Mean rank correlation of forecasts with the returns of up to a week: published daily models reach 0.03 to 0.10."""
RANK_IC_PER_HORIZON = 5
"""Sessions up to which `MOST_RANK_IC` holds; for longer horizons it grows with their square root, up to 0.45."""
LARGEST_RANK_IC = 0.45
MOST_HIT_RATE = 0.7
"""Fraction of winning holdings: known traders of single stocks win in 51 to 60%, as do most holdings of a month in a
rising market."""
CONFIDENCE = 3.09
"""Standard errors of the lower bound: one in a thousand."""
CAUSES = (
    "features or labels that reach past their day, prices of a different time zone or a shifted calendar, an encoder "
    "trained on the test period, a universe of survivors, or fills at prices that were not for sale"
)
"""The usual explanations, most frequent first."""


@dataclass(frozen=True, kw_only=True)
class Implausible:
    """A figure beyond its limit."""

    figure: str
    """``sharpe``, ``rank_ic`` or ``hit_rate``."""
    value: float
    limit: float
    sentence: str
    """The figure, the limit and the likely causes."""


def implausible_figures(
    *,
    sharpe: float | None = None,
    years: float = 0.0,
    rank_ic: float | None = None,
    rank_ic_t: float | None = None,
    horizon: int = 1,
    hit_rate: float | None = None,
    holdings: int = 0,
) -> tuple[Implausible, ...]:
    """Return the figures that are only plausible with look-ahead bias or a similar error.

    Args:
        sharpe: annual Sharpe ratio of daily returns; None or NaN leaves it out.
        years: length of the daily returns behind it.
        rank_ic: mean rank correlation of forecasts and returns.
        rank_ic_t: its t, for the lower bound.
        horizon: sessions of the forecasts.
        hit_rate: share of winning holdings.
        holdings: number of holdings behind it.

    >>> [found.figure for found in implausible_figures(sharpe=7.0, years=2.0, rank_ic=0.58, rank_ic_t=60.0)]
    ['sharpe', 'rank_ic']
    >>> implausible_figures(sharpe=7.0, years=0.08), implausible_figures(sharpe=1.2, years=10.0)
    ((), ())
    """
    scale = math.sqrt(max(1.0, horizon / RANK_IC_PER_HORIZON))
    most_ic = min(LARGEST_RANK_IC, MOST_RANK_IC * scale)
    judged = (
        ("sharpe", sharpe, MOST_SHARPE, _sharpe_error(sharpe, years), "a Sharpe ratio of {:.1f}"),
        ("rank_ic", rank_ic, most_ic, _error_of_t(rank_ic, rank_ic_t), "a mean rank IC of {:.2f}"),
        (
            "hit_rate",
            hit_rate,
            MOST_HIT_RATE,
            math.sqrt(0.25 / holdings) if holdings else math.inf,
            "a share of {:.0%} winning holdings",
        ),
    )
    return tuple(
        Implausible(
            figure=figure,
            value=value,
            limit=limit,
            sentence=f"{text.format(value)} is too good to be true (limit {limit:.2f}); likely causes: {CAUSES}",
        )
        for figure, value, limit, error, text in judged
        if value is not None and value - CONFIDENCE * error > limit
    )


def _sharpe_error(sharpe: float | None, years: float) -> float:
    """Return the standard error of an annual Sharpe ratio s (Lo 2002): √((1 + s²/2N) / years), N daily returns a year.

    N hardly matters and is taken as 252.
    """
    if sharpe is None or not years > 0:
        return math.inf
    return math.sqrt((1 + sharpe**2 / (2 * SESSIONS_PER_YEAR)) / years)


def _error_of_t(mean: float | None, t: float | None) -> float:
    return math.inf if mean is None or t is None or not t > 0 else abs(mean) / t
