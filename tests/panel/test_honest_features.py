"""Features of the honest sets are a function of what was known on the day, whatever happens and joins later."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.arrays import Days, Float32
from encash.panel import open_panel, prepare
from encash.panel.bars import Bars
from encash.panel.features import FEATURE_SETS, FeatureConfig, feature_names, panel_features
from encash.panel.membership import Membership
from tests.panel.vendors import STYLES, bars_of, rounded, stock

HONEST = [name for name in FEATURE_SETS if name != "prices-1"]
UNIVERSE = Membership(
    tickers=np.array(["A", "B"]),
    first=np.array(["2015-01-01", "2015-02-16"], dtype="datetime64[D]"),
    last=np.array(["2015-03-20", "9999-12-31"], dtype="datetime64[D]"),
)


def config_for(feature_set: str, **changes) -> FeatureConfig:
    return FeatureConfig(feature_set=feature_set, spans=(1, 2, 5, 20, 25), scale_span=5, **changes)


def made(bars: dict[str, Bars], config: FeatureConfig) -> dict[str, tuple[Days, Float32]]:
    return {ticker: (days, values) for ticker, days, values in panel_features(bars, config)}


def changed(one: dict[str, tuple[Days, Float32]], other: dict[str, tuple[Days, Float32]], day: np.datetime64) -> int:
    """Number of values of common tickers that differ by a bit up to a day; each must have the same days."""
    count = 0
    for ticker in one.keys() & other.keys():
        (days, values), (other_days, others) = one[ticker], other[ticker]
        until, other_until = days <= day, other_days <= day
        assert days[until].tolist() == other_days[other_until].tolist()
        count += int((values[until].view(np.uint32) != others[other_until].view(np.uint32)).sum())
    return count


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
@pytest.mark.parametrize("feature_set", HONEST)
@given(seed=st.integers(0, 999), last=st.integers(26, 69), member=st.booleans())
@settings(max_examples=40)
def test_the_past_is_the_same_bytes_whatever_comes_later(feature_set, style, seed, last, member):
    """Up to a day: the file ends then or later, splits and dividends follow, and further tickers join."""
    stocks = {ticker: stock(3 * seed + n, 70) for n, ticker in enumerate("ABC")}
    day = stocks["A"].days[last]
    config = config_for(feature_set, membership=UNIVERSE if member else None)
    then = {t: bars_of(style(one.until(last + 1)), one.days[: last + 1]) for t, one in stocks.items() if t != "C"}
    now = {ticker: bars_of(style(one), one.days) for ticker, one in stocks.items()}
    assert changed(made(then, config), made(now, config), day) == 0


def test_the_first_set_fails_this_property():
    """The property can fail: prices-1 knows a later split in its dollars, and later tickers in its ranks."""
    events = {60: (20.0, 0.0)}
    one, other = (stock(seed, 70, events) for seed in (1, 2))
    names = feature_names(bars_of(STYLES["yahoo"](one), one.days), config_for("prices-1"))
    then = made({"A": bars_of(STYLES["yahoo"](one.until(50)), one.days[:50])}, config_for("prices-1"))
    now = made({t: bars_of(STYLES["yahoo"](x), x.days) for t, x in (("A", one), ("B", other))}, config_for("prices-1"))
    differ = {name for n, name in enumerate(names) if (then["A"][1][:, n] != now["A"][1][: len(then["A"][1]), n]).any()}
    assert {"rank_return_1", "rank_volatility_level"} <= differ
    then = made({"A": bars_of(STYLES["yahoo_auto"](one.until(50)), one.days[:50])}, config_for("prices-1", ranks=False))
    now = made({"A": bars_of(STYLES["yahoo_auto"](one), one.days)}, config_for("prices-1", ranks=False))
    assert changed(then, now, one.days[49]) > 0


@pytest.mark.parametrize("new_shares", [20.0, 40.0])
@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_two_downloads_around_a_split_agree(style, new_shares):
    """Downloads before and after a 20:1 and a 40:1 split have the same features of the days that both have."""
    tickers = {f"T{seed}": stock(seed, 400, {100: (1.0, 0.4), 300: (new_shares, 0.0)}) for seed in range(5)}
    before = {t: bars_of(style(one.until(290)), one.days[:290]) for t, one in tickers.items()}
    after = {t: bars_of(style(one), one.days) for t, one in tickers.items()}
    old, new = made(before, FeatureConfig()), made(after, FeatureConfig())
    assert len(old["T0"][1]) == 170
    assert changed(old, new, tickers["T0"].days[289]) == 0


def test_the_prices_that_vendors_ship_give_the_same_features_after_adjustment():
    """Raw bars with events, a factor of either direction and adjusted columns are one history."""
    one = stock(7, 200, {50: (2.0, 0.0), 90: (1.0, 0.5), 150: (0.1, 0.3)})
    made_by = {
        name: made({"A": bars_of(style(one), one.days)}, FeatureConfig())["A"][1]
        for name, style in STYLES.items()
        if name not in ("adjusted_only",)
    }
    truth = made_by["raw_with_events"]
    names = feature_names(bars_of(STYLES["raw_with_events"](one), one.days), FeatureConfig())
    share = {"forward_factor", "backward_factor"}  # their volume contains the dividends
    for name, values in made_by.items():
        columns = [
            n for n, feature in enumerate(names[: values.shape[1]]) if name not in share or "volume" not in feature
        ]
        np.testing.assert_allclose(values[:, columns], truth[:, columns], atol=3e-6, err_msg=name)


def test_rounded_adjusted_prices_move_the_tickers_concerned_only():
    """Where a vendor rounds to four decimals, a dividend moves its own ticker and no other."""
    style = STYLES["unknown"]
    stocks = {"A": stock(1, 300, {290: (1.0, 0.5)}), "B": stock(2, 300, {})}
    then = {t: bars_of(rounded(style(one.until(280)), 4), one.days[:280]) for t, one in stocks.items()}
    now = {t: bars_of(rounded(style(one), 4), one.days) for t, one in stocks.items()}
    old, new = made(then, FeatureConfig()), made(now, FeatureConfig())
    day = stocks["A"].days[279]
    assert changed({"A": old["A"]}, new, day) > 0
    assert changed({"B": old["B"]}, new, day) == 0


@given(seed=st.integers(0, 99), first=st.integers(1, 30))
@settings(max_examples=30)
def test_the_first_day_of_a_file_does_not_count_after_the_warm_up(seed, first):
    """A history that begins later has the same features as the longer one, from its own warm-up on."""
    one, config = stock(seed, 70), config_for(HONEST[-1])
    whole = bars_of(STYLES["yahoo"](one), one.days)
    columns = {
        name: getattr(whole, name)[first:] for name in ("days", "open", "high", "low", "close", "volume", "dollars")
    }
    (days, values), (_, longer) = made({"A": Bars(**columns)}, config)["A"], made({"A": whole}, config)["A"]
    assert values.tobytes() == longer[-len(days) :].tobytes()


def test_two_files_of_a_vendor_agree_after_prepare(tmp_path):
    """CSV files from before and after a 20:1 split, prepared: the days that both have, have the same features."""
    stocks = {f"T{seed}": stock(seed, 300, {100: (1.0, 0.4), 290: (20.0, 0.0)}) for seed in range(3)}
    panels = []
    for stop in (280, 300):
        lines = ["Date,Ticker,Open,High,Low,Close,Adj Close,Volume"]
        for ticker, one in stocks.items():
            known = one.until(stop)
            shipped = STYLES["yahoo"](known).values
            columns = [shipped[role] for role in ("open", "high", "low", "close", "adj_close", "volume")]
            lines += [
                ",".join([str(day), ticker, *(repr(float(value)) for value in row)])
                for day, *row in zip(known.days, *columns, strict=True)
            ]
        table = tmp_path / f"{stop}.csv"
        table.write_text("\n".join(lines) + "\n")
        report = prepare(table, features_out=tmp_path / f"{stop}.h5", prices_out=tmp_path / f"{stop}p.h5")
        assert report.feature_set == "prices-2"
        panels.append(open_panel(report.features_out))
    then, now = ({t: (panel.days(t), panel.rows((t,)).values) for t in panel.tickers} for panel in panels)
    assert all(len(days) > 100 for days, _ in then.values())
    assert changed(then, now, stocks["T0"].days[279]) == 0
