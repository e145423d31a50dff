"""``plan``, ``build``, ``update`` and ``cache …``: make caches, look at them, keep them tidy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encash.cli.console import FOUND, Console, Parser, lines, plain
from encash.cli.flags import as_of_flag, command, count, dtype_flags, model_flags, range_flags, selection
from encash.cli.progress import bytes_below

if TYPE_CHECKING:
    from encash.cache import BuildReport


def register(commands: Any) -> None:
    """Add the commands of this file."""
    example = "--model model.pt --data features.h5 --cache cache.lance --months 6"
    for name, handler, text in (
        ("plan", run_plan, "what a build would do, before it is done"),
        ("build", run_build, "make every missing or stale entry valid; resumes by itself"),
        ("update", run_update, "the nightly run: whatever is new or restated, and nothing else"),
    ):
        build_flags(command(commands, name, text, f"{name} {example}", handler))
    cache = commands.add_parser("cache", help="look at, check, join, convert and tidy caches").add_subparsers(
        dest="cache_command", metavar="COMMAND", required=True, parser_class=Parser
    )
    for add in (_info, _list, _coverage, _verify, _merge, _export, _import, _compact, _versions):
        add(cache)


def build_flags(parser: argparse.ArgumentParser) -> None:
    """What plan, build and update take."""
    parser.add_argument(
        "--model", required=True, metavar="M", help="a checkpoint (.pt), .onnx, .pt2 or module:attribute"
    )
    parser.add_argument("--data", type=Path, required=True, metavar="F", help="features, HDF5")
    parser.add_argument("--cache", required=True, metavar="C", help="the cache, a path ending in .lance or a URL")
    range_flags(parser)
    model_flags(parser)
    dtype_flags(parser, "how vectors are kept (float32)")
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    parser.add_argument(
        "--workers", type=count, default=None, metavar="N", help="of ray (one a GPU, else one for every two cores)"
    )


def run_plan(arguments: argparse.Namespace, console: Console) -> int:
    """Say what a build would do."""
    from encash import pipeline

    sources, warnings = console.sources(arguments), Warnings(console)
    plan = pipeline.plan_build(sources, selection(arguments), dtype=arguments.dtype, warn=warnings.add)
    values = plain(plan.summary())
    console.result(
        {**values, "warnings": warnings.said},
        [*lines(values), "peak memory is the whole process: libraries, model, a batch, and the arrays"],
    )
    return 0


def run_build(arguments: argparse.Namespace, console: Console) -> int:
    """Make every missing or stale entry of the range valid."""
    return _build(arguments, console, renew=False)


def run_update(arguments: argparse.Namespace, console: Console) -> int:
    """Make every entry valid that the data have restated, and those of new sessions and new tickers."""
    return _build(arguments, console, renew=True)


def _build(arguments: argparse.Namespace, console: Console, *, renew: bool) -> int:
    from encash import pipeline

    warnings = Warnings(console)
    how = pipeline.BuildOptions(
        dtype=arguments.dtype,
        least_agreement=arguments.least_agreement,
        executor=arguments.executor,
        workers=arguments.workers,
        renew=renew,
        say=console.note,
        warn=warnings.add,
    )
    before = bytes_below(arguments.cache)
    written = None if "://" in arguments.cache else lambda: bytes_below(arguments.cache) - before
    sources = console.sources(arguments)
    with console.progress("encoding", "entries", written) as progress:
        report = pipeline.build_cache(sources, selection(arguments), how, progress=progress)
    return report_build(report, console, warnings.said)


class Warnings:
    """What a user should know before the work: a line on stderr as it comes, and a list for ``--json``."""

    def __init__(self, console: Console):
        self.said: list[str] = []
        self._console = console

    def add(self, text: str) -> None:
        """One more."""
        self.said.append(text)
        self._console.note(text)


def report_build(report: BuildReport, console: Console, warnings: Sequence[str] = ()) -> int:
    """Print a build; 1 where a block failed."""
    for failure in report.failures:
        console.note(str(failure))
    values = plain({name: value for name, value in asdict(report).items() if name != "failures"})
    console.result({**values, "warnings": list(warnings)}, lines(values))
    return 1 if report.failed else 0


def _info(cache: Any) -> None:
    parser = command(cache, "info", "what a cache holds", "cache info cache.lance", run_info)
    parser.add_argument("cache", metavar="C")
    as_of_flag(parser)


def _list(cache: Any) -> None:
    parser = command(
        cache, "list", "the caches of a folder, a line each", "cache list caches --model model.pt", run_list
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--model", default=None, metavar="M", help="mark those that this model made")


def _coverage(cache: Any) -> None:
    parser = command(
        cache,
        "coverage",
        "valid, stale, missing, unavailable: table and picture",
        "cache coverage cache.lance --data features.h5 --out c.png",
        run_coverage,
    )
    parser.add_argument("cache", metavar="C")
    parser.add_argument("--data", type=Path, required=True, metavar="F")
    parser.add_argument("--out", type=Path, default=None, help="a picture, sessions × tickers (.svg or .png)")
    as_of_flag(parser)
    range_flags(parser)


def _verify(cache: Any) -> None:
    parser = command(
        cache,
        "verify",
        "check what is stored; exit 3 where something is found",
        "cache verify cache.lance --model m.pt --data f.h5",
        run_verify,
    )
    parser.add_argument("cache", metavar="C")
    parser.add_argument("--model", default=None, metavar="M", help="encode a sample again with this model")
    parser.add_argument("--data", type=Path, default=None, metavar="F")
    parser.add_argument(
        "--sample",
        type=_sample,
        default=None,
        metavar="N|all",
        help="entries to encode again (all of a cache imported on trust, which are all needed to prove it; else 256)",
    )
    parser.add_argument(
        "--drop",
        action="store_true",
        help="take away entries that are corrupt or whose window the data no longer have",
    )
    model_flags(parser)


def _sample(text: str) -> int | str:
    """The type of the flag: a number from 1, or all."""
    if text == "all" or (text.isdecimal() and int(text) > 0):
        return text if text == "all" else int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no sample; give a number from 1, or all")


def _merge(cache: Any) -> None:
    parser = command(
        cache, "merge", "join partial caches of one encoder", "cache merge a.lance b.lance --into c.lance", run_merge
    )
    parser.add_argument("caches", nargs="+", metavar="C")
    parser.add_argument("--into", required=True, metavar="C")
    parser.add_argument(
        "--on-conflict",
        choices=("refuse", "first", "last"),
        default="refuse",
        help="where two differ under one key (refuse)",
    )


def _export(cache: Any) -> None:
    parser = command(
        cache, "export", "write the HDF5 layout file[ticker][date]", "cache export cache.lance cache.h5", run_export
    )
    parser.add_argument("cache", metavar="C")
    parser.add_argument("out", type=Path, metavar="X.h5")
    as_of_flag(parser)


def _import(cache: Any) -> None:
    parser = command(
        cache,
        "import",
        "read an HDF5 cache into a Lance cache",
        "cache import cache.h5 cache.lance --trust",
        run_import,
    )
    parser.add_argument("source", type=Path, metavar="X.h5")
    parser.add_argument("cache", metavar="C")
    parser.add_argument("--trust", action="store_true", help="take a file without provenance; it is marked unverified")
    dtype_flags(parser, "the file's")


def _compact(cache: Any) -> None:
    parser = command(
        cache, "compact", "join small fragments and bound the history", "cache compact cache.lance", run_compact
    )
    parser.add_argument("cache", metavar="C")
    parser.add_argument(
        "--keep-versions", type=int, default=20, metavar="N", help="the last N versions stay, and all tagged ones (20)"
    )


def _versions(cache: Any) -> None:
    parser = command(
        cache,
        "versions",
        "the commits that can still be opened",
        "cache versions cache.lance --tag before-restatement",
        run_versions,
    )
    parser.add_argument("cache", metavar="C")
    parser.add_argument("--tag", default=None, metavar="NAME", help="name the newest version, so that it is kept")


def run_versions(arguments: argparse.Namespace, console: Console) -> int:
    """The commits of a cache."""
    from encash.cache import open_cache

    cache = open_cache(arguments.cache)
    if arguments.tag is not None:
        cache.tag(arguments.tag)
    found = plain([asdict(version) for version in cache.versions()])
    console.result({"versions": found}, ["  ".join(str(value) for value in version.values()) for version in found])
    return 0


def run_info(arguments: argparse.Namespace, console: Console) -> int:
    """What a cache holds."""
    from encash.cache import open_cache

    values = plain(asdict(open_cache(arguments.cache, version=arguments.as_of).info()))
    shown = {**values, "agreement": _agreement(values["agreement"])}
    console.result(values, lines(shown))
    return 0


def run_list(arguments: argparse.Namespace, console: Console) -> int:
    """The caches of a folder."""
    from encash import pipeline

    found = pipeline.list_caches(arguments.folder, console.sources(arguments))
    width = max((len(one.path) for one in found), default=0)
    text = [
        f"{'*' if one.belongs else ' '} {one.path:<{width}}  "
        + (
            one.problem
            or f"encoder {one.encoder[:12] or 'unknown'}, known files {one.models}, {one.dim} × {one.dtype}, "
            f"{one.entries:,} entries, {one.first or '–'} to {one.last or '–'}"
        )
        for one in found
    ]
    console.result({"caches": plain([asdict(one) for one in found])}, text or [f"no cache in {arguments.folder}"])
    return 0


def _agreement(found: dict[str, Any] | None) -> str:
    """What a narrow dtype keeps, in words.

    >>> _agreement({"clusters": 0.996, "distances": 1.0, "picks": None, "cosine": 0.9999, "vectors": 256})
    'clusters 99.60%, distances 1.0000, smallest cosine 0.99990 (256 vectors)'
    """
    if found is None:
        return "–"
    picks = "" if found.get("picks") is None else f"picks {found['picks']:.2%}, "
    return (
        f"clusters {found['clusters']:.2%}, distances {found['distances']:.4f}, {picks}"
        f"smallest cosine {found['cosine']:.5f} ({found['vectors']} vectors)"
    )


def run_coverage(arguments: argparse.Namespace, console: Console) -> int:
    """The state of every cell."""
    from encash.cache import open_cache
    from encash.panel import open_panel

    cache = open_cache(arguments.cache, version=arguments.as_of)
    coverage = cache.coverage(open_panel(arguments.data), selection(arguments))
    counts, by_ticker = coverage.counts(), coverage.by_ticker()
    if arguments.out is not None:
        from encash.report import coverage_picture

        coverage_picture(coverage.state, coverage.days, coverage.tickers, arguments.out)
    width = max(len(ticker) for ticker in by_ticker)
    table = [
        f"{ticker:<{width}}  " + "  ".join(f"{state} {number:,}" for state, number in found.items())
        for ticker, found in by_ticker.items()
    ]
    console.result({**counts, "by_ticker": by_ticker}, [*lines(counts), "", *table])
    return 0


def run_verify(arguments: argparse.Namespace, console: Console) -> int:
    """Check what is stored; exit code 3 where something is found."""
    from encash import pipeline

    sources = console.sources(arguments)
    with console.progress("checking", "entries") as progress:
        report = pipeline.verify_cache(sources, sample=arguments.sample, drop=arguments.drop, progress=progress)
    values = plain(asdict(report))
    counts = {name: value for name, value in values.items() if name not in ("findings", "notes")}
    found = [f"found: {finding}" for finding in report.findings]
    console.result(values, [*lines(counts), *found, *report.notes])
    return 0 if report.passed else FOUND


def run_merge(arguments: argparse.Namespace, console: Console) -> int:
    """Join partial caches."""
    from encash.cache import merge_caches

    with console.progress("merge", "entries") as progress:
        report = merge_caches(arguments.caches, arguments.into, on_conflict=arguments.on_conflict, progress=progress)
    console.facts(asdict(report))
    return 0


def run_export(arguments: argparse.Namespace, console: Console) -> int:
    """A cache → HDF5."""
    from encash.cache import export_hdf5, open_cache

    with console.progress("export", "entries") as progress:
        cache = open_cache(arguments.cache, version=arguments.as_of)
        entries = export_hdf5(cache, arguments.out, progress=progress)
    console.facts({"entries": entries, "out": str(arguments.out), "bytes": arguments.out.stat().st_size})
    return 0


def run_import(arguments: argparse.Namespace, console: Console) -> int:
    """HDF5 → a cache."""
    from encash.cache import LEAST_AGREEMENT, import_hdf5, open_cache

    least = LEAST_AGREEMENT if arguments.least_agreement is None else arguments.least_agreement
    with console.progress("import", "entries") as progress:
        entries = import_hdf5(
            arguments.source,
            arguments.cache,
            trust=arguments.trust,
            dtype=arguments.dtype,
            least_agreement=least,
            progress=progress,
        )
    console.facts({"entries": entries, "cache": arguments.cache, "verified": open_cache(arguments.cache).verified})
    return 0


def run_compact(arguments: argparse.Namespace, console: Console) -> int:
    """Join fragments, bound the history."""
    from encash.cache import open_cache

    cache = open_cache(arguments.cache)
    with console.progress("compact", "entries") as progress:
        report = cache.compact(keep_versions=arguments.keep_versions, progress=progress)
    console.facts(asdict(report))
    return 0
