"""Adjustment follows stated rules, and contradictions are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encash.errors import FormatError
from encash.panel.adjustment import Basis, VendorColumns, adjust, remarks
from tests.panel import vendors
from tests.panel.vendors import STYLES, stock


def columns(prices: Basis = Basis.RAW, volumes: Basis = Basis.RAW, **values: list[float]) -> VendorColumns:
    arrays = {role: np.array(one, dtype=float) for role, one in values.items()}
    ticker = np.zeros(len(arrays["close"]), dtype=np.int64)
    return VendorColumns(values=arrays, ticker=ticker, prices=prices, volumes=volumes)


def test_a_dividend_and_a_split_by_hand():
    """Factor of CRSP: 2 paid after a close of 100 scales the past by 0.98; a 4:1 split by a quarter."""
    found = adjust(columns(close=[100, 99, 25], dividend=[0, 2, 0], split=[0, 1, 4], volume=[10, 20, 80]))
    np.testing.assert_allclose(found["close"], [100 * 0.98 / 4, 99 / 4, 25])
    assert found["raw_close"].tolist() == [100, 99, 25]
    assert found["volume"].tolist() == [40, 80, 80]
    assert found["raw_volume"].tolist() == [10, 20, 80]
    assert found["dollars"].tolist() == [1000, 1980, 2000]


def test_a_dividend_on_the_day_of_a_split_is_per_new_share():
    """Two for one, and 1 per new share: after 100 per old share, the past is scaled by (1 − 2/100) / 2."""
    found = adjust(columns(close=[100, 49], dividend=[0, 1], split=[1, 2]))
    np.testing.assert_allclose(found["close"], [49, 49])


def test_the_return_over_an_ex_date_is_the_total_return():
    """Adjusted closes grow by price change plus dividend, reinvested at the close before."""
    one = stock(3, 60, {20: (1.0, 0.7)})
    close, adjusted = one.raw["close"], adjust(vendors.raw_with_events(one))["close"]
    assert adjusted[20] / adjusted[19] == pytest.approx(close[20] / (close[19] - 0.7))
    assert adjusted[-1] == close[-1]


def test_an_event_on_a_day_without_a_trade_counts_from_the_last_close():
    """A dividend on a day without a close refers to the last known close of that ticker."""
    found = adjust(columns(close=[100, np.nan, 50], dividend=[0, 10, 0], split=[1, 1, 1]))
    np.testing.assert_allclose(found["close"], [90, np.nan, 50])


def test_tickers_do_not_touch_each_other():
    """Two tickers in one table are adjusted as each one by itself."""
    one, other = (stock(seed, 50, {20: (2.0, 0.0), 30: (1.0, 0.4)}) for seed in (1, 2))
    for style in STYLES.values():
        parts = [style(one), style(other.until(40))]
        both = VendorColumns(
            values={role: np.concatenate([part.values[role] for part in parts]) for role in parts[0].values},
            ticker=np.repeat([0, 1], [50, 40]),
            prices=parts[0].prices,
            volumes=parts[0].volumes,
        )
        found, apart = adjust(both), [adjust(part) for part in parts]
        assert found.keys() == apart[0].keys()
        for role, values in found.items():
            np.testing.assert_array_equal(values, np.concatenate([part[role] for part in apart]))


KNOWN = {
    "raw_with_events": {"volume", "raw_close", "raw_volume", "dollars"},
    "tiingo": {"volume", "raw_close", "raw_volume", "dollars"},
    "forward_factor": {"volume", "raw_close", "raw_volume", "dollars"},
    "backward_factor": {"volume", "raw_close", "raw_volume", "dollars"},
    "yahoo": {"volume", "dollars"},
    "split_with_dividends": {"volume", "dollars"},
    "yahoo_auto": {"volume"},
    "adjusted_only": {"raw_volume"},
    "unknown": {"volume"},
}


@pytest.mark.parametrize("name", STYLES)
def test_what_is_known_of_each_style(name):
    """Total-return prices from every style; raw columns and dollars only where they are known."""
    one = stock(5, 80, {20: (2.0, 0.0), 40: (1.0, 0.5)})
    found = adjust(STYLES[name](one))
    assert found.keys() == {"open", "high", "low", "close"} | KNOWN[name]
    for role in ("open", "high", "low", "close"):
        np.testing.assert_allclose(found[role], one.raw[role] * one.total_factor, rtol=1e-12)
    if "dollars" in found:
        np.testing.assert_allclose(found["dollars"], one.raw["close"] * one.volume, rtol=1e-12)


def test_raw_prices_of_an_unknown_basis_are_found_at_their_splits():
    """Closes that jump against the splits are raw: splits are applied, dividends are not, and no dollars are made."""
    one = stock(5, 80, {20: (2.0, 0.0), 40: (1.0, 0.5)})
    found = adjust(vendors.unknown_raw_with_events(one))
    np.testing.assert_allclose(found["close"], one.raw["close"] * one.split_factor)
    assert "dollars" not in found
    smooth = replace(vendors.yahoo_auto(one), prices=Basis.UNKNOWN)
    np.testing.assert_array_equal(adjust(smooth)["close"], smooth.values["close"])


def test_what_stays_unused_is_said():
    """Dividends of an unknown basis and a raw volume beside adjusted prices are named; nothing else is."""
    one = stock(5, 80, {20: (2.0, 0.0), 40: (1.0, 0.5)})
    said = {name: remarks(style(one)) for name, style in STYLES.items()}
    assert {name for name, lines in said.items() if lines} == {"adjusted_only"}
    assert "features of volumes are left out" in said["adjusted_only"][0]
    assert "1 dividends are not applied" in remarks(vendors.unknown_raw_with_events(one))[0]


REFUSED = {
    "raw prices that do not jump": (
        columns(close=[10, 10, 11], split=[1, 2, 1]),
        "taken as raw and should jump at its splits, but at 1 of 1 steps of the split they do the opposite, first "
        "ticker number 0 in row 2",
    ),
    "adjusted prices that jump": (
        columns(Basis.SPLIT, close=[10, 5, 5], split=[1, 2, 1]),
        "taken as split and should not jump",
    ),
    "a factor the other way around": (
        columns(close=[10, 5, 5], factor=[2, 1, 1]),
        "at 1 of 1 steps of the factor they do the opposite",
    ),
    "a factor for adjusted prices": (
        columns(Basis.FULL, close=[10, 5], factor=[1, 1]),
        "a factor for prices that are adjusted already",
    ),
    "no factor": (columns(close=[10, 5], factor=[1, np.nan]), "no factor above zero for ticker number 0 in row 2"),
    "a dividend of the whole price": (
        columns(close=[10, 5], dividend=[0, 10]),
        "the dividend of ticker number 0 in row 2 is 10 after a close of 10",
    ),
    "a negative split": (columns(close=[10, 5], split=[1, -2]), "the split of ticker number 0 in row 2 is -2"),
    "an open that cannot be adjusted": (
        VendorColumns(values={"open": np.ones(1), "adj_close": np.ones(1)}, ticker=np.zeros(1, dtype=np.int64)),
        "the table has open and an adjusted close only",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_contradictions_are_refused(name):
    """The message says what is wrong, and where."""
    table, message = REFUSED[name]
    with pytest.raises(FormatError) as caught:
        adjust(table)
    assert message in str(caught.value)


def test_a_message_names_ticker_and_day():
    """With names and days given, a refusal points at them."""
    table = replace(
        columns(close=[10, 5], dividend=[0, 10]), names=["AAPL"], days=np.array(["2024-01-02", "2024-01-03"], "M8[D]")
    )
    with pytest.raises(FormatError, match="'AAPL' on 2024-01-03"):
        adjust(table)
