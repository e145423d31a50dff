"""``similar``: the past entries that are nearest to one, and what came of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from encash.cli.console import Console
from encash.cli.flags import command, day


def register(commands: Any) -> None:
    """Add the command of this file."""
    parser = command(
        commands,
        "similar",
        "nearest past entries by embedding, and with --prices what happened next",
        "similar AAPL 2020-03-16 --cache cache.lance --prices prices.h5",
        run_similar,
    )
    parser.add_argument("ticker", metavar="TICKER")
    parser.add_argument("day", type=day, metavar="DAY")
    parser.add_argument("--cache", default=None, metavar="C", help="(the only *.lance of the working folder)")
    parser.add_argument("--prices", type=Path, default=None, metavar="P", help="to show what followed")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="neighbours (10)")
    parser.add_argument(
        "--embargo",
        type=int,
        default=20,
        metavar="N",
        help="sessions of the prices, else of the cache, before DAY that are left out (20)",
    )


def run_similar(arguments: argparse.Namespace, console: Console) -> int:
    """What looked like this before, and what came of it."""
    from encash import pipeline
    from encash.cache import open_cache
    from encash.clusters import last_known_day, neighbor_returns
    from encash.panel import open_prices

    cache = open_cache(arguments.cache or pipeline.the_only_cache())
    prices = None if arguments.prices is None else open_prices(arguments.prices)
    sessions = cache.index().days if prices is None else prices.days
    before = last_known_day(sessions, arguments.day, arguments.embargo)
    near = pipeline.find_similar(cache, arguments.ticker, arguments.day, before=before, count=arguments.count)
    horizons = () if prices is None else cache.spec.horizons or (5,)
    returns = np.empty((len(near), 0))
    if prices is not None:
        returns = neighbor_returns(near, prices.as_of(arguments.day), horizons)  # what was known on the day
    rows: list[dict[str, Any]] = [
        {
            "date": str(when),
            "ticker": str(ticker),
            "distance": float(distance),
            "returns": [None if np.isnan(value) else float(value) for value in after],
        }
        for when, ticker, distance, after in zip(near.days, near.tickers, near.distance, returns, strict=True)
    ]
    head = "date        ticker    distance  " + "  ".join(f"{horizon:>2} later" for horizon in horizons)
    text = [
        f"{row['date']}  {row['ticker']:<8}  {row['distance']:8.4f}  "
        + "  ".join("       –" if value is None else f"{value:+8.2%}" for value in row["returns"])
        for row in rows
    ]
    console.result({"horizons": list(horizons), "before": str(before), "neighbours": rows}, [head, *text])
    return 0
