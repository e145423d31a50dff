"""Suspicious data of a price table: each kind is found by ticker and day, nothing is repaired, clean data is clean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.cli import main
from encash.errors import FormatError, InputError
from encash.panel import Bars, FeatureConfig, open_panel, open_prices, prepare
from encash.panel.health import Health, measure_health
from encash.panel.panel import PRICE_COLUMNS
from encash.panel.tables import ReadOptions
from encash.panel.toy import business_days, toy_panel
from encash.panel.untraded import TradedBars, is_untraded, traded_bars
from encash.panel.write import write_prices

SMALL = FeatureConfig(spans=(1, 2, 5), scale_span=5)
TODAY = np.datetime64("2024-06-01")


def walk(seed: int = 0, count: int = 200, *, volatility: float = 0.01, ohlc: bool = True, start="2023-01-02") -> Bars:
    """A random walk on business days with opens, highs, lows and volumes."""
    random = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(volatility * random.normal(size=count)))
    days = business_days(start, count)
    if not ohlc:
        return Bars(days=days, close=close)
    opened = np.concatenate([close[:1], close[:-1]]) * np.exp(0.002 * random.normal(size=count))
    high, low = 1.002 * np.maximum(opened, close), 0.998 * np.minimum(opened, close)
    volume = np.round(1e6 * np.exp(random.normal(size=count)))
    return Bars(days=days, close=close, open=opened, high=high, low=low, volume=volume)


def scaled(bars: Bars, rows, factor: float) -> Bars:
    """The same bars with all prices of some rows multiplied."""
    prices = {
        name: getattr(bars, name).copy() for name in ("open", "high", "low", "close") if getattr(bars, name) is not None
    }
    for column in prices.values():
        column[rows] *= factor
    return Bars(days=bars.days, volume=bars.volume, **prices)


def health_of(*bars: Bars, **options) -> Health:
    named = {f"T{number}": own for number, own in enumerate(bars)}
    return measure_health(traded_bars(named), today=TODAY, **options)


def found(health: Health) -> dict[str, int]:
    """Counts of what is suspicious."""
    return {name: finding.count for name, finding in health.findings.items() if finding.suspicious}


def test_the_days_of_all_cases_are_in_the_prices_file(tmp_path: Path) -> None:
    """Those of each finding, if they fit an attribute; a finding with too many is not located, and the file is
    written all the same. Malformed days are refused by name."""
    bars = scaled(scaled(walk(count=300), slice(50, None), 3.0), slice(200, None), 1 / 3)
    summary = health_of(bars).summary()
    moves = [[int(bars.days[at].astype(int))] * 2 for at in (50, 200)]
    assert summary["spans"]["largest_moves"] == {"T0": moves}
    zero = {f"T{number}": bars.days for number in range(40)}
    many = TradedBars(bars={"T0": bars}, zero_volume=zero, left_out=0, without_volume=())
    summary = measure_health(many, today=TODAY).summary()
    assert summary["zero_volume"]["count"] == 12_000
    assert "zero_volume" not in summary["spans"]
    write_prices(tmp_path / "p.h5", many.bars.items(), health=summary)
    assert open_prices(tmp_path / "p.h5").health == summary
    malformed: list[Any] = [
        [],
        {"gaps": []},
        {"gaps": {"T0": [1]}},
        {"gaps": {"T0": [[1, "2"]]}},
        {"gaps": {"T0": [[1]]}},
    ]
    for spans in malformed:
        write_prices(tmp_path / "p.h5", many.bars.items(), health={**summary, "spans": spans})
        with pytest.raises(FormatError, match="does not list days"):
            open_prices(tmp_path / "p.h5")


@given(seed=st.integers(0, 10_000), ohlc=st.booleans(), volatility=st.sampled_from([0.005, 0.01, 0.03]))
def test_clean_prices_are_clean(seed, ohlc, volatility):
    """Random walks have no finding at all, whatever their volatility, with and without bars."""
    health = health_of(walk(seed, ohlc=ohlc, volatility=volatility), walk(seed + 1, ohlc=ohlc, volatility=volatility))
    assert health.suspicious == ()
    assert health.severe == ()


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_toy_panels_are_clean(seed, odd):
    """Late listings, an early end and a short hole are no findings."""
    prices = toy_panel(seed, odd=odd).prices
    assert prices is not None
    traded = [~np.isnan(prices.close[:, n]) for n in range(len(prices.tickers))]
    bars = [Bars(days=prices.days[kept], close=prices.close[kept, n]) for n, kept in enumerate(traded)]
    assert health_of(*bars).suspicious == ()


@pytest.mark.parametrize("ohlc", [True, False])
@pytest.mark.parametrize("factor", [1000.0, 100.0, 10.0, 2.0, 0.5, 0.01, 0.001])
@pytest.mark.parametrize("sessions", [1, 3])
def test_a_spike_that_reverts_is_found(ohlc, factor, sessions):
    """Prices in a wrong unit for a session or three: one case, on its first day, with the day on which it reverts."""
    own = scaled(walk(ohlc=ohlc), slice(100, 100 + sessions), factor)
    health = health_of(walk(7), own)
    (case,) = health.largest_moves.worst
    assert (case.ticker, case.day) == ("T1", str(own.days[100]))
    assert case.size == pytest.approx(factor - 1, rel=0.1)
    assert case.what == f"reverts on {own.days[100 + sessions]}"
    assert health.severe == (case,)
    assert found(health) == {"largest_moves": 1}


@pytest.mark.parametrize("ohlc", [True, False])
@pytest.mark.parametrize("volatility", [0.005, 0.02])
@pytest.mark.parametrize("split", ["2:1", "3:1", "4:1", "20:1", "3:2", "1:2", "1:10", "2:3"])
def test_an_unadjusted_split_is_found(split, volatility, ohlc):
    """The past at a different level: the day, the ratio and its name."""
    new, old = map(int, split.split(":"))
    own = scaled(walk(3, volatility=volatility, ohlc=ohlc), slice(0, 120), new / old)
    if own.open is not None and own.high is not None and own.low is not None:
        first = own.close[120] / np.exp(0.001)  # the first session of the new shares opens at their price
        own.open[120], own.high[120], own.low[120] = first, 1.01 * own.close[120], 0.99 * own.close[120]
    health = health_of(own)
    (case,) = health.largest_moves.worst
    assert (case.day, case.what) == (str(own.days[120]), f"looks like an unadjusted {split} split")
    assert (case in health.severe) == (split not in ("3:2", "2:3"))


def test_a_crash_is_a_large_move_and_no_split():
    """A fall by half within a session that opened unchanged is no split; a third up in a wild stock is no finding."""
    own = walk(3)
    own = scaled(own, slice(120, None), 0.499 * own.close[119] / own.close[120])
    assert own.open is not None
    own.open[120] = own.close[119]
    (case,) = health_of(own).largest_moves.worst
    assert (case.day, case.what) == (str(own.days[120]), "")
    assert case.size == pytest.approx(-0.501)
    wild = scaled(walk(4, volatility=0.08), slice(120, None), 1.35)
    assert not any(case.day == str(wild.days[120]) for case in health_of(wild).largest_moves.worst)


def test_a_long_run_of_one_close_is_found():
    """Thirty sessions of one close: first and last day; a share of repeated closes is suspicious by itself."""
    own = walk(5, ohlc=False)
    own.close[50:80] = own.close[50]
    health = health_of(own)
    (case,) = health.unchanged_runs.worst
    assert (case.day, case.until, case.size) == (str(own.days[50]), str(own.days[79]), 29)
    coarse = walk(6, ohlc=False)
    coarse = Bars(days=coarse.days, close=np.round(coarse.close))
    assert found(health_of(coarse)) == {"unchanged_runs": 0}
    assert health_of(coarse).unchanged_runs.share > 0.3


def test_a_gap_is_found_in_one_ticker_and_in_all():
    """A year without bars: a reused symbol, or a year that is missing in the file."""
    own = walk(8, 600)
    keep = np.ones(600, bool)
    keep[100:360] = False
    gapped = Bars(days=own.days[keep], close=own.close[keep])
    for health, ticker in ((health_of(walk(9, 600, ohlc=False), gapped), "T1"), (health_of(gapped), "T0")):
        (case,) = health.gaps.worst
        assert (case.ticker, case.day, case.until) == (ticker, str(own.days[99]), str(own.days[360]))
        assert case.size == pytest.approx(260, abs=12)


def test_weekend_rows_are_found_in_stocks_and_not_in_coins():
    """Stray Saturdays, and weekends that repeat Friday's close; a market that trades every day has none."""
    own = walk(10)
    days = own.days.copy()
    friday = np.flatnonzero((days.astype(int) + 3) % 7 == 4)[3]
    days[friday] += np.timedelta64(1, "D")
    health = health_of(Bars(days=days, close=own.close))
    assert found(health) == {"weekend_rows": 1}
    assert health.weekend_rows.worst[0].day == str(days[friday])
    every = Bars(days=days[0] + np.arange(200), close=own.close)
    assert health_of(every).suspicious == ()
    weekend = (every.days.astype(int) + 3) % 7 > 4
    filled = Bars(days=every.days, close=every.close.copy())
    for row in np.flatnonzero(weekend):
        filled.close[row] = filled.close[row - 1]
    assert health_of(filled).weekend_rows.count == weekend.sum()


def test_dates_in_the_future_are_reported_and_decide_nothing_else():
    """Rows after tomorrow are counted against the given day; the summary of the prices file does not know it."""
    health = health_of(walk(11, 400))
    assert found(health) == {"future_dates": int((walk(11, 400).days > TODAY + np.timedelta64(1, "D")).sum())}
    later = measure_health(traded_bars({"T0": walk(11, 400)}), today=TODAY + np.timedelta64(1000, "D"))
    assert later.suspicious == ()
    assert later.summary() == health.summary()


def test_a_list_of_survivors_is_found():
    """Twenty tickers over twenty years that all trade to the end; one in ten that ends early is a fair list."""
    listed = [walk(seed, 5040, ohlc=False, start="2004-01-01", volatility=0.005) for seed in range(20)]
    health = health_of(*listed)
    assert health.suspicious == ("all_alive_at_the_end",)
    ended = [Bars(days=own.days[:3000], close=own.close[:3000]) for own in listed[:3]]
    fair = health_of(*ended, *listed[3:])
    assert (fair.suspicious, fair.tickers_ended) == ((), 3)
    assert not health_of(*listed[:5]).all_alive_at_the_end  # too few to expect delistings


def table(path: Path, *bars: Bars) -> Path:
    """Write a long CSV file."""
    lines = ["date,ticker,open,high,low,close,volume"]
    for number, own in enumerate(bars):
        columns = [getattr(own, name) for name in ("open", "high", "low", "close", "volume")]
        lines += [
            f"{day},T{number},{','.join(format(value, '.6f') for value in row)}"
            for day, *row in zip(own.days, *columns, strict=True)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def run(source: Path, **options):
    folder = source.parent
    return prepare(source, features_out=folder / "f.h5", prices_out=folder / "p.h5", config=SMALL, **options)


def test_bars_out_of_their_bounds_are_found_by_ticker_and_day(tmp_path):
    """An open above the high: its day and how far it is outside; the bar is kept."""
    own = walk(12)
    assert own.open is not None
    assert own.high is not None
    own.open[60] = 1.25 * own.high[60]
    report = run(table(tmp_path / "t.csv", walk(13), own))
    (case,) = report.health.out_of_bounds.worst
    assert (case.ticker, case.day, case.size) == ("T1", str(own.days[60]), pytest.approx(0.25, abs=1e-3))
    assert report.bars_out_of_bounds == report.health.out_of_bounds.count == 1
    assert report.bars == 400


def test_a_bar_without_volume_has_no_price_and_no_features(tmp_path):
    """By default such a day is no session of the ticker: it can be neither bought nor sold. The choice is recorded."""
    own, other = walk(14), walk(15)
    assert own.volume is not None
    own.volume[[30, 31, 90]] = 0
    source = table(tmp_path / "t.csv", own, other)
    report = run(source)
    assert (report.zero_volume, report.zero_volume_bars, report.zero_volume_left_out) == ("untraded", 3, 3)
    case = report.health.zero_volume.worst[0]
    assert (case.ticker, case.day, case.until, case.size) == ("T0", str(own.days[30]), str(own.days[90]), 3)
    panel = open_panel(tmp_path / "f.h5", tmp_path / "p.h5")
    assert panel.prices is not None
    assert np.flatnonzero(np.isnan(panel.prices.close[:, 0])).tolist() == [30, 31, 90]
    assert not np.isnan(panel.prices.close[:, 1]).any()
    assert own.days[90] not in panel.days("T0")
    traded = run(source, options=ReadOptions(zero_volume="traded"))
    assert (traded.zero_volume_bars, traded.zero_volume_left_out, traded.bars) == (3, 0, 400)
    assert not np.isnan(open_prices(tmp_path / "p.h5").close).any()
    unknown: Any = "maybe"
    with pytest.raises(InputError, match="zero_volume is 'maybe'; expected one of untraded, traded"):
        run(source, options=ReadOptions(zero_volume=unknown))


@pytest.mark.parametrize("volume", [0.0, None])
def test_an_index_has_no_volume_and_trades(volume):
    """A ticker with a volume on almost no bar has no information on volume: all of its bars count, and it is named."""
    index = walk(16)
    assert index.volume is not None
    index.volume[:] = np.nan if volume is None else 0
    index.volume[[50, 90]] = 100
    index.close[60:64] = index.close[60]
    traded = traded_bars({"INDEX": index})
    assert traded.without_volume == ("INDEX",)
    assert traded.bars == {"INDEX": index}
    assert not traded.zero_volume


def test_a_filled_close_is_no_trade_even_without_volumes():
    """From the fifth repetition on, whatever is known about volume: a stock that is listed years before it trades."""
    listed = walk(16)
    assert listed.volume is not None
    listed.close[:80] = listed.close[80] / 9
    listed.volume[:80] = 0
    traded = traded_bars({"T": listed})
    assert traded.zero_volume["T"].tolist() == listed.days[5:80].tolist()
    health = measure_health(traded, today=TODAY)
    assert {"largest_moves", "gaps", "zero_volume"} == set(health.suspicious)


@given(seed=st.integers(0, 1000), stop=st.integers(1, 60), zeros=st.sampled_from([0.02, 0.5, 0.93, 0.97, 1.0]))
def test_later_bars_do_not_change_what_counts_as_traded(seed, stop, zeros):
    """Whatever the share of zero volumes becomes, the bars up to a day are judged by themselves."""
    random = np.random.default_rng(seed)
    close = 50 + np.cumsum(random.integers(-1, 2, 60)) / 8
    volume = np.where(random.random(60) < zeros, 0.0, 100.0)
    assert is_untraded(close, volume)[:stop].tolist() == is_untraded(close[:stop], volume[:stop]).tolist()


def test_the_prices_file_keeps_volume_and_nothing_reads_it_unasked(tmp_path):
    """Volume is in the file on the grid of the closes, is read on request only, and follows selections of the table."""
    own, late = walk(17), walk(18, 150, start="2023-03-13")
    run(table(tmp_path / "t.csv", own, late))
    plain = open_prices(tmp_path / "p.h5")
    assert (plain.volume, plain.raw_close, plain.raw_volume) == (None, None, None)
    assert set(plain.grids()) == {"close", "open"}
    full = open_prices(tmp_path / "p.h5", columns=PRICE_COLUMNS)
    assert own.volume is not None
    assert full.volume is not None
    assert full.volume[:, 0] == pytest.approx(
        np.concatenate([own.volume, [np.nan] * (len(full.days) - 200)]), nan_ok=True, rel=1e-6
    )
    assert np.isnan(full.volume).sum() == np.isnan(full.close).sum()
    part = full.select(("T1",)).as_of(own.days[100])
    assert part.volume is not None
    assert part.volume.tobytes() == full.volume[:101, 1:].tobytes()
    assert part.health == full.health == plain.health


def test_old_prices_files_stay_readable():
    """A file without volume and health has neither."""
    old = open_prices(Path(__file__).parents[1] / "fixtures" / "format1" / "prices.h5", columns=PRICE_COLUMNS)
    assert (old.volume, old.raw_close, old.raw_volume, old.health) == (None, None, None, None)


def test_mixed_calendars_are_refused_when_a_table_is_prepared(tmp_path):
    """Stocks with coins: one line, and nothing is written."""
    coin = walk(19)
    coin = Bars(
        days=coin.days[0] + np.arange(200),
        **{name: getattr(coin, name) for name in ("open", "high", "low", "close", "volume")},
    )
    with pytest.raises(FormatError, match=r"t\.csv mixes calendars: 'T0' has Monday to Friday .*'T1' has every day"):
        run(table(tmp_path / "t.csv", walk(20), coin))
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_the_command_reports_health_in_a_table_and_in_json(tmp_path, capsys):
    """A spike of ×1,000 is a warning that names ticker and day, a line of the table, and in the JSON and both files."""
    spike = scaled(walk(21), slice(100, 101), 1000.0)
    source = table(tmp_path / "t.csv", walk(22), spike)
    flags = ["prepare", str(source), "--features-out", str(tmp_path / "f.h5"), "--prices-out", str(tmp_path / "p.h5")]
    assert main(flags) == 0
    done, day = capsys.readouterr(), str(spike.days[100])
    assert f"warning: suspicious prices were kept: T1 on {day} (×" in done.err
    assert f"largest moves  1 (0.2% of bars) in 1 ticker: T1 on {day} (×" in done.out
    assert main([*flags, "--json", "--zero-volume", "traded"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert {"layout", "columns", "tickers", "sessions", "sessions_per_year", "zero_volume_bars"} <= values.keys()
    health = values["health"]
    keys = {"largest_moves", "unchanged_runs", "gaps", "zero_volume", "weekend_rows", "all_alive_at_the_end"}
    assert keys <= health.keys()
    assert (health["suspicious"], health["largest_moves"]["worst"][0]["ticker"]) == (["largest_moves"], "T1")
    assert json.loads((tmp_path / "f.health.json").read_text()) == health
    stored = open_prices(tmp_path / "p.h5")
    assert stored.health is not None
    assert stored.health["largest_moves"]["worst"] == health["largest_moves"]["worst"]
    assert stored.close.max() > 10_000  # kept
    assert main(["prepare", str(table(tmp_path / "t.csv", walk(22))), *flags[2:]]) == 0
    clean = capsys.readouterr()
    assert "health: nothing suspicious" in clean.out
    assert "warning" not in clean.err
