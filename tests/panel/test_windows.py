"""The one window function: against a naive loop, and what truncation, poison and restatement may move."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.errors import InputError
from encash.fingerprint import RUN_BASE, row_digests
from encash.panel import FeatureRows, Reason, gather_windows, sample_windows, toy_panel, window_grid, windows

FIRST = np.datetime64("2024-01-01")


@st.composite
def feature_rows(draw: st.DrawFn) -> FeatureRows:
    """Up to four tickers with days of their own, gaps, and NaN or infinity here and there."""
    num_features = draw(st.integers(1, 3))
    calendars = draw(st.lists(st.sets(st.integers(0, 14), max_size=15), min_size=1, max_size=4))
    offsets = np.concatenate([[0], np.cumsum([len(days) for days in calendars])]).astype(np.int64)
    values = np.random.default_rng(draw(st.integers(0, 999))).normal(size=(offsets[-1], num_features))
    for row, bad in draw(st.lists(st.tuples(st.integers(0, 59), st.sampled_from([np.nan, np.inf])), max_size=4)):
        if row < len(values):
            values[row, draw(st.integers(0, num_features - 1))] = bad
    return FeatureRows(
        tickers=tuple(f"T{i}" for i in range(len(calendars))),
        offsets=offsets,
        days=FIRST + np.array([day for days in calendars for day in sorted(days)], dtype="timedelta64[D]"),
        values=values.astype(np.float32),
    )


lookbacks = st.integers(1, 5)
day_sets = st.sets(st.integers(-1, 16)).map(lambda days: FIRST + np.array(sorted(days), dtype="timedelta64[D]"))


def naive_cell(rows: FeatureRows, ticker: int, day: np.datetime64, lookback: int) -> tuple[Reason, np.ndarray | None]:
    own = slice(rows.offsets[ticker], rows.offsets[ticker + 1])
    days, values = list(rows.days[own]), rows.values[own]
    if day not in days:
        return Reason.NO_ROW, None
    stop = days.index(day) + 1
    if stop < lookback:
        return Reason.SHORT, None
    window = values[stop - lookback : stop]
    return (Reason.OK, window) if np.isfinite(window).all() else (Reason.NOT_FINITE, None)


def naive_digest(window: np.ndarray) -> int:
    """The digests of the rows, one after the other, as the digits of a number."""
    number = 0
    for digest in row_digests(window).tolist():
        number = (number * RUN_BASE + digest) % 2**64
    return number


def keep(rows: FeatureRows, kept: np.ndarray) -> FeatureRows:
    owner = np.repeat(np.arange(len(rows.tickers)), np.diff(rows.offsets))[kept]
    counts = np.bincount(owner, minlength=len(rows.tickers))
    return FeatureRows(
        tickers=rows.tickers,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        days=rows.days[kept],
        values=rows.values[kept],
    )


def with_values(rows: FeatureRows, values: np.ndarray) -> FeatureRows:
    return FeatureRows(tickers=rows.tickers, offsets=rows.offsets, days=rows.days, values=values)


@given(feature_rows(), day_sets, lookbacks)
def test_grid_equals_a_loop_over_tickers_and_days(rows, days, lookback):
    """Every cell has the reason, window and digest that a plain loop finds by the ticker's own dates."""
    grid = window_grid(rows, days, lookback)
    for t, day in enumerate(days):
        for n in range(len(rows.tickers)):
            reason, window = naive_cell(rows, n, day, lookback)
            assert grid.reason[t, n] == reason
            assert grid.available[t, n] == (window is not None)
            if window is None:
                assert (grid.end_row[t, n], grid.digest[t, n]) == (-1, 0)
            else:
                found = gather_windows(rows, grid.end_row[t, [n]], lookback)[0]
                np.testing.assert_array_equal(found, window)
                assert grid.digest[t, n] == naive_digest(window)
    assert sum(grid.counts().values()) == grid.reason.size


@given(feature_rows(), lookbacks, st.integers(0, 14))
def test_truncating_the_data_after_a_day_changes_nothing_up_to_it(rows, lookback, last):
    """Windows and digests up to day t are the same, whether or not later rows exist."""
    days = FIRST + np.arange(last + 1)
    cut = keep(rows, rows.days <= days[-1])
    whole, short = window_grid(rows, days, lookback), window_grid(cut, days, lookback)
    np.testing.assert_array_equal(whole.reason, short.reason)
    np.testing.assert_array_equal(whole.digest, short.digest)
    ours, theirs = (gather_windows(r, g.end_row[g.available], lookback) for r, g in ((rows, whole), (cut, short)))
    np.testing.assert_array_equal(ours, theirs)


@given(feature_rows(), lookbacks, st.integers(0, 14), st.sampled_from([np.nan, 1e30, -1.0]))
def test_poisoning_the_data_after_a_day_changes_nothing_up_to_it(rows, lookback, last, poison):
    """Huge values or NaN after day t move no window and no digest up to t."""
    days = FIRST + np.arange(last + 1)
    values = rows.values.copy()
    values[rows.days > days[-1]] = poison
    before, after = window_grid(rows, days, lookback), window_grid(with_values(rows, values), days, lookback)
    np.testing.assert_array_equal(before.reason, after.reason)
    np.testing.assert_array_equal(before.digest, after.digest)


@given(feature_rows(), lookbacks, st.data())
def test_a_changed_row_changes_exactly_the_digests_of_the_windows_that_touch_it(rows, lookback, data):
    """A restated row makes stale what was encoded from it, and nothing else."""
    values = np.nan_to_num(rows.values, nan=0.5, posinf=0.5)
    if len(values) == 0:
        return
    row = data.draw(st.integers(0, len(values) - 1))
    changed = values.copy()
    changed[row, 0] += 1
    days = FIRST + np.arange(15)
    before = window_grid(with_values(rows, values), days, lookback)
    after = window_grid(with_values(rows, changed), days, lookback)
    touched = before.available & (before.end_row >= row) & (before.end_row - lookback < row)
    np.testing.assert_array_equal(before.digest != after.digest, touched)


def test_windows_are_gathered_in_the_order_asked():
    """Rows may be asked in any order and more than once."""
    rows = FeatureRows(
        tickers=("A",),
        offsets=np.array([0, 4]),
        days=FIRST + np.arange(4),
        values=np.arange(8, dtype=np.float32).reshape(4, 2),
    )
    windows = gather_windows(rows, np.array([3, 1, 3]), 2)
    assert windows[:, -1, 0].tolist() == [6, 2, 6]
    assert windows.shape == (3, 2, 2)
    assert gather_windows(rows, np.array([], dtype=np.int64), 2).shape == (0, 2, 2)


@pytest.mark.parametrize("end_row", [-1, 0, 2, 4])
def test_a_row_where_no_window_ends_is_refused(end_row):
    """No window reaches before the data or into another ticker's rows."""
    rows = FeatureRows(
        tickers=("A", "B"),
        offsets=np.array([0, 2, 4]),
        days=np.tile(FIRST + np.arange(2), 2),
        values=np.zeros((4, 1), dtype=np.float32),
    )
    with pytest.raises(InputError, match=f"no window of 2 sessions ends at row {end_row}"):
        gather_windows(rows, np.array([1, end_row]), 2)


def test_days_out_of_order_and_no_lookback_are_refused():
    """A grid wants ascending distinct days and at least one session."""
    rows = FeatureRows(
        tickers=("A",), offsets=np.array([0, 1]), days=FIRST + np.arange(1), values=np.zeros((1, 1), np.float32)
    )
    with pytest.raises(InputError, match="expected ascending, distinct days"):
        window_grid(rows, FIRST + np.array([1, 0]), 1)
    with pytest.raises(InputError, match="lookback is 0"):
        window_grid(rows, FIRST + np.arange(1), 0)


def test_values_that_are_not_finite_are_seen_wherever_they_lie(monkeypatch):
    """The values are checked in chunks; a NaN or infinity is found in every chunk, and nothing else is."""
    monkeypatch.setattr(windows, "_CHUNK_BYTES", 64)
    values = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    values[::7, 1], values[::11, 2] = np.nan, -np.inf
    days = np.datetime64("2024-01-01") + np.arange(500)
    rows = FeatureRows(tickers=("A",), offsets=np.array([0, 500]), days=days, values=values)
    bad = window_grid(rows, days, 1).reason[:, 0] == Reason.NOT_FINITE
    assert np.array_equal(bad, ~np.isfinite(values).all(axis=1))


def test_sampled_windows_are_windows_of_the_panel():
    """What a model is measured on are windows that a build will encode; none where no history is long enough."""
    panel = toy_panel(odd=True)
    values = [panel.rows((ticker,)).values for ticker in panel.tickers]
    known = {own[end - 8 : end].tobytes() for own in values for end in range(8, len(own) + 1)}
    sample = sample_windows(panel, 8)
    assert 16 < len(sample) <= 2048
    assert np.isfinite(sample).all()
    assert all(window.tobytes() in known for window in sample)
    assert sample_windows(panel, 10_000).shape == (0, 10_000, panel.num_features)
