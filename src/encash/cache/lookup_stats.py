"""Classification of the cells of a lookup as hits, misses, stale or unavailable, and their counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from encash.arrays import Bool, Int8, Int64
from encash.cache.task import Cells
from encash.cache.window_digests import DigestCache
from encash.store.index import EntryIndex


class Kind(IntEnum):
    """Source of a cell."""

    HIT = 0
    MISS = 1
    STALE = 2
    UNAVAILABLE = 3


@dataclass(kw_only=True)
class LookupStats:
    """Counts of cells by source. Each cell counts once in hits, misses, stale or unavailable."""

    hits: int = 0
    """Valid entries of the cache."""
    misses: int = 0
    """Cells that have a window, as far as is known, and no entry."""
    stale: int | None = None
    """Entries made from a window that the panel no longer has; None if they cannot be compared: no panel was given, or
    the cache does not record how it was made."""
    unavailable: int = 0
    """Cells without a window in the panel."""
    unserved: int = 0
    """Misses and stale entries that were not found, as no model was given."""
    computed: int = 0
    """Windows that went through the model."""
    forecasts_computed: int = 0
    """Hits that went through the model nevertheless, for a forecast that the cache does not have."""
    unchecked: int = 0
    """Hits whose input is not recorded (files of foreign tools), so that they could not be compared."""
    model_loaded: bool = False
    encode_seconds: float = 0.0
    verified: bool = True
    """False: the cache was imported on trust, and the model that made it is unknown."""

    def count(self, kind: Int8, found: Bool) -> None:
        """Count cells by their `Kind`, and those of them that were not found; shape (n,) each."""
        counts = np.bincount(kind, minlength=len(Kind))
        self.unserved += int((~found & (kind != Kind.UNAVAILABLE)).sum())
        self.hits += int(counts[Kind.HIT])
        self.misses += int(counts[Kind.MISS])
        self.unavailable += int(counts[Kind.UNAVAILABLE])
        if self.stale is not None:
            self.stale += int(counts[Kind.STALE])


def staleness(stats: LookupStats) -> Literal["checked", "not checked"]:
    """Return whether all entries that were served were compared with the windows of the current data.

    >>> staleness(LookupStats(stale=0)), staleness(LookupStats(stale=None))
    ('checked', 'not checked')
    """
    return "checked" if stats.stale is not None and not stats.unchecked else "not checked"


@dataclass(frozen=True, kw_only=True, eq=False)
class LocatedCells:
    """n cells, located in one snapshot and compared with the panel's windows."""

    cells: Cells
    kind: Int8
    """A `Kind` for each cell, shape (n,)."""
    rows: Int64
    """Row of each cell in the snapshot, −1 if not found; shape (n,)."""
    unchecked: Bool
    """Hits that could not be compared with a window, shape (n,)."""

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.cells)

    def take(self, part: slice) -> LocatedCells:
        """Return some of the cells, in order; their kinds can be changed independently."""
        cells = Cells(days=self.cells.days[part], tickers=self.cells.tickers[part])
        return LocatedCells(
            cells=cells, kind=self.kind[part].copy(), rows=self.rows[part], unchecked=self.unchecked[part]
        )


def locate(cells: Cells, index: EntryIndex | None, digests: DigestCache | None) -> LocatedCells:
    """Find cells in an index and classify them.

    Args:
        cells: n cells.
        index: of a snapshot; None without a cache.
        digests: digests of the panel's windows; None if entries cannot be compared with them.
    """
    rows = np.full(len(cells), -1, dtype=np.int64) if index is None else index.locate(cells.days, cells.tickers)
    held = rows >= 0
    kind = np.where(held, Kind.HIT, Kind.MISS).astype(np.int8)
    unchecked = np.zeros(len(cells), dtype=np.bool_)
    if digests is not None:
        stored = np.zeros(len(cells), dtype=np.uint64) if index is None else index.digests(rows)
        digest = digests.of(cells)
        kind[held & (stored != 0) & (stored != digest)] = Kind.STALE
        kind[digest == 0] = Kind.UNAVAILABLE
        unchecked = held & (stored == 0) & (digest != 0)
    return LocatedCells(cells=cells, kind=kind, rows=rows, unchecked=unchecked)
