"""The plan of a build: what is valid, stale, missing or unavailable, computed before anything runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path

import numpy as np

from encash.arrays import Days, Int8, Int32, Int64
from encash.cache.identity import check_encoder
from encash.cache.selection import Selection
from encash.cache.window_digests import CHUNK_BYTES, WindowDigests, window_digests
from encash.encoders.base import EncoderSpec
from encash.panel.panel import Panel
from encash.panel.windows import Reason
from encash.store.base import StoreSnapshot
from encash.store.index import EntryIndex

ITEM_BYTES = {"float32": 4, "float16": 2, "int8": 1}
KEY_BYTES = 8 + 4 + 2
"""An entry's digest, its day, and about what a repeated ticker name takes."""
WRITING_BYTES = 64 * 2**20
"""About what threads and the engine take to read, encode and write the first block."""


class State(IntEnum):
    """State of a cell (day, ticker) in the cache."""

    VALID = 0
    """The entry was made from exactly the window that the panel has."""
    STALE = 1
    """The entry was made from a different window: the data have been restated."""
    MISSING = 2
    """The panel has a window, and the cache has no entry."""
    UNAVAILABLE = 3
    """The panel has no full, finite window there."""


@dataclass(frozen=True, kw_only=True)
class BlockSize:
    """Amount of work that is read, encoded and committed at once; bounds memory and what a kill can lose."""

    entries: int = 8_192
    """Whole months are added until a block has this many entries."""
    vector_bytes: int = 256 * 2**20
    """A block's embeddings take no more than this."""
    feature_bytes: int = 48 * 2**20
    """The feature rows of one task take no more than this."""
    seconds: float = 30.0
    """Longest encoding time of a block, as far as the rate is known. A kill loses the block being encoded, and the one
    before it if it is being committed at that moment."""

    def most_entries(self, dim: int, rate: float | None) -> int:
        """Return the most entries of a block, given the encoder's rate in entries per second."""
        by_memory = max(1, self.vector_bytes // (4 * dim))
        return by_memory if rate is None else max(1, min(by_memory, int(rate * self.seconds)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The work of a build as a value, which can be printed before anything runs."""

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
    """Unavailable cells by reason: no row on that day, history too short, a non-finite value."""
    withdrawn: int
    """Unavailable cells that have an entry: the panel no longer has their window."""
    blocks: int
    """Minimum number of commits that the build will make."""
    bytes_estimate: int
    """Size of the new entries on disk."""
    seconds_estimate: float | None
    """Seconds of encoding; None if the encoder's rate has not been measured."""
    peak_memory_bytes: int
    """Memory of a build: its arrays, and, if planned with a loaded model rather than its spec, the peak of this process
    so far, which includes libraries, the model, and its activations in the batches that were measured."""

    @property
    def to_compute(self) -> int:
        """Stale and missing cells."""
        return self.stale + self.missing

    def summary(self) -> dict[str, object]:
        """Return the plan as plain values, under the keys of ``encash plan --json``."""
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


def make_plan(
    panel: Panel,
    spec: EncoderSpec,
    snapshot: StoreSnapshot | None,
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
        snapshot: the cache as it is; None if there is none yet.
        selection: days and tickers.
        dtype: how vectors are stored; None takes the cache's, or float32 for a new one.
        rate: the encoder's entries per second, if known.
        block: how the work is divided.

    Raises:
        MismatchError: the cache has a different encoder or dtype, or the panel's features are not the encoder's.
        InputError: no session or ticker is selected.
    """
    spec.check_features(panel.num_features, panel.feature_names)
    if snapshot is not None:
        check_encoder(snapshot.spec, spec, dtype=dtype, forecasts=True)
        dtype = snapshot.spec.dtype
    days, tickers = selection.choose_days(panel.sessions), selection.choose_tickers(panel.tickers)
    windows = window_digests(panel, tickers, days, spec.lookback)
    index = None if snapshot is None else snapshot.index()
    row = None if index is None else index.grid(days, np.asarray(tickers, dtype=np.str_))
    state = compare(windows, index, row)
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


def renewal(panel: Panel, spec: EncoderSpec, index: EntryIndex, requested: Selection) -> tuple[Selection, int]:
    """Return what an update of a cache looks at.

    That is the sessions from the cache's first day, for the tickers that it holds and for new ones, which had no window
    up to its last day. Requested days and tickers take precedence.

    Args:
        panel: the data.
        spec: the encoder of the cache.
        index: of the cache.
        requested: the user's choice.

    Returns:
        The selection, and how many tickers of the data it leaves out because the cache never had them.
    """
    if not index.entries:
        return requested, 0
    if requested.start is None and requested.months is None:
        requested = replace(requested, start=index.days[0])
    if (requested.tickers, requested.num_stocks, requested.skip) != (None, None, None):
        return requested, 0
    held = set(index.tickers.tolist()) & set(panel.tickers)
    strange = tuple(sorted(set(panel.tickers) - held))
    new, before = strange, panel.sessions[panel.sessions <= index.days[-1]]
    if strange and len(before):
        had = (window_digests(panel, strange, before, spec.lookback).reason == Reason.OK).any(axis=0)
        new = tuple(np.asarray(strange)[~had].tolist())
    return replace(requested, tickers=tuple(sorted(held.union(new)))), len(strange) - len(new)


def compare(windows: WindowDigests, index: EntryIndex | None, row: Int32 | None) -> Int8:
    """Return the `State` of each cell; shape (T, N).

    Args:
        windows: of the panel.
        index: of the snapshot; None without one.
        row: the row of each cell, as `EntryIndex.grid` returns it.
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
    """Count the cells in each state."""
    return {kind: int(np.count_nonzero(state == kind)) for kind in State}


def work_by_day(state: Int8) -> Int64:
    """Count the cells to compute before each day, and in total; shape (T + 1,)."""
    per_day = ((state == State.STALE) | (state == State.MISSING)).sum(axis=1)
    return np.concatenate([[0], np.cumsum(per_day)]).astype(np.int64)


def cut_block(months: Int64, before: Int64, start: int, least: int, most: int) -> int:
    """Return where the block that starts at a cell ends: whole months until `least` cells, never more than `most`.

    Args:
        months: the month of each day, shape (T,).
        before: `work_by_day`, shape (T + 1,).
        start: the number of the first cell among all cells to compute, by day and ticker.
        least: number of cells after which no further month is added.
        most: largest number of cells of a block.
    """
    total = int(before[-1])
    enough = min(start + least, total)
    last_day = int(np.searchsorted(before, enough)) - 1
    month_end = int(before[np.searchsorted(months, months[last_day], side="right")])
    return min(month_end, start + most)


def cut_blocks(days: Days, state: Int8, least: int, most: int) -> Iterator[tuple[int, int]]:
    """Iterate over all blocks as (start, stop) among the cells to compute, by day and ticker."""
    months, before, stop = days.astype("datetime64[M]").astype(np.int64), work_by_day(state), 0
    while (start := stop) < before[-1]:
        stop = cut_block(months, before, start, least, most)
        yield start, stop


def entry_bytes(spec: EncoderSpec, dtype: str) -> int:
    """Estimate the size of one entry on disk."""
    scale = 4 if dtype == "int8" else 0
    return spec.dim * ITEM_BYTES[dtype] + scale + 8 * len(spec.horizons) + KEY_BYTES


def _count_reasons(reason: Int8) -> dict[str, int]:
    return {kind.name.lower(): int(np.count_nonzero(reason == kind)) for kind in Reason if kind is not Reason.OK}


def process_peak_bytes() -> int:
    """Return the peak memory of this process so far; 0 if the system does not report it.

    On Linux it is VmHWM: ``ru_maxrss`` of a new process begins with that of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_memory(spec: EncoderSpec, block: BlockSize, most_entries: int, shape: tuple[int, ...]) -> int:
    """Add up feature rows of the tasks in flight, blocks being encoded and written, and grids of keys and digests."""
    days, tickers = shape
    all_rows = tickers * (days + spec.lookback) * spec.num_features * 4
    vectors = most_entries * 4 * (spec.dim + 2 * len(spec.horizons))
    features = min(max(CHUNK_BYTES, 4 * block.feature_bytes), 4 * all_rows)
    return WRITING_BYTES + features + 4 * vectors + days * tickers * 32
