"""The verdict on a run, by stated rules: the first sentence of the page.

The page shows `RULES` beside the verdict: a rule changed here changes there too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from encash.backtest.evaluation import random_filter_test
from encash.backtest.evaluation.random_filter_test import RandomFilterRank
from encash.report.formatting import count, money, ordinal, relative_performance
from encash.report.run_extras import Extras
from encash.report.summary import Run

SHORT_SESSIONS = 252
FEW_REBALANCES = 30

RULES = (
    "The verdict compares final capitals after costs, on the same days, with the same costs and settings.",
    *random_filter_test.RULES,
    "Sharpe ratio interval: 95%, circular block bootstrap of daily net returns, blocks of the horizon and at least "
    "10 sessions, 500 draws, seed 0.",
    f"A run of fewer than {SHORT_SESSIONS} sessions or {FEW_REBALANCES} rebalances is called too short.",
    "This is one test on one period: p is the probability of such a rank among random filters in this run. It does not "
    "predict next year, and it is too optimistic if this run was chosen among many.",
)

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
        return f"{self.statement}: {self.finding}." if self.finding else f"{self.statement}."


def judge(run: Run, extras: Extras) -> Verdict:
    """Reach the verdict on a run."""
    warning = run.lookahead_reason
    statement, finding, tone = _compare(run, extras)
    if warning is not None:
        finding, tone = random_filter_test.FORESEEN, "bad"
    return Verdict(statement=statement, finding=finding, tone=tone, warning=warning)


def _compare(run: Run, extras: Extras) -> tuple[str, str, Tone]:
    """Return statement, finding and tone of a run, regardless of look-ahead."""
    if not run.has_filter:
        return f"After costs, the strategy without a filter {_against_benchmark(run)}", "", "neutral"
    lead = ""
    if extras.no_filter is not None:
        performance = relative_performance(run.final_capital, extras.no_filter)
        lead = f"ended {performance} the same strategy without a filter"
    rank = extras.rank(run.final_capital)
    if rank is None:
        statement = f"After costs, the filter {lead or _against_benchmark(run)}"
        return statement, "chance is not ruled out, because it was not compared with random filters", "unknown"
    percentile = ordinal(min(99, max(1, round(rank.percentile))))  # never the 0th or the 100th
    place = f"at the {percentile} percentile of {count(rank.draws)} random filters with the same keep-rate"
    return f"After costs, the filter {f'{lead}, {place}' if lead else f'ended {place}'}", rank.finding, _tone(rank)


def _tone(rank: RandomFilterRank) -> Tone:
    tones: dict[str, Tone] = {"better than chance": "good", "worse than chance": "bad"}
    return tones.get(rank.finding, "neutral" if rank.judged else "unknown")


def _against_benchmark(run: Run) -> str:
    if not run.has_benchmark:
        return f"turned {money(run.capital)} into {money(run.final_capital)}, with no benchmark to compare with"
    performance = relative_performance(run.final_capital, run.equity.benchmark[-1])
    return f"ended {performance} all candidates in equal weights"
