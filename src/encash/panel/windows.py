"""The window of each (day, ticker) and its digest.

The cache and the live path both use this module, so a hit and a miss have the same input.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from encash.arrays import Bool, Days, Float32, Int8, Int64, UInt64, positions, runs_of_rows
from encash.errors import InputError
from encash.fingerprint import row_digests, run_digests
from encash.panel.panel import FeatureRows, Panel, check_lookback

_CHUNK_BYTES = 1 << 18
"""Bytes of feature values that are checked at a time; they fit into the processor's cache."""
_SAMPLE_TICKERS, _SAMPLE_WINDOWS, _SAMPLE_BYTES = 32, 2048, 64 * 2**20
"""Maximum numbers of tickers and of windows in a sample; fewer if they are long."""


class Reason(IntEnum):
    """Reason for which a cell has a window or does not."""

    OK = 0
    NO_ROW = 1
    """The ticker has no row of its own on that day."""
    SHORT = 2
    """The ticker has a row on that day, but fewer than L rows up to it."""
    NOT_FINITE = 3
    """The ticker has L rows, but one of them holds NaN or infinity."""


@dataclass(frozen=True, kw_only=True)
class WindowGrid:
    """The windows of some days × tickers: their end rows, their digests, and the reasons for missing ones."""

    days: Days
    """shape (T,)."""
    tickers: tuple[str, ...]
    """N tickers, in the order of the feature rows."""
    end_row: Int64
    """Position of the window's last row among the feature rows, −1 without a window; shape (T, N)."""
    digest: UInt64
    """Digest of the window's bytes, 0 without a window; shape (T, N)."""
    reason: Int8
    """A `Reason` per cell; shape (T, N)."""

    @property
    def available(self) -> Bool:
        """True for cells with a window; shape (T, N)."""
        available: Bool = self.reason == Reason.OK
        return available

    def counts(self) -> dict[Reason, int]:
        """Return the number of cells with each reason; the four sum to T × N."""
        found = np.bincount(self.reason.reshape(-1), minlength=len(Reason))
        return {reason: int(found[reason]) for reason in Reason}


def window_grid(rows: FeatureRows, days: Days, lookback: int) -> WindowGrid:
    """Find the window of every (day, ticker): the last L rows of that ticker up to and including the day.

    A window exists only if the ticker has its own row on the day and L finite rows up to it. The rows must begin
    lookback − 1 rows before the first day (as from `Panel.rows`); otherwise cells count as SHORT.

    Args:
        rows: feature rows of N tickers.
        days: ascending and distinct, shape (T,).
        lookback: L, the sessions of a window.

    Raises:
        InputError: lookback below 1, or days not ascending and distinct.

    >>> three = FeatureRows(
    ...     tickers=("A",), offsets=np.array([0, 3]), days=np.arange("2024-01-01", "2024-01-04", dtype="datetime64[D]"),
    ...     values=np.array([[1.0], [2.0], [np.nan]], dtype=np.float32))
    >>> [Reason(code).name for code in window_grid(three, three.days, 2).reason[:, 0]]
    ['SHORT', 'OK', 'NOT_FINITE']
    """
    check_lookback(lookback)
    if (np.diff(days) <= np.timedelta64(0, "D")).any():
        raise InputError("unsorted or duplicate days; expected ascending, distinct days: sort them and drop duplicates")
    owner = np.repeat(np.arange(len(rows.tickers)), np.diff(rows.offsets))
    row_reason = _reason_by_end_row(rows, owner, lookback)

    day_of_row = positions(days.view(np.int64), rows.days.view(np.int64))
    wanted = np.flatnonzero(day_of_row >= 0)
    cells = day_of_row[wanted], owner[wanted]
    reason = np.full((len(days), len(rows.tickers)), Reason.NO_ROW, dtype=np.int8)
    reason[cells] = row_reason[wanted]

    ends = wanted[row_reason[wanted] == Reason.OK]
    full = day_of_row[ends], owner[ends]
    end_row = np.full(reason.shape, -1, dtype=np.int64)
    end_row[full] = ends
    digest = np.zeros(reason.shape, dtype=np.uint64)
    if len(ends):
        windows = run_digests(row_digests(rows.values), lookback)[ends - lookback + 1]
        digest[full] = np.maximum(windows, np.uint64(1))  # 0 means no window
    return WindowGrid(days=days, tickers=rows.tickers, end_row=end_row, digest=digest, reason=reason)


def window_starts(rows: FeatureRows, end_rows: Int64, lookback: int) -> Int64:
    """Return the first row of each of the windows that end at these rows, shape (n,).

    Args:
        rows: the feature rows of the grid.
        end_rows: positions as in `WindowGrid.end_row`, shape (n,).
        lookback: L, the sessions of a window.

    Raises:
        InputError: a row at which no complete window of one ticker ends.
    """
    check_lookback(lookback)
    owner = np.searchsorted(rows.offsets, end_rows, side="right") - 1
    outside = (end_rows < 0) | (end_rows >= len(rows.values))
    if (bad := np.flatnonzero(outside | (end_rows - rows.offsets[owner] + 1 < lookback))).size:
        raise InputError(
            f"no window of {lookback} sessions ends at row {end_rows[bad[0]]}; give the end rows of available cells "
            "of a grid with the same rows and lookback"
        )
    starts: Int64 = end_rows - lookback + 1
    return starts


def gather_windows(rows: FeatureRows, end_rows: Int64, lookback: int) -> Float32:
    """Copy the windows that end at these rows out of the feature rows.

    Args:
        rows: the feature rows of the grid.
        end_rows: positions as in `WindowGrid.end_row`, shape (n,).
        lookback: L, the sessions of a window.

    Returns:
        shape (n, L, F), oldest session first; only these n × L × F × 4 bytes are allocated.

    Raises:
        InputError: a row at which no complete window of one ticker ends.
    """
    return runs_of_rows(rows.values, window_starts(rows, end_rows, lookback), lookback)


def sample_windows(panel: Panel, lookback: int) -> Float32:
    """Return windows of several tickers and days for measuring an encoder; shape (n, lookback, F), n may be 0."""
    random = np.random.default_rng(0)
    names = random.choice(np.asarray(panel.tickers), size=min(_SAMPLE_TICKERS, len(panel.tickers)), replace=False)
    rows = panel.rows(tuple(np.sort(names).tolist()), lookback=lookback)
    ends = window_grid(rows, panel.sessions, lookback).end_row
    ends = ends[ends >= 0]
    fitting = max(16, _SAMPLE_BYTES // (4 * lookback * panel.num_features))
    chosen = random.choice(ends, size=min(_SAMPLE_WINDOWS, fitting, len(ends)), replace=False)
    return gather_windows(rows, chosen, lookback)


def _reason_by_end_row(rows: FeatureRows, owner: Int64, lookback: int) -> Int8:
    """Return the `Reason` of a window that ends at each row; shape (rows,)."""
    own_number = np.arange(len(rows.days)) - rows.offsets[owner] + 1
    bad = _not_finite(rows.values)
    bad_before = np.concatenate([[0], np.cumsum(bad)])
    ends = np.arange(1, len(bad) + 1)
    bad_inside = bad_before[ends] - bad_before[np.maximum(ends - lookback, 0)]
    reason = np.where(bad_inside > 0, Reason.NOT_FINITE, Reason.OK)
    return np.where(own_number < lookback, Reason.SHORT, reason).astype(np.int8)


def _not_finite(values: Float32) -> Bool:
    """Return a mask of the rows that hold NaN or infinity.

    It works in chunks on one thread: a product with a vector reads the values as fast, but waits for the threads of the
    algebra library on a busy machine.
    """
    bad = np.zeros(len(values), dtype=np.bool_)
    step = max(1, _CHUNK_BYTES // (values.itemsize * values.shape[1]))
    for at in range(0, len(values), step):
        found = np.flatnonzero(~np.isfinite(values[at : at + step]))
        bad[at + found // values.shape[1]] = True
    return bad
