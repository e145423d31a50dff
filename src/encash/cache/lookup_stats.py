"""Where each cell of a lookup comes from, and how many came from where. Knows keys and digests; reads no vector and
encodes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from encash.arrays import Bool, Int8, Int64, UInt64
from encash.cache.task import Cells
from encash.cache.window_digests import ExpectedDigests
from encash.store.base import EntryIndex


class Kind(IntEnum):
    """Where a cell comes from."""

    HIT = 0
    MISS = 1
    STALE = 2
    UNAVAILABLE = 3


@dataclass(kw_only=True)
class Tally:
    """Where cells came from. Each cell counts once in hits, misses, stale or unavailable."""

    hits: int = 0
    """Valid entries of the cache."""
    misses: int = 0
    """Cells that have a window, as far as is known, and no entry."""
    stale: int | None = None
    """Entries made from another window than the panel has now; None where they cannot be compared: no panel was given,
    or the cache does not say how it was made."""
    unavailable: int = 0
    """Cells without a window in the panel."""
    unserved: int = 0
    """Misses and stale entries for which there was no model: not found."""
    computed: int = 0
    """Windows that went through the model."""
    forecasts_computed: int = 0
    """Hits that went through the model all the same, for a forecast that the cache does not have."""
    unchecked: int = 0
    """Hits whose input nobody recorded (files of foreign tools), so that they could not be compared."""
    model_loaded: bool = False
    encode_seconds: float = 0.0
    verified: bool = True
    """False: the cache was imported on trust, and nobody knows which model made it."""

    def count(self, kind: Int8, found: Bool) -> None:
        """Count cells by their `Kind`, and those of them for which nothing was found; shape (n,) each."""
        counts = np.bincount(kind, minlength=len(Kind))
        self.unserved += int((~found & (kind != Kind.UNAVAILABLE)).sum())
        self.hits += int(counts[Kind.HIT])
        self.misses += int(counts[Kind.MISS])
        self.unavailable += int(counts[Kind.UNAVAILABLE])
        if self.stale is not None:
            self.stale += int(counts[Kind.STALE])


def kinds_of(cells: Cells, index: EntryIndex | None, expected: ExpectedDigests | None) -> tuple[Int8, Bool]:
    """A `Kind` for each cell, and which hits nobody could compare; shape (n,) each.

    Args:
        cells: n cells.
        index: the keys of the cache; None without one.
        expected: what the panel's windows are now; None where entries cannot be compared with them.
    """
    row, stored = _stored(cells, index)
    held = row >= 0
    kind = np.where(held, Kind.HIT, Kind.MISS).astype(np.int8)
    if expected is None:
        return kind, np.zeros(len(cells), dtype=np.bool_)
    digest = expected.digests(cells)
    kind[held & (stored != 0) & (stored != digest)] = Kind.STALE
    kind[digest == 0] = Kind.UNAVAILABLE
    return kind, held & (stored == 0) & (digest != 0)


def _stored(cells: Cells, index: EntryIndex | None) -> tuple[Int64, UInt64]:
    """The row of each cell, −1 for none, and its digest, 0 for none or unknown."""
    if index is None:
        return np.full(len(cells), -1, dtype=np.int64), np.zeros(len(cells), dtype=np.uint64)
    row = index.locate(cells.days, cells.tickers)
    digest = np.zeros(len(cells), dtype=np.uint64)
    digest[row >= 0] = index.digest[row[row >= 0]]
    return row, digest
