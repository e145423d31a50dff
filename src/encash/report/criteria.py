"""The evidence for and against a run: one statement of the page per criterion, with the chart and command that test it.

To add a criterion, write a function that returns its state and an explanation, or None if it does not apply, and add
it to `CRITERIA` with a statement for each state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from encash import metrics
from encash.arrays import Float64
from encash.backtest.evaluation.random_filter_test import LEVEL, Performance, permutation_p
from encash.report.commands import Command, test_command
from encash.report.formatting import (
    ABSENT,
    count,
    money,
    number,
    ordinal,
    percent,
    pluralize,
    relative_performance,
    signed_percent,
    undefined,
)
from encash.report.run_extras import Extras
from encash.report.summary import Run, health_of_run
from encash.report.verdict import FEW_REBALANCES, SHORT_SESSIONS, implausible, performance_text
from encash.significance import CRITICAL, mean_of

State = Literal["good", "doubt", "bad", "unknown"]
Answer = tuple[State, str]
"""State and explanation."""


MARKS: dict[State, str] = {"good": "pass", "doubt": "not significant", "bad": "fail", "unknown": "not tested"}
"""The word of each state; a doubt about something that is not estimated is a fail."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One criterion: how it is judged, and what each outcome is called."""

    answer: Callable[[Run, Extras], Answer | None]
    good: str
    """Statement of a pass, as of the other states."""
    bad: str = ""
    doubt: str = ""
    unknown: str = ""
    estimated: bool = False
    """True if a doubt means that an estimate is not significant; otherwise it means that the run fails."""
    charts: tuple[str, ...] = ()
    """Titles of charts or sections that show it; the first that is on the page is linked."""
    test: tuple[str, ...] = ("--compare", "200")
    """Words that the command of the run needs besides; a first word that is a command replaces it."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One criterion as applied to a run."""

    name: str
    state: State
    explanation: str
    statement: str
    """Outcome as a statement."""
    mark: str
    """pass, fail, not significant or not tested."""
    charts: tuple[str, ...]
    command: Command
    """Shell command that tests it."""


def assess(run: Run, extras: Extras) -> tuple[Criterion, ...]:
    """Apply all criteria to a run, in the order of the page."""
    answers = ((name, check, check.answer(run, extras)) for name, check in CRITERIA.items())
    return tuple(_criterion(run, name, check, found) for name, check, found in answers if found)


def _criterion(run: Run, name: str, check: Check, found: Answer) -> Criterion:
    state, explanation = found
    return Criterion(
        name=name,
        state=state,
        explanation=explanation,
        statement=getattr(check, state) or name,
        mark="fail" if state == "doubt" and not check.estimated else MARKS[state],
        charts=check.charts,
        command=test_command(run, check.test),
    )


def _chance(run: Run, extras: Extras) -> Answer | None:
    return _against_random(run, extras, "filters") if run.has_filter else None


def _forecasts(run: Run, extras: Extras) -> Answer | None:
    return None if run.has_filter else _against_random(run, extras, "rankings")


def _against_random(run: Run, extras: Extras, others: str) -> Answer:
    test = extras.test
    if test is None and len(extras.random_filters):
        return "unknown", _by_capital(run, extras)
    if test is None:
        return "unknown", f"Unknown: not compared with random {others}; use --compare."
    states: dict[str, State] = {"better than chance": "good", "worse than chance": "bad"}
    low, high = map(signed_percent, test.run.excess_interval)
    places = [f"{_place(test.percentiles[key])} by {name}" for key, name in PERCENTILES.items()]
    text = (
        f"p = {number(test.p_better, 3)} against {count(test.draws)} random {others} that persist as these do. After "
        f"costs, the run returned {signed_percent(test.run.excess)} a year over their mean (95%: {low} to {high}), an "
        f"alpha of {signed_percent(test.run.alpha)} (t = {number(test.run.alpha_t, 1)}). What it selects has an alpha "
        f"of {signed_percent(test.selection.alpha)} before costs (t = {number(test.selection.alpha_t, 1)}). "
        f"Percentiles of the run among them: {', '.join(places)}."
    )
    return states.get(test.against_chance, "doubt" if test.judged else "unknown"), text


def _by_capital(run: Run, extras: Extras) -> str:
    """Describe the comparison of an earlier version, which drew new random filters at each rebalance."""
    capitals = np.array([run.final_capital, *extras.random_filters])
    return (
        f"Unknown: an earlier version compared final capitals with {count(len(extras.random_filters))} random filters "
        f"drawn anew at each rebalance (p = {number(permutation_p(capitals[:, None])[0], 3)}), which do not "
        "persist as the filter does; run it again with --compare."
    )


PERCENTILES = {"total_return": "return", "sharpe": "Sharpe ratio", "max_drawdown": "drawdown"}
"""Figures by which a run is ranked among random ones, and their names."""


def _place(percentile: float) -> str:
    """Format a percentile, never the 0th or the 100th."""
    return ABSENT if undefined(percentile) else ordinal(min(99, max(1, round(percentile))))


def _beta(run: Run, extras: Extras) -> Answer | None:
    alpha, beta, t = map(run.figure, ("alpha", "beta", "alpha_t"))
    if alpha is None or beta is None:
        return None
    text = (
        f"Against all candidates in equal weights, beta is {number(beta)}, and alpha {signed_percent(alpha)} a year "
        f"after costs (t = {number(t, 1)}; beyond ±1.96 is significant)."
    )
    if t is None:
        return "unknown", text
    return "good" if t > CRITICAL else "bad" if t < -CRITICAL else "doubt", text


def _groups(run: Run, extras: Extras) -> Answer | None:
    bets = None if extras.test is None else extras.test.groups
    if bets is None:
        return None
    text = (
        f"Before costs, the picks returned {signed_percent(bets.excess)} a year over all candidates; bets on "
        f"{pluralize(bets.count, 'group')} explain {signed_percent(bets.explained)} of it. The alpha of the rest has "
        f"t = {number(bets.rest_alpha_t, 1)}."
    )
    return "good" if bets.rest_alpha_t > CRITICAL else "doubt", text


def _no_filter(run: Run, extras: Extras) -> Answer | None:
    if not run.has_filter:
        return None
    if extras.test is not None:
        other = "the same strategy without a filter"
        return _compare(run, extras.test.performance["no filter"], extras.paths.get("no filter"), other)
    if extras.no_filter is None:
        return "unknown", "Unknown: not compared with the same strategy without a filter; use --compare."
    performance = relative_performance(run.final_capital, extras.no_filter)
    text = f"{performance.capitalize()} the same strategy without a filter, which ended at {money(extras.no_filter)}."
    return "good" if run.final_capital > extras.no_filter else "bad", text


def _benchmark(run: Run, extras: Extras) -> Answer:
    if not run.has_benchmark:
        return "unknown", "Unknown: the run has no benchmark."
    other = "all candidates in equal weights, without costs"
    return _compare(run, run.benchmark_performance, run.equity.benchmark, other)


def _compare(run: Run, other: Performance, path: Float64 | None, name: str) -> Answer:
    """Compare return, Sharpe ratio and drawdown; better or worse only if return and Sharpe ratio both are, and if the
    mean of the daily differences is significant."""
    own = run.performance
    text = f"{performance_text(own)}, against {performance_text(other)} of {name}."
    wins = (own.cagr > other.cagr) + (own.sharpe > other.sharpe)
    states: tuple[State, State, State] = ("bad", "doubt", "good")
    if path is None or len(path) != len(run.path):
        return states[wins], text
    difference = mean_of(metrics.simple_returns(run.path) - metrics.simple_returns(path))
    text += f" Mean of the daily differences: t = {number(difference.t, 1)}."
    return states[wins] if abs(difference.t) >= CRITICAL else "doubt", text


def _significance(run: Run, extras: Extras) -> Answer:
    low, high = run.sharpe_interval
    returns, rebalances = len(run.equity.days) - 1, run.figure("rebalances")
    short = returns < SHORT_SESSIONS or (rebalances is not None and rebalances < FEW_REBALANCES)
    text = f"95% interval of the Sharpe ratio: {number(low)} to {number(high)}, of {count(returns)} daily returns."
    if short:
        text += f" Too short for a conclusion: {pluralize(rebalances, 'rebalance')}."
    return "good" if low > 0 and not short else "bad" if high < 0 else "doubt", text


def _multiple_testing(run: Run, extras: Extras) -> Answer | None:
    if extras.trials is None or extras.trials < 2:
        return None
    text = f"Chosen among {count(extras.trials)} configurations; "
    if extras.deflated_sharpe is None:
        return "unknown", f"{text}the Sharpe ratio is not corrected for that."
    best = "" if extras.expected_best_sharpe is None else f" ({number(extras.expected_best_sharpe)})"
    text += (
        f"its true Sharpe ratio exceeds the best of {count(extras.trials)} runs without skill{best} with probability "
        f"{percent(extras.deflated_sharpe, 0)} (deflated Sharpe ratio)."
    )
    if extras.overfitting is not None:
        text += (
            " The best configuration in one half of the sessions is below the median in the other half with "
            f"probability {percent(extras.overfitting, 0)} (50% is chance)."
        )
    return "good" if extras.deflated_sharpe >= 1 - LEVEL else "doubt", text


def _delay(run: Run, extras: Extras) -> Answer:
    lag, later = run.config.get("lag"), extras.later
    when = f"{pluralize(lag, 'session')} after the signal" if isinstance(lag, int) and lag else "at the signal's close"
    if later is None:
        return "unknown", f"Unknown: filled {when}, and not one session later; use --compare."
    net, capital = run.final_capital, run.capital
    robust = later >= net or (net > capital and later - capital >= 0.5 * (net - capital))
    text = f"Filled {when}, the run ends at {money(net)}; one session later, at {money(later)}."
    return "good" if robust else "doubt", text


def _start_day(run: Run, extras: Extras) -> Answer:
    ends = list(extras.phases.values())
    if run.horizon == 1:
        return "good", "The run trades every session."
    if run.config.get("tranches"):
        return "good", "The capital is spread over all start days."
    if len(ends) < 2:
        return "unknown", "Unknown: not run from different start days; use --compare."
    reference, name = run.capital, "the initial capital"
    if extras.no_filter is not None:
        reference, name = extras.no_filter, f"the run without a filter, {money(extras.no_filter)}"
    better = sum(end > run.final_capital for end in ends)
    text = (
        f"From {count(len(ends))} start days, the run ends between {money(min(ends))} and {money(max(ends))}; this one "
        f"is the {f'{ordinal(1 + better)} best' if better else 'best'}. "
        f"{'All' if min(ends) > reference else 'Not all'} end above {name}."
    )
    return "good" if min(ends) > reference else "doubt", text


def _delistings(run: Run, extras: Extras) -> Answer:
    policies = {name: value for name, value in run.section("final_capital_by_delisting").items() if value}
    delistings = run.figure("delistings")
    if delistings is None or (delistings and not policies):
        return "unknown", "Unknown: the run did not count delistings."
    if not delistings:
        return "good", "No position was held when its ticker stopped trading."
    capitals = ", ".join(f"{money(value)} ({name})" for name, value in policies.items())
    text = (
        f"{pluralize(delistings, 'position')} {'was' if delistings == 1 else 'were'} held when trading stopped. "
        f"Final capital by policy: {capitals}."
    )
    return "good" if min(policies.values()) >= 0.99 * run.final_capital else "doubt", text


def _plausibility(run: Run, extras: Extras) -> Answer:
    found = implausible(run, extras)
    if not found:
        return "good", "No figure is beyond what honest daily strategies reach."
    return "bad", " ".join(f"{one.sentence[0].upper()}{one.sentence[1:]}." for one in found)


def _lookahead(run: Run, extras: Extras) -> Answer:
    if run.lookahead_reason is not None:
        return "bad", f"This run may know its future: {run.lookahead_reason}."
    if not run.has_filter:
        return "good", "The result states that no day used later data."
    return "good", "Each ranking was used only after its last return had ended and an embargo had passed."


def _training(run: Run, extras: Extras) -> Answer:
    first, end = str(run.equity.days[0]), run.train_end
    if end is None:
        return "unknown", "Training period unknown: the model may have been trained on these sessions."
    return "good" if end < first else "bad", f"Trained up to {end}; the run starts on {first}."


def _coverage(run: Run, extras: Extras) -> Answer:
    share, candidates = run.figure("missing_share"), len(run.candidates.days)
    if share is None:
        return "unknown", "Unknown: the run did not count missing entries."
    text = f"All {count(candidates)} candidates had an entry."
    if share:
        lost = f"{count(share * candidates)} of {count(candidates)} candidates ({percent(share, 2)})"
        text = f"{lost} had no entry and could not be picked."
    doubts = ""
    if run.figure("unchecked"):
        doubts += f" The input of {pluralize(run.figure('unchecked'), 'cached vector')} is not recorded."
    if run.result.get("verified") is False:
        doubts += " The cache was imported on trust: the model that computed it is not known."
    suspicious, counted, unknown = _suspicious(run), _counted(run), _not_located(run)
    state: State = "doubt" if doubts or suspicious or share > 0.01 else "unknown" if unknown else "good"
    return state, text + doubts + suspicious + counted + unknown


_SUSPICIOUS = {
    "largest_moves": "large move",
    "unchanged_runs": "long unchanged run",
    "gaps": "gap",
    "zero_volume": "zero-volume bar",
    "weekend_rows": "weekend bar",
    "out_of_bounds": "out-of-bounds bar",
}
"""Finding of `encash prepare` → noun for one case."""


def _suspicious(run: Run) -> str:
    """Describe the suspicious data that this run can have touched."""
    health = run.section("health")
    found = [_cases(own, name) for name, own in health_of_run(run).items() if own is not None and own["count"]]
    text = f" Suspicious prices were kept: {', '.join(found)}." if found else ""
    if health.get("all_alive_at_the_end"):
        text += f" Hardly any of the {count(health['tickers'])} tickers ends early: a list of survivors flatters a run."
    return text


def _counted(run: Run) -> str:
    """Say in which tickers and days suspicious data counted, and what does not count; empty if there is none at all."""
    health = run.section("health")
    rest = [
        pluralize(health[name]["count"] - own["count"], _SUSPICIOUS[name])
        for name, own in health_of_run(run).items()
        if own is not None and health[name]["count"] > own["count"]
    ]
    outside = f" Elsewhere in the prices file: {', '.join(rest)}." if rest else ""
    if "run" not in health or not health_of_run(run):
        return outside
    span = health["run"]
    return (
        f" Suspicious prices were looked for in the {pluralize(span['tickers'], 'ticker')} of the run, from "
        f"{span['first']}, a few sessions before its first window, to {span['last']}.{outside}"
    )


def _not_located(run: Run) -> str:
    """Name the suspicious data of which the days are not recorded."""
    health = run.section("health")
    found = [_cases(health[name], name) for name, own in health_of_run(run).items() if own is None]
    return f" Not recorded is if these are in this run: {', '.join(found)} of the prices file." if found else ""


def _cases(found: Mapping[str, Any], name: str) -> str:
    worst = found["worst"]
    example = f" (such as {worst[0]['ticker']} on {worst[0]['day']})" if worst else ""
    return f"{pluralize(found['count'], _SUSPICIOUS[name])}{example}"


CRITERIA: dict[str, Check] = {
    "Better than chance": Check(
        answer=_chance,
        good="Better than random filters",
        doubt="No better than random filters",
        bad="Worse than random filters",
        unknown="Not compared with random filters",
        estimated=True,
        charts=("This run among random draws", "Random-filter test", "Equity and drawdown"),
    ),
    "Forecasts better than chance": Check(
        answer=_forecasts,
        good="Forecasts better than random rankings",
        doubt="Forecasts no better than random rankings",
        bad="Forecasts worse than random rankings",
        unknown="Forecasts not compared with random rankings",
        estimated=True,
        charts=("This run among random draws", "Random-ranking test", "Equity and drawdown"),
    ),
    "Alpha, not beta": Check(
        answer=_beta,
        good="Positive alpha",
        doubt="Alpha not distinguishable from zero",
        bad="Negative alpha",
        unknown="Alpha not defined",
        estimated=True,
        charts=("Beta to the benchmark", "Equity and drawdown"),
        test=(),
    ),
    "Beyond bets on groups": Check(
        answer=_groups,
        good="Earns beyond bets on groups",
        doubt="No more than bets on groups",
        estimated=True,
        charts=("Profit by group", "Profit by ticker"),
    ),
    "Better than no filter": Check(
        answer=_no_filter,
        good="Better than no filter",
        doubt="Not clearly different from no filter",
        estimated=True,
        bad="Worse than no filter",
        unknown="Not compared with no filter",
        charts=("From equal weights to the net return", "Equity and drawdown"),
    ),
    "Better than the benchmark": Check(
        answer=_benchmark,
        good="Better than all candidates",
        doubt="Not clearly different from all candidates",
        estimated=True,
        bad="Worse than all candidates",
        unknown="No benchmark",
        charts=("Years against the benchmark", "Equity and drawdown"),
        test=(),
    ),
    "Significantly positive return": Check(
        answer=_significance,
        good="Sharpe ratio above zero",
        doubt="Sharpe ratio not distinguishable from zero",
        bad="Sharpe ratio below zero",
        estimated=True,
        charts=("Rolling Sharpe ratio and volatility", "Equity and drawdown"),
        test=(),
    ),
    "Corrected for multiple testing": Check(
        answer=_multiple_testing,
        good="Significant among all trials",
        doubt="Not significant among all trials",
        unknown="Not corrected for the number of trials",
        estimated=True,
        charts=("This run among its seeds", "Rolling Sharpe ratio and volatility", "Equity and drawdown"),
        test=("sweep",),
    ),
    "Robust to a one-session delay": Check(
        answer=_delay,
        good="Robust to a one-session delay",
        doubt="Loses its gain with a one-session delay",
        unknown="One-session delay not tested",
        charts=("From equal weights to the net return", "Equity and drawdown"),
    ),
    "Sensitivity to the start day": Check(
        answer=_start_day,
        good="Holds from every start day",
        doubt="Depends on the start day",
        unknown="Other start days not tested",
        charts=("Sensitivity to the start day", "Exposure and holdings", "Equity and drawdown"),
    ),
    "Sensitivity to delistings": Check(
        answer=_delistings,
        good="Does not depend on the delisting policy",
        doubt="Depends on the delisting policy",
        unknown="Delistings not counted",
        charts=("Comparisons", "Configuration and provenance"),
        test=(),
    ),
    "Plausible figures": Check(
        answer=_plausibility,
        good="Plausible figures",
        bad="Too good to be true",
        charts=("Rank IC by horizon", "Daily returns", "Equity and drawdown"),
        test=("audit",),
    ),
    "Look-ahead": Check(
        answer=_lookahead,
        good="No look-ahead",
        bad="May have used future data",
        charts=("Trust",),
        test=("audit",),
    ),
    "Training period of the encoder": Check(
        answer=_training,
        good="Encoder trained before the first session",
        bad="Encoder trained on these sessions",
        unknown="Training period of the encoder unknown",
        charts=("Trust",),
        test=("audit",),
    ),
    "Data coverage": Check(
        answer=_coverage,
        good="Complete data",
        doubt="Incomplete or suspicious data",
        unknown="Data not fully checked",
        charts=("Hits and misses by day", "Coverage of the candidates", "Trust"),
        test=("cache", "coverage"),
    ),
}
"""Name → criterion, in the order of the page."""
