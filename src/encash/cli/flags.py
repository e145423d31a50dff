"""Flags that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from encash import cache
from encash.cli.console import Handler, Parser, spec_of
from encash.errors import InputError, meant
from encash.input_files import path_or_url
from encash.text_files import read_lines

if TYPE_CHECKING:
    import numpy as np

    from encash.panel.tables import ReadOptions


def command(parser: Parser, handler: Handler, example: str, *, about: str | None = None) -> None:
    """Set up the parser of one command: its handler, an example without ``encash``, and the flags of all commands."""
    parser.description, parser.epilog = about, f"example:\n  encash {example}"
    common(parser)
    parser.set_defaults(handler=handler, parser=parser)


def common(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every command has."""
    parser.add_argument("--json", action="store_true", help="print exactly one JSON object on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr: warnings and errors only")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def reading_flags(parser: argparse._ActionsContainer) -> None:
    """Add the flags that say what a table of prices does not; `read_options` returns their values."""
    from encash.panel.untraded import ZeroVolume

    meanings = get_args(ZeroVolume)
    parser.add_argument(
        "--columns",
        type=_assignments,
        default={},
        metavar="ROLE=COLUMN,…",
        help="column of the table by role, like close=PRC,ticker=PERMNO (recognized)",
    )
    parser.add_argument("--ticker", metavar="T", help="ticker of a file that holds one stock (the name of the file)")
    parser.add_argument("--date-format", metavar="F", help="format of dates as text, like %%d/%%m/%%Y (recognized)")
    parser.add_argument(
        "--timezone", metavar="Z", help="zone of the exchange, like Asia/Tokyo: instants are days there (as written)"
    )
    parser.add_argument(
        "--sep", type=_separator, metavar="S", help="separator of a text file, like ; or \\t (recognized)"
    )
    parser.add_argument("--decimal", metavar="C", help="decimal mark of a text file, . or , (recognized)")
    parser.add_argument(
        "--zero-volume",
        choices=meanings,
        default=meanings[0],
        help="untraded: a bar with a volume of zero has no price and can be neither bought nor sold (untraded)",
    )


def read_options(arguments: argparse.Namespace) -> ReadOptions:
    """Return the values of `reading_flags`."""
    from encash.panel.tables import ReadOptions

    return spec_of(ReadOptions, arguments)


def _separator(text: str) -> str:
    return "\t" if text in ("\\t", "tab") else text


def _assignments(text: str) -> dict[str, str]:
    """Parse ``close=PRC,ticker=PERMNO``; a part without a sign belongs to the name before it."""
    found: dict[str, str] = {}
    role = ""
    for part in text.split(","):
        head, sign, column = part.partition("=")
        if sign:
            role = head.strip()
            found[role] = column
        elif role:
            found[role] += f",{part}"
    if not found or not all(name and column for name, column in found.items()):
        raise argparse.ArgumentTypeError(f"invalid columns {text!r}: expected ROLE=COLUMN,…, like close=PRC")
    return found


def range_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose days and tickers."""
    parser.add_argument("--months", type=int, metavar="N", help="the last N months of 30 calendar days each")
    parser.add_argument("--start", type=day, metavar="DAY", help="first day (the first session)")
    parser.add_argument("--end", type=day, metavar="DAY", help="last day (the last session)")
    parser.add_argument("--tickers", metavar="A,B|@FILE", help="only these tickers")
    parser.add_argument(
        "--num-stocks", type=int, metavar="N", help="the last N tickers by name; with --skip, the next N from there"
    )
    parser.add_argument(
        "--skip", type=int, metavar="N", help="leave out the first N tickers by name; --num-stocks counts from there"
    )


def selection(arguments: argparse.Namespace) -> cache.Selection:
    """Return the values of `range_flags`."""
    return spec_of(cache.Selection, arguments, tickers=ticker_list(arguments.tickers))


def model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how a model is run."""
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="windows per call of the model (measured with --precision)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (auto)")
    parser.add_argument(
        "--engine",
        default="auto",
        help="what runs a .pt: torch, onnxruntime (auto: the cache's, else by the measurement of --precision)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        help="float32, medium, float16, bfloat16, int8, int7 (auto: the cache's, else the fastest that agrees with "
        "float32; if given, the engine of auto is torch)",
    )
    parser.add_argument(
        "--lookback",
        type=int,
        metavar="L",
        help="sessions per window (the cache's if it was built from this model, else the model's, else 60)",
    )
    parser.add_argument("--pooling", choices=("mean", "last", "cls"), help="(the cache's, else mean)")
    parser.add_argument("--bin-edges", type=Path, help="bin edges of a classification checkpoint")
    bin_unit_flag(parser)
    parser.add_argument(
        "--model-config",
        type=Path,
        metavar="JSON",
        help="config of weights that have none: hidden_dim, num_layers, num_heads, pred_mode (config.json beside them)",
    )
    parser.add_argument(
        "--ignore-keys",
        nargs="+",
        default=[],
        metavar="NAME",
        help="weights of a checkpoint, or parts of its model like aux_head, that are left out (refused, if there are)",
    )
    parser.add_argument(
        "--ensemble-models", nargs="+", default=[], metavar="M", help="more models; their forecasts are averaged"
    )


def bin_unit_flag(parser: Any) -> None:
    """Add the flag that says what the numbers of the bin edges are."""
    parser.add_argument(
        "--bin-unit",
        choices=("return", "ratio", "percent"),
        help="unit of the bin edges: return (-0.25 to 0.25), ratio (0.75 to 1.25) or percent (-25 to 25); without it "
        "return or ratio, and edges that may be something else are refused. Forecasts are returns in any case",
    )


def encoder_flags(parser: Any) -> None:
    """Add the flags of the four legacy commands that say how a model is run."""
    parser.add_argument("--seq-len", dest="lookback", type=int, help="sessions in a window (the checkpoint's, else 60)")
    parser.add_argument("--engine", default="auto", help="torch, onnxruntime (the cache's, else torch)")
    parser.add_argument("--precision", default="auto", help="the cache's, else float32; the same for all four commands")
    bin_unit_flag(parser)


def dtype_flags(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the flags that say how a new cache stores vectors."""
    parser.add_argument("--dtype", choices=("float32", "float16", "int8"), help=f"type of stored vectors ({default})")
    parser.add_argument(
        "--least-agreement",
        type=_fraction,
        metavar="FRACTION",
        help="of clusters, distances and picks that a new cache narrower than float32 must preserve (0.99)",
    )


def as_of_flag(parser: Any) -> None:
    """Add the flag that chooses the version of a cache to read."""
    parser.add_argument(
        "--as-of",
        type=_version,
        metavar="VERSION|TAG",
        help="read this version of the cache (the newest; `encash cache versions` lists them)",
    )


def source_flags(sources: Any) -> None:
    """Add the flags that name the inputs of a backtest."""
    sources.add_argument(
        "--data",
        type=path_or_url,
        metavar="F",
        help="features, HDF5: a path or URL; needed to find stale entries and to encode misses",
    )
    sources.add_argument("--clusters", type=Path, metavar="DIR", help="a folder of clusters fit and rank, or of walk")
    sources.add_argument("--prices", type=path_or_url, required=True, metavar="P", help="prices, HDF5: a path or URL")
    sources.add_argument("--cache", metavar="C", help=".lance, .h5 or a URL; without it every entry is encoded live")
    as_of_flag(sources)
    sources.add_argument(
        "--encoders",
        type=Path,
        metavar="TOML",
        help="encoders that change with the years, each with its cache and clusters, instead of one",
    )
    sources.add_argument("--head", type=Path, metavar="HEAD", help="a folder of encash head fit: rank by its forecasts")
    sources.add_argument(
        "--scores",
        type=path_or_url,
        metavar="FILE",
        help="rank by scores of your own: CSV or Parquet with date, ticker, score; a path or URL",
    )
    sources.add_argument(
        "--average",
        nargs="+",
        default=[],
        metavar="C",
        help="rank by the mean of the forecasts of --cache and of these caches; no model is loaded for them",
    )
    sources.add_argument(
        "--average-by",
        choices=("value", "rank"),
        default="value",
        help="mean of the forecasts, or of their ranks on each day, if encoders differ in scale (value)",
    )
    sources.add_argument("--model", metavar="M", help="loaded only if an entry is missing or stale")
    sources.add_argument("--no-model", action="store_true", help="refuse misses instead of encoding them")
    model_flags(sources)


def universe_flags(universe: Any) -> None:
    """Add the flags that choose which stocks may be picked."""
    from encash.clusters.filters.registry import FILTERS

    setting_flags(universe, "stocks")
    universe.add_argument(
        "--filter",
        type=filter_name,
        metavar="NAME",
        help="; ".join(f"{name}: {one.keeps}" for name, one in FILTERS.items())
        + "; none; or your own, module:attribute (hard with --clusters, else none)",
    )
    keep_flag(universe)
    ticker_flags(universe)


def groups_flag(parser: Any) -> None:
    """Add the flag that names the group of each ticker."""
    parser.add_argument(
        "--groups",
        type=path_or_url,
        metavar="CSV",
        help="ticker,group, such as sectors: for --group-neutral, --max-per-group, and what bets on them explain",
    )


def ticker_flags(universe: Any) -> None:
    """Add the flags that choose the tickers of the universe."""
    universe.add_argument("--tickers", metavar="A,B|@FILE", help="only these (all with prices)")
    universe.add_argument(
        "--membership", type=path_or_url, metavar="CSV", help="members by day: ticker,from,until (all with prices)"
    )


def keep_flag(parser: Any) -> None:
    """Add the flag that says which share a filter keeps."""
    from encash.clusters.filters.registry import FILTERS

    names = " and ".join(name for name, one in FILTERS.items() if one.takes_share)
    parser.add_argument("--keep", type=float, metavar="FRACTION", help=f"kept by the filters {names}")


def setting_flags(parser: Any, group: str, *, only: tuple[str, ...] = ()) -> None:
    """Add the flags of one group of settings of a backtest: "stocks", "money" or "checks"; or only some of them."""
    from encash.backtest.inputs.config import BacktestConfig, settings

    options_of_kind: dict[str, dict[str, Any]] = {
        "count": {"type": int},
        "number": {"type": float},
        "switch": {"action": "store_true"},
        "day": {"type": day, "metavar": "DAY"},
    }
    for name, setting in settings().items():
        if setting.group != group or (only and name not in only):
            continue
        default = getattr(BacktestConfig, name)
        shown = "" if default is None or setting.kind == "switch" else f" ({default})"
        options = dict(
            options_of_kind.get(setting.kind, {"choices": None if setting.open else setting.choices or None})
        )
        if setting.metavar:
            options["metavar"] = setting.metavar
        if setting.bare:
            options |= {"nargs": "?", "const": setting.bare}
        text = (setting.help + shown).replace("%", "%%")
        parser.add_argument(f"--{name.replace('_', '-')}", default=default, help=text, **options)


def beside_flags(parser: Any) -> None:
    """Add the flags that request further runs for comparison."""
    parser.add_argument("--num-trials", type=count, default=1, metavar="N", help="also run N seeds → trials.csv (1)")
    parser.add_argument(
        "--compare",
        type=count,
        nargs="?",
        const=200,
        default=0,
        metavar="DRAWS",
        help="also run alternatives: no filter, DRAWS random filters or rankings, shuffled clusters, phases, lag (200)",
    )


def delisting_flag(parser: Any) -> None:
    """Add the flag that says what a ticker returns that stops trading within the horizon of a forward return."""
    from encash.metrics import DELISTING_POLICIES

    parser.add_argument(
        "--delisting",
        choices=DELISTING_POLICIES,
        default="last",
        help="price of a ticker that stops trading within the horizon, as of `encash backtest` (last)",
    )


def day(text: str) -> np.datetime64:
    """Parse a flag that takes a day."""
    from encash.arrays import to_day

    try:
        return to_day(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def filter_name(text: str) -> str:
    """Parse a flag that names a filter."""
    from encash.clusters.filters.registry import filter_names, is_filter

    if not is_filter(text):
        raise argparse.ArgumentTypeError(
            f"unknown filter {text!r}: expected {', '.join(filter_names())} or module:attribute"
            f"{meant(text, filter_names())}"
        )
    return text


def count(text: str) -> int:
    """Parse a flag that takes a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"invalid count {text!r}: expected a whole number of 1 or more")
    return int(text)


def _fraction(text: str) -> float:
    """Parse a flag that takes a fraction."""
    try:
        fraction = float(text)
    except ValueError:
        fraction = -1.0
    if not 0 <= fraction <= 1:
        raise argparse.ArgumentTypeError(f"invalid fraction {text!r}: expected a number from 0 to 1")
    return fraction


def _version(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def ticker_list(text: str | None) -> tuple[str, ...] | None:
    """Parse ``A,B`` or ``@FILE`` with one ticker per line, blank lines and # comments; None stays None.

    Raises:
        InputError: the file cannot be read, or no ticker is named.

    >>> ticker_list("AAPL,BRK.B")
    ('AAPL', 'BRK.B')
    """
    if text is None:
        return None
    if text.startswith("@"):
        lines = read_lines(text[1:], kind="file of tickers", expected="a text file with one ticker per line")
        names = [re.split(r"(?:^|\s)#", line)[0] for line in lines]
    else:
        names = text.split(",")
    tickers = tuple(name.strip() for name in names if name.strip())
    if not tickers:
        raise InputError(f"{text!r} names no ticker; give A,B,C or @FILE with one ticker per line")
    if strange := [ticker for ticker in tickers if not ticker.isprintable()]:
        raise InputError(f"the ticker {strange[0]!r} in {text!r} has an invisible character; write it again")
    return tickers
