"""``similar``: find the past entries nearest to one, and what happened after them."""

from __future__ import annotations

import argparse
import math
from typing import Any

import encash
from encash import clusters, pipeline
from encash.cli.console import Console, Parser, settled_line
from encash.cli.flags import command, count, day, delisting_flag
from encash.input_files import path_or_url


def register(parser: Parser) -> None:
    """Add the flags."""
    command(parser, run_similar, "similar AAPL 2020-03-16 --cache cache.lance --prices prices.h5")
    parser.add_argument("ticker", metavar="TICKER", help="as the cache spells it")
    parser.add_argument("day", type=day, metavar="DAY", help="a session with an entry, YYYY-MM-DD")
    parser.add_argument("--cache", metavar="C", help="(the only *.lance of the working folder)")
    parser.add_argument("--prices", type=path_or_url, metavar="P", help="to show what happened next")
    parser.add_argument("--count", type=count, default=10, metavar="N", help="neighbors (10)")
    parser.add_argument(
        "--embargo",
        type=int,
        default=20,
        metavar="N",
        help="leave out this many sessions before DAY, of the prices if given, else of the cache (20)",
    )
    parser.add_argument(
        "--apart",
        type=count,
        default=20,
        metavar="N",
        help="of the days of one ticker that are fewer sessions apart, list only the nearest; 1 lists all (20)",
    )
    delisting_flag(parser)


def run_similar(arguments: argparse.Namespace, console: Console) -> None:
    """Print the neighbors and their forward returns."""
    import numpy as np

    cache = encash.open_cache(arguments.cache or pipeline.the_only_cache())
    prices = None if arguments.prices is None else encash.open_prices(arguments.prices)
    sessions = cache.index().days if prices is None else prices.days
    before = clusters.last_known_day(sessions, arguments.day, arguments.embargo)
    near = pipeline.find_similar(
        cache,
        arguments.ticker,
        arguments.day,
        before=before,
        count=arguments.count,
        sessions=sessions,
        apart=arguments.apart,
    )
    horizons = () if prices is None else cache.spec.horizons or (5,)
    returns, concerned = np.empty((len(near), 0)), 0
    if prices is not None:
        known = prices.as_of(arguments.day)  # only returns known on the day
        returns = clusters.neighbor_returns(near, known, horizons, delisting=arguments.delisting)
        concerned = int(clusters.settled_neighbors(near, known, horizons).any(axis=1).sum())
    rows: list[dict[str, Any]] = [
        {
            "date": str(when),
            "ticker": str(ticker),
            "distance": float(distance),
            "returns": [None if math.isnan(value) else float(value) for value in after],
        }
        for when, ticker, distance, after in zip(near.days, near.tickers, near.distance, returns, strict=True)
    ]
    head = "date        ticker    distance  " + "  ".join(f"{horizon:>2} later" for horizon in horizons)
    text = [
        f"{row['date']}  {row['ticker']:<8}  {row['distance']:8.4f}  "
        + "  ".join("       –" if value is None else f"{value:+8.2%}" for value in row["returns"])
        for row in rows
    ]
    if concerned:
        text += ["", settled_line(concerned, len(near), arguments.delisting)]
    values = {"horizons": list(horizons), "before": str(before), "neighbours": rows, "settled": concerned}
    console.result(values, [head, *text])
