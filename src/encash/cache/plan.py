"""The plan of a build: what is valid, stale, missing or unavailable, told before anything runs. Knows the panel and the
keys of a store; runs no model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np

from encash.arrays import Days, Int8, Int32, Int64, UInt64, positions
from encash.cache.identity import check_encoder
from encash.cache.selection import Selection
from encash.encoders.base import EncoderSpec
from encash.panel.panel import Panel
from encash.panel.windows import Reason, window_grid
from encash.store.base import EmbeddingStore, EntryIndex

ITEM_BYTES = {"float32": 4, "float16": 2, "int8": 1}
KEY_BYTES = 8 + 4 + 2
"""An entry's digest, its day and about what its ticker takes when names repeat."""
CHUNK_BYTES = 16 * 2**20
"""Feature rows that are held while windows are compared."""
WRITING_BYTES = 64 * 2**20
"""About what threads and the engine take when the first block is read, encoded and written."""


class State(IntEnum):
    """What the cache knows of a cell (day, ticker)."""

    VALID = 0
    """An entry made from the very window that the panel has."""
    STALE = 1
    """An entry made from another window: the data have been restated."""
    MISSING = 2
    """A window, and no entry."""
    UNAVAILABLE = 3
    """The panel has no full, finite window there."""


@dataclass(frozen=True, kw_only=True)
class BlockSize:
    """How much work is read, encoded and committed at once; bounds the memory and what a kill can lose."""

    entries: int = 8_192
    """Whole months are taken until a block has so many entries."""
    vector_bytes: int = 256 * 2**20
    """A block's embeddings take no more than this."""
    feature_bytes: int = 48 * 2**20
    """The feature rows of one task take no more than this."""
    seconds: float = 30.0
    """A block is not encoded for longer than this, as far as the rate is known. A kill loses the block that is being
    encoded, and the one before it if it comes in the milliseconds in which that one is committed."""

    def most_entries(self, dim: int, rate: float | None) -> int:
        """The most entries of a block, given the encoder's rate in entries a second."""
        by_memory = max(1, self.vector_bytes // (4 * dim))
        return by_memory if rate is None else max(1, min(by_memory, int(rate * self.seconds)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What a build would do. A value: printing it runs nothing."""

    days: Days
    """The sessions, ascending; shape (T,)."""
    tickers: tuple[str, ...]
    """N tickers, ascending."""
    state: Int8 = field(repr=False)
    """A `State` for each cell; shape (T, N)."""
    valid: int
    stale: int
    missing: int
    unavailable: int
    reasons: dict[str, int]
    """Unavailable cells by reason: no row on that day, history too short, a value that is not finite."""
    withdrawn: int
    """Entries of the cache among the unavailable cells: the panel no longer has their window."""
    blocks: int
    """Commits that the build will make, at the least."""
    bytes_estimate: int
    """What the new entries take on disk."""
    seconds_estimate: float | None
    """Seconds of encoding; None where the encoder's rate has not been measured."""
    peak_memory_bytes: int
    """What a build needs at once: its arrays, and with a model in hand (not its spec alone) what this process has taken
    at most so far, libraries, the model and its activations in the batches that were measured among it."""

    @property
    def to_compute(self) -> int:
        """Stale and missing cells."""
        return self.stale + self.missing

    def summary(self) -> dict[str, object]:
        """The plan as plain values, under the keys of ``encash plan --json``."""
        return {
            "valid": self.valid,
            "stale": self.stale,
            "missing": self.missing,
            "unavailable": self.unavailable,
            "unavailable_reasons": dict(self.reasons),
            "withdrawn": self.withdrawn,
            "tickers": len(self.tickers),
            "sessions": len(self.days),
            "first": str(self.days[0]),
            "last": str(self.days[-1]),
            "blocks": self.blocks,
            "bytes_estimate": self.bytes_estimate,
            "seconds_estimate": self.seconds_estimate,
            "peak_memory_bytes": self.peak_memory_bytes,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowDigests:
    """The digest of each cell's window, or why there is none; shape (T, N) each."""

    digest: UInt64
    """0 where there is no window."""
    reason: Int8
    """A `Reason`."""


def make_plan(
    panel: Panel,
    spec: EncoderSpec,
    store: EmbeddingStore | None,
    selection: Selection,
    *,
    dtype: str | None = None,
    rate: float | None = None,
    block: BlockSize | None = None,
) -> Plan:
    """Compare every selected cell of the panel with the cache.

    The feature rows are read once, a chunk of tickers at a time.

    Args:
        panel: the data.
        spec: the encoder that would run.
        store: the cache as it stands; None where there is none yet.
        selection: days and tickers.
        dtype: how vectors are kept; None takes the cache's, float32 for a new one.
        rate: the encoder's entries a second, where it is known.
        block: how the work is cut.

    Raises:
        MismatchError: the cache belongs to another encoder or dtype, or the panel's features are not the encoder's.
        InputError: no session or ticker is selected.
    """
    spec.check_features(panel.num_features, panel.feature_names)
    if store is not None:
        check_encoder(store.spec, spec, dtype=dtype, forecasts=True)
        dtype = store.spec.dtype
    days, tickers = selection.choose_days(panel.sessions), selection.choose_tickers(panel.tickers)
    windows = window_digests(panel, tickers, days, spec.lookback)
    row = None if store is None else rows_on_grid(store.index(), days, tickers)
    state = compare(windows, None if store is None else store.index(), row)
    counts = count_states(state)
    work = counts[State.STALE] + counts[State.MISSING]
    block = BlockSize() if block is None else block
    sizes = [stop - start for start, stop in cut_blocks(days, state, block.entries, block.most_entries(spec.dim, rate))]
    return Plan(
        days=days,
        tickers=tickers,
        state=state,
        valid=counts[State.VALID],
        stale=counts[State.STALE],
        missing=counts[State.MISSING],
        unavailable=counts[State.UNAVAILABLE],
        reasons=_count_reasons(windows.reason),
        withdrawn=0 if row is None else int(np.count_nonzero((row >= 0) & (state == State.UNAVAILABLE))),
        blocks=len(sizes),
        bytes_estimate=work * entry_bytes(spec, dtype or "float32"),
        seconds_estimate=None if rate is None else work / rate,
        peak_memory_bytes=_peak_memory(spec, block, max(sizes, default=0), state.shape),
    )


def renewal(panel: Panel, spec: EncoderSpec, index: EntryIndex, asked: Selection) -> tuple[Selection, int]:
    """What an update of a cache looks at: the sessions from its first day on, for the tickers that it holds and for new
    ones, which had no window up to its last day. Days and tickers that are asked for stand instead.

    Args:
        panel: the data.
        spec: the encoder of the cache.
        index: of the cache.
        asked: what the user said.

    Returns:
        The selection, and how many tickers of the data it leaves out, because the cache never had them.
    """
    if not index.entries:
        return asked, 0
    if asked.start is None and asked.months is None:
        asked = replace(asked, start=index.days[0])
    if (asked.tickers, asked.num_stocks, asked.skip) != (None, None, None):
        return asked, 0
    held = set(index.tickers.tolist()) & set(panel.tickers)
    strange = tuple(sorted(set(panel.tickers) - held))
    new, before = strange, panel.sessions[panel.sessions <= index.days[-1]]
    if strange and len(before):
        had = (window_digests(panel, strange, before, spec.lookback).reason == Reason.OK).any(axis=0)
        new = tuple(np.asarray(strange)[~had].tolist())
    return replace(asked, tickers=tuple(sorted(held.union(new)))), len(strange) - len(new)


def window_digests(panel: Panel, tickers: tuple[str, ...], days: Days, lookback: int) -> WindowDigests:
    """The digest of every window of these days × tickers; each feature row is read once, memory is bounded.

    Args:
        panel: the data.
        tickers: N of the panel's.
        days: ascending and distinct, shape (T,), T ≥ 1.
        lookback: sessions in a window.
    """
    digest = np.zeros((len(days), len(tickers)), dtype=np.uint64)
    reason = np.full(digest.shape, Reason.NO_ROW, dtype=np.int8)
    for at, names in _ticker_chunks(panel, tickers, len(days) + lookback):
        rows = panel.rows(names, start=days[0], end=days[-1], lookback=lookback)
        grid = window_grid(rows, days, lookback)
        digest[:, at : at + len(names)], reason[:, at : at + len(names)] = grid.digest, grid.reason
    return WindowDigests(digest=digest, reason=reason)


def compare(windows: WindowDigests, index: EntryIndex | None, row: Int32 | None) -> Int8:
    """A `State` for each cell; shape (T, N).

    Args:
        windows: of the panel.
        index: of the store; None where there is none.
        row: the store's row of each cell, as `rows_on_grid` gives it.
    """
    state = np.full(windows.reason.shape, State.UNAVAILABLE, dtype=np.int8)
    there = windows.reason == Reason.OK
    state[there] = State.MISSING
    if index is not None and row is not None and index.entries:
        held = there & (row >= 0)
        same = index.digest[row[held]] == windows.digest[held]
        state[held] = np.where(same, np.int8(State.VALID), np.int8(State.STALE))
    return state


def count_states(state: Int8) -> dict[State, int]:
    """How many cells have each state."""
    return {kind: int(np.count_nonzero(state == kind)) for kind in State}


def rows_on_grid(index: EntryIndex, days: Days, tickers: tuple[str, ...]) -> Int32:
    """The row of each (day, ticker), −1 where the store has none; shape (T, N)."""
    day_at, ticker_at = positions(index.days, days), positions(index.tickers, np.asarray(tickers, dtype=np.str_))
    rows = np.full((len(days), len(tickers)), -1, dtype=np.int32)
    known = np.ix_(day_at >= 0, ticker_at >= 0)
    rows[known] = index.row[np.ix_(day_at[day_at >= 0], ticker_at[ticker_at >= 0])]
    return rows


def work_by_day(state: Int8) -> Int64:
    """How many cells lie before each day that have to be computed, and in all; shape (T + 1,)."""
    per_day = ((state == State.STALE) | (state == State.MISSING)).sum(axis=1)
    return np.concatenate([[0], np.cumsum(per_day)]).astype(np.int64)


def cut_block(months: Int64, before: Int64, start: int, least: int, most: int) -> int:
    """Where the block ends that begins at a cell: whole months until `least` cells, never more than `most`.

    Args:
        months: the month of each day, shape (T,).
        before: `work_by_day`, shape (T + 1,).
        start: the number of the first cell among all cells to compute, by day and ticker.
        least: cells after which a month is not begun.
        most: cells that a block never exceeds.
    """
    total = int(before[-1])
    enough = min(start + least, total)
    last_day = int(np.searchsorted(before, enough)) - 1
    month_end = int(before[np.searchsorted(months, months[last_day], side="right")])
    return min(month_end, start + most)


def cut_blocks(days: Days, state: Int8, least: int, most: int) -> Iterator[tuple[int, int]]:
    """All blocks as (start, stop) among the cells to compute, by day and ticker."""
    months, before, stop = days.astype("datetime64[M]").astype(np.int64), work_by_day(state), 0
    while (start := stop) < before[-1]:
        stop = cut_block(months, before, start, least, most)
        yield start, stop


def entry_bytes(spec: EncoderSpec, dtype: str) -> int:
    """About what one entry takes on disk."""
    scale = 4 if dtype == "int8" else 0
    return spec.dim * ITEM_BYTES[dtype] + scale + 8 * len(spec.horizons) + KEY_BYTES


def _ticker_chunks(panel: Panel, tickers: tuple[str, ...], rows_each: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Tickers in groups whose feature rows fit the chunk, each group with the place of its first."""
    size = max(1, CHUNK_BYTES // (rows_each * panel.num_features * 4))
    for at in range(0, len(tickers), size):
        yield at, tickers[at : at + size]


def _count_reasons(reason: Int8) -> dict[str, int]:
    return {kind.name.lower(): int(np.count_nonzero(reason == kind)) for kind in Reason if kind is not Reason.OK}


def process_peak_bytes() -> int:
    """The most memory that this process has had so far; 0 where the system does not say."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_memory(spec: EncoderSpec, block: BlockSize, most_entries: int, shape: tuple[int, ...]) -> int:
    """Feature rows of the tasks in flight, the blocks being encoded and written, the grids of keys and digests."""
    days, tickers = shape
    all_rows = tickers * (days + spec.lookback) * spec.num_features * 4
    vectors = most_entries * 4 * (spec.dim + 2 * len(spec.horizons))
    features = min(max(CHUNK_BYTES, 4 * block.feature_bytes), 4 * all_rows)
    return WRITING_BYTES + features + 4 * vectors + days * tickers * 32
