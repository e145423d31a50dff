"""Features know the past only, bit for bit; a restated price moves what sees it; all is bounded."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.errors import InputError
from encash.panel.bars import Bars
from encash.panel.features import (
    LIMIT,
    FeatureConfig,
    cross_ranks,
    feature_names,
    own_features,
    panel_features,
    rolling,
)
from encash.panel.toy import business_days

SHORT = FeatureConfig(spans=(1, 2, 5, 20, 25), scale_span=5)
Panel = dict[str, tuple[np.ndarray, np.ndarray]]


def walk(seed: int, num_sessions: int, *, columns: str = "OHLCV") -> Bars:
    """A random walk with bars around it, still prices and idle sessions among them."""
    random = np.random.default_rng(seed)
    step = 0.02 * random.normal(size=num_sessions)
    step[random.random(num_sessions) < 0.1] = 0
    close = 50 * np.exp(np.cumsum(step))
    opened = close * np.exp(0.01 * random.normal(size=num_sessions))
    volume = random.integers(0, 1_000_000, size=num_sessions) * (random.random(num_sessions) < 0.9)
    bars = Bars(days=business_days("2020-01-01", num_sessions), close=close)
    if "O" in columns:
        spread = np.exp(0.01 * random.random(num_sessions))
        high, low = np.maximum(opened, close) * spread, np.minimum(opened, close) / spread
        bars = replace(bars, open=opened, high=high, low=low)
    return replace(bars, volume=volume.astype(float)) if "V" in columns else bars


def cut(bars: Bars, kept: slice) -> Bars:
    columns = {field.name: getattr(bars, field.name) for field in fields(bars)}
    given: dict[str, Any] = {name: None if column is None else column[kept] for name, column in columns.items()}
    return Bars(**given)


def poison(bars: Bars, first: int, value: float) -> Bars:
    """The same until `first`, wild from there on."""
    columns = {field.name: getattr(bars, field.name) for field in fields(bars) if field.name != "days"}
    wild = {name: np.where(np.arange(len(bars.days)) < first, column, value) for name, column in columns.items()}
    return Bars(days=bars.days, **wild)


def made(bars: dict[str, Bars], config: FeatureConfig = SHORT) -> Panel:
    return {ticker: (days, values) for ticker, days, values in panel_features(bars, config)}


def until(panel: Panel, day: np.datetime64) -> Panel:
    return {ticker: (days[days <= day], values[days <= day]) for ticker, (days, values) in panel.items()}


def assert_same(one: Panel, other: Panel) -> None:
    assert one.keys() == other.keys()
    for ticker in one:
        np.testing.assert_array_equal(one[ticker][0], other[ticker][0])
        assert one[ticker][1].tobytes() == other[ticker][1].tobytes()


def three_tickers(seed: int) -> dict[str, Bars]:
    """One of whole length, one listed late, one that ends early."""
    return {"A": walk(seed, 60), "B": cut(walk(seed + 1, 60), slice(20, None)), "C": cut(walk(seed + 2, 60), slice(45))}


@given(st.integers(0, 99), st.integers(27, 59))
def test_cutting_the_future_off_moves_no_bit(seed, last):
    """Features up to a day are the same bytes, whether or not later prices exist."""
    bars = three_tickers(seed)
    day = bars["A"].days[last]
    short = {ticker: cut(own, slice(int(np.searchsorted(own.days, day, side="right")))) for ticker, own in bars.items()}
    assert_same(until(made(bars), day), until(made(short), day))


@given(st.integers(0, 99), st.integers(27, 59), st.sampled_from([1e-6, 1e9, np.nan]))
def test_a_poisoned_future_moves_no_bit(seed, last, value):
    """Wild prices after a day leave every feature up to it as it was."""
    bars = three_tickers(seed)
    day = bars["A"].days[last]
    wild = {
        ticker: poison(own, int(np.searchsorted(own.days, day, side="right")), value) for ticker, own in bars.items()
    }
    assert_same(until(made(bars), day), until(made(wild), day))


def test_a_leaky_feature_would_be_caught():
    """The comparison itself can fail: scaling by the whole sample's deviation moves the past."""
    bars = {"A": walk(0, 60)}
    day = bars["A"].days[40]
    leaky = {t: (days, values / (1 + values.std(axis=0))) for t, (days, values) in made(bars).items()}
    leaky_short = {
        t: (days, values / (1 + values.std(axis=0)))
        for t, (days, values) in made({"A": cut(bars["A"], slice(41))}).items()
    }
    with pytest.raises(AssertionError):
        assert_same(until(leaky, day), until(leaky_short, day))


@given(st.integers(0, 99), st.integers(0, 79))
def test_a_restated_price_moves_only_the_sessions_that_see_it(seed, at):
    """A changed close moves features from its own session to `longest` sessions later, and no bit after that."""
    bars = walk(seed, 80)
    assert bars.high is not None
    close = bars.close.copy()
    close[at] = bars.high[at] * 1.001
    restated = replace(bars, close=close, high=np.maximum(bars.high, close))
    (days, before), (_, after) = (made({"A": own}, SHORT)["A"] for own in (bars, restated))
    moved = days[(before != after).any(axis=1)]
    expected = bars.days[max(at, SHORT.longest) : at + SHORT.longest + 1]
    np.testing.assert_array_equal(moved, expected)


@given(st.integers(0, 99), st.sampled_from(["C", "OHLC", "CV", "OHLCV"]))
def test_all_features_are_finite_bounded_and_named(seed, columns):
    """No NaN, none beyond the limit, one name each, and one row for each session after the warm-up."""
    bars = {ticker: walk(seed + n, 60, columns=columns) for n, ticker in enumerate("AB")}
    names = feature_names(bars["A"], SHORT)
    assert len(set(names)) == len(names)
    for days, values in made(bars).values():
        assert values.shape == (60 - SHORT.longest, len(names))
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert np.abs(values).max() <= LIMIT
        np.testing.assert_array_equal(days, bars["A"].days[SHORT.longest :])


def test_values_are_those_of_their_definition():
    """Each kind of feature equals its formula, written once more in the plainest way."""
    bars = walk(5, 60)
    assert bars.volume is not None and bars.high is not None and bars.low is not None and bars.open is not None  # noqa: PT018  narrows the types
    found = {name: column[10] for name, column in own_features(bars, SHORT).items()}
    t = SHORT.longest + 10
    price = np.log(bars.close[: t + 1])
    step = np.diff(price)
    scale = np.sqrt(np.mean(step[-5:] ** 2))
    level = np.sqrt(np.mean(step[-25:] ** 2))
    volume = np.log1p(bars.volume[: t + 1])
    height = np.log(bars.high / bars.low)[: t + 1]
    expected = {
        "return_2": (price[-1] - price[-3]) / scale / np.sqrt(2),
        "volatility_20": np.log(np.sqrt(np.mean(step[-20:] ** 2)) / level),
        "volatility_level": np.log(level / 0.02),
        "distance_20": (price[-1] - price[-20:].mean()) / scale / np.sqrt(20),
        "strength_5": step[-5:].sum() / np.abs(step[-5:]).sum(),
        "drawdown_25": (price[-1] - price[-25:].max()) / scale / 5,
        "rise_20": (price[-1] - price[-20:].min()) / scale / np.sqrt(20),
        "skew_20": np.mean(step[-20:] ** 3) / np.mean(step[-20:] ** 2) ** 1.5,
        "autocorrelation_20": (step[-19:] * step[-20:-1]).sum() / (step[-20:] ** 2).sum(),
        "gap_1": (np.log(bars.open[t]) - price[-2]) / scale,
        "intraday_1": (price[-1] - np.log(bars.open[t])) / scale,
        "range_5": height[-5:].mean() / scale,
        "parkinson_20": np.log(np.sqrt((height[-20:] ** 2).mean() / 4 / np.log(2)) / np.sqrt(np.mean(step[-20:] ** 2))),
        "volume_5": volume[-1] - volume[-5:].mean(),
        "volume_trend_5": volume[-5:].mean() - volume[-25:].mean(),
        "idle_share": (bars.volume[t - 24 : t + 1] == 0).mean(),
        "dollar_volume_level": np.log10(1 + (bars.volume * bars.close)[t - 4 : t + 1].mean()) - 7,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(np.clip(value, -LIMIT, LIMIT), abs=1e-9), name


def test_a_price_that_never_moves_has_features():
    """No division by zero: a still ticker is finite, and calm."""
    still = Bars(days=business_days("2020-01-01", 40), close=np.full(40, 3.0))
    values = made({"A": still})["A"][1]
    assert np.isfinite(values).all()
    assert (values[:, 0] == 0).all()


def test_a_history_too_short_has_no_rows():
    """As many sessions as the longest span give no row, one more gives one; nothing is padded."""
    assert len(made({"A": walk(0, 25)})["A"][1]) == 0
    assert len(made({"A": walk(0, 26)})["A"][1]) == 1
    assert len(made({"A": walk(0, 3)})["A"][1]) == 0


def test_ranks_are_among_the_tickers_of_the_day():
    """A late ticker takes part from its own first features on, and a lonely one has rank 0."""
    bars = {"A": walk(1, 60), "B": cut(walk(2, 60), slice(20, None))}
    panel = made(bars)
    column = feature_names(bars["A"], SHORT).index("rank_return_1")
    days, values = panel["A"]
    alone = days < bars["B"].days[SHORT.longest]
    assert alone.sum() == 20
    assert (values[alone, column] == 0).all()
    np.testing.assert_array_equal(values[~alone, column], -panel["B"][1][:, column])
    assert set(np.abs(values[~alone, column])) <= {0.0, 1.0}


@given(st.lists(st.lists(st.sampled_from([np.nan, 1.0, 2.0, 3.0]), min_size=5, max_size=5), min_size=1, max_size=6))
def test_ranks_equal_counting(rows):
    """A rank is the share of others below minus the share above; equal values share it."""
    values = np.array(rows)
    for row, ranks in zip(values, cross_ranks(values), strict=True):
        for value, rank in zip(row, ranks, strict=True):
            others = max(np.sum(~np.isnan(row)) - 1, 1)
            expected = (np.sum(row < value) - np.sum(row > value)) / others
            assert np.isnan(rank) if np.isnan(value) else rank == pytest.approx(expected, abs=1e-12)


def test_ranks_of_one_ticker():
    """A single column has rank 0 where it has a value."""
    np.testing.assert_array_equal(cross_ranks(np.array([[3.0], [np.nan]])), [[0], [np.nan]])


@given(st.lists(st.integers(-9, 9), max_size=40), st.integers(1, 20))
def test_rolling_equals_a_loop(numbers, span):
    """Sums, maxima and minima over every span, of histories shorter than it too."""
    values = np.array(numbers, dtype=float)
    for combine, plain in ((np.add, np.sum), (np.maximum, np.max), (np.minimum, np.min)):
        expected = [plain(values[i : i + span]) for i in range(max(0, len(values) - span + 1))]
        np.testing.assert_array_equal(rolling(values, span, combine), expected)


@pytest.mark.parametrize("asked", [{"spans": (5, 1)}, {"spans": ()}, {"spans": (0, 5)}, {"scale_span": 500}])
def test_spans_that_cannot_be_are_refused(asked):
    """Spans ascend from 1, and the scale is no longer than the longest."""
    with pytest.raises(InputError, match="expected"):
        FeatureConfig(**asked)


def test_without_ranks_tickers_do_not_touch_each_other():
    """With `ranks=False` a ticker's features are its own: other tickers change nothing."""
    config = replace(SHORT, ranks=False)
    bars = three_tickers(3)
    together, alone = made(bars, config), made({"B": bars["B"]}, config)
    assert together["B"][1].tobytes() == alone["B"][1].tobytes()
