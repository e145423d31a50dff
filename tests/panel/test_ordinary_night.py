"""An ordinary night: five dividends and a split among 403 stocks, and a ticker that leaves the file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from encash.arrays import UInt64
from encash.panel.features import FeatureConfig, feature_names, panel_features
from encash.panel.load import ArraySource
from encash.panel.panel import Panel
from encash.panel.tables import read_bars
from encash.panel.windows import window_grid
from tests.panel.vendors import STYLES, Stock, bars_of, rounded

PRICES = Path(__file__).parents[3] / "shared" / "data" / "nyse403.parquet"
pytestmark = pytest.mark.skipif(not PRICES.exists(), reason="the prices of 403 stocks are not here")
SESSIONS = 300
CONCERNED = 6
"""The first five tickers pay a dividend on the last day, the sixth splits 4:1."""


@cache
def market() -> dict[str, Stock]:
    """The last sessions of 403 stocks; the prices of the file count as raw."""
    stocks = {}
    for number, (ticker, bars) in enumerate(read_bars(PRICES).bars.items()):
        assert bars.open is not None and bars.high is not None and bars.low is not None and bars.volume is not None  # noqa: PT018  narrows the types
        raw = {"open": bars.open, "high": bars.high, "low": bars.low, "close": bars.close}
        split, dividend = np.ones(SESSIONS), np.zeros(SESSIONS)
        dividend[-1] = 0.012 * bars.close[-1] if number < CONCERNED - 1 else 0
        split[-1] = 4.0 if number == CONCERNED - 1 else 1.0
        stocks[ticker] = Stock(
            days=bars.days[-SESSIONS:],
            raw={role: column[-SESSIONS:] / np.cumprod(split) for role, column in raw.items()},
            volume=np.round(bars.volume[-SESSIONS:]) * np.cumprod(split),
            split=split,
            dividend=dividend,
        )
    return stocks


def digests(style, stocks: dict[str, Stock], config: FeatureConfig, *, digits: int | None = None) -> dict[str, UInt64]:
    """The digest of every window of 60 sessions of each ticker."""
    bars = {}
    for ticker, one in stocks.items():
        shipped = style(one)
        bars[ticker] = bars_of(shipped if digits is None else rounded(shipped, digits), one.days)
    rows = {ticker: (days, values) for ticker, days, values in panel_features(bars, config)}
    panel = Panel(ArraySource(rows, feature_names(next(iter(bars.values())), config)))
    grid = window_grid(panel.rows(), panel.sessions, 60)
    return {ticker: grid.digest[:, n] for n, ticker in enumerate(grid.tickers)}


def stale(before: dict[str, UInt64], after: dict[str, UInt64]) -> list[str]:
    """The tickers with an entry of before that is stale."""
    return [ticker for ticker, old in before.items() if ticker in after and (after[ticker][: len(old)] != old).any()]


def yesterday() -> dict[str, Stock]:
    return {ticker: one.until(SESSIONS - 1) for ticker, one in market().items()}


@pytest.mark.parametrize("style", ["raw_with_events", "forward_factor", "yahoo_auto"])
def test_no_entry_is_stale_after_five_dividends_and_a_split(style):
    """Raw prices with events or factors, and adjusted prices that are not rounded: every entry stays valid."""
    before, after = (digests(STYLES[style], some, FeatureConfig()) for some in (yesterday(), market()))
    assert len(before) == 403
    assert all((old != 0).any() for old in before.values())
    assert stale(before, after) == []


def test_rounded_prices_make_entries_of_the_tickers_concerned_stale():
    """Adjusted prices in four decimals: entries of tickers with an event become stale, and no others."""
    style = STYLES["unknown"]
    before, after = (digests(style, some, FeatureConfig(), digits=4) for some in (yesterday(), market()))
    assert set(stale(before, after)) <= set(list(market())[:CONCERNED])
    assert stale(before, after)


def test_a_ticker_that_leaves_the_file_makes_no_other_entry_stale():
    """One ticker fewer: all entries of the 402 others are valid."""
    fewer = {ticker: one for ticker, one in market().items() if ticker != next(iter(market()))}
    whole = digests(STYLES["unknown"], market(), FeatureConfig())
    assert stale(whole, digests(STYLES["unknown"], fewer, FeatureConfig())) == []
