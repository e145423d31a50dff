"""Merge caches, export them to the interchange format, and import them from it."""

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
    """Copy the entries of several caches of one encoder into one; the sources stay unchanged.

    Args:
        paths: caches, in order.
        into: the target cache; created if missing.
        on_conflict: ``refuse`` writes nothing if two caches differ under one key; with ``first`` or ``last``, that
            entry wins.
        progress: called with (done, total) entries.

    Raises:
        MismatchError: caches of different or unknown encoders; or conflicts, if refused.
        InputError: no cache, or a cache merged into itself.
    """
    if not paths:
        raise InputError("no caches to merge; give one or more")
    sources = [open_store(path).snapshot() for path in paths]
    first = sources[0].spec
    known = {digest for source in sources for digest in (source.spec.notes or {}).get(SOURCES, [])}
    spec = replace(first, notes={**(first.notes or {}), SOURCES: sorted(known)})
    target = find_store(into) or (lambda: ensure_store(into, spec))
    return merge(sources, target, on_conflict=on_conflict, progress=progress)


def export_hdf5(cache: CacheReader, path: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
    """Write a cache as ``/<TICKER>/<YYYY-MM-DD>`` atomically, with its provenance in attributes.

    Returns:
        Number of entries written.

    Raises:
        WorkError: the file could not be written; an existing file is kept.
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
    """Read an interchange file into a cache. An interrupted import continues when repeated; no entry is replaced.

    Args:
        source: a file written by `export_hdf5` or a different tool.
        into: the target cache; created if missing.
        trust: accept a file without provenance; the cache is marked as unverified. A file with provenance needs no
            trust and keeps it.
        dtype: how vectors are stored, at most as wide as in the file; None keeps the file's.
        least_agreement: a narrower dtype is refused if less than this fraction of a sample agrees
            (`measure_agreement`).
        progress: called with (done, total) entries.

    Returns:
        Number of entries read.

    Raises:
        MismatchError: a file without provenance, if not trusted; a dtype that is wider than the file's, or that changes
            too much; a target of a different encoder, or with different entries under the same keys.
        FormatError: not a file of this format, or a vector that is not what was exported.
        InputError: a narrower dtype with too few vectors to measure it on; or an invalid agreement.
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
        target = target or ensure_store(into, spec)  # created late: a refusal leaves nothing behind
        target.write(rounded, skip_valid=True)
        done += len(entries)
        if progress is not None:
            progress(done, total)
    return done


def _check_both_known(spec: StoreSpec, store: StoreSnapshot, target: StoreSnapshot) -> None:
    """Refuse to mix entries of a known model with those of an unknown one."""
    unknown, known = (store, target) if target.spec.encoder else (target, store)
    if bool(spec.encoder) != bool(target.spec.encoder):
        raise MismatchError(
            f"{unknown.location} does not record which model made it, and {known.location} does; import the file into "
            "a new cache, and find out with `encash cache verify CACHE --model M --data F`"
        )


def _imported_spec(store: StoreSnapshot, dtype: str, *, trust: bool) -> StoreSpec:
    """Return the spec for the cache of an imported file."""
    spec, notes = store.spec, dict(store.spec.notes or {})
    check_dtype(dtype)
    if DTYPES.index(dtype) < DTYPES.index(spec.dtype):
        raise MismatchError(
            f"{store.location} has {spec.dtype} vectors, which {dtype} would not make more precise; omit --dtype"
        )
    encoder = encoder_of(spec)
    if encoder is not None and spec.fingerprint:
        return replace(spec, dtype=dtype, fingerprint=cache_fingerprint(encoder, dtype), notes=notes)
    if not trust:
        raise MismatchError(
            f"{store.location} does not record which model made it; import it with --trust, then find out with `encash "
            "cache verify CACHE --model M --data F`"
        )
    imported = {UNVERIFIED: f"imported on trust from {Path(store.location).name}", "file": file_digest(store.location)}
    return replace(spec, dtype=dtype, notes={**notes, **imported})
