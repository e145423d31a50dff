"""``picks``: list the filtered, ranked top-k of one day."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import encash.backtest as engine
from encash import api
from encash.cli.backtest import configuration, entries_line, warn_of_prices
from encash.cli.console import Console, Parser, table_lines
from encash.cli.flags import command, day, groups_flag, setting_flags, source_flags, universe_flags
from encash.cli.keywords import check_groups, input_keywords, setting_keywords
from encash.errors import InputError
from encash.input_files import path_or_url

if TYPE_CHECKING:
    import numpy as np

SHOWN_ONLY = Path("-")
COST_SETTINGS = ("buy_fee", "sell_fee", "slippage", "fixed_fee", "cost_model")


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_picks,
        "picks --date latest --data features.h5 --prices prices.h5 --cache cache.lance --clusters clusters\n"
        "  encash picks --date latest … --orders orders.csv --positions positions.csv --cash 2500",
        about="Without --data, entries are served without a comparison with the present data, and the answer says so.",
    )
    parser.add_argument(
        "--date", type=_date, required=True, metavar="DAY", help="a session, or latest: the last one with entries"
    )
    source_flags(parser.add_argument_group("inputs"))
    stocks = parser.add_argument_group("stocks")
    universe_flags(stocks)
    groups_flag(stocks)
    setting_flags(parser.add_argument_group("look-ahead and missing entries"), "checks")
    trades = parser.add_argument_group("orders", "in whole shares, at the prices of the day")
    trades.add_argument(
        "--orders",
        type=Path,
        nargs="?",
        const=SHOWN_ONLY,
        metavar="CSV",
        help="list the orders that lead from the positions to the picks, and write them to a file if one is given",
    )
    trades.add_argument("--positions", type=path_or_url, metavar="FILE", help="what is held: ticker,shares (nothing)")
    trades.add_argument("--cash", type=float, default=0.0, metavar="AMOUNT", help="beside the positions (0)")
    trades.add_argument(
        "--spreadsheet",
        action="store_true",
        help="also write the file of orders as NAME_spreadsheet.csv, in which tickers such as =A1 and -X are text",
    )
    setting_flags(trades, "money", only=COST_SETTINGS)


def run_picks(arguments: argparse.Namespace, console: Console) -> None:
    """Print the picks of one day."""
    config = configuration(arguments)
    if config.short != "none" and arguments.orders is not None:
        raise InputError("--orders does not sell short; leave --orders or --short out")
    if arguments.spreadsheet and arguments.orders in (None, SHOWN_ONLY):
        raise InputError("--spreadsheet is for a file of orders; give --orders CSV too")
    check_groups(arguments, config)
    chosen = api.picks(date=arguments.date, **input_keywords(arguments, console), **setting_keywords(arguments))
    values = chosen.to_json()
    warn_of_prices(values, console)
    orders: list[str] = []
    if arguments.orders is not None:
        found = _orders(arguments, chosen.date, {row["ticker"]: row["weight"] for row in values["picks"]})
        values |= {
            "orders": [{**asdict(one), "value": one.value} for one in found.orders],
            "account_value": found.value,
            "cash_after": found.cash_after,
            "unpriced_positions": list(found.kept),
        }
        orders = _order_lines(found)
    elif arguments.positions is not None or arguments.cash:
        raise InputError("--positions and --cash are for --orders; give that too")
    console.result(values, [*_lines(values), *orders])


def _orders(arguments: argparse.Namespace, date: np.datetime64, weights: dict[str, float]) -> engine.OrderList:
    """Make the orders of a day at its raw prices, as far as they are known, and write them if a file is named."""
    import encash
    from encash.atomic_write import write_whole

    table = encash.open_prices(arguments.prices, columns=("raw_close",))
    row = int(table.days.searchsorted(date))
    closes = (table.close if table.raw_close is None else table.raw_close)[row].tolist()
    found = engine.make_orders(
        weights,
        {} if arguments.positions is None else engine.read_positions(arguments.positions),
        {ticker: price for ticker, price in zip(table.tickers, closes, strict=True) if not math.isnan(price)},
        cash=arguments.cash,
        costs=configuration(arguments).costs(),
    )
    if arguments.orders != SHOWN_ONLY:
        write_whole(arguments.orders, found.to_csv().encode())
        if arguments.spreadsheet:
            beside = arguments.orders.with_name(f"{arguments.orders.stem}_spreadsheet.csv")
            write_whole(beside, found.to_csv(spreadsheet=True).encode())
    return found


def _order_lines(found: engine.OrderList) -> list[str]:
    """Format the orders of a day."""
    return [
        "",
        *(f"{one.side:<4} {one.shares:>8,} {one.ticker:<8} at {one.price:,.2f}" for one in found.orders),
        *(f"keep          {ticker:<8} without a price on this day" for ticker in found.kept),
        f"account {found.value:,.2f}, cash after the orders {found.cash_after:,.2f}",
    ]


def _lines(values: dict[str, Any]) -> list[str]:
    """Format the picks: what was kept, the state of the entries, and a table in the order of the score."""
    age = values["age_sessions"]
    picks = values["picks"]
    columns = [distinct_percents([row[name] for row in picks]) for name in ("score", "forecast")]
    newest = "of the last session" if age == 0 else f"{age:,} session{'s' if age > 1 else ''} before the last one"
    return [
        f"{values['date']}: {values['kept']} of {values['candidates']} candidates kept",
        f"entries {newest} of the prices; {entries_line(values)}",
        *(["by score, which is forecast × confidence; equal scores by ticker"] if picks else ["no picks"]),
        *table_lines(
            [
                {
                    "ticker": row["ticker"],
                    "score": score,
                    "forecast": forecast,
                    "confidence": f"{row['confidence']:.3f}",
                    "cluster": row["cluster"],
                    "weight": f"{row['weight']:.1%}",
                }
                for row, score, forecast in zip(picks, *columns, strict=True)
            ]
        ),
    ]


def distinct_percents(values: Sequence[float]) -> list[str]:
    """Format fractions with as many digits, 3 to 9, as it takes to see which of them differ.

    >>> distinct_percents([0.0024131, 0.0024128]), distinct_percents([0.01, 0.01])
    (['+0.24131%', '+0.24128%'], ['+1.000%', '+1.000%'])
    """
    for digits in range(3, 10):
        text = [f"{value:+.{digits}%}" for value in values]
        if len(set(text)) == len(set(values)):
            break
    return text


def _date(text: str) -> np.datetime64 | str:
    """Parse a day, or the word latest."""
    if text == api.LATEST:
        return api.LATEST
    try:
        return day(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {api.LATEST}") from None
