"""Caches in and out: merged, exported to the interchange format, imported from it. Knows stores and their identities;
no panel and no model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from encash.cache.dtype_agreement import LEAST_AGREEMENT, check_share, note_agreement, stored_agreement
from encash.cache.identity import SOURCES, UNVERIFIED, cache_fingerprint, encoder_of
from encash.cache.reader import CacheReader
from encash.errors import InputError, MismatchError
from encash.fingerprint import file_digest
from encash.progress import Progress
from encash.store.base import StoreSnapshot, StoreSpec
from encash.store.codec import DTYPES, check_dtype, round_vectors
from encash.store.locator import check_same, ensure_store, find_store, open_store
from encash.store.locator import export_hdf5 as export_store
from encash.store.merge import MergeReport, OnConflict, check_replaces_nothing, merge

BATCH_BYTES = 64 * 2**20


def merge_caches(
    paths: Sequence[str | os.PathLike[str]],
    into: str | os.PathLike[str],
    *,
    on_conflict: OnConflict = "refuse",
    progress: Progress | None = None,
) -> MergeReport:
    """Bring the entries of partial caches of one encoder into one; the sources stay as they are.

    Args:
        paths: caches, in order.
        into: the cache that takes them; made where there is none.
        on_conflict: ``refuse`` writes nothing where two caches differ under one key; ``first`` or ``last`` wins.
        progress: told (done, total) entries.

    Raises:
        MismatchError: caches of different encoders, or of none that is known; or conflicts, when refused.
        InputError: no cache at all, or a cache merged into itself.
    """
    if not paths:
        raise InputError("no cache to merge was named; give one or more")
    sources = [open_store(path).snapshot() for path in paths]
    first = sources[0].spec
    known = {digest for source in sources for digest in (source.spec.notes or {}).get(SOURCES, [])}
    spec = replace(first, notes={**(first.notes or {}), SOURCES: sorted(known)})
    target = find_store(into) or (lambda: ensure_store(into, spec))
    return merge(sources, target, on_conflict=on_conflict, progress=progress)


def export_hdf5(cache: CacheReader, path: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
    """Write a cache as ``/<TICKER>/<YYYY-MM-DD>``, whole or not at all; its provenance goes into attributes.

    Returns:
        Entries written.

    Raises:
        WorkError: the disk refused; a file that was there before is kept.
    """
    return export_store(cache.snapshot().store, path, progress=progress)


def import_hdf5(
    source: str | os.PathLike[str],
    into: str | os.PathLike[str],
    *,
    trust: bool = False,
    dtype: str | None = None,
    least_agreement: float = LEAST_AGREEMENT,
    progress: Progress | None = None,
) -> int:
    """Read an interchange file into a cache; begun again after a kill, it goes on. Nothing that is there is replaced.

    Args:
        source: a file that `export_hdf5` or another tool wrote.
        into: the cache that takes the entries; made where there is none.
        trust: take a file that does not say which model made it; the cache is marked as unverified. A file that says so
            needs no trust and keeps what it says.
        dtype: how vectors are kept, at most as wide as in the file; None keeps the file's.
        least_agreement: a narrower dtype is refused if it keeps less of a sample of the vectors (`measure_agreement`).
        progress: told (done, total) entries.

    Returns:
        Entries read.

    Raises:
        MismatchError: a file without provenance and no trust; a wider dtype than the file's, or one that changes too
            much; another cache there, or one that holds other entries under the same keys.
        FormatError: no file of this form, or a vector that is not what was exported.
        InputError: a narrower dtype, and too few vectors to measure it on; or an agreement that is no share.
    """
    check_share(least_agreement)
    store, target = open_store(source).snapshot(), find_store(into)
    spec = _imported_spec(store, dtype or store.spec.dtype, trust=trust)
    if target is None:
        spec = note_agreement(spec, stored_agreement(store, spec.dtype), least_agreement)
    else:
        held = target.snapshot()
        _check_both_known(spec, store, held)
        check_same(spec, held)
        check_replaces_nothing(store, held)
    done, total = 0, store.index().entries
    for entries in store.by_day(max(256, BATCH_BYTES // (4 * store.spec.dim))):
        rounded = replace(entries, embedding=round_vectors(entries.embedding, spec.dtype))
        target = target or ensure_store(into, spec)  # made when there is something to write: a refusal leaves nothing
        target.write(rounded, skip_valid=True)
        done += len(entries)
        if progress is not None:
            progress(done, total)
    return done


def _check_both_known(spec: StoreSpec, store: StoreSnapshot, target: StoreSnapshot) -> None:
    """Refuse to mix entries of a known model with those of nobody knows which."""
    unknown, known = (store, target) if target.spec.encoder else (target, store)
    if bool(spec.encoder) != bool(target.spec.encoder):
        raise MismatchError(
            f"{unknown.location} does not say which model made it, and {known.location} does; import the file into a "
            "cache of its own, and let `encash cache verify CACHE --model M --data F` find out"
        )


def _imported_spec(store: StoreSnapshot, dtype: str, *, trust: bool) -> StoreSpec:
    """What the cache of an imported file says of itself."""
    spec, notes = store.spec, dict(store.spec.notes or {})
    check_dtype(dtype)
    if DTYPES.index(dtype) < DTYPES.index(spec.dtype):
        raise MismatchError(
            f"{store.location} keeps {spec.dtype}, and {dtype} would only pretend to be more exact; leave --dtype out"
        )
    encoder = encoder_of(spec)
    if encoder is not None and spec.fingerprint:
        return replace(spec, dtype=dtype, fingerprint=cache_fingerprint(encoder, dtype), notes=notes)
    if not trust:
        raise MismatchError(
            f"{store.location} does not say which model made it; import it with --trust, then let `encash cache verify "
            "CACHE --model M --data F` find out"
        )
    imported = {UNVERIFIED: f"imported on trust from {Path(store.location).name}", "file": file_digest(store.location)}
    return replace(spec, dtype=dtype, notes={**notes, **imported})
