"""Proof that cached entries are those that the model computes now."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from encash.arrays import Days, Float32, Text
from encash.audit.subject import Check, Subject
from encash.cache import Lookup
from encash.progress import Progress


def hit_is_miss(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Encode random entries of the cache again, and compare their vectors and clusters; no check without a cache."""
    cache = subject.cache
    if cache is None:
        return
    index = cache.index()
    rows, columns = np.nonzero(index.row >= 0)
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
    yield Check(name="hit = miss", passed=passed, detail=detail + (f", {gone} no longer have a window" if gone else ""))


def _vectors(lookup: Lookup, days: Days, tickers: Text) -> Float32:
    parts = lookup.read(days, tickers, embeddings=True, forecasts=False)
    return np.concatenate([part.embedding for part in parts if part.embedding is not None])
