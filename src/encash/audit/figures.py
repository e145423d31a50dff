"""Figures of the audited backtest that are too good to be true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from encash.audit.subject import Check, Subject
from encash.backtest import BacktestInputs, measure_forecast_skill, run_backtest
from encash.backtest.evaluation.groups import text_of
from encash.backtest.evaluation.plausibility import implausible_figures
from encash.cache import Lookup
from encash.errors import InputError, MismatchError
from encash.progress import Progress

NAME = "figures: too good to be true"


def figure_check(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Run the backtest of the cached forecasts, and refuse a rank IC, Sharpe ratio or hit rate beyond the plausible."""
    if subject.cache is None and subject.forecasts is None:
        yield Check.not_applicable(NAME, "no cache of forecasts was given")
        return
    try:
        yield _judge(subject, Lookup(cache=subject.cache, panel=subject.panel, forecasts=subject.forecasts))
    except (InputError, MismatchError) as error:
        yield Check.not_tried(NAME, f"no backtest of the cached forecasts: {error}")


def _judge(subject: Subject, lookup: Lookup) -> Check:
    config = replace(subject.config, start=subject.first_day, max_missing=1.0)
    if lookup.horizons and config.signal_horizon not in lookup.horizons:
        return Check.not_applicable(NAME, f"the cache has no forecasts of {config.signal_horizon} sessions")
    candidates = subject.candidates(subject.panel)
    inputs = BacktestInputs(
        prices=subject.prices, lookup=lookup, filter=subject.filter, candidates=candidates, groups=subject.groups
    )
    run = run_backtest(config, inputs)
    outcome = run.outcome
    skill = measure_forecast_skill(
        outcome.setup.sessions, outcome.signals, config.signal_horizon, outcome.setup.candidates
    )
    found = implausible_figures(
        sharpe=run.summary["sharpe"],
        years=(len(run.days) - 1) / outcome.sessions_per_year,
        rank_ic=skill.rank_ic,
        rank_ic_t=skill.rank_ic_t,
        horizon=config.signal_horizon,
        hit_rate=run.summary["win_rate"],
        holdings=len(outcome.simulation.holdings.entry),
    )
    figures = (
        f"rank IC {text_of(skill.rank_ic, '.3f')}, Sharpe ratio {text_of(run.summary['sharpe'], '.2f')}, "
        f"winning holdings {text_of(run.summary['win_rate'], '.1%')} in {len(run.days):,} sessions"
    )
    return Check.judged(NAME, not found, "; ".join([figures, *(one.sentence for one in found)]))
