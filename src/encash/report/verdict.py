"""Whether a run is worth anything, in plain words, by stated rules. Knows figures; nothing of files or pages.

The page shows `RULES` beside the verdict: who changes a rule here changes what is told there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from encash.backtest.evaluation import random_filter_test as chance
from encash.backtest.evaluation.random_filter_test import RandomFilterRank
from encash.report.extras import Extras
from encash.report.summary import Run, mapping
from encash.report.wording import ahead, count, money, number, ordinal, percent, several, signed_percent

SHORT_SESSIONS = 252
FEW_REBALANCES = 30

RULES = (
    "The verdict compares final capitals after costs, on the same days, with the same costs and settings.",
    *chance.RULES,
    "Sharpe interval: 95 %, circular block bootstrap of daily net returns, blocks of the horizon and at least "
    "10 sessions, 500 draws, seed 0.",
    f"A run shorter than {SHORT_SESSIONS} sessions or with fewer than {FEW_REBALANCES} rebalances is called too short.",
    "One test on one period: p says how rare such a rank is among random filters in this run. It says nothing about "
    "the next year, and is too good if this run was chosen among many.",
)

State = Literal["good", "doubt", "bad", "unknown"]
Tone = Literal["good", "neutral", "bad", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question, how it stands, and why."""

    question: str
    state: State
    answer: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the page says first."""

    statement: str
    """What happened, with numbers."""
    finding: str
    """What that means."""
    tone: Tone
    warning: str | None
    """Why the run may know its future; None if it does not."""

    @property
    def headline(self) -> str:
        """Both as one sentence."""
        return f"{self.statement}: {self.finding}." if self.finding else f"{self.statement}."


def judge(run: Run, extras: Extras) -> Verdict:
    """The verdict of a run."""
    warning = lookahead(run)
    statement, finding, tone = _compare(run, extras, rank_of(run, extras))
    if warning is not None:
        finding, tone = chance.FORESEEN, "bad"
    return Verdict(statement=statement, finding=finding, tone=tone, warning=warning)


def examine(run: Run, extras: Extras) -> tuple[Check, ...]:
    """What speaks for a run, what against it and what is not known."""
    checks = (check(run, extras) for check in _CHECKS)
    return tuple(check for check in checks if check is not None)


def lookahead(run: Run) -> str | None:
    """Why the run may know its future; None only where the result says that it does not."""
    value = run.result.get("lookahead", "the result does not say whether the run knew its future")
    if value is False:
        return None
    return str(value) if isinstance(value, str) and value.strip() else "no reason was written down"


def rank_of(run: Run, extras: Extras) -> RandomFilterRank | None:
    """Where a run stands among its random filters; None without any."""
    if not len(extras.random_filters):
        return None
    return chance.rank_among(
        extras.random_filters,
        float(run.equity.net[-1]),
        excess_interval=extras.excess_interval,
        no_filter=extras.no_filter,
    )


def filters(run: Run) -> bool:
    """Whether the run had a filter."""
    kind, rate = run.result.get("filter"), run.figure("keep_rate")
    return kind != "none" if isinstance(kind, str) else rate is None or rate < 1.0


def train_end(run: Run) -> str | None:
    """Last day that the encoder was trained on, YYYY-MM-DD; None where nobody knows."""
    day = run.result.get("training_period")
    return day if isinstance(day, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", day) else None


def _compare(run: Run, extras: Extras, rank: RandomFilterRank | None) -> tuple[str, str, Tone]:
    """Statement, finding and tone of a run, its look-ahead aside."""
    if not filters(run):
        return f"After costs the strategy, without a filter, ended {_against_benchmark(run)}", "", "neutral"
    lead = None
    if extras.no_filter is not None:
        lead = f"ended {ahead(run.equity.net[-1], extras.no_filter)} the same strategy without a filter"
    if rank is None:
        statement = f"After costs the filter {lead or f'ended {_against_benchmark(run)}'}"
        return statement, f"whether that is more than chance is not known, as {_NO_DRAWS}", "unknown"
    place = f"{_percentile(rank)} percentile of {count(rank.draws)} random filters with its keep-rate"
    statement = (
        f"After costs the filter {lead} and lies in the {place}"
        if lead
        else f"After costs the filter ended in the {place}"
    )
    return statement, rank.finding, _tone(rank)


_NO_DRAWS = "it was not compared with random filters"
_HOW = "--compare tries it"


def _tone(rank: RandomFilterRank) -> Tone:
    tones: dict[str, Tone] = {"better than chance": "good", "worse than chance": "bad"}
    return tones.get(rank.finding, "neutral" if rank.judged else "unknown")


def _percentile(rank: RandomFilterRank) -> str:
    """A percentile as an ordinal that never claims the 0th or the 100th."""
    return ordinal(min(99, max(1, round(rank.percentile))))


def _against_benchmark(run: Run) -> str:
    if not run.has_benchmark:
        return f"with {money(run.equity.net[-1])} from {money(run.capital)}; there is no benchmark to hold it against"
    return f"{ahead(run.equity.net[-1], run.equity.benchmark[-1])} the candidates in equal weights"


def _check_lookahead(run: Run, extras: Extras) -> Check:
    reason = lookahead(run)
    if reason is None:
        answer = "No: each ranking was used only after its last return and an embargo had passed."
        if not filters(run):
            answer = "No: the result says that nothing after a day was used on it."
        return Check(question="Does it know its future?", state="good", answer=answer)
    return Check(question="Does it know its future?", state="bad", answer=f"It may: {reason}.")


def _check_training(run: Run, extras: Extras) -> Check:
    question, end = "Was the encoder trained before?", train_end(run)
    first = str(run.equity.days[0])
    if end is None:
        answer = "Training period unknown: the model may have seen these sessions."
        return Check(question=question, state="unknown", answer=answer)
    if end < first:
        return Check(question=question, state="good", answer=f"Yes: trained up to {end}, the run begins on {first}.")
    answer = f"No: trained up to {end}, and the run begins on {first}."
    return Check(question=question, state="bad", answer=answer)


def _check_chance(run: Run, extras: Extras) -> Check | None:
    if not filters(run):
        return None
    question, rank = "Better than chance?", rank_of(run, extras)
    if rank is None:
        return Check(question=question, state="unknown", answer=f"Not known: {_NO_DRAWS}; {_HOW}.")
    states: dict[str, State] = {"better than chance": "good", "worse than chance": "bad"}
    state = states.get(rank.against_chance, "doubt" if rank.judged else "unknown")
    median = float(np.median(np.asarray(extras.random_filters)))
    answer = (
        f"{count(rank.draws)} random filters with the same keep-rate ended at {money(median)} in the middle; "
        f"{percent(rank.percentile / 100.0, 0)} of them ended below this run (p = {number(rank.p_better, 3)})."
    )
    if rank.excess_interval is not None:
        low, high = map(signed_percent, rank.excess_interval)
        answer += f" Excess over them, a year: {low} to {high} (95 % interval)."
    return Check(question=question, state=state, answer=answer)


def _check_no_filter(run: Run, extras: Extras) -> Check | None:
    if not filters(run):
        return None
    question = "Better than no filter?"
    if extras.no_filter is None:
        return Check(
            question=question, state="unknown", answer=f"Not known: it was not run without the filter; {_HOW}."
        )
    better = run.equity.net[-1] > extras.no_filter
    lead = ahead(run.equity.net[-1], extras.no_filter)
    answer = f"{_sentence(lead)} the same strategy without a filter, which ended at {money(extras.no_filter)}."
    return Check(question=question, state="good" if better else "bad", answer=answer)


def _check_benchmark(run: Run, extras: Extras) -> Check:
    question = "Better than holding everything?"
    if not run.has_benchmark:
        return Check(question=question, state="unknown", answer="Not known: the run has no benchmark.")
    better = run.equity.net[-1] > run.equity.benchmark[-1]
    lead = _sentence(ahead(run.equity.net[-1], run.equity.benchmark[-1]))
    answer = f"{lead} the candidates in equal weights, which ended at {money(run.equity.benchmark[-1])} without costs."
    return Check(question=question, state="good" if better else "bad", answer=answer)


def _check_later(run: Run, extras: Extras) -> Check:
    question, later = "Does it need this very close?", extras.later
    lag = run.config.get("lag")
    when = (
        f"{several(lag, 'session')} after the signal" if isinstance(lag, int) and lag else "at the close of the signal"
    )
    if later is None:
        return Check(
            question=question, state="unknown", answer=f"Filled {when}; one session later was not tried; {_HOW}."
        )
    net, capital = run.equity.net[-1], run.capital
    kept = later >= net or (net > capital and later - capital >= 0.5 * (net - capital))
    answer = f"Filled {when} it ends at {money(net)}, one session later at {money(later)}."
    return Check(question=question, state="good" if kept else "doubt", answer=answer)


def _check_phases(run: Run, extras: Extras) -> Check:
    question, ends = "Luck of the first day?", list(extras.phases.values())
    if run.config.get("tranches") or run.horizon == 1:
        answer = (
            "None: capital is spread over all first days." if run.horizon != 1 else "None: it trades every session."
        )
        return Check(question=question, state="good", answer=answer)
    if len(ends) < 2:
        return Check(question=question, state="unknown", answer=f"Other first days were not tried; {_HOW}.")
    yardstick, name = (run.capital, "what it began with")
    if extras.no_filter is not None:
        yardstick, name = extras.no_filter, f"the run without a filter, {money(extras.no_filter)}"
    better = sum(end > run.equity.net[-1] for end in ends)
    place = f"the {ordinal(1 + better)} best" if better else "the best"
    answer = (
        f"Begun on {count(len(ends))} different sessions it ends between {money(min(ends))} and {money(max(ends))}; "
        f"this one is {place}. {'All' if min(ends) > yardstick else 'Not all'} end above {name}."
    )
    return Check(question=question, state="good" if min(ends) > yardstick else "doubt", answer=answer)


def _check_delisting(run: Run, extras: Extras) -> Check | None:
    policies = {name: value for name, value in mapping(run.result.get("final_capital_by_delisting")).items() if value}
    delistings, question = run.figure("delistings"), "Flattering exits?"
    if delistings is None or (delistings and not policies):
        return Check(question=question, state="unknown", answer="Stops of trading were not counted in this run.")
    if not delistings:
        return Check(question=question, state="good", answer="No position was held when its ticker stopped trading.")
    spread = ", ".join(f"{money(value)} ({name})" for name, value in policies.items())
    small = min(policies.values()) >= 0.99 * run.equity.net[-1]
    held = f"{several(delistings, 'position')} {'was' if delistings == 1 else 'were'} held when trading stopped."
    answer = f"{held} By policy it ends at {spread}."
    return Check(question=question, state="good" if small else "doubt", answer=answer)


def _check_strength(run: Run, extras: Extras) -> Check:
    low, high = run.sharpe_interval
    sessions = len(run.equity.days) - 1
    rebalances = run.figure("rebalances")
    short = sessions < SHORT_SESSIONS or (rebalances is not None and rebalances < FEW_REBALANCES)
    answer = f"95 % interval of the Sharpe ratio: {number(low)} to {number(high)}, over {count(sessions)} sessions."
    if short:
        answer += f" Too short to tell: {several(rebalances, 'rebalance')}."
    state: State = "good" if low > 0 and not short else "bad" if high < 0 else "doubt"
    return Check(question="Return clearly above 0?", state=state, answer=answer)


def _check_trials(run: Run, extras: Extras) -> Check | None:
    if extras.trials is None or extras.trials < 2:
        return None
    question = "Chosen among many?"
    if extras.deflated_sharpe is None:
        answer = f"{count(extras.trials)} configurations were tried; the Sharpe ratio is not corrected for that."
        return Check(question=question, state="doubt", answer=answer)
    above = "" if extras.expected_best_sharpe is None else f", {number(extras.expected_best_sharpe)},"
    answer = (
        f"{count(extras.trials)} configurations were tried; its true Sharpe ratio is above what the best of so many "
        f"worthless runs would show{above} with probability {percent(extras.deflated_sharpe, 0)} (deflated Sharpe "
        "ratio)."
    )
    if extras.overfitting is not None:
        answer += (
            " The best of one half of the sessions is below the median in the other with probability "
            f"{percent(extras.overfitting, 0)} (50 % is chance)."
        )
    return Check(
        question=question, state="good" if extras.deflated_sharpe >= 1 - chance.LEVEL else "doubt", answer=answer
    )


def _check_data(run: Run, extras: Extras) -> Check:
    question = "Holes in the data?"
    share, candidates = run.figure("missing_share"), len(run.picks.days)
    if share is None:
        return Check(question=question, state="unknown", answer="Not known: the run did not count what it lacked.")
    answer = f"None: all {count(candidates)} candidates had an entry."
    if share:
        lost = f"{count(share * candidates)} of {count(candidates)} candidates ({percent(share, 2)})"
        answer = f"{lost} had no entry and could not be picked."
    doubts = _provenance(run)
    state: State = "doubt" if share > 0.01 or doubts else "good"
    return Check(question=question, state=state, answer=" ".join([answer, *doubts]))


def _provenance(run: Run) -> list[str]:
    """What nobody checked of the entries."""
    doubts = []
    if run.figure("unchecked"):
        doubts.append(f"{count(run.figure('unchecked'))} entries do not say which input they were made from.")
    if run.result.get("verified") is False:
        doubts.append("The cache was imported on trust: which model made it is not known.")
    return doubts


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


_CHECKS: tuple[Callable[[Run, Extras], Check | None], ...] = (
    _check_chance,
    _check_no_filter,
    _check_benchmark,
    _check_strength,
    _check_trials,
    _check_later,
    _check_phases,
    _check_delisting,
    _check_lookahead,
    _check_training,
    _check_data,
)
