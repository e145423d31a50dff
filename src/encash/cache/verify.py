"""Is what a cache holds what its model says of these data? Checksums, digests against the panel, and entries encoded
again. Knows a cache, a panel and an encoder; takes entries away where it is told to, and repairs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from encash.arrays import Bool, Days, Int32, Int64, Text, UInt64, positions
from encash.cache.cache import Cache
from encash.cache.identity import UNVERIFIED, check_encoder, encoder_of, is_unverified, store_spec
from encash.cache.plan import rows_on_grid, window_digests
from encash.cache.task import Cells, read_tasks, run_whole_task
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import InputError, MismatchError
from encash.panel.panel import Panel
from encash.panel.windows import Reason
from encash.progress import Progress
from encash.store.base import Entries, StoreCheck
from encash.store.locator import open_store

Sample = int | Literal["all"] | None
"""How many entries are encoded again; None: all of a cache that does not say which model made it, else `SAMPLE`."""

SAMPLE = 256
TOLERANCE = {"float32": 1e-4, "float16": 2e-3, "int8": 2e-2}
"""Largest difference from a vector encoded again, as a share of its largest number: what other batches, libraries and
processors change, and rounding may double."""
COARSE = 5e-2
"""The same for an encoder that computes in half precision."""
_CELLS = 8_192
"""Entries whose vectors are compared at once."""
_COPIED_ROWS = 4_096


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What was checked and what was found, under the keys of ``encash cache verify --json``."""

    checked: int
    """Rows read."""
    corrupt: int
    """Rows whose checksum does not fit, or that could not be read."""
    duplicates: int
    """Keys that stand twice."""
    not_finite: int
    """Rows with NaN or infinity."""
    stale: int | None
    """Entries whose window is another one in the panel now; None without a panel, or where no digest is known."""
    withdrawn: int | None
    """Entries whose window the panel no longer has: a value of it is not finite now. None without a panel."""
    dropped: int
    """Rows that were taken away: the corrupt, those that are not finite and the withdrawn, where that was asked."""
    sampled: int
    """Entries encoded again."""
    not_compared: int | None
    """Entries that were not; None without a model."""
    differing: int
    """Of those encoded again, those that differ by more than other batches and processors explain."""
    max_abs_diff: float | None
    """Largest difference of a number of an embedding in the sample; None without a model."""
    verified: bool
    """The cache says which model made it, or every entry was encoded again and is what this model makes."""
    findings: tuple[str, ...] = ()
    """One line for each kind of damage: how much, the first place, and what helps."""
    notes: tuple[str, ...] = ()
    """What else there is to know, in sentences."""

    @property
    def passed(self) -> bool:
        """Nothing was found."""
        counts = (self.corrupt, self.duplicates, self.not_finite, self.stale, self.withdrawn, self.differing)
        return not (any(counts) or self.findings)


def verify(
    cache: Cache,
    panel: Panel | None = None,
    encoder: Encoder | None = None,
    *,
    sample: Sample = None,
    drop: bool = False,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check every row of a cache; with a panel, its digests; with a model besides, entries encoded again.

    Args:
        cache: what is checked; nothing in it is changed but by `drop`.
        panel: the data that it was built from.
        encoder: the model that it was built with.
        sample: how many entries are encoded again, 1 or more.
        drop: take away what is corrupt, not finite or withdrawn; a build makes again what can be made.
        progress: told (done, total) rows read, then entries encoded again.

    Raises:
        MismatchError: an encoder without a panel, or a panel without the encoder's features.
        InputError: a sample below 1, or `drop` for a file that cannot be written.
    """
    if encoder is not None and panel is None:
        raise MismatchError("a model can be compared only with the data that the cache was built from; give --data too")
    if isinstance(sample, int) and sample < 1:
        raise InputError(f"a sample of {sample} entries was asked for; give 1 or more, or all")
    if drop and not cache.store.writable:
        raise InputError(
            f"nothing can be taken away from {cache.path}; import it into a .lance cache, or open the newest"
        )
    stored = cache.store.verify(progress=progress)
    dropped = len(stored.damaged) if drop else 0
    if drop:
        cache.store.remove(stored.damaged)
    data = _Data(stale=None, withdrawn=None, dropped=0)
    again = _Again()
    if panel is not None and (dropped or not stored.corrupt):
        spec = encoder.spec if encoder is not None else encoder_of(cache.spec)
        held = None if spec is None else _Held.of(cache, panel, spec)
        data = data if held is None else _compare_windows(cache, held, drop)
        if held is not None and encoder is not None:
            again = _encode_again(cache, panel, encoder, held.choose(_size(cache, sample)), progress)
    report = _report(cache, stored, data, again, dropped + data.dropped)
    return replace(report, notes=_notes(cache, report, sample)) if again.sampled else report


def _report(cache: Cache, stored: StoreCheck, data: _Data, again: _Again, dropped: int) -> VerifyReport:
    """All that was found, and what it says of a cache of unknown origin."""
    findings = (*stored.findings, *data.findings, *again.findings)
    rest = None if again.sampled is None else cache.index().entries - again.sampled
    proven = bool(again.sampled) and rest == 0 and not findings
    return VerifyReport(
        checked=stored.checked,
        corrupt=stored.corrupt,
        duplicates=stored.duplicates,
        not_finite=stored.not_finite,
        stale=data.stale,
        withdrawn=data.withdrawn,
        dropped=dropped,
        sampled=again.sampled or 0,
        not_compared=rest,
        differing=again.differing,
        max_abs_diff=again.max_abs_diff,
        verified=proven or not is_unverified(cache.spec),
        findings=findings,
    )


def _notes(cache: Cache, report: VerifyReport, sample: Sample) -> tuple[str, ...]:
    """What is still to do for a cache that does not say which model made it."""
    entries = cache.index().entries
    if not is_unverified(cache.spec):
        return ()
    if report.not_compared:
        partial = _size(cache, sample) < entries
        return (
            f"{report.not_compared:,} of {entries:,} entries were not compared, so the cache stays unverified; "
            + ("`--sample all` compares all" if partial else "the data have no window for them: give those it is from"),
        )
    if report.verified and not cache.store.writable:
        return (
            f"every entry is this model's, which cannot be written into {cache.path}; "
            "`encash cache import FILE CACHE.lance --trust`, then verify that cache",
        )
    return ()


def adopt(cache: Cache, panel: Panel, encoder: Encoder, report: VerifyReport) -> None:
    """Write down that a cache imported on trust is of this model: its spec, and the digest of each entry's window.

    Interrupted, the cache is unverified as before.

    Args:
        cache: imported on trust.
        panel: the data that it was verified with.
        encoder: the model that it was verified with.
        report: what `verify` found.

    Raises:
        MismatchError: the report does not prove it of every entry.
        InputError: an interchange file, which cannot be written.
    """
    if not report.passed or not report.verified or not report.sampled:
        raise MismatchError("the cache is not proven to be of this model, so it stays as it is; see the findings")
    if not is_unverified(cache.spec):
        return
    if not cache.store.writable:
        raise InputError(f"{cache.path} cannot be written; import it into a .lance cache with --trust, and verify that")
    held = _Held.of(cache, panel, encoder.spec)
    assert held is not None  # an empty cache is not proven to be of any model
    for entries in open_store(cache.path, version=cache.version).by_day(_COPIED_ROWS):
        cache.store.write(replace(entries, digest=held.digests(entries.days, entries.tickers)))
    notes = {name: note for name, note in (cache.spec.notes or {}).items() if name != UNVERIFIED}
    proven = store_spec(encoder.spec, cache.spec.dtype, [encoder.source_digest])
    forecasts = proven.forecast_fingerprint if cache.spec.horizons else ""
    cache.store.adopt(
        replace(
            proven,
            horizons=cache.spec.horizons,
            forecast_fingerprint=forecasts,
            notes={**notes, **(proven.notes or {})},
        )
    )


@dataclass(frozen=True, kw_only=True)
class _Data:
    """What the comparison with the panel found."""

    stale: int | None
    withdrawn: int | None
    dropped: int
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Again:
    """What the comparison with the model found."""

    sampled: int | None = None
    differing: int = 0
    max_abs_diff: float | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Held:
    """The entries of a cache on its own days and the tickers that the panel has too, beside the panel's windows."""

    days: Days
    """shape (T,)."""
    tickers: Text
    """shape (N,)."""
    row: Int32
    """The row of the entry of each cell, −1 where there is none; shape (T, N)."""
    stored: UInt64
    """The digest that each entry was made from, 0 where there is none; shape (T, N)."""
    digest: UInt64
    """The digest of the window that the panel has, 0 where it has none; shape (T, N)."""
    spoilt: Bool
    """Where the panel's window holds a value that is not finite; shape (T, N)."""

    @classmethod
    def of(cls, cache: Cache, panel: Panel, spec: EncoderSpec) -> _Held | None:
        """Compare a cache with a panel; None for an empty cache."""
        spec.check_features(panel.num_features, panel.feature_names)
        index = cache.index()
        if not index.entries:
            return None
        tickers = index.tickers[np.isin(index.tickers, np.asarray(panel.tickers, dtype=np.str_))]
        names = tuple(tickers.tolist())
        if not names:
            raise MismatchError("the cache and the data have no ticker in common; give the data that it was built from")
        windows = window_digests(panel, names, index.days, spec.lookback)
        row = rows_on_grid(index, index.days, names)
        return cls(
            days=index.days,
            tickers=tickers,
            row=row,
            stored=np.where(row >= 0, index.digest[row], np.uint64(0)),
            digest=windows.digest,
            spoilt=windows.reason == Reason.NOT_FINITE,
        )

    @property
    def stale(self) -> Bool:
        """Entries whose window is another one now; shape (T, N)."""
        stale: Bool = (self.row >= 0) & (self.stored != 0) & (self.digest != 0) & (self.digest != self.stored)
        return stale

    @property
    def withdrawn(self) -> Bool:
        """Entries whose window the panel no longer has; shape (T, N)."""
        withdrawn: Bool = (self.row >= 0) & self.spoilt
        return withdrawn

    def first(self, which: Bool) -> str:
        """How many cells, and the first of them."""
        day, ticker = np.argwhere(which)[0]
        return f"{int(which.sum()):,} entries, the first ({self.days[day]}, {str(self.tickers[ticker])!r}),"

    def choose(self, sample: int) -> Cells:
        """Some cells whose entry was made from the panel's window, as far as is known; by day and ticker."""
        same = (self.stored == 0) | (self.stored == self.digest)
        day, ticker = np.nonzero((self.row >= 0) & same & (self.digest != 0))
        random = np.random.default_rng(0)
        chosen = np.sort(random.choice(len(day), size=min(sample, len(day)), replace=False))
        return Cells(days=self.days[day[chosen]], tickers=self.tickers[ticker[chosen]])

    def digests(self, days: Days, tickers: Text) -> UInt64:
        """The digest of the panel's window for each of these cells, 0 where it has none."""
        day, ticker = positions(self.days, days), positions(self.tickers, tickers)
        known = (day >= 0) & (ticker >= 0)
        return np.where(known, self.digest[day, ticker], np.uint64(0))


def _compare_windows(cache: Cache, held: _Held, drop: bool) -> _Data:
    """Which entries the data have left behind; the withdrawn are taken away if that is asked."""
    stale, withdrawn, findings = held.stale, held.withdrawn, list[str]()
    if stale.any():
        findings.append(
            f"{held.first(stale)} are stale: the data have been restated; `encash update --model M --data F --cache "
            f"{cache.path}` makes them again"
        )
    if withdrawn.any():
        findings.append(
            f"{held.first(withdrawn)} are withdrawn: their window holds a value that is not finite now; "
            f"`encash cache verify {cache.path} --data F --drop` takes them away"
        )
    if drop:
        cache.store.remove(held.row[withdrawn].astype(np.int64))
    return _Data(
        stale=int(stale.sum()) if held.stored.any() else None,
        withdrawn=int(withdrawn.sum()),
        dropped=int(withdrawn.sum()) if drop else 0,
        findings=tuple(findings),
    )


def _size(cache: Cache, sample: Sample) -> int:
    """How many entries are encoded again."""
    if sample == "all" or (sample is None and is_unverified(cache.spec)):
        return cache.index().entries
    return SAMPLE if sample is None else sample


def _encode_again(cache: Cache, panel: Panel, encoder: Encoder, cells: Cells, progress: Progress | None) -> _Again:
    """Encode cells and compare them with what is stored."""
    findings = _identity_findings(cache, encoder.spec)
    if encoder.spec.dim != cache.spec.dim or len(cells) == 0:
        return _Again(findings=tuple(findings))
    allowed = COARSE if encoder.spec.precision != "float32" else TOLERANCE[cache.spec.dtype]
    differing, done, largest, worst = 0, 0, -1.0, ""
    if progress is not None:
        progress(0, len(cells))
    for entries in _encoded(panel, encoder, cells, cache.spec.dtype):
        stored = cache.store.vectors(cache.index().locate(entries.days, entries.tickers))
        difference = np.abs(stored - entries.embedding).max(axis=1)
        differing += int((difference > allowed * np.abs(entries.embedding).max(axis=1)).sum())
        if (at := int(difference.argmax())) >= 0 and difference[at] > largest:
            largest, worst = float(difference[at]), f"({entries.days[at]}, {str(entries.tickers[at])!r})"
        done += len(entries)
        if progress is not None:
            progress(done, len(cells))
    if differing:
        findings.append(
            f"{differing:,} of {len(cells):,} entries encoded again differ, the worst {worst} by {largest:.3g}; they "
            "are of another model, or of other data than their digests say: build another cache with this model"
        )
    return _Again(sampled=len(cells), differing=differing, max_abs_diff=largest, findings=tuple(findings))


def _encoded(panel: Panel, encoder: Encoder, cells: Cells, dtype: str) -> Iterator[Entries]:
    """The cells encoded, some thousands of entries at a time at the most."""
    for first in range(0, len(cells), _CELLS):
        part: Int64 = np.arange(first, min(first + _CELLS, len(cells)))
        for task in read_tasks(panel, cells.take(part), encoder.spec, dtype):
            yield run_whole_task(task, encoder).entries


def _identity_findings(cache: Cache, spec: EncoderSpec) -> list[str]:
    """In what the cache says that it is of another model."""
    if is_unverified(cache.spec):
        dims = (cache.spec.dim, spec.dim)
        return (
            [] if dims[0] == dims[1] else [f"the cache holds vectors of {dims[0]} numbers, the model makes {dims[1]}"]
        )
    try:
        check_encoder(cache.spec, spec)
    except MismatchError as error:
        return [str(error)]
    return []
