"""The verdict on a run, by stated rules: the first sentence of the page.

The page shows `RULES` beside the verdict: a rule changed here changes there too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from encash.backtest.evaluation import random_filter_test
from encash.backtest.evaluation.plausibility import Implausible, implausible_figures
from encash.backtest.evaluation.random_filter_test import Performance
from encash.report.formatting import count, number, percent, signed_percent
from encash.report.run_extras import Extras
from encash.report.summary import Run

SHORT_SESSIONS = 252
FEW_REBALANCES = 30

RULES = (
    "The verdict compares runs on the same days, with the same costs and settings; all candidates in equal weights "
    "have no costs.",
    *random_filter_test.RULES,
    "Intervals (95%) and t-statistics: errors from the first cosine transforms of the daily series with Student's t "
    "(Lazarus, Lewis, Stock and Watson 2018), scaled so that a t beyond ±1.96 is significant at 5%.",
    f"A run of fewer than {SHORT_SESSIONS} sessions or {FEW_REBALANCES} rebalances is called too short.",
    "This is one test on one period: p is the probability of such a statistic without skill in this run. It does not "
    "predict next year, and it is too optimistic if this run was chosen among many.",
)

TOO_GOOD = "it is too good to be true: look for data of the future first"
"""Finding about a run with an implausible figure."""

SEED = "the seed of this page is"
"""Begin of a finding about one seed of several."""

Tone = Literal["good", "neutral", "bad", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The first sentence of the page."""

    statement: str
    """Return and Sharpe ratio of all candidates, the alternative of an investor, and of the run."""
    details: str
    """The sentences after the first: the run without a filter, drawdowns, the spread over seeds."""
    finding: str
    """Its meaning."""
    tone: Tone
    warning: str | None
    """Reason why the run may have used future data; None if it did not."""

    @property
    def headline(self) -> str:
        """Statement and finding as one sentence."""
        return f"{self.statement}: {self.finding}."


def judge(run: Run, extras: Extras) -> Verdict:
    """Reach the verdict on a run."""
    warning = run.lookahead_reason
    finding, tone = _find(run, extras)
    if extras.seed_spreads and extras.test is not None and extras.test.judged:
        finding = f"{SEED} {finding}"
    if implausible(run, extras):
        finding, tone = TOO_GOOD, "bad"
    if warning is not None:
        finding, tone = random_filter_test.FORESEEN, "bad"
    statement, details = _state(run, extras), _details(run, extras)
    return Verdict(statement=statement, details=details, finding=finding, tone=tone, warning=warning)


def implausible(run: Run, extras: Extras) -> tuple[Implausible, ...]:
    """Return the figures of a run that are too good to be true."""
    best = max(extras.skill, key=lambda one: abs(one.rank_ic), default=None)
    trades = run.figure("trades")
    return implausible_figures(
        sharpe=run.performance.sharpe,
        years=(len(run.equity.days) - 1) / run.sessions_per_year,
        rank_ic=None if best is None else best.rank_ic,
        rank_ic_t=None if best is None else best.rank_ic_t,
        horizon=1 if best is None else best.horizon,
        hit_rate=run.figure("win_rate"),
        holdings=0 if trades is None else int(trades) // 2,
    )


def performance_text(one: Performance) -> str:
    """Format return, Sharpe ratio and drawdown of one run.

    >>> print(performance_text(Performance(cagr=0.05, sharpe=0.5, max_drawdown=-0.2)))
    +5.0% a year (Sharpe ratio 0.50, max drawdown −20.0%)
    """
    return (
        f"{signed_percent(one.cagr)} a year (Sharpe ratio {number(one.sharpe)}, max drawdown "
        f"{percent(one.max_drawdown)})"
    )


def return_text(one: Performance) -> str:
    """Format return and Sharpe ratio of one run.

    >>> print(return_text(Performance(cagr=0.05, sharpe=0.5, max_drawdown=-0.2)))
    +5.0% a year (Sharpe ratio 0.50)
    """
    return f"{signed_percent(one.cagr)} a year (Sharpe ratio {number(one.sharpe)})"


def _state(run: Run, extras: Extras) -> str:
    """Describe the alternative of an investor, and the run: over all seeds, if there are several."""
    subject = "the filter" if run.has_filter else "the strategy without a filter"
    own = return_text(run.performance)
    if extras.seed_spreads:
        subject = f"{subject} over {count(len(extras.seeds))} seeds"
        sharpe = _over_seeds(extras, "sharpe", number)
        own = f"{_over_seeds(extras, 'cagr', signed_percent)} a year (Sharpe ratio {sharpe})"
    if not run.has_benchmark:
        return f"{subject[0].upper()}{subject[1:]} returned {own} after costs, with no benchmark to compare with"
    return f"Holding all candidates returned {return_text(run.benchmark_performance)}; {subject}, after costs, {own}"


def _details(run: Run, extras: Extras) -> str:
    """Describe the run without a filter, the drawdowns, and the seed of this page among several."""
    sentences, drawdowns = [], []
    if run.has_benchmark:
        drawdowns.append(f"{percent(run.benchmark_performance.max_drawdown)} of all candidates")
    if run.has_filter and extras.test is not None:
        without = extras.test.performance["no filter"]
        sentences.append(f"The same strategy without a filter returned {return_text(without)}.")
        drawdowns.append(f"{percent(without.max_drawdown)} without a filter")
    if extras.seed_spreads:
        sentences.append(f"This page is of one seed, which returned {return_text(run.performance)}.")
        drawdowns.append(f"{_over_seeds(extras, 'max_drawdown', percent)} over the seeds")
    drawdowns.append(f"{percent(run.performance.max_drawdown)} of this run")
    return " ".join([*sentences, f"Max drawdown: {', '.join(drawdowns)}."])


def _over_seeds(extras: Extras, figure: str, form: Callable[[float], str]) -> str:
    """Format mean ± deviation of a figure over the seeds."""
    spread = extras.seed_spreads[figure]
    return f"{form(spread.mean)} ± {form(spread.deviation).removeprefix('+')}"


def _find(run: Run, extras: Extras) -> tuple[str, Tone]:
    """Return finding and tone, regardless of look-ahead."""
    test, subject = extras.test, "filters" if run.has_filter else "rankings"
    if test is None:
        persisting = " that persist as it does" if len(extras.random_filters) else ""
        return f"chance is not ruled out, because it was not compared with random {subject}{persisting}", "unknown"
    tones: dict[str, Tone] = {"better than chance": "good", "worse than chance": "bad"}
    return test.finding, tones.get(test.finding, "neutral" if test.judged else "unknown")
