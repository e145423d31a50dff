"""Test of a filter, or of forecasts, against equally persistent random ones, and the wording of its result.

The command line and the report use the same wording. The report shows `RULES` beside the verdict: a rule that is
changed here changes there, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from encash.arrays import Float64
from encash.backtest.evaluation.groups import GroupBets, text_of
from encash.backtest.files import json_value
from encash.significance import ROUNDING, least_squares, mean_of, regress, standard_errors

LEVEL = 0.05
FEWEST_DRAWS = 19
"""With fewer random draws even the best rank has p > 0.05."""
FORESEEN = "it may have look-ahead bias, so this proves nothing"
"""Verdict on a run with look-ahead, whatever its rank."""

Subject = Literal["filter", "forecasts"]
RANDOM: dict[Subject, str] = {"filter": "random filters", "forecasts": "random rankings"}
"""Names of the draws that a subject is compared with."""

RULES = (
    "Random filters: each is the history of the filter with the tickers permuted, so that it keeps as many candidates "
    "on each day, for as long, and trades as much. Tickers are permuted among those of similar volatility (and of the "
    "same group, if groups are given). A run without a filter is compared with its forecasts permuted likewise.",
    "Skill: the statistic is the t of an alpha against all candidates in equal weights, so that beta is not skill. It "
    "is the greater of two: of the daily net returns of the run less the mean of the random runs, and of the daily "
    "returns of the kept candidates (or of a portfolio weighted by the ranks of the forecasts) before costs.",
    "p = (1 + how many of n random ones have a statistic at or above it) / (n + 1). “Better than chance” means "
    f"p ≤ {LEVEL}, “worse than chance” the same from below, with the lesser of the two t. Fewer than {FEWEST_DRAWS} "
    "draws allow no verdict.",
    "A percentile is the share of random ones below the run, ties counted half.",
)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Difference of two portfolios per year, as fractions, arithmetic: mean daily return × sessions per year."""

    excess: float
    """Mean difference."""
    excess_interval: tuple[float, float]
    """95% interval of the mean difference."""
    alpha: float
    """Difference that beta to the candidates in equal weights does not explain."""
    alpha_t: float
    """Beyond ±1.96 is significant at 5%."""
    beta: float


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Return, risk-adjusted return and risk of one run."""

    cagr: float
    sharpe: float
    max_drawdown: float


@dataclass(frozen=True, kw_only=True)
class FilterTest:
    """Test of a filter, or of the forecasts of a run without one, against equally persistent random ones."""

    subject: Subject
    draws: int
    p_better: float
    p_worse: float
    run: Contrast
    """Run less the mean of the random runs, after costs."""
    selection: Contrast
    """Kept candidates less all candidates, or upper less lower half by forecast, before costs."""
    percentiles: Mapping[str, float]
    """Percentile (0 to 100) of the run among the random ones by total_return, sharpe and max_drawdown."""
    performance: Mapping[str, Performance]
    """"this run", "no filter" (of a run with one) and "all candidates" (in equal weights, without costs)."""
    lookahead: Literal[False] | str
    """Reason why the run may have look-ahead bias; False if it has none."""
    groups: GroupBets | None = None
    """Return explained by bets on groups; None if no groups are given."""

    @property
    def judged(self) -> bool:
        """True if there are enough draws for a verdict."""
        return self.draws >= FEWEST_DRAWS

    @property
    def against_chance(self) -> str:
        """Finding in words, from the random draws only."""
        if not self.judged:
            return f"too few draws to tell the {self.subject} from chance ({FEWEST_DRAWS} are needed)"
        better, worse = self.p_better <= LEVEL, self.p_worse <= LEVEL
        if better == worse:
            return "no better than chance"
        return "better than chance" if better else "worse than chance"

    @property
    def finding(self) -> str:
        """Finding in words, qualified by the run without a filter."""
        finding, other = self.against_chance, self.performance.get("no filter")
        ahead = other is not None and other.cagr > self.performance["this run"].cagr
        return f"{finding}, yet no filter at all did better" if finding == "better than chance" and ahead else finding

    @property
    def helps(self) -> bool:
        """True if it is better than chance and has no look-ahead bias."""
        return not self.lookahead and self.against_chance == "better than chance"

    @property
    def lead(self) -> str:
        """The alternative of an investor (all candidates), and the run, in one short sentence."""
        other, own = (_return_text(self.performance[name]) for name in ("all candidates", "this run"))
        return f"Holding all candidates returned {other}; this run, after costs, {own}."

    @property
    def details(self) -> str:
        """The sentence after the finding: the run without a filter, drawdowns and alpha."""
        names = {"all candidates": "of all candidates", "no filter": "without a filter", "this run": "of this run"}
        drawdowns = ", ".join(
            f"{text_of(self.performance[name].max_drawdown, '.1%')} {text}"
            for name, text in names.items()
            if name in self.performance
        )
        other = self.performance.get("no filter")
        without = "" if other is None else f"Without a filter the same strategy returned {_return_text(other)}. "
        return (
            f"{without}Max drawdown: {drawdowns}. Alpha of the run over the {RANDOM[self.subject]}: "
            f"{text_of(self.run.alpha, '+.1%')} a year after costs, t = {text_of(self.run.alpha_t, '.1f')}."
        )

    @property
    def sentence(self) -> str:
        """Verdict in short sentences: the alternative of an investor, the run, the finding, and its numbers."""
        verb, they = ("is", "it does") if self.subject == "filter" else ("are", "they do")
        finding = f"the {self.subject} {verb} {self.finding}" if self.judged else self.finding
        finding = FORESEEN if self.lookahead else finding
        groups = "" if self.groups is None else f" {self.groups.sentence}."
        return (
            f"{self.lead} {finding[0].upper()}{finding[1:]}: p = {self.p_better:.3f} against {self.draws} "
            f"{RANDOM[self.subject]} that persist as {they}. {self.details}{groups}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        run, selection = (_json_of(contrast) for contrast in (self.run, self.selection))
        return {
            "subject": self.subject,
            "sentence": self.sentence,
            "helps": self.helps,
            "p_value": self.p_better,
            "p_worse": self.p_worse,
            "draws": self.draws,
            **run,
            "selection": selection,
            "percentiles": {name: json_value(value) for name, value in self.percentiles.items()},
            "performance": {name: _json_of(one) for name, one in self.performance.items()},
            "groups": None if self.groups is None else self.groups.to_json(),
            "lookahead": self.lookahead,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FilterTest | None:
        """Return the test that `to_json` wrote; None if an older version wrote it, whose p had a different meaning.

        Raises:
            KeyError, TypeError, ValueError: malformed values.
        """
        if "selection" not in values:
            return None
        groups = values["groups"]
        if values["subject"] not in get_args(Subject):
            raise ValueError(f"subject {values['subject']!r}")
        return cls(
            subject=values["subject"],
            draws=int(values["draws"]),
            p_better=float(values["p_value"]),
            p_worse=float(values["p_worse"]),
            run=_contrast_of(values),
            selection=_contrast_of(values["selection"]),
            percentiles={name: _number(value) for name, value in values["percentiles"].items()},
            performance={
                name: Performance(**{key: _number(value) for key, value in one.items()})
                for name, one in values["performance"].items()
            },
            groups=None
            if groups is None
            else GroupBets(
                count=int(groups["count"]),
                **{name: _number(groups[name]) for name in ("excess", "explained", "rest_alpha_t")},
            ),
            lookahead=values["lookahead"],
        )


def contrast(series: Float64, benchmark: Float64, sessions_per_year: float) -> Contrast:
    """Measure the daily difference of two portfolios, and the part that the benchmark does not explain.

    Args:
        series: shape (n,).
        benchmark: daily returns of the benchmark, shape (n,).
        sessions_per_year: sessions per year.
    """
    line = regress(series, benchmark)
    mean = mean_of(series).times(sessions_per_year)
    return Contrast(
        excess=mean.value,
        excess_interval=mean.interval(),
        alpha=line.alpha.value * sessions_per_year,
        alpha_t=line.alpha.t,
        beta=line.beta[0],
    )


def alpha_statistics(series: Float64, benchmark: Float64) -> Float64:
    """Return the t of the alpha of m series; 0 for a series that does not vary beyond rounding. Shape (m,).

    Args:
        series: shape (m, n).
        benchmark: shape (n,).
    """
    coefficients, influence = least_squares(series, benchmark[:, None])
    errors = standard_errors(influence)
    varies = np.abs(influence).max(axis=1) > ROUNDING
    return np.where(varies & (errors > 0), coefficients[:, 0] / np.where(errors > 0, errors, 1.0), 0.0)


def permutation_p(statistics: Float64) -> tuple[float, float]:
    """Return p from above and from below of the first of n + 1 rows of statistics among all of them.

    From above the greatest statistic of a row counts, from below the least. Values that differ only by rounding are
    ties, and ties count against the first row.

    >>> permutation_p(np.array([[3.0], [1.0], [2.0], [4.0]]))
    (0.5, 0.75)
    """
    high, low = statistics.max(axis=1), statistics.min(axis=1)
    slack = 1e-9 * max(1.0, float(np.abs(statistics).max()))
    return float(np.mean(high >= high[0] - slack)), float(np.mean(low <= low[0] + slack))


def percentile_among(draws: Float64, value: float) -> float:
    """Return the percentage of the draws below a value, ties counted half, 0 to 100; NaN if one is undefined.

    >>> percentile_among(np.array([1.0, 2.0, 2.0, 4.0]), 2.0)
    50.0
    """
    draws = draws[~np.isnan(draws)]
    if not len(draws) or np.isnan(value):
        return float("nan")
    ties = np.isclose(draws, value, rtol=1e-12, atol=0.0)
    return float(100.0 * np.mean(np.where(ties, 0.5, draws < value)))


def _return_text(one: Performance) -> str:
    return f"{text_of(one.cagr, '+.1%')} a year (Sharpe {text_of(one.sharpe, '.2f')})"


def _json_of(values: Contrast | Performance) -> dict[str, Any]:
    return {name: json_value(value) for name, value in vars(values).items()}


def _contrast_of(values: Mapping[str, Any]) -> Contrast:
    low, high = map(_number, values["excess_interval"])
    rest = {name: _number(values[name]) for name in ("excess", "alpha", "alpha_t", "beta")}
    return Contrast(excess_interval=(low, high), **rest)


def _number(value: float | None) -> float:
    """Convert null to NaN."""
    return float("nan") if value is None else float(value)
