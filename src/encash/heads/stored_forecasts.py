"""The forecasts of a head for a whole cache, in the folder of the head: computed once, then updated incrementally."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Days, Float32, Text
from encash.clusters.entry_values import CacheEntries, ValueArray, load_values, update_values
from encash.heads.head import REMAKE, Head
from encash.progress import Progress

FOLDER = "forecasts"
_LOCK = ".forecasts.lock"


@dataclass(frozen=True, kw_only=True)
class _Maker:
    """The forecasts of a head, as values of entries."""

    head: Head
    remake: str = REMAKE

    @property
    def fingerprint(self) -> str:
        """Identity of the head."""
        return self.head.fingerprint

    @property
    def arrays(self) -> tuple[ValueArray, ...]:
        """Forecast and confidence of each horizon."""
        shape = (len(self.head.horizons),)
        return tuple(ValueArray(name=name, dtype=np.float32, shape=shape) for name in ("forecast", "confidence"))

    @property
    def facts(self) -> dict[str, Any]:
        """Horizons of the forecasts."""
        return {"horizons": list(self.head.horizons)}

    def make(self, days: Days, tickers: Text, vectors: Float32) -> tuple[np.ndarray, ...]:
        """Forecast n entries."""
        return self.head.forecast(days, tickers, vectors)


def update_forecasts(folder: Path, head: Head, entries: CacheEntries, *, progress: Progress | None = None) -> None:
    """Store the forecasts of every entry of a cache in the folder of the head; only new and changed entries are read.

    Raises:
        InputError: an empty cache.
        ConflictError: a different process has been computing them for an hour.
    """
    update_values(folder / FOLDER, _LOCK, _Maker(head=head), entries, progress)


def with_stored_forecasts(folder: Path, head: Head, entries: CacheEntries) -> Head:
    """Return the head with the forecasts of a cache that its folder holds; the same head without any.

    Raises:
        FormatError: the stored forecasts are damaged.
    """
    return replace(head, stored=load_values(folder / FOLDER, _Maker(head=head), entries))
