"""Features know the past only, bit for bit; a restated price moves what sees it; all is bounded."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.errors import FormatError, InputError
from encash.panel.bars import Bars
from encash.panel.features import (
    FEATURE_SETS,
    LIMIT,
    FeatureConfig,
    config_of,
    cross_ranks,
    feature_days,
    feature_names,
    left_out,
    member_ranks,
    own_features,
    panel_features,
    reference,
    rolling,
)
from encash.panel.load import ArraySource, open_panel
from encash.panel.membership import Membership
from encash.panel.panel import FeatureRows
from encash.panel.panel import Panel as PanelOf
from encash.panel.toy import business_days
from encash.panel.windows import window_grid
from encash.panel.write import write_panel

SHORT = FeatureConfig(spans=(1, 2, 5, 20, 25), scale_span=5)
FIRST = replace(SHORT, feature_set="prices-1")
EACH = st.sampled_from([replace(SHORT, feature_set=name) for name in FEATURE_SETS])
TOLERANCE = {"prices-1": 1e-9, "prices-2": 1e-3}
"""The second set rounds log returns to 0.01 basis points; a session's usual move is 100 of them or more."""
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
    if "V" in columns:
        bars = replace(bars, volume=volume.astype(float))
    return replace(bars, dollars=close * volume) if "D" in columns else bars


def cut(bars: Bars, kept: slice) -> Bars:
    columns = {field.name: getattr(bars, field.name) for field in fields(bars)}
    given: dict[str, Any] = {name: None if column is None else column[kept] for name, column in columns.items()}
    return Bars(**given)


def poison(bars: Bars, first: int, value: float) -> Bars:
    """The same until `first`, wild from there on."""
    columns = {field.name: getattr(bars, field.name) for field in fields(bars) if field.name != "days"}
    late = np.arange(len(bars.days)) >= first
    wild = {name: np.where(late, value, column) for name, column in columns.items() if column is not None}
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


@given(st.integers(0, 99), st.integers(27, 59), EACH)
def test_cutting_the_future_off_moves_no_bit(seed, last, config):
    """Features up to a day are the same bytes, whether or not later prices exist."""
    bars = three_tickers(seed)
    day = bars["A"].days[last]
    short = {ticker: cut(own, slice(int(np.searchsorted(own.days, day, side="right")))) for ticker, own in bars.items()}
    assert_same(until(made(bars, config), day), until(made(short, config), day))


@given(st.integers(0, 99), st.integers(27, 59), st.sampled_from([1e-6, 1e9, np.nan]), EACH)
def test_a_poisoned_future_moves_no_bit(seed, last, value, config):
    """Wild prices after a day leave every feature up to it as it was."""
    bars = three_tickers(seed)
    day = bars["A"].days[last]
    wild = {
        ticker: poison(own, int(np.searchsorted(own.days, day, side="right")), value) for ticker, own in bars.items()
    }
    assert_same(until(made(bars, config), day), until(made(wild, config), day))


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


@given(st.integers(0, 99), st.integers(0, 79), EACH)
def test_a_restated_price_moves_only_the_sessions_that_see_it(seed, at, config):
    """A changed close moves features from its own session to `longest` sessions later, and no bit after that."""
    bars = walk(seed, 80)
    assert bars.high is not None
    close = bars.close.copy()
    close[at] = bars.high[at] * 1.001
    restated = replace(bars, close=close, high=np.maximum(bars.high, close))
    (days, before), (_, after) = (made({"A": own}, config)["A"] for own in (bars, restated))
    moved = days[(before != after).any(axis=1)]
    expected = bars.days[max(at, SHORT.longest) : at + SHORT.longest + 1]
    np.testing.assert_array_equal(moved, expected)


@given(st.integers(0, 99), st.sampled_from(["C", "OHLC", "CV", "OHLCV", "OHLCVD"]), EACH)
def test_all_features_are_finite_bounded_and_named(seed, columns, config):
    """No NaN, none beyond the limit, one name each, and one row for each session after the warm-up."""
    bars = {ticker: walk(seed + n, 60, columns=columns) for n, ticker in enumerate("AB")}
    names = feature_names(bars["A"], config)
    assert len(set(names)) == len(names)
    assert not set(names) & {name for group in left_out(bars["A"], config).values() for name in group}
    for days, values in made(bars, config).values():
        assert values.shape == (60 - SHORT.longest, len(names))
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert np.abs(values).max() <= LIMIT
        np.testing.assert_array_equal(days, bars["A"].days[SHORT.longest :])


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_values_are_those_of_their_definition(feature_set):
    """Each kind of feature equals its formula, written once more in the plainest way."""
    bars = walk(5, 60, columns="OHLCVD")
    assert bars.volume is not None and bars.high is not None and bars.low is not None and bars.open is not None  # noqa: PT018  narrows the types
    config = replace(SHORT, feature_set=feature_set)
    found = {name: column[10] for name, column in own_features(bars, config).items()}
    t = SHORT.longest + 10
    price = np.log(bars.close[: t + 1])
    step = np.diff(price)
    scale = np.sqrt(np.mean(step[-5:] ** 2))
    level = np.sqrt(np.mean(step[-25:] ** 2))
    volume = np.log1p(bars.volume[: t + 1])
    height = np.log(bars.high / bars.low)[: t + 1]
    high, low = np.log(bars.high[t]), np.log(bars.low[t])
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
        "close_in_range_1": (2 * price[-1] - high - low) / (high - low),
        "range_5": height[-5:].mean() / scale,
        "parkinson_20": np.log(np.sqrt((height[-20:] ** 2).mean() / 4 / np.log(2)) / np.sqrt(np.mean(step[-20:] ** 2))),
        "idle_share": (bars.volume[t - 24 : t + 1] == 0).mean(),
        "dollar_volume_level": np.log10(1 + (bars.volume * bars.close)[t - 4 : t + 1].mean()) - 7,
    }
    shares, overnight = bars.volume[: t + 1], np.log(bars.open[1 : t + 1]) - price[:-1]
    if feature_set == "prices-1":
        expected |= {
            "volume_5": volume[-1] - volume[-5:].mean(),
            "volume_trend_5": volume[-5:].mean() - volume[-25:].mean(),
        }
    else:
        expected |= {
            "max_return_25": step[-25:].max() / scale / 5,
            "overnight_20": overnight[-20:].sum() / scale / np.sqrt(20),
            "volume_5": np.log(shares[-1] / shares[-5:].mean()),
            "volume_trend_5": np.log(shares[-5:].mean() / shares[-25:].mean()),
            "up_volume_20": (np.sign(step[-20:]) * shares[-20:]).sum() / shares[-20:].sum(),
        }
    assert {name.rstrip("0123456789") for name in found} == {name.rstrip("0123456789") for name in expected}
    for name, value in expected.items():
        assert found[name] == pytest.approx(np.clip(value, -LIMIT, LIMIT), abs=TOLERANCE[feature_set]), name


def test_a_price_that_never_moves_has_features():
    """No division by zero: a still ticker is finite, and calm."""
    still = Bars(days=business_days("2020-01-01", 40), close=np.full(40, 3.0))
    for config in (FIRST, SHORT):
        values = made({"A": still}, config)["A"][1]
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
    panel = made(bars, FIRST)
    column = feature_names(bars["A"], FIRST).index("rank_return_1")
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
    for config in (replace(FIRST, ranks=False), replace(SHORT, ranks=False), SHORT):
        bars = three_tickers(3)
        together, alone = made(bars, config), made({"B": bars["B"]}, config)
        assert together["B"][1].tobytes() == alone["B"][1].tobytes()


def test_the_default_set_has_64_features_of_bars_and_volume():
    """OHLCV gives 64, the traded value one more; the first set has 64 with its ranks."""
    for columns, feature_set, count in (
        ("OHLCV", "prices-2", 64),
        ("OHLCVD", "prices-2", 65),
        ("OHLCV", "prices-1", 64),
    ):
        assert len(feature_names(walk(0, 5, columns=columns), FeatureConfig(feature_set=feature_set))) == count


@pytest.mark.parametrize("columns", ["OHLCVD", "C"])
def test_the_stated_sessions_are_all_that_a_value_reads(columns):
    """Wild prices before the sessions that the reference states change no bit of a value, for every feature."""
    bars = walk(4, 60, columns=columns)
    features = FEATURE_SETS[SHORT.feature_set]
    whole = own_features(bars, SHORT)
    for feature, span in features.pairs(SHORT):
        if (name := feature.name_of(span)) in whole:
            random = np.random.default_rng(0)
            old = np.arange(60) < 60 - feature.sessions(span, SHORT)
            columns_of = {field.name: getattr(bars, field.name) for field in fields(bars) if field.name != "days"}
            wild = {
                role: np.where(old, column * random.uniform(0.5, 2, size=60), column)
                for role, column in columns_of.items()
                if column is not None
            }
            assert own_features(Bars(days=bars.days, **wild), SHORT)[name][-1] == whole[name][-1], name


def universe(**stays: tuple[str, str]) -> Membership:
    first, last = (np.array([stay[n] for stay in stays.values()], dtype="datetime64[D]") for n in (0, 1))
    return Membership(tickers=np.array(list(stays)), first=first, last=last)


@given(st.integers(0, 99), st.booleans())
def test_a_ticker_outside_the_universe_changes_no_rank_of_others(seed, dropped):
    """With a membership, adding or dropping a ticker that is no member leaves every bit of the others."""
    bars = three_tickers(seed)
    config = replace(SHORT, membership=universe(A=("2020-01-01", "9999-12-31"), B=("2020-01-01", "2020-03-10")))
    kept = ("A", "B") if dropped else ("A", "B", "C")
    more = {**bars, "D": walk(seed + 7, 60)}
    some, all_of_them = made({ticker: bars[ticker] for ticker in kept}, config), made(more, config)
    assert_same(some, {ticker: all_of_them[ticker] for ticker in kept})


@given(st.lists(st.tuples(st.sampled_from([np.nan, 1.0, 2.0, 3.0]), st.booleans()), min_size=1, max_size=8))
def test_ranks_within_a_universe_equal_counting(row):
    """A rank is the share of the other members below minus the share above; members as among themselves."""
    values, member = np.array([[value for value, _ in row]]), np.array([[one for _, one in row]])
    found = member_ranks(values, member)[0]
    for n, value in enumerate(values[0]):
        others = [v for k, (v, m) in enumerate(row) if m and k != n and not np.isnan(v)]
        expected = sum(np.sign(value - v) for v in others) / max(len(others), 1)
        assert np.isnan(found[n]) if np.isnan(value) else found[n] == pytest.approx(expected)
    inside = np.where(member, values, np.nan)
    np.testing.assert_allclose(found[member[0]], cross_ranks(inside)[0][member[0]])


ONE_DAY = ("2020-01-01", "2020-01-01")
REFUSED = {
    "no such set": (replace(SHORT, feature_set="prices-9"), "expected prices-1 or prices-2"),
    "ranks without a universe": (replace(SHORT, ranks=True), "within a stated universe only"),
    "a universe without ranks": (
        replace(SHORT, ranks=False, membership=universe(A=ONE_DAY)),
        "one of them",
    ),
    "a universe for the first set": (replace(FIRST, membership=universe(A=ONE_DAY)), "among all tickers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_choices_that_contradict_are_refused(name):
    """The message says which choices do not go together."""
    config, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        list(panel_features({"A": walk(0, 60)}, config))


def gapped(seed: int, first: int, missing: int, num_sessions: int = 120) -> Bars:
    """A walk that lacks weekdays after its first sessions."""
    whole = walk(seed, num_sessions)
    kept = np.r_[0:first, first + missing : num_sessions]
    columns = {field.name: getattr(whole, field.name) for field in fields(whole)}
    given_columns: dict[str, Any] = {name: None if one is None else one[kept] for name, one in columns.items()}
    return Bars(**given_columns)


@given(st.integers(0, 99), st.integers(0, 60), st.integers(8, 20))
def test_a_history_starts_anew_after_a_long_gap(seed, first, missing):
    """Features after the gap are those of the later history by itself, and no window reaches over it."""
    bars = gapped(seed, first, missing)
    config = replace(SHORT, max_gap=7)
    days, values = made({"A": bars}, config)["A"]
    again_days, again = made({"A": cut(bars, slice(first, None))}, config)["A"]
    assert days.tolist() == feature_days(bars, config).tolist()
    assert values[len(values) - len(again) :].tobytes() == again.tobytes()
    grid = window_grid(FeatureRows(tickers=("A",), offsets=np.array([0, len(days)]), days=days, values=values), days, 5)
    first_whole = again_days[4] if len(again_days) > 4 else days[-1] + np.timedelta64(1, "D")
    reaching = (days >= bars.days[first]) & (days < first_whole)
    assert not grid.available[reaching, 0].any()
    assert grid.available[days >= first_whole, 0].all()


@given(st.integers(0, 99), st.integers(26, 99), st.integers(30, 119))
def test_the_future_does_not_count_after_a_gap_either(seed, first, last):
    """With gaps cut, values up to a day are the same bytes whether the file ends then or later."""
    bars, config = gapped(seed, first, 10, 129), replace(SHORT, max_gap=7)
    day = bars.days[min(last, len(bars.days) - 1)]
    short = cut(bars, slice(int(np.searchsorted(bars.days, day, side="right"))))
    assert_same(until(made({"A": bars}, config), day), made({"A": short}, config))


def test_a_gap_counts_weekdays_and_no_other_ticker():
    """A gap of exactly N weekdays is bridged, one more is not; weekends do not count."""
    for missing, begins in ((7, 1), (8, 2)):
        days = feature_days(gapped(0, 40, missing), replace(SHORT, max_gap=7))
        assert len(days) == 120 - missing - 25 * begins + (begins - 1)


def test_no_limit_of_gaps_is_the_default():
    """Without `max_gap`, a window counts the ticker's own sessions, however far apart."""
    assert len(feature_days(gapped(0, 40, 60), SHORT)) == 60 - 25


def test_a_file_records_its_features(tmp_path):
    """The config comes back from the file, with the membership of its tickers; a copy of the panel keeps it."""
    bars = three_tickers(1)
    membership = universe(A=("2020-01-01", "9999-12-31"), ELSEWHERE=("2019-01-01", "2019-02-01"))
    config = replace(SHORT, membership=membership, max_gap=9)
    names = feature_names(bars["A"], config)
    source = ArraySource(made(bars, config), names, config)
    write_panel(PanelOf(source), tmp_path / "f.h5")
    with open_panel(tmp_path / "f.h5") as panel:
        found = panel.feature_config
        assert found is not None
        here = universe(A=("2020-01-01", "9999-12-31"))
        assert found == replace(config, membership=here)
        assert hash(found) == hash(replace(config, membership=here)) != hash(config)
        assert config_of(panel, bars) == found
        assert_same(made(bars, found), made(bars, config))
        assert panel.as_of("2020-03-02").feature_config is found


@pytest.mark.parametrize(("feature_set", "record"), [("prices-9", None), ("prices-2", '{"later": 1}')])
def test_a_file_of_a_later_version_opens(tmp_path, feature_set, record):
    """A set or a choice that this version does not know leaves the features readable; they cannot be made again."""
    bars = {"A": walk(0, 60)}
    write_panel(PanelOf(ArraySource(made(bars), feature_names(bars["A"], SHORT), SHORT)), tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5", "r+") as file:
        file.attrs["feature_set"] = feature_set
        if record:
            file.attrs["feature_config"] = record
    with open_panel(tmp_path / "f.h5") as panel:
        assert panel.rows().values.tobytes() == made(bars)["A"][1].tobytes()
        assert config_of(panel, bars) is None


def test_a_damaged_record_is_refused(tmp_path):
    """Text that is no JSON is a damaged file."""
    bars = {"A": walk(0, 60)}
    write_panel(PanelOf(ArraySource(made(bars), feature_names(bars["A"], SHORT), SHORT)), tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5", "r+") as file:
        file.attrs["feature_config"] = "{"
    with pytest.raises(FormatError, match="record of its features cannot be read"):
        open_panel(tmp_path / "f.h5")


def test_a_file_without_a_record_is_known_by_its_names(tmp_path):
    """Features of an earlier version open, and are made again from the bars by the set that has their names."""
    bars = three_tickers(1)
    source = ArraySource(made(bars, FIRST), feature_names(bars["A"], FIRST))
    write_panel(PanelOf(source), tmp_path / "f.h5")
    with open_panel(tmp_path / "f.h5") as panel:
        assert panel.feature_config is None
        assert config_of(panel, bars) is None  # these spans are not those of the first version
    long = {"A": walk(0, 140)}
    for name in FEATURE_SETS:
        default = FeatureConfig(feature_set=name)
        panel = PanelOf(ArraySource(made(long, default), feature_names(long["A"], default)))
        assert config_of(panel, long) == default


def test_the_page_of_the_features_is_generated_from_the_code():
    """docs/features.md is what `python -m encash.panel.features.reference` prints, and names every feature."""
    page = Path(__file__).parents[2] / "docs" / "features.md"
    assert page.read_text(encoding="utf-8") == reference.markdown()
    for feature_set in FEATURE_SETS:
        for name in feature_names(walk(0, 5, columns="OHLCVD"), FeatureConfig(feature_set=feature_set)):
            assert name.removeprefix("rank_") in reference.markdown()
            assert name.removeprefix("rank_") in reference.text()
