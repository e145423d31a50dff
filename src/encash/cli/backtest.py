"""``backtest``, ``sweep``, ``picks`` and ``report``: what the cache is for."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from encash.backtest.inputs.config import settings
from encash.cli.console import Console
from encash.cli.flags import beside_flags, command, count, day, setting_flags, source_flags, ticker_list, universe_flags

if TYPE_CHECKING:
    from encash import pipeline
    from encash.backtest import BacktestConfig, BacktestInputs

SHOWN = {
    "final_capital": ("final capital", ",.0f"),
    "sharpe": ("Sharpe", ".2f"),
    "max_drawdown": ("max drawdown", ".1%"),
}
"""The figures of several runs that are shown: their names and forms."""
SETTINGS = (*settings(), "filter", "keep")
"""What a grid may set: the fields of the configuration, and the filter."""


def register(commands: Any) -> None:
    """Add the commands of this file."""
    _backtest(commands)
    _sweep(commands)
    _picks(commands)
    _report(commands)


def _backtest(commands: Any) -> None:
    parser = command(
        commands,
        "backtest",
        "one run → a run folder",
        "backtest --data features.h5 --prices prices.h5 --cache cache.lance --clusters clusters \\\n"
        "      --horizon 5 --top-k 5 --start 2016-02-01 --end 2022-12-28",
        run_backtest,
    )
    source_flags(parser.add_argument_group("what it reads"))
    universe_flags(parser.add_argument_group("which stocks"))
    money = parser.add_argument_group("the money")
    setting_flags(money, "money")
    money.add_argument(
        "--reference", type=Path, default=None, metavar="CSV", help="a series to compare with: date,value"
    )
    setting_flags(parser.add_argument_group("honesty"), "honesty")
    beside_flags(parser)
    parser.add_argument(
        "--no-report", dest="page", action="store_false", help="write no report.html into the run folder"
    )
    parser.add_argument(
        "--run-dir", type=Path, default=None, metavar="DIR", help="where the run is written (runs/ and its fingerprint)"
    )


def _report(commands: Any) -> None:
    parser = command(
        commands,
        "report",
        "the page of one or several runs",
        "report runs/a --clusters clusters --out report.html\n  encash report runs/a runs/b --out report.html",
        run_report,
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument(
        "--clusters", type=Path, default=None, metavar="DIR", help="show these clusters beside the run (of one run)"
    )
    parser.add_argument("--horizon", type=int, default=5, metavar="H", help="of the ranking that is shown (5)")
    parser.add_argument("--out", type=Path, default=Path("report.html"))


def _sweep(commands: Any) -> None:
    parser = command(
        commands,
        "sweep",
        "hundreds of runs on one cache",
        "sweep grid.toml --prices prices.h5 --cache cache.lance --clusters clusters --out sweep\n\n"
        "grid.toml:\n"
        '  [base]\n  start = "2016-02-01"\n  filter = "hard"\n'
        "  [grid]\n  top_k = [3, 5, 10]\n  horizon = [5, 10]\n  seed = [1, 2, 3]\n\n"
        "[grid] runs every combination. Instead of it or beside it, so many runs drawn at random:\n"
        '  [random]\n  runs = 20\n  seed = 0\n  keep = {low = 0.1, high = 0.5}\n  weights = ["equal", "forecast"]\n\n'
        f"settings:\n{fill(', '.join(SETTINGS), 100, initial_indent='  ', subsequent_indent='  ')}",
        run_sweep,
    )
    parser.add_argument("grid", type=Path, metavar="GRID.toml")
    source_flags(parser.add_argument_group("what it reads"))
    parser.add_argument(
        "--horizon", type=int, default=5, metavar="H", help="of the ranking whose best clusters count (5)"
    )
    parser.add_argument("--keep", type=float, default=None, metavar="SHARE", help="share kept by nearest and random")
    parser.add_argument("--workers", type=count, default=None, metavar="N", help="processes (one a core)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")


def _picks(commands: Any) -> None:
    parser = command(
        commands,
        "picks",
        "the filtered, ranked top-k of one day",
        "picks --date 2022-12-28 --prices prices.h5 --cache cache.lance --clusters clusters",
        run_picks,
    )
    parser.add_argument("--date", type=day, required=True, metavar="DAY")
    source_flags(parser.add_argument_group("what it reads"))
    universe_flags(parser.add_argument_group("which stocks"))
    setting_flags(parser.add_argument_group("honesty"), "honesty")


def configuration(arguments: argparse.Namespace) -> BacktestConfig:
    """The flags as a configuration."""
    from encash.backtest import BacktestConfig

    return BacktestConfig(**{name: getattr(arguments, name) for name in settings() if name in arguments})


def opened(
    arguments: argparse.Namespace, console: Console, choice: pipeline.FilterChoice | None = None
) -> BacktestInputs:
    """What the flags name, opened; with another filter than they name where one is given."""
    from encash import pipeline

    sources = console.sources(arguments)
    if arguments.no_model:
        sources = replace(sources, model=None)
    universe = getattr(arguments, "membership", None) or ticker_list(getattr(arguments, "tickers", None))
    return pipeline.open_inputs(sources, choice or filter_choice(arguments), universe)


def filter_choice(arguments: argparse.Namespace) -> pipeline.FilterChoice:
    """The filter that the flags name."""
    from encash import pipeline

    return pipeline.FilterChoice(
        clusters=arguments.clusters,
        name=getattr(arguments, "filter", None),
        keep=arguments.keep,
        horizon=arguments.horizon,
        seed=getattr(arguments, "seed", 42),
    )


def run_backtest(arguments: argparse.Namespace, console: Console) -> int:
    """Run one backtest and write its folder."""
    from encash import pipeline

    config, inputs = configuration(arguments), opened(arguments, console)
    with console.progress("entries", "cells") as progress:
        result, folder = pipeline.backtest(
            inputs,
            config,
            run_dir=arguments.run_dir,
            reference=arguments.reference,
            refuse_misses=arguments.no_model,
            progress=progress,
        )
    values = {**result.to_json(), "run_dir": str(folder), "torch_imported": "torch" in sys.modules}
    with console.progress("comparisons", "steps") as progress:
        values |= pipeline.evaluate_run(
            inputs, config, folder, num_trials=arguments.num_trials, draws=arguments.compare, progress=progress
        )
    if arguments.page:
        extras = pipeline.PageExtras(clusters=arguments.clusters, horizon=config.horizon)
        pipeline.write_report([folder], folder / "report.html", extras)
    console.result(values, backtest_lines(values))
    return 0


def run_sweep(arguments: argparse.Namespace, console: Console) -> int:
    """Run a grid, and write the page of its best run."""
    from encash import backtest, pipeline

    choice = filter_choice(arguments)
    inputs = opened(arguments, console, replace(choice, name="none"))  # each run names its own
    points = backtest.read_grid(arguments.grid)
    names = {point.filter for point in points}
    filters = pipeline.open_filters(choice, names, inputs.prices.days, console.sources(arguments).open_cache())
    with console.progress("sweep", "runs") as progress:
        result = backtest.run_sweep(
            points, inputs, arguments.out, filters=filters, workers=arguments.workers, progress=progress
        )
        pipeline.write_heat_maps(result, points)
    with console.progress("best run", "cells") as progress:
        best = backtest.write_best(result, points, inputs, filters=filters, progress=progress)
    values = {**result.to_json(), "best_run": None if best is None else str(best), "report": None}
    if best is not None:
        extras = pipeline.PageExtras(clusters=arguments.clusters, horizon=arguments.horizon)
        values["report"] = str(pipeline.write_report([best], best / "report.html", extras))
    console.result(values, sweep_lines(values))
    return 0


def run_picks(arguments: argparse.Namespace, console: Console) -> int:
    """The list of one day."""
    from encash.backtest import picks_of_day

    inputs = opened(arguments, console)
    table = picks_of_day(configuration(arguments), inputs, arguments.date)
    chosen = table.picked_first()
    names = ("ticker", "forecast", "confidence", "cluster", "weight")
    rows = [
        dict(zip(names, row, strict=True))
        for row in zip(*(getattr(chosen, name).tolist() for name in names), strict=True)
    ]
    values = {"date": str(arguments.date), "candidates": len(table), "kept": int(table.kept.sum()), "picks": rows}
    text = [
        f"{row['ticker']:<8}  forecast {row['forecast']:+.3%}  confidence {row['confidence']:.3f}  "
        f"cluster {row['cluster']}  weight {row['weight']:.1%}"
        for row in rows
    ]
    console.result(values, [f"{values['date']}: {values['kept']} of {values['candidates']} candidates kept", *text])
    return 0


def run_report(arguments: argparse.Namespace, console: Console) -> int:
    """Write the page of some runs."""
    from encash import pipeline

    extras = pipeline.PageExtras(clusters=arguments.clusters, horizon=arguments.horizon)
    page = pipeline.write_report(arguments.runs, arguments.out, extras)
    console.result({"report": str(page)}, [f"report  {page}"])
    return 0


def backtest_lines(values: dict[str, Any]) -> list[str]:
    """The result of a backtest for people: what was run beside it, where the entries came from, then the money."""
    seeds, verdict = values.get("trials"), values.get("verdict")
    beside = [trials_line(seeds, values["num_trials"])] if seeds else []
    beside += [verdict["sentence"]] if verdict else []
    looked_up = values["hits"] + values["misses"] + (values["stale"] or 0)
    rate = values["hits"] / looked_up if looked_up else 0.0
    unchecked = "no --data" if values["verified"] else "the cache does not say how it was made"
    stale = f"not checked ({unchecked})" if values["stale"] is None else f"{values['stale']:,}"
    apart = values["forecasts_computed"]
    again = f", {apart:,} of them hits without a forecast in the cache" if apart else ""
    warning = [f"LOOK-AHEAD: {values['lookahead']}"] if values["lookahead"] else []
    training = values["training_period"]
    return [
        *beside,
        *warning,
        f"entries        hits {values['hits']:,}, misses {values['misses']:,}, stale {stale}, "
        f"unavailable {values['unavailable']:,}",
        f"hit rate       {rate:.1%}   ({values['computed']:,} computed{again}, "
        f"model loaded: {'yes' if values['model_loaded'] else 'no'})",
        f"period         {values['start']} to {values['end']}, {values['sessions']:,} sessions",
        f"final capital  ${values['final_capital']:,.2f}",
        f"total return   {figure(values['total_return'], '.2%')}",
        f"CAGR           {figure(values['cagr'], '.2%')}",
        f"Sharpe         {figure(values['sharpe'], '.2f')}",
        f"max drawdown   {figure(values['max_drawdown'], '.2%')}",
        f"trades         {values['trades']:,}   win rate {figure(values['win_rate'], '.1%')}, "
        f"kept by the filter {figure(values['keep_rate'], '.1%')}",
        f"model          {training if 'unknown' in training else f'trained up to {training}'}",
        f"seconds        {values['seconds']:.3f}",
        f"run            {values['run_dir']}",
    ]


def trials_line(spreads: dict[str, list[float | None]], seeds: int) -> str:
    """Several seeds for people: mean ± deviation of each figure.

    >>> trials_line({"final_capital": [120_000.0, 0.0]}, 3)
    '3 seeds        all end at 120,000: nothing in this run is drawn'
    """
    title = f"{f'{seeds:,} seeds':<14}"
    capital, deviation = spreads["final_capital"]
    if deviation == 0.0:
        return f"{title} all end at {figure(capital, ',.0f')}: nothing in this run is drawn"
    told = (
        f"{SHOWN[name][0]} {figure(mean, SHOWN[name][1])} ± {figure(sd, SHOWN[name][1])}"
        for name, (mean, sd) in spreads.items()
    )
    return f"{title} {', '.join(told)}"


def sweep_lines(values: dict[str, Any]) -> list[str]:
    """The result of a sweep for people: what was tried, the best of it, and what that is worth."""
    best, deflated, risk = values["best"], values["deflated_sharpe"], values["probability_of_overfitting"]
    chosen, money = "none: no run has a Sharpe ratio", []
    if best is not None:
        chosen = ", ".join(f"{name} {best[name]}" for name in SETTINGS if best.get(name) is not None)
        told = ", ".join(f"{label} {figure(best[name], form)}" for name, (label, form) in SHOWN.items())
        money = [f"its figures      {told}, {best['first_session']} to {best['last_session']}"]
    judged = [f"chosen by luck?  not judged: {values['note']}"]
    if deflated is not None:
        judged = [
            f"deflated Sharpe  {deflated:.1%}: how probably its true Sharpe is above the "
            f"{values['expected_best_sharpe']:.2f} of the best of {values['trials']:,} worthless runs",
            f"overfitting      {risk:.1%}: how probably the best of one half is below the median in the other "
            "(50% is chance)",
        ]
    return [
        f"runs             {values['runs']:,} ({values['computed']:,} computed), {values['trials']:,} tried in this "
        "folder",
        f"best             {chosen}",
        *money,
        *judged,
        f"table            {values['table']}",
        *([f"report           {values['report']}"] if values["report"] else []),
        f"seconds          {values['seconds']:.3f}",
    ]


def figure(value: float | None, form: str) -> str:
    """A number in a format, or a dash where it is not defined.

    >>> figure(0.123, ".1%"), figure(None, ".1%")
    ('12.3%', '–')
    """
    return "–" if value is None else format(value, form)
