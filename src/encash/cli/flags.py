"""The flags that several commands share, and the types of what flags take. Knows argparse; imports no room before
a command runs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encash.arrays import to_day
from encash.cli.console import Handler, Parser
from encash.clusters.filters.registry import FILTERS, filter_names, is_filter
from encash.errors import InputError

if TYPE_CHECKING:
    from encash.cache import Selection


def command(commands: Any, name: str, text: str, example: str, handler: Handler, *, about: str | None = None) -> Parser:
    """Add a command: what it does in a line, an example without ``encash``, and the flags that every command has."""
    epilog = f"example:\n  encash {example}"
    parser: Parser = commands.add_parser(name, help=text, description=about, epilog=epilog)
    common(parser)
    parser.set_defaults(handler=handler)
    return parser


def common(parser: argparse.ArgumentParser) -> None:
    """The flags that every command has."""
    parser.add_argument("--json", action="store_true", help="print exactly one JSON object on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def range_flags(parser: argparse.ArgumentParser) -> None:
    """Which days and tickers a command works on."""
    parser.add_argument("--months", type=int, metavar="N", help="the last N months, of 30 calendar days each")
    parser.add_argument("--start", type=day, metavar="DAY")
    parser.add_argument("--end", type=day, metavar="DAY")
    parser.add_argument("--tickers", metavar="A,B|@FILE", help="these tickers alone")
    parser.add_argument(
        "--num-stocks", type=int, metavar="N", help="the last N by name; with --skip, N counted from there"
    )
    parser.add_argument(
        "--skip",
        type=int,
        default=None,
        metavar="N",
        help="without the first N by name; --num-stocks then counts from there",
    )


def selection(arguments: argparse.Namespace) -> Selection:
    """The range flags as a value."""
    from encash.cache import Selection

    return Selection(
        start=arguments.start,
        end=arguments.end,
        months=arguments.months,
        tickers=ticker_list(arguments.tickers),
        num_stocks=arguments.num_stocks,
        skip=arguments.skip,
    )


def model_flags(parser: argparse.ArgumentParser) -> None:
    """How a model is run."""
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (auto)")
    parser.add_argument(
        "--engine",
        default="auto",
        help="what runs a .pt: torch, onnxruntime (auto: the cache's, else by the measurement of --precision)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        help="float32, medium, bfloat16, int8 (auto: the cache's, else the fastest that agrees with float32; given, "
        "auto's engine is torch)",
    )
    parser.add_argument(
        "--lookback",
        type=int,
        default=None,
        metavar="L",
        help="sessions in a window (the cache's, if it was built from this model; the model's own, else 60)",
    )
    parser.add_argument("--pooling", choices=("mean", "last", "cls"), default=None, help="(the cache's, else mean)")
    parser.add_argument("--bin-edges", type=Path, default=None, help="bin edges of a classification checkpoint")
    parser.add_argument(
        "--ensemble-models", nargs="+", default=[], metavar="M", help="further models; forecasts are averaged"
    )


def dtype_flags(parser: argparse.ArgumentParser, usual: str) -> None:
    """How the vectors of a new cache are kept, and what must be left of them."""
    parser.add_argument("--dtype", choices=("float32", "float16", "int8"), default=None, help=usual)
    parser.add_argument(
        "--least-agreement",
        type=_share,
        default=None,
        metavar="SHARE",
        help="of clusters, distances and picks that a new cache narrower than float32 must keep (0.99)",
    )


def as_of_flag(parser: Any) -> None:
    """Which version of a cache is read."""
    parser.add_argument(
        "--as-of",
        type=_version,
        default=None,
        metavar="VERSION|TAG",
        help="read the cache as it was (the newest; `encash cache versions` lists them)",
    )


def source_flags(sources: Any) -> None:
    """What a backtest reads."""
    sources.add_argument(
        "--data",
        type=Path,
        default=None,
        metavar="F",
        help="features, HDF5; lets it find stale entries and encode misses",
    )
    sources.add_argument(
        "--clusters", type=Path, default=None, metavar="DIR", help="a folder of clusters fit and rank, or of walk"
    )
    sources.add_argument("--prices", type=Path, required=True, metavar="P", help="prices, HDF5")
    sources.add_argument(
        "--cache", default=None, metavar="C", help=".lance, .h5 or a URL; without it every entry is encoded live"
    )
    as_of_flag(sources)
    sources.add_argument("--model", default=None, metavar="M", help="loaded only where an entry is missing or stale")
    sources.add_argument("--no-model", action="store_true", help="refuse misses instead of encoding them")
    model_flags(sources)


def universe_flags(chosen: Any) -> None:
    """Which stocks may be picked."""
    setting_flags(chosen, "stocks")
    chosen.add_argument(
        "--filter",
        type=filter_name,
        default=None,
        metavar="NAME",
        help="; ".join(f"{name}: {one.keeps}" for name, one in FILTERS.items())
        + "; none; module:attribute of your own (hard with --clusters, else none)",
    )
    chosen.add_argument(
        "--keep", type=float, default=None, metavar="SHARE", help="share kept by the filters nearest (0.3) and random"
    )
    chosen.add_argument("--tickers", default=None, metavar="A,B|@FILE", help="these alone (all with prices)")
    chosen.add_argument(
        "--membership",
        type=Path,
        default=None,
        metavar="CSV",
        help="members by day: ticker,from,until (all with prices)",
    )


def setting_flags(parser: Any, group: str) -> None:
    """Add the flags of the settings of a backtest in a group: "stocks", "money" or "honesty"."""
    from encash.backtest.inputs.config import BacktestConfig, settings

    kinds: dict[str, dict[str, Any]] = {
        "count": {"type": int},
        "number": {"type": float},
        "switch": {"action": "store_true"},
        "text": {"nargs": "?", "const": "allowed on the command line"},
        "day": {"type": day, "metavar": "DAY"},
    }
    for name, declared in settings().items():
        if declared.group != group:
            continue
        default = getattr(BacktestConfig, name)
        shown = "" if default is None or declared.kind == "switch" else f" ({default})"
        options = kinds.get(declared.kind) or {"choices": declared.choices}
        if declared.metavar:
            options = {**options, "metavar": declared.metavar}
        text = (declared.help + shown).replace("%", "%%")
        parser.add_argument(f"--{name.replace('_', '-')}", default=default, help=text, **options)


def beside_flags(parser: Any) -> None:
    """What is run beside the run."""
    parser.add_argument("--num-trials", type=count, default=1, metavar="N", help="also run N seeds → trials.csv (1)")
    parser.add_argument(
        "--compare",
        type=count,
        nargs="?",
        const=200,
        default=0,
        metavar="DRAWS",
        help="also run what it must beat: no filter, DRAWS random filters, shuffled clusters, phases, lag (200)",
    )


def day(text: str) -> np.datetime64:
    """The type of a flag that takes a day."""
    try:
        return to_day(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def filter_name(text: str) -> str:
    """The type of a flag that takes a filter."""
    if not is_filter(text):
        raise argparse.ArgumentTypeError(
            f"unknown filter {text!r}: expected {', '.join(filter_names())} or module:attribute"
        )
    return text


def count(text: str) -> int:
    """The type of a flag that takes a number of things."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} came; expected a whole number of 1 or more")
    return number


def _share(text: str) -> float:
    """The type of a flag that takes a share."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; give a number from 0 to 1")
    return share


def _version(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def ticker_list(text: str | None) -> tuple[str, ...] | None:
    """``A,B`` or ``@FILE`` with one ticker a line, blank lines and # comments; None where the flag was not given.

    Raises:
        InputError: the file is not there or names no ticker.

    >>> ticker_list("AAPL,BRK.B")
    ('AAPL', 'BRK.B')
    """
    if text is None:
        return None
    if text.startswith("@"):
        try:
            with open(text[1:], encoding="utf-8-sig") as file:  # some editors begin a text with a mark
                names = [re.split(r"(?:^|\s)#", line)[0] for line in file]
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InputError(
                f"cannot read the tickers from {text[1:]}: {reason}; give a text file, one a line"
            ) from None
    else:
        names = text.split(",")
    tickers = tuple(name.strip() for name in names if name.strip())
    if not tickers:
        raise InputError(f"{text!r} names no ticker; give A,B,C or @FILE with one ticker a line")
    return tickers
