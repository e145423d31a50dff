"""The verdict on a run, by stated rules: the first sentence of the page.

The page shows `RULES` beside the verdict: a rule changed here changes there too.
"""

from __future__ import annotations

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

Tone = Literal["good", "neutral", "bad", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The first sentence of the page."""

    statement: str
    """The outcome, with numbers."""
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
    if implausible(run, extras):
        finding, tone = TOO_GOOD, "bad"
    if warning is not None:
        finding, tone = random_filter_test.FORESEEN, "bad"
    return Verdict(statement=_state(run, extras), finding=finding, tone=tone, warning=warning)


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


def _state(run: Run, extras: Extras) -> str:
    """Describe what an investor would have had otherwise, and the run: over all seeds, if there are several."""
    others = []
    if run.has_benchmark:
        others.append(f"holding all candidates returned {performance_text(run.benchmark_performance)}")
    if run.has_filter and extras.test is not None:
        others.append(f"the same strategy without a filter {performance_text(extras.test.performance['no filter'])}")
    subject = "the filter" if run.has_filter else "the strategy without a filter"
    own = f"{subject} {performance_text(run.performance)}"
    if extras.seed_spreads:
        own = f"{subject} over {count(len(extras.seeds))} seeds {_spread_text(extras)}; this seed " + (
            performance_text(run.performance)
        )
    text = (
        f"after costs, {own}, with no benchmark to compare with"
        if not others
        else f"{', '.join(others)}; after costs, {own}"
    )
    return f"{text[0].upper()}{text[1:]}"


def _spread_text(extras: Extras) -> str:
    """Format mean ± deviation over the seeds of return, Sharpe ratio and drawdown."""
    formats = {"cagr": signed_percent, "sharpe": number, "max_drawdown": percent}
    cagr, sharpe, drawdown = (
        f"{form(spread.mean)} ± {form(spread.deviation).removeprefix('+')}"
        for spread, form in ((extras.seed_spreads[name], form) for name, form in formats.items())
    )
    return f"{cagr} a year (Sharpe ratio {sharpe}, max drawdown {drawdown})"


def _find(run: Run, extras: Extras) -> tuple[str, Tone]:
    """Return finding and tone, regardless of look-ahead."""
    test, subject = extras.test, "filters" if run.has_filter else "rankings"
    if test is None:
        persisting = " that persist as it does" if len(extras.random_filters) else ""
        return f"chance is not ruled out, because it was not compared with random {subject}{persisting}", "unknown"
    tones: dict[str, Tone] = {"better than chance": "good", "worse than chance": "bad"}
    return test.finding, tones.get(test.finding, "neutral" if test.judged else "unknown")
