"""Forecast heads from a cache and prices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from encash import heads
from encash.atomic_write import check_folder
from encash.heads.registry import fit_function
from encash.pipeline.sources import cached_batches, encoder_fingerprint, entries_of
from encash.progress import Progress
from encash.store.local.lock import sole_writer

if TYPE_CHECKING:
    from encash.cache import Cache
    from encash.panel import PriceTable


def fit_head(
    cache: Cache,
    prices: PriceTable,
    config: heads.HeadConfig,
    out: Path,
    *,
    progress: Progress | None = None,
) -> heads.Head:
    """Fit a forecast head on the entries of a cache, and save it.

    Raises:
        InputError: an unknown kind, too few sessions, or no entries with known returns.
        ConflictError: a different process is writing into the folder.
        MissingExtraError: the library of the kind is not installed.
    """
    fit_function(config.kind)  # imports its library
    check_folder(out)
    with sole_writer(out, "head"):
        snapshot = cache.snapshot()
        head = heads.fit_head(
            prices,
            lambda start, end: cached_batches(snapshot, start, end),
            config=config,
            encoder=encoder_fingerprint(cache),
            progress=progress,
        )
        head.save(out)
        return head


def update_forecasts(cache: Cache, folder: Path, head: heads.Head, *, progress: Progress | None = None) -> None:
    """Store the forecasts of a head for every entry of a cache in the folder of the head.

    Only entries that have changed since the last time are read. Without a record of the model that made the cache
    nothing is stored.
    """
    if cache.verified:
        heads.update_forecasts(folder, head, entries_of(cache), progress=progress)
