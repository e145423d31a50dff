"""``picks``: list the filtered, ranked top-k of one day."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from encash import backtest
from encash.cli.backtest import configuration, entries_line, open_inputs, warn_of_prices
from encash.cli.console import Console, Parser
from encash.cli.flags import command, day, setting_flags, source_flags, universe_flags

if TYPE_CHECKING:
    import numpy as np

LATEST = "latest"
_SHOWN = ("ticker", "forecast", "confidence", "cluster", "weight")


def register(parser: Parser) -> None:
    """Add the flags."""
    command(
        parser,
        run_picks,
        "picks --date latest --data features.h5 --prices prices.h5 --cache cache.lance --clusters clusters",
        about="Without --data, entries are served without a comparison with the present data, and the answer says so.",
    )
    parser.add_argument(
        "--date", type=_date, required=True, metavar="DAY", help="a session, or latest: the last one with entries"
    )
    source_flags(parser.add_argument_group("inputs"))
    universe_flags(parser.add_argument_group("stocks"))
    setting_flags(parser.add_argument_group("look-ahead and missing entries"), "checks")


def run_picks(arguments: argparse.Namespace, console: Console) -> None:
    """Print the picks of one day."""
    from encash.cache import staleness

    inputs = open_inputs(arguments, console)
    date = backtest.latest_session(inputs) if isinstance(arguments.date, str) else arguments.date
    table, stats = backtest.picks_of_day(configuration(arguments), inputs, date), inputs.lookup.stats
    chosen = table.picked_first()
    columns = (getattr(chosen, name).tolist() for name in _SHOWN)
    values = {
        "date": str(date),
        "candidates": len(table),
        "kept": int(table.kept.sum()),
        "staleness": staleness(stats),
        "stale": stats.stale,
        "age_sessions": int((inputs.prices.days > date).sum()),
        "ranking_prices": backtest.ranking_prices_of(inputs),
        "picks": [dict(zip(_SHOWN, row, strict=True)) for row in zip(*columns, strict=True)],
    }
    warn_of_prices(values, console)
    console.result(values, _lines(values))


def _lines(values: dict[str, Any]) -> list[str]:
    """Format the picks: what was kept, the state of the entries, one line per pick."""
    age = values["age_sessions"]
    newest = "of the last session" if age == 0 else f"{age:,} session{'s' if age > 1 else ''} before the last one"
    return [
        f"{values['date']}: {values['kept']} of {values['candidates']} candidates kept",
        f"entries {newest} of the prices; {entries_line(values)}",
        *(
            f"{row['ticker']:<8}  forecast {row['forecast']:+.3%}  confidence {row['confidence']:.3f}  "
            f"cluster {row['cluster']}  weight {row['weight']:.1%}"
            for row in values["picks"]
        ),
    ]


def _date(text: str) -> np.datetime64 | str:
    """Parse a day, or the word latest."""
    return LATEST if text == LATEST else day(text)
