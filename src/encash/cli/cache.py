"""``cache …``: inspect, verify, merge, convert and compact caches."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import encash
from encash import cache, pipeline, store
from encash.cli.console import FOUND, Console, Parser, lines, plain, table_lines
from encash.cli.flags import as_of_flag, command, dtype_flags, model_flags, range_flags, selection
from encash.cli.stops import entries_kept, files_kept
from encash.extras import require
from encash.input_files import path_or_url


def register(parser: Parser) -> None:
    """Add the subcommands."""
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for add in (_info, _list, _coverage, _verify, _merge, _export, _import, _compact, _versions, _rollback):
        add(commands)


def _info(commands: Any) -> None:
    parser = commands.add_parser("info", help="summarize the content of a cache")
    command(parser, run_info, "cache info cache.lance")
    parser.add_argument("cache", metavar="C", help="path or URL of a cache")
    as_of_flag(parser)


def run_info(arguments: argparse.Namespace, console: Console) -> None:
    """Print the content of a cache."""
    values = plain(asdict(encash.open_cache(arguments.cache, version=arguments.as_of).info()))
    console.result(values, lines({**values, "agreement": _agreement_text(values["agreement"])}))


def _agreement_text(agreement: dict[str, Any] | None) -> str:
    """Describe what a narrow dtype preserves.

    >>> _agreement_text({"clusters": 0.996, "distances": 1.0, "picks": None, "cosine": 0.9999, "vectors": 256})
    'clusters 99.60%, distances 1.0000, smallest cosine 0.99990 (256 vectors)'
    """
    if agreement is None:
        return "–"
    picks = "" if agreement.get("picks") is None else f"picks {agreement['picks']:.2%}, "
    return (
        f"clusters {agreement['clusters']:.2%}, distances {agreement['distances']:.4f}, {picks}"
        f"smallest cosine {agreement['cosine']:.5f} ({agreement['vectors']} vectors)"
    )


def _list(commands: Any) -> None:
    parser = commands.add_parser("list", help="list the caches of a folder, one per line")
    command(parser, run_list, "cache list caches --model model.pt")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder that holds the caches")
    parser.add_argument("--model", metavar="M", help="mark the caches that this model built")


def run_list(arguments: argparse.Namespace, console: Console) -> None:
    """Print one line per cache."""
    listed = pipeline.list_caches(arguments.folder, console.sources(arguments))
    width = max((len(one.path) for one in listed), default=0)
    text = [
        f"{'*' if one.belongs else ' '} {one.path:<{width}}  "
        + (
            one.problem
            or f"encoder {one.encoder[:12] or 'unknown'}, known files {one.models}, {one.dim} × {one.dtype}, "
            f"{one.entries:,} entries, {one.first or '–'} to {one.last or '–'}"
        )
        for one in listed
    ]
    values = {"caches": plain([asdict(one) for one in listed])}
    console.result(values, text or [f"no cache in {arguments.folder}"])


def _coverage(commands: Any) -> None:
    parser = commands.add_parser("coverage", help="count valid, stale, missing and unavailable entries by ticker")
    command(parser, run_coverage, "cache coverage cache.lance --data features.h5 --out c.png")
    parser.add_argument("cache", metavar="C", help="path or URL of a cache")
    parser.add_argument("--data", type=path_or_url, required=True, metavar="F", help="features, HDF5: a path or URL")
    parser.add_argument("--out", type=Path, help="an image, sessions × tickers (.svg or .png)")
    as_of_flag(parser)
    range_flags(parser)


def run_coverage(arguments: argparse.Namespace, console: Console) -> None:
    """Print the state of every (day, ticker)."""
    if arguments.out is not None:
        require("report", "a picture (--out)")
    opened = encash.open_cache(arguments.cache, version=arguments.as_of)
    coverage = opened.coverage(encash.open_panel(arguments.data), selection(arguments))
    counts, by_ticker = coverage.counts(), coverage.by_ticker()
    if arguments.out is not None:
        from encash.report import coverage_picture

        coverage_picture(coverage.state, coverage.days, coverage.tickers, arguments.out)
    width = max(len(ticker) for ticker in by_ticker)
    table = [
        f"{ticker:<{width}}  " + "  ".join(f"{state} {number:,}" for state, number in states.items())
        for ticker, states in by_ticker.items()
    ]
    console.result({**counts, "by_ticker": by_ticker}, [*lines(counts), "", *table])


def _verify(commands: Any) -> None:
    parser = commands.add_parser("verify", help="check the stored entries; exit 3 if something is wrong")
    command(parser, run_verify, "cache verify cache.lance --model m.pt --data f.h5")
    parser.add_argument("cache", metavar="C", help="path or URL of a cache")
    parser.add_argument("--model", metavar="M", help="encode a sample again with this model")
    parser.add_argument(
        "--data",
        type=path_or_url,
        metavar="F",
        help="features, HDF5: a path or URL; also check that entries are of these",
    )
    parser.add_argument(
        "--sample",
        type=_sample,
        metavar="N|all",
        help="entries to encode again (256; all of a cache imported with --trust, since only all of them prove it)",
    )
    parser.add_argument(
        "--drop", action="store_true", help="remove entries that are corrupt or whose window is no longer in the data"
    )
    model_flags(parser)


def _sample(text: str) -> int | str:
    """Parse a flag that takes a number from 1, or all."""
    if text == "all" or (text.isdecimal() and int(text) > 0):
        return text if text == "all" else int(text)
    raise argparse.ArgumentTypeError(f"invalid sample {text!r}: expected a number from 1, or all")


def run_verify(arguments: argparse.Namespace, console: Console) -> int:
    """Check what is stored; return 3 if something is wrong."""
    sources = console.sources(arguments)
    with console.progress("checking", "entries") as progress:
        report = pipeline.verify_cache(sources, sample=arguments.sample, drop=arguments.drop, progress=progress)
    values = plain(asdict(report))
    counts = {name: value for name, value in values.items() if name not in ("findings", "notes")}
    findings = [f"found: {finding}" for finding in report.findings]
    console.result(values, [*lines(counts), *findings, *report.notes])
    return 0 if report.passed else FOUND


def _merge(commands: Any) -> None:
    parser = commands.add_parser("merge", help="merge partial caches of one encoder")
    command(parser, run_merge, "cache merge a.lance b.lance --into c.lance")
    parser.add_argument("caches", nargs="+", metavar="C", help="paths or URLs of caches, in order")
    parser.add_argument("--into", required=True, metavar="C", help="the cache that receives all entries (.lance)")
    parser.add_argument(
        "--on-conflict",
        choices=("refuse", "first", "last"),
        default="refuse",
        help="if entries of the same key differ (refuse)",
    )


def run_merge(arguments: argparse.Namespace, console: Console) -> None:
    """Merge partial caches."""
    with entries_kept(arguments.into), console.progress("merge", "entries") as progress:
        report = cache.merge_caches(
            arguments.caches, arguments.into, on_conflict=arguments.on_conflict, progress=progress
        )
    console.facts(asdict(report))


def _export(commands: Any) -> None:
    parser = commands.add_parser("export", help="write the HDF5 layout file[ticker][date]")
    command(parser, run_export, "cache export cache.lance cache.h5")
    parser.add_argument("cache", metavar="C", help="path or URL of a cache")
    parser.add_argument("out", type=Path, metavar="X.h5", help="the file to write")
    as_of_flag(parser)


def run_export(arguments: argparse.Namespace, console: Console) -> None:
    """Write a cache as HDF5."""
    with files_kept(arguments.out), console.progress("export", "entries") as progress:
        opened = encash.open_cache(arguments.cache, version=arguments.as_of)
        entries = cache.export_hdf5(opened, arguments.out, progress=progress)
    console.facts({"entries": entries, "out": str(arguments.out), "bytes": arguments.out.stat().st_size})


def _import(commands: Any) -> None:
    parser = commands.add_parser("import", help="read an HDF5 cache into a Lance cache")
    command(parser, run_import, "cache import cache.h5 cache.lance --trust")
    parser.add_argument("source", type=Path, metavar="X.h5", help="the file, as `encash cache export` writes it")
    parser.add_argument("cache", metavar="C", help="path or URL of the cache that receives the entries (.lance)")
    parser.add_argument(
        "--trust", action="store_true", help="accept a file without provenance; it is marked unverified"
    )
    dtype_flags(parser, "the file's")


def run_import(arguments: argparse.Namespace, console: Console) -> None:
    """Read HDF5 into a cache."""
    with entries_kept(arguments.cache), console.progress("import", "entries") as progress:
        entries = cache.import_hdf5(
            arguments.source,
            arguments.cache,
            trust=arguments.trust,
            dtype=arguments.dtype,
            least_agreement=cache.LEAST_AGREEMENT if arguments.least_agreement is None else arguments.least_agreement,
            progress=progress,
        )
    console.facts(
        {"entries": entries, "cache": arguments.cache, "verified": encash.open_cache(arguments.cache).verified}
    )


def _compact(commands: Any) -> None:
    parser = commands.add_parser("compact", help="join small fragments and limit the history")
    command(parser, run_compact, "cache compact cache.lance")
    parser.add_argument("cache", metavar="C", help="path or URL of a cache")
    parser.add_argument(
        "--keep-versions", type=int, default=20, metavar="N", help="keep the last N versions and all tagged ones (20)"
    )


def run_compact(arguments: argparse.Namespace, console: Console) -> None:
    """Join fragments and limit the history."""
    opened = encash.open_cache(arguments.cache)
    with console.progress("compact", "entries") as progress:
        report = opened.compact(keep_versions=arguments.keep_versions, progress=progress)
    console.facts(asdict(report))


def _versions(commands: Any) -> None:
    parser = commands.add_parser("versions", help="list the versions that can still be opened")
    command(parser, run_versions, "cache versions cache.lance --tag before-restatement")
    parser.add_argument("cache", metavar="C", help="path or URL of a cache")
    parser.add_argument("--tag", metavar="NAME", help="name the newest version, so that it is kept")


def run_versions(arguments: argparse.Namespace, console: Console) -> None:
    """Print the versions of a cache."""
    opened = encash.open_cache(arguments.cache)
    if arguments.tag is not None:
        opened.tag(arguments.tag)
    versions = plain([asdict(version) for version in opened.versions()])
    console.result({"versions": versions}, table_lines(versions))


def _rollback(commands: Any) -> None:
    parser = commands.add_parser("rollback", help="return to the newest version that is whole, or to a given one")
    command(parser, run_rollback, "cache rollback cache.lance --to 12")
    parser.add_argument("cache", metavar="C", help="path or URL of a cache")
    parser.add_argument(
        "--to", type=int, metavar="VERSION", help="as `encash cache versions` lists them (newest whole)"
    )


def run_rollback(arguments: argparse.Namespace, console: Console) -> None:
    """Make an earlier version the newest."""
    console.facts(asdict(store.rollback(arguments.cache, arguments.to)))
