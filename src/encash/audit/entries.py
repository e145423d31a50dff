"""Check that cached entries are those that the model computes now, and what was restated since they were made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from encash.arrays import Days, Float32, Text, day_text
from encash.audit.subject import Check, Subject
from encash.cache import Lookup, open_cache
from encash.errors import MismatchError
from encash.progress import Progress

MOST_VERSIONS = 20
"""Newest older versions of a cache that are compared with the current one."""


def hit_is_miss(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Encode random entries of the cache again, and compare their vectors and clusters."""
    cache = subject.cache
    if cache is None:
        yield Check.not_applicable("hit = miss", "no cache was given")
        return
    index = cache.index()
    rows, columns = np.nonzero(index.row >= 0)
    if not len(rows):
        yield Check.not_tried("hit = miss", "the cache has no entries; build it")
        return
    random = np.random.default_rng(subject.seed)
    chosen = np.sort(random.choice(len(rows), size=min(subject.sample, len(rows)), replace=False))
    days, tickers = index.days[rows[chosen]], index.tickers[columns[chosen]]
    live = Lookup(
        panel=subject.panel, encoder=lambda: subject.encoder, spec=subject.encoder.spec, dtype=cache.spec.dtype
    )
    hits = _vectors(Lookup(cache=cache), days, tickers)
    misses = _vectors(live, days, tickers)
    gone = int(np.isnan(misses).any(axis=1).sum())
    difference = float(np.nanmax(np.abs(hits - misses), initial=0.0))
    clusters = 0
    if subject.filter is not None and subject.filter.periods:
        kept = ~np.isnan(misses).any(axis=1)
        both = [subject.filter.assign(days[kept], vectors[kept])[0] for vectors in (hits, misses)]
        clusters = int((both[0] != both[1]).sum())
    passed = gone == 0 and clusters == 0 and difference <= 1e-4 * max(1.0, float(np.abs(hits).max(initial=0.0)))
    detail = (
        f"{len(chosen)} entries encoded again: largest difference {difference:.2e}, {clusters} in a different cluster"
    )
    yield Check.judged("hit = miss", passed, detail + (f", {gone} no longer have a window" if gone else ""))


def staleness_check(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Count the entries whose window is no longer the one that they were made from."""
    name, cache = "entries: staleness", subject.cache
    if cache is None:
        yield Check.not_applicable(name, "no cache was given")
        return
    try:
        counts = cache.coverage(subject.panel).counts()
    except MismatchError as error:
        yield Check.not_tried(name, str(error))
        return
    detail = f"{counts['valid']:,} entries are valid, {counts['stale']:,} stale, {counts['missing']:,} missing"
    warning = (
        f"{counts['stale']:,} entries were made from features that have been restated since: a backtest encodes them "
        "again with --model, counts them as missing without it, and serves them unnoticed without --data"
    )
    yield Check.judged(name, True, detail, warning=warning if counts["stale"] else "")


def vintage_check(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Compare the cache with its older versions: entries that were replaced since show what history was restated."""
    name, cache = "entries: older versions", subject.cache
    if cache is None or not cache.exists:
        yield Check.not_applicable(name, "no cache was given")
        return
    now, newest = cache.index(), cache.version
    older = [one.number for one in cache.versions() if one.number < newest][-MOST_VERSIONS:]
    compared, restated, first = 0, 0, ""
    for number in older:
        then = open_cache(cache.path, version=number).index()
        days, tickers = then.keys(then.rows())
        rows = now.locate(days, tickers)
        both = np.flatnonzero(rows >= 0)
        before, after = then.digests(then.rows()[both]), now.digests(rows[both])
        moved = both[(before != after) & (before != 0) & (after != 0)]
        compared = max(compared, len(both))
        if len(moved) > restated:
            restated, first = len(moved), f"{tickers[moved[0]]} on {day_text(days[moved[0]])}"
    if not compared:
        yield Check.not_applicable(name, "no older version of the cache has entries")
        return
    detail = f"{len(older)} older versions, up to {compared:,} entries in common, {restated:,} of them replaced since"
    warning = (
        f"history was restated: {restated:,} entries, {first} first, have been replaced since they were made; a "
        "backtest of these days differs from one that was run before (--as-of reads an older version)"
    )
    yield Check.judged(name, True, detail, warning=warning if restated else "")


def _vectors(lookup: Lookup, days: Days, tickers: Text) -> Float32:
    parts = lookup.read(days, tickers, embeddings=True, forecasts=False)
    return np.concatenate([part.embedding for part in parts if part.embedding is not None])
