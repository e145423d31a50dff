"""The tables of the page as rows of text: key figures, counts, comparisons, forecast skill and provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from encash.backtest.run_record import RECORD
from encash.metrics import PATH_METRICS, PathMetric
from encash.report import formatting
from encash.report.alignment import Aligned
from encash.report.formatting import (
    ABSENT,
    count,
    money,
    multiple,
    number,
    percent,
    pluralize,
    seconds,
    signed_percent,
    undefined,
)
from encash.report.glossary import GLOSSARY
from encash.report.run_extras import Extras, Spread
from encash.report.summary import Run, health_of_run

Format = Callable[[float | None], str]

FIGURES: dict[str, tuple[str, Format]] = {
    "Final capital": ("final_capital", money),
    **{one.term: (key, getattr(formatting, one.format)) for key, one in PATH_METRICS.items() if one.term},
    "Turnover": ("turnover", multiple),
    "Win rate": ("win_rate", percent),
    "Trades": ("trades", count),
    "Keep-rate": ("keep_rate", percent),
}
"""Term → key of the result and its format, in the order of the page."""
_BOOK_FIGURES: dict[str, tuple[str, Format]] = {
    "Long exposure": ("long_exposure", percent),
    "Short exposure": ("short_exposure", percent),
    "Borrow fees": ("borrow_fees", money),
    "Margin calls": ("margin_calls", count),
    "Limited by volume": ("limited_by_volume", count),
}
"""Those that only a run with shorts or limits of volume has."""


class Tile(NamedTuple):
    """A key figure."""

    term: str
    value: str
    note: str = ""


def tiles(run: Run) -> list[Tile]:
    """List the key figures of a run, without those that its version of encash did not record."""
    notes = {
        **{one.term: _benchmark_note(run, one) for one in PATH_METRICS.values() if one.term},
        "Final capital": f"{signed_percent(run.figure('total_return'))} from {money(run.capital)}",
        "Sharpe ratio": "95%: {} to {}".format(*map(number, run.sharpe_interval)),
        "Alpha": f"a year, t = {number(run.figure('alpha_t'), 1)}",
        "Beta": "to the benchmark",
        "Turnover": "a year",
        "Win rate": "of holdings, after costs",
        "Trades": _trades_note(run),
        "Keep-rate": _filter_note(run),
    }
    return [
        *(
            Tile(term, form(run.figure(key)), notes.get(term, ""))
            for term, (key, form) in (FIGURES | _BOOK_FIGURES).items()
            if key in run.result
        ),
        Tile("Hits / misses", f"{count(run.figure('hits'))} / {count(run.figure('misses'))}", _hits_note(run)),
        Tile("Time", seconds(run.figure("seconds")), _stage_note(run)),
    ]


def entry_counts(run: Run) -> list[tuple[str, str, str]]:
    """List the sources of the entries: (count, source, definition)."""
    names = {"hits": "from the cache", "computed": "computed", "stale": "stale", "unavailable": "unavailable"}
    if run.figure("unserved"):
        names["unserved"] = "missed, with no model to encode them"
    return [
        (
            "not compared:" if run.figure(key) is None else count(run.figure(key)),
            name,
            GLOSSARY.get(name.capitalize(), ""),
        )
        for key, name in names.items()
    ]


def run_row(run: Run) -> list[str]:
    """List the sessions and figures of a run for a table of several runs, in the order of `FIGURES`."""
    sessions = f"{str(run.equity.days[0])[:7]} to {str(run.equity.days[-1])[:7]}"
    return [sessions, *(form(run.figure(key)) for key, form in FIGURES.values())]


def performance_row(one: Aligned) -> list[str]:
    """List growth, return, Sharpe ratio and drawdown on the sessions that several runs share."""
    figures = one.performance
    growth = number(float(one.path[-1]))
    return [growth, signed_percent(figures.cagr), number(figures.sharpe), percent(figures.max_drawdown)]


def run_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return distinct names of runs: those of their folders, or full paths if two folders have the same name."""
    short = tuple(run.name for run in runs)
    return short if len(set(short)) == len(short) else tuple(str(run.folder) for run in runs)


def differences(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """Map each setting or input in which runs differ to its value in every run."""
    settings = [{**run.config, **run.fingerprints, "filter": run.result.get("filter")} for run in runs]
    rows = {
        name: tuple(cell_text(values.get(name)) for values in settings)
        for name in sorted({name for values in settings for name in values})
    }
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def comparison_rows(run: Run, extras: Extras) -> list[tuple[str, ...]]:
    """List the run and its variants: (name, meaning, runs, final capital, Sharpe ratio, max drawdown)."""
    if not extras.alternatives:
        return []
    figures = [FIGURES[term] for term in ("Final capital", "Sharpe ratio", "Max drawdown")]
    rows = [("this run", "", "1", *(form(run.figure(key)) for key, form in figures))]
    for variant in extras.alternatives:
        spreads = (_spread_text(getattr(variant, key), form) for key, form in figures)
        rows.append((variant.name, variant.meaning, count(variant.runs), *spreads))
    return rows


def skill_rows(extras: Extras) -> list[tuple[str, ...]]:
    """List forecast skill by horizon: horizon, days, IC, rank IC, its t, rank ICIR, top − bottom quintile, its t."""
    return [
        (
            str(skill.horizon),
            count(skill.days),
            number(skill.ic, 3),
            number(skill.rank_ic, 3),
            number(skill.rank_ic_t, 1),
            number(skill.rank_icir),
            signed_percent(skill.quantile_returns[-1] - skill.quantile_returns[0], 2)
            if skill.quantile_returns
            else ABSENT,
            number(skill.spread_t, 1),
        )
        for skill in extras.skill
    ]


def source_rows(run: Run) -> list[tuple[str, ...]]:
    """List forecasts beside each other, those that were used first: name, days, IC, its t, rank IC, its t."""
    rows = run.result.get("forecast_ic")
    if not isinstance(rows, list):
        return []
    return [
        (
            str(row.get("name")),
            count(row.get("days")),
            *(
                number(row.get(key), digits)
                for key, digits in (("ic", 3), ("ic_t", 1), ("rank_ic", 3), ("rank_ic_t", 1))
            ),
        )
        for row in rows
        if isinstance(row, dict)
    ]


def provenance(run: Run) -> dict[str, list[tuple[str, str]]]:
    """List settings, fingerprints, library versions and all other values of the result."""
    by_policy = run.section("final_capital_by_delisting")
    hidden = ("stages", "final_capital_by_delisting", "health", "forecast_ic")
    shown = {"configuration", "fingerprints", "versions", *hidden}
    sections: dict[str, Mapping[str, Any]] = {
        "Configuration": run.config,
        "Final capital by delisting policy": by_policy,
        "Fingerprints": run.fingerprints,
        "Library versions": run.section("versions"),
        "Files": {"state": "as the backtest wrote them" if run.checked else f"not checked: the folder has no {RECORD}"},
        "All values of result.json": {key: value for key, value in run.result.items() if key not in shown},
    }
    return {
        title: [(str(key), cell_text(value)) for key, value in values.items()] for title, values in sections.items()
    }


def health(run: Run) -> list[tuple[str, str]]:
    """List what `encash prepare` found in the whole prices file, if the run records it."""
    found, concerned = [], health_of_run(run)
    for name, value in run.section("health").items():
        if name in ("suspicious", "run") or value is False:
            continue  # the names of the findings below, what of them concerns the run, or an alarm that was not raised
        if isinstance(value, Mapping) and "count" in value:
            worst = ", ".join(f"{one.get('ticker', '')} {one.get('day', '')}".strip() for one in value.get("worst", ()))
            own = concerned.get(name)
            here = f"; in this run {count(own['count'])}" if own is not None and value["count"] else ""
            found.append(
                (name.replace("_", " "), f"{count(value['count'])}{f' (such as {worst})' if worst else ''}{here}")
            )
        else:
            whole = isinstance(value, int) and not isinstance(value, bool)
            found.append((name.replace("_", " "), count(value) if whole else cell_text(value)))
    return found


def cell_text(value: Any) -> str:
    """Format a JSON value for a cell of a table."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}".replace("-", "−") if abs(value) < 1e6 else number(value, 0)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _spread_text(spread: Spread, form: Format) -> str:
    """Format mean ± deviation."""
    return form(spread.mean) + ("" if undefined(spread.deviation) else f" ± {form(spread.deviation)}")


def _benchmark_note(run: Run, metric: PathMetric) -> str:
    form, benchmark = FIGURES[metric.term][1], run.equity.benchmark
    found = metric.measure(benchmark, benchmark, run.sessions_per_year) if run.has_benchmark else None
    return f"benchmark {form(found).removeprefix('+')}"


def _trades_note(run: Run) -> str:
    rebalances, idle = run.figure("rebalances"), run.figure("idle_rebalances")
    if undefined(rebalances):
        return ""
    return pluralize(rebalances, "rebalance") + (f", {count(idle)} idle" if idle else "")


def _filter_note(run: Run) -> str:
    kind = run.result.get("filter")
    return "no filter" if kind == "none" else f"filter: {kind}" if isinstance(kind, str) else ""


def _hits_note(run: Run) -> str:
    hits, misses = run.figure("hits"), run.figure("misses")
    if hits is None or misses is None or not hits + misses:
        return ""
    loaded = run.result.get("model_loaded")
    model = ", no model loaded" if loaded is False else ", model loaded" if loaded is True else ""
    return f"{percent(hits / (hits + misses))} hits{model}"


def _stage_note(run: Run) -> str:
    if not any(run.stages.values()):
        return ""
    longest = max(run.stages, key=run.stages.__getitem__)
    return f"mostly {longest}: {seconds(run.stages[longest])}"
