"""``demo``: run the whole workflow on real prices, as the commands that a user would type, one process each."""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encash import pipeline
from encash.atomic_write import make_folder
from encash.cli.console import Console, Parser
from encash.cli.flags import command
from encash.errors import MissingExtraError, MissingFileError, WorkError
from encash.extras import require

PACKAGE = "skfolio"
TRAIN_END = "2005-12-31"
RANK_START, RANK_END = "2006-01-03", "2010-12-31"
TEST_START, TEST_END = "2011-02-01", "2022-12-28"
"""The encoder is trained on the first period, clusters are ranked on the second, the backtest trades in the third."""


def register(parser: Parser) -> None:
    """Add the flags."""
    command(parser, run_demo, "demo --out demo")
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="the folder of all files (demo)")
    parser.add_argument(
        "--offline-data",
        default=PACKAGE,
        metavar="NAME",
        help="installed package whose prices are used (skfolio)",
    )


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One command of the demo and its result."""

    title: str
    result: dict[str, Any]
    seconds: float
    """Wall-clock time of the whole process."""


def run_demo(arguments: argparse.Namespace, console: Console) -> int:
    """Run prepare, train, build, clusters, backtests (live and cached) and report; compare their results."""
    table = package_prices(arguments.offline_data)
    for extra in ("torch", "clusters", "report"):
        require(extra, "the demo")
    out: Path = arguments.out
    make_folder(out)
    demo = Demo(console)
    console.hand_over()
    began = time.monotonic()
    demo.say(f"prices: {arguments.offline_data}, daily closes, read from the installed package")
    features, prices, model, cache, clusters = (
        out / name for name in ("features.h5", "prices.h5", "model.pt", "cache.lance", "clusters")
    )
    files = {"data": features, "prices": prices}
    demo.step("prepare", "prepare", table, features_out=features, prices_out=prices)
    demo.step("train", "train", **files, out=model, preset="tiny", train_end=TRAIN_END)
    encoder = {"model": model, "precision": "float32"}
    build = demo.step("build", "build", **encoder, data=features, cache=cache)
    again = demo.step("build again", "build", **encoder, data=features, cache=cache)
    ranked = {"cache": cache, "start": RANK_START, "end": RANK_END}
    demo.step("fit", "clusters", "fit", **ranked, k=20, out=clusters)
    demo.step("rank", "clusters", "rank", clusters=clusters, **ranked, prices=prices, horizon=5, top=8)
    test = {**files, "clusters": clusters, "start": TEST_START, "end": TEST_END, "horizon": 5, "top_k": 5}
    test |= {"tranches": True, "no_report": True}
    live = demo.step("live", "backtest", **test, **encoder, run_dir=out / "live")
    cached = demo.step("cached", "backtest", **test, cache=cache, run_dir=out / "cached")
    same = same_picks(out / "live", out / "cached")
    compared = demo.step("compare", "backtest", **test, cache=cache, run_dir=out / "cached", compare=True)
    extras = pipeline.PageExtras(
        clusters=clusters,
        timings={"live": live.result["seconds"], "cached": compared.result["seconds"]},
        same_picks=same,
        same_as=out / "live",
        cache=str(cache),
        prices=prices,
    )
    page = pipeline.write_report([out / "cached"], out / "report.html", extras)
    summary = {
        "entries": build.result["computed"] + build.result["reused"],
        "computed_by_second_build": again.result["computed"],
        "build_seconds": build.result["seconds"],
        "live_seconds": live.result["seconds"],
        "cached_seconds": cached.result["seconds"],
        "speedup": live.result["seconds"] / cached.result["seconds"],
        "live_process_seconds": live.seconds,
        "cached_process_seconds": cached.seconds,
        "process_speedup": live.seconds / cached.seconds,
        "hits": cached.result["hits"],
        "misses": cached.result["misses"],
        "torch_imported_by_cached": cached.result["torch_imported"],
        "picks_identical": same,
        "verdict": compared.result["verdict"]["sentence"],
        "report": str(page),
        "seconds": time.monotonic() - began,
    }
    console.result(summary, summary_lines(summary))
    return 0 if same else 1


class Demo:
    """The runner of the demo: prints each command, runs it and prints a line of its result."""

    def __init__(self, console: Console):
        self._console = console

    def say(self, text: str) -> None:
        """Print a line for people; nothing with ``--json``."""
        if not self._console.as_json:
            print(text, flush=True)

    def step(self, title: str, *words: str | Path, **flags: object) -> Stage:
        """Run one command in its own process and read its JSON; a flag of the value True takes no value.

        Raises:
            WorkError: the command failed.
        """
        command = [*map(str, words)]
        for name, value in flags.items():
            flag = f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"
            command += [flag, *([] if value is True else [str(value)])]
        self.say(f"\n$ encash {' '.join(command)}")
        quiet = ["--quiet"] if self._console.quiet else []
        began = time.monotonic()
        done = subprocess.run(  # noqa: S603  the command is our own, its arguments a list
            [sys.executable, "-m", "encash", *command, "--json", *quiet], stdout=subprocess.PIPE, check=False, text=True
        )
        seconds = time.monotonic() - began
        if done.returncode:
            raise WorkError(f"the step '{title}' failed with exit code {done.returncode}; see its message above")
        stage = Stage(title=title, result=json.loads(done.stdout), seconds=seconds)
        self.say(f"  {step_line(stage)}   [{seconds:.1f} s]")
        return stage


def package_prices(package: str) -> Path:
    """Find the file of daily US closes that an installed package ships, without importing the package.

    Raises:
        MissingExtraError: the package is not installed.
        MissingFileError: the package has no such file.
    """
    from importlib import metadata

    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        raise MissingExtraError(
            f"the demo reads prices from the package {package}, which is not installed; run: "
            + (
                f'pip install "encash[demo]", or only its data: pip install --no-deps {package}'
                if package == PACKAGE
                else f"pip install --no-deps {package}"
            )
        ) from None
    for file in files:
        if file.name == "sp500_dataset.csv.gz":
            path, here = Path(str(file.locate())), Path.cwd()
            return path.relative_to(here) if path.is_relative_to(here) else path
    raise MissingFileError(
        f"the package {package} has no sp500_dataset.csv.gz; `encash prepare` reads any CSV or Parquet file"
    )


def same_picks(one: Path, other: Path) -> bool:
    """Compare two runs: all rows of their ledgers, and the picks of every day."""
    return all(_rows(one / name) == _rows(other / name) for name in ("ledger.csv", "picks.parquet"))


def _rows(path: Path) -> list[Any]:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    picks = pq.read_table(path, columns=["date", "ticker", "kept", "picked"])
    rows: list[Any] = picks.filter(pc.field("picked")).to_pylist()
    return rows


def step_line(stage: Stage) -> str:
    """Summarize the result of one step in a line."""
    result = stage.result
    match stage.title:
        case "prepare":
            return f"{result['tickers']} tickers, {result['sessions']:,} sessions, {result['features']} features"
        case "train":
            skill = ", ".join(f"{float(value):+.3f} over {horizon}" for horizon, value in result["rank_ic"].items())
            return f"rank IC on validation: {skill} sessions"
        case "build" | "build again":
            rate = f", {result['entries_per_second']:,.0f} entries/s" if result["computed"] else ""
            counts = ", ".join(f"{name} {result[name]:,}" for name in ("computed", "reused", "unavailable"))
            return counts + rate
        case "fit":
            return f"{result['k']} clusters on {result['entries']:,} entries up to {result['fit_end']}"
        case "rank":
            return f"best clusters {result['best']}, on returns that ended by {result['rank_end']}"
        case _:
            return (
                f"${result['final_capital']:,.0f} from $100,000, Sharpe {result['sharpe']:.2f}, "
                f"hits {result['hits']:,}, misses {result['misses']:,}, {result['seconds']:.2f} s"
            )


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Format the closing table."""
    return [
        "",
        f"entries           {summary['entries']:,}   (second build computed {summary['computed_by_second_build']})",
        f"build             {summary['build_seconds']:.1f} s",
        f"backtest, live    {summary['live_seconds']:.2f} s   (whole process {summary['live_process_seconds']:.2f} s)",
        f"backtest, cached  {summary['cached_seconds']:.2f} s   "
        f"(whole process {summary['cached_process_seconds']:.2f} s, "
        f"torch imported: {'yes' if summary['torch_imported_by_cached'] else 'no'})",
        f"faster            {summary['speedup']:.0f}×   (whole process {summary['process_speedup']:.0f}×)",
        f"hits, misses      {summary['hits']:,}, {summary['misses']:,}",
        f"picks identical:  {'yes' if summary['picks_identical'] else 'NO'}",
        f"verdict           {summary['verdict']}",
        f"report            {summary['report']}",
        f"all               {summary['seconds']:.0f} s",
    ]
