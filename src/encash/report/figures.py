"""The words and numbers of a page: tiles, counts, tables, definitions. Knows a run; nothing of HTML."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from encash import metrics
from encash.report.extras import Extras, Spread
from encash.report.summary import Run, mapping
from encash.report.wording import ABSENT, count, money, number, percent, seconds, several, signed_percent, undefined

GLOSSARY = {
    "CAGR": "Compound growth a year: (last / first) ^ (252 / sessions) − 1.",
    "Sharpe ratio": "Mean of the daily net returns over their standard deviation, times √252; risk-free rate 0.",
    "Deflated Sharpe ratio": "Probability that the true Sharpe ratio of a run chosen among many is above what the best "
    "of so many worthless runs would show.",
    "Max drawdown": "The deepest fall of the net equity below its highest value so far.",
    "Turnover": "How often a year the portfolio is exchanged: half of all value traded, over mean equity and years.",
    "Win rate": "Share of holdings that were sold for more than they cost, slippage and proportional fees counted.",
    "Trades": "Orders in the ledger; a buy and its sale are two.",
    "Keep-rate": "Share of the candidates with an entry that the filter left for ranking.",
    "Benchmark": "The candidates' universe in equal weights, rebalanced every session, without costs.",
    "Gross": "The same picks traded for nothing: no fees, no slippage.",
    "Hit": "An entry found in the cache, made from the same input and by the same encoder.",
    "Miss": "An entry that was not in the cache, or stale: it had to be encoded, or there was no full window.",
    "Computed": "Encoded during the run. An encoding that fails ends the run, so a run with a result has no failure.",
    "Stale": "In the cache, but the input of its window has changed since.",
    "Unavailable": "The panel has no full window of finite features that ends on that day.",
    "Random filter": "A filter that keeps, each day, as many candidates as the run's filter did, drawn at random.",
    "Percentile": "Share of the random filters that ended below the run.",
    "Rank IC": "Spearman's correlation, across the tickers of a day, of forecasts and what followed; mean over days.",
    "IC": "Pearson's correlation, across the tickers of a day, of forecasts and what followed; mean over days.",
    "Rank ICIR": "Mean over standard deviation of the daily rank ICs; not annualised.",
    "Horizon": "Sessions ahead: of a forecast, of a holding period.",
    "Phase": "Sessions from the start to the first signal. A rebalance every H sessions has H phases.",
    "Tranches": "H overlapping portfolios with an equal share of the capital each, one begun each session.",
    "Embargo": "Sessions between the last return that a ranking knew and the first signal of the run.",
    "Look-ahead": "Use of anything on a day that was known only later.",
    "Drawdown": "How far the equity lies below its highest value so far.",
}
"""Terms of the page and how each is computed."""

CONVENTIONS = (
    "252 sessions a year; growth is compounded; returns are simple, never logarithmic; the risk-free rate is 0.",
    "The equity is marked to market at each close. Its first value counts as the initial capital, so that what the "
    "first buys cost is part of the first return.",
    "Deviations are those of a sample (ddof 1). What is not defined is shown as –, never as 0.",
    "Monthly and yearly returns are compounded from net equity; the first and the last month may be parts of one.",
    "Amounts are in the currency of the prices.",
)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One key figure."""

    term: str
    value: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A labelled share of a whole."""

    label: str
    value: str
    share: float
    """0 to 1."""


def tiles(run: Run) -> tuple[Tile, ...]:
    """The key figures."""
    figure = run.figure
    return (
        Tile(term="Final capital", value=money(figure("final_capital")), note=_growth_note(run)),
        Tile(term="CAGR", value=signed_percent(figure("cagr")), note=_versus(percent(_benchmark(run, metrics.cagr)))),
        Tile(
            term="Sharpe ratio",
            value=number(figure("sharpe")),
            note="95 %: {} to {}".format(*map(number, run.sharpe_interval)),
        ),
        Tile(
            term="Max drawdown",
            value=percent(figure("max_drawdown")),
            note=_versus(percent(_benchmark(run, metrics.max_drawdown))),
        ),
        Tile(term="Turnover", value=f"{number(figure('turnover'), 1)} ×", note="a year"),
        Tile(term="Win rate", value=percent(figure("win_rate")), note="of holdings, after costs"),
        Tile(term="Trades", value=count(figure("trades")), note=_trades_note(run)),
        Tile(term="Keep-rate", value=percent(figure("keep_rate")), note=_filter_note(run)),
        Tile(term="Hits / misses", value=f"{count(figure('hits'))} / {count(figure('misses'))}", note=_hits_note(run)),
        Tile(term="Time", value=seconds(figure("seconds")), note=_stage_note(run)),
    )


def data_line(run: Run) -> tuple[tuple[str, str, str], ...]:
    """Where the entries came from and what was lacking: (count, what, how that is meant)."""
    names = {"hits": "from the cache", "computed": "computed", "stale": "stale", "unavailable": "unavailable"}
    if run.figure("unserved"):
        names["unserved"] = "missed, with no model to encode them"
    return tuple(
        (
            "not compared:" if run.figure(key) is None else count(run.figure(key)),
            words,
            GLOSSARY.get(words.capitalize(), ""),
        )
        for key, words in names.items()
    )


def stages(run: Run) -> tuple[Part, ...]:
    """Where the time went, in the order of the run."""
    durations = {name: value for name, value in mapping(run.result.get("stages")).items() if value is not None}
    return _parts(durations, sum(durations.values()))


def timings(durations: Mapping[str, float]) -> tuple[Part, ...]:
    """The same work done in several ways, slowest first, as shares of the slowest."""
    slowest = max(durations.values(), default=0.0)
    return _parts(dict(sorted(durations.items(), key=lambda item: -item[1])), slowest)


def row(run: Run) -> tuple[str, ...]:
    """One run in a table of several, in the order of `ROW_TERMS`."""
    figure = run.figure
    return (
        f"{str(run.equity.days[0])[:7]} to {str(run.equity.days[-1])[:7]}",
        money(figure("final_capital")),
        signed_percent(figure("cagr")),
        number(figure("sharpe")),
        percent(figure("max_drawdown")),
        f"{number(figure('turnover'), 1)} ×",
        percent(figure("win_rate")),
        count(figure("trades")),
        percent(figure("keep_rate")),
    )


ROW_TERMS = (
    "Sessions",
    "Final capital",
    "CAGR",
    "Sharpe ratio",
    "Max drawdown",
    "Turnover",
    "Win rate",
    "Trades",
    "Keep-rate",
)


def names(runs: Sequence[Run]) -> tuple[str, ...]:
    """Names that tell runs apart: those of their folders, or whole paths where two folders have one name."""
    short = tuple(run.name for run in runs)
    return short if len(set(short)) == len(short) else tuple(str(run.folder) for run in runs)


def differences(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """The settings and inputs in which runs differ: each with its value in every run."""
    settings = [
        {**run.config, **mapping(run.result.get("fingerprints")), "filter": run.result.get("filter")} for run in runs
    ]
    every = sorted({name for one in settings for name in one})
    rows = {name: tuple(plain(one.get(name)) for one in settings) for name in every}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def comparison_rows(run: Run, extras: Extras) -> tuple[tuple[str, str, str, str, str, str], ...]:
    """The run and what stands beside it: (name, meaning, runs, final capital, Sharpe ratio, max drawdown)."""
    if not extras.alternatives:
        return ()
    figure = run.figure
    own = (money(figure("final_capital")), number(figure("sharpe")), percent(figure("max_drawdown")))
    rows = [("this run", "", "1", *own)]
    for one in extras.alternatives:
        figures = (
            _spread(one.final_capital, money),
            _spread(one.sharpe, number),
            _spread(one.max_drawdown, percent),
        )
        rows.append((one.name, one.meaning, count(one.runs), *figures))
    return tuple(rows)


def skill_rows(extras: Extras) -> tuple[tuple[str, ...], ...]:
    """Evidence by horizon: horizon, days, IC, rank IC, its t, rank ICIR, best less worst group, its t."""
    return tuple(
        (
            str(one.horizon),
            count(one.days),
            number(one.ic, 3),
            number(one.rank_ic, 3),
            number(one.rank_ic_t, 1),
            number(one.rank_icir),
            signed_percent(one.quantile_returns[-1] - one.quantile_returns[0], 2) if one.quantile_returns else ABSENT,
            number(one.spread_t, 1),
        )
        for one in extras.skill
    )


def tables(run: Run) -> dict[str, list[tuple[str, str]]]:
    """What decided the run: settings, fingerprints, versions and whatever else its result says."""
    shown = {"configuration", "fingerprints", "versions", "stages", "final_capital_by_delisting"}
    return {
        "Configuration": _rows(run.config),
        "Final capital by delisting policy": _rows(mapping(run.result.get("final_capital_by_delisting"))),
        "Fingerprints": _rows(mapping(run.result.get("fingerprints"))),
        "Library versions": _rows(mapping(run.result.get("versions"))),
        "All figures of result.json": _rows({key: run.result[key] for key in run.result if key not in shown}),
    }


def plain(value: Any) -> str:
    """A JSON value as a cell of a table."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}".replace("-", "−") if abs(value) < 1e6 else number(value, 0)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _spread(spread: Spread, words: Callable[[float | None], str]) -> str:
    """Mean ± deviation."""
    return words(spread.mean) + ("" if undefined(spread.deviation) else f" ± {words(spread.deviation)}")


def _parts(durations: Mapping[str, float], whole: float) -> tuple[Part, ...]:
    return tuple(
        Part(label=name, value=seconds(value), share=value / whole if whole else 0.0)
        for name, value in durations.items()
    )


def _rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(key), plain(value)) for key, value in values.items()]


def _benchmark(run: Run, measure: Any) -> float | None:
    return float(measure(run.equity.benchmark)) if run.has_benchmark else None


def _versus(text: str) -> str:
    return f"benchmark {text}"


def _growth_note(run: Run) -> str:
    return f"{signed_percent(run.figure('total_return'))} from {money(run.capital)}"


def _trades_note(run: Run) -> str:
    rebalances, idle = run.figure("rebalances"), run.figure("idle_rebalances")
    if undefined(rebalances):
        return ""
    return several(rebalances, "rebalance") + (f", {count(idle)} idle" if idle else "")


def _filter_note(run: Run) -> str:
    kind = run.result.get("filter")
    return "no filter" if kind == "none" else f"filter: {kind}" if isinstance(kind, str) else ""


def _hits_note(run: Run) -> str:
    hits, misses = run.figure("hits"), run.figure("misses")
    if undefined(hits) or undefined(misses) or not (hits or 0) + (misses or 0):
        return ""
    loaded = run.result.get("model_loaded")
    share = percent((hits or 0) / ((hits or 0) + (misses or 0)))
    return f"{share} hits" + (", no model loaded" if loaded is False else ", model loaded" if loaded is True else "")


def _stage_note(run: Run) -> str:
    durations = {name: value for name, value in mapping(run.result.get("stages")).items() if value}
    if not durations:
        return ""
    longest = max(durations, key=lambda name: durations[name])
    return f"most of it {longest}: {seconds(durations[longest])}"
