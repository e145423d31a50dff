"""Contents of a cache: summary figures, and the state of every cell of a panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encash.arrays import Days, Int8, day_text
from encash.cache import identity
from encash.cache.plan import State, compare, count_states, range_text
from encash.cache.reader import CacheSnapshot
from encash.cache.selection import Selection
from encash.cache.window_digests import window_digests
from encash.display import Shown, size_text
from encash.panel.panel import Panel

_SHOWN_TICKERS = 5


@dataclass(frozen=True, kw_only=True, repr=False)
class CacheInfo(Shown):
    """Summary of a cache, under the keys of ``encash cache info --json``."""

    engine: str
    entries: int
    tickers: int
    sessions: int
    first: str | None
    """First day, YYYY-MM-DD; None for an empty cache."""
    last: str | None
    dim: int
    dtype: str
    horizons: tuple[int, ...]
    encoder: str
    """Fingerprint of the encoder; empty if not recorded."""
    bytes: int
    bytes_per_entry: float | None
    versions: int
    """Number of commits that can still be opened."""
    version: int
    verified: bool
    """False for a cache imported on trust."""
    agreement: dict[str, Any] | None
    """Measured agreement of a dtype narrower than float32 (`DtypeAgreement`); None for float32."""

    def title(self) -> str:
        """Return one sentence."""
        span = f", {self.first} to {self.last}" if self.entries else ""
        return f"Cache: {self.entries:,} entries of {self.tickers:,} tickers × {self.sessions:,} sessions{span}"

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return what an entry is, and where it is from."""
        each = "" if self.bytes_per_entry is None else f", {self.bytes_per_entry:,.0f} bytes per entry"
        return [
            ("embedding", f"{self.dim:,} × {self.dtype}"),
            ("forecasts", f"over {', '.join(map(str, self.horizons))} sessions" if self.horizons else "none"),
            ("encoder", f"{self.encoder[:12] or 'not recorded'}{'' if self.verified else ', imported on trust'}"),
            ("size", f"{size_text(self.bytes)}{each}"),
            ("version", f"{self.version}, of {self.versions} that can be opened; {self.engine}"),
        ]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Coverage(Shown):
    """State of each cell: valid, stale, missing or unavailable."""

    days: Days
    """shape (T,)."""
    tickers: tuple[str, ...]
    """N tickers."""
    state: Int8
    """A `State` for each cell; shape (T, N)."""

    def title(self) -> str:
        """Return one sentence."""
        return f"Coverage: {', '.join(f'{count:,} {state}' for state, count in self.counts().items())}"

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return the range, and the tickers with the most cells that a build would make."""
        tickers = sorted(self.by_ticker().items(), key=lambda one: -one[1]["missing"] - one[1]["stale"])
        least = [
            (ticker, ", ".join(f"{number:,} {state}" for state, number in states.items()))
            for ticker, states in tickers[:_SHOWN_TICKERS]
            if states["missing"] + states["stale"]
        ]
        return [("range", range_text(self.tickers, self.days)), *least]

    def counts(self) -> dict[str, int]:
        """Count the cells in each state."""
        return {state.name.lower(): number for state, number in count_states(self.state).items()}

    def by_ticker(self) -> dict[str, dict[str, int]]:
        """Count the cells in each state, for each ticker."""
        found = np.stack([(self.state == state).sum(axis=0) for state in State], axis=1)
        names = [state.name.lower() for state in State]
        return {
            ticker: dict(zip(names, row, strict=True)) for ticker, row in zip(self.tickers, found.tolist(), strict=True)
        }


def describe(cache: CacheSnapshot, versions: int) -> CacheInfo:
    """Summarize a cache.

    Args:
        cache: the version to describe.
        versions: how many versions the cache has.
    """
    index, size, spec = cache.index(), cache.store.size_bytes(), cache.spec
    encoder = cache.encoder_spec
    return CacheInfo(
        engine=cache.store.engine,
        entries=index.entries,
        tickers=len(index.tickers),
        sessions=len(index.days),
        first=day_text(index.days[0]) if len(index.days) else None,
        last=day_text(index.days[-1]) if len(index.days) else None,
        dim=spec.dim,
        dtype=spec.dtype,
        horizons=spec.horizons,
        encoder="" if encoder is None else encoder.fingerprint,
        bytes=size,
        bytes_per_entry=size / index.entries if index.entries else None,
        versions=versions,
        version=cache.version,
        verified=cache.verified,
        agreement=(spec.notes or {}).get(identity.AGREEMENT),
    )


def cover(cache: CacheSnapshot, panel: Panel, selection: Selection) -> Coverage:
    """Return the state of every cell of a selection; see `Cache.coverage`."""
    spec = identity.known_encoder(cache.spec)
    spec.check_features(panel.num_features, panel.feature_names)
    days, tickers = selection.choose_days(panel.sessions), selection.choose_tickers(panel.tickers)
    windows, index = window_digests(panel, tickers, days, spec.lookback), cache.index()
    row = index.grid(days, np.asarray(tickers, dtype=np.str_))
    return Coverage(days=days, tickers=tickers, state=compare(windows, index, row))
