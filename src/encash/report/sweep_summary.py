"""The first sentence of the page of a sweep, about its best run, and its key figures."""

from __future__ import annotations

from typing import NamedTuple

from encash.backtest.evaluation.random_filter_test import LEVEL
from encash.report.formatting import count, number, percent, pluralize
from encash.report.sweep_files import Sweep
from encash.report.tables import FIGURES, Tile, cell_text


class Headline(NamedTuple):
    """The first sentences of the page of a sweep."""

    statement: str
    finding: str
    tone: str
    details: str


def headline(sweep: Sweep) -> Headline:
    """State the deflated Sharpe ratio of the best run first."""
    best = sweep.result.get("best") or {}
    deflated, expected = sweep.number("deflated_sharpe"), sweep.number("expected_best_sharpe")
    trials = sweep.number("distinct_trials") or sweep.number("trials") or float(len(sweep))
    if not isinstance(best, dict) or best.get("sharpe") is None:
        return Headline("No run of this sweep has a Sharpe ratio", "nothing to choose from", "unknown", "")
    statement = f"The best of {pluralize(trials, 'distinct run')} has a Sharpe ratio of {number(best['sharpe'])}"
    if deflated is None:
        note = sweep.result.get("note") or "the sweep was not judged"
        return Headline(statement, "not corrected for the number of runs", "unknown", f"Not judged: {note}.")
    clear = deflated >= 1 - LEVEL
    details = (
        f"Deflated Sharpe ratio {percent(deflated)}: the probability that its true Sharpe ratio exceeds "
        f"{number(expected)}, which the best of {count(trials)} runs without skill is expected to have. "
        f"{percent(1 - LEVEL, 0)} would be significant."
    )
    return Headline(
        statement,
        "more than the best of as many runs without skill" if clear else "not distinguishable from luck",
        "good" if clear else "neutral",
        details,
    )


def sweep_tiles(sweep: Sweep) -> list[Tile]:
    """List the key figures of a sweep, the deflated Sharpe ratio first."""
    distinct = len(sweep.distinct)
    return [
        Tile("Deflated Sharpe ratio", percent(sweep.number("deflated_sharpe")), "of the best run"),
        Tile("Expected best", number(sweep.number("expected_best_sharpe")), "Sharpe ratio of runs without skill"),
        Tile(
            "Overfitting",
            percent(sweep.number("probability_of_overfitting"), 0),
            "best of one half below the other's median; chance: 50%",
        ),
        Tile("Runs", count(len(sweep)), f"{count(distinct)} distinct"),
        Tile("Tried", count(sweep.number("trials")), "ever, in this folder"),
    ]


def best_run(sweep: Sweep) -> list[tuple[str, str]]:
    """List the varied settings and the figures of the best run."""
    best = sweep.result.get("best")
    if not isinstance(best, dict):
        return []
    settings = [(name, cell_text(best.get(name))) for name in sweep.varied]
    figures = [(term, form(_number(best[key]))) for term, (key, form) in FIGURES.items() if key in best]
    return [*settings, *figures]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
