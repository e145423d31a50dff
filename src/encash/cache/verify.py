"""Verification of a cache: checksums, digests against the panel, and entries encoded again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from encash.arrays import Bool, Days, Int32, Int64, Text, UInt64, positions
from encash.cache.identity import UNVERIFIED, check_encoder, encoder_of, is_unverified, store_spec
from encash.cache.task import Cells, read_tasks, run_whole_task
from encash.cache.window_digests import window_digests
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import InputError, MismatchError
from encash.panel.panel import Panel
from encash.panel.windows import Reason
from encash.progress import Progress
from encash.store.base import EmbeddingStore, Entries, StoreCheck, StoreSnapshot, VersionRows

Sample = int | Literal["all"] | None
"""Number of entries to encode again; None: all of a cache that does not record its model, else `SAMPLE`."""

SAMPLE = 256
TOLERANCE = {"float32": 1e-4, "float16": 2e-3, "int8": 2e-2}
"""Largest difference from a vector encoded again, relative to its largest value: what a different batch, library,
processor or kind of device changes, and rounding may double.

encash computes float32 products with float32 factors and sums on every device (no TF32), so that devices differ only in
the order of sums: by 3e-7 in models of 256 × 4 and 1,024 × 3. TF32 would differ by 5e-4, a model after one more
training step with a learning rate of 1e-5 by 3e-2.
"""
COARSE = {"medium": 2e-2, "float16": 1e-2, "bfloat16": 3e-2, "int8": 5e-2, "int7": 5e-2}
"""Further difference by the precision of an encoder: different sums are rounded to different neighbors, which differ by
6e-4 (medium), 4e-4 (float16) and 4e-3 (bfloat16) in these models, and by more in deeper ones."""
_CELLS = 8_192
"""Entries compared at once."""
_COPIED_ROWS = 4_096


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """Result of a verification, under the keys of ``encash cache verify --json``."""

    checked: int
    """Rows read."""
    corrupt: int
    """Rows whose checksum does not match, or that could not be read."""
    duplicates: int
    """Rows whose key a later row repeats."""
    not_finite: int
    """Rows with NaN or infinity."""
    stale: int | None
    """Entries whose window is different in the panel now; None without a panel, or if no digest is known."""
    withdrawn: int | None
    """Entries whose window the panel no longer has: one of its values is not finite now. None without a panel."""
    dropped: int
    """Rows that were removed: corrupt, non-finite and withdrawn ones, if requested."""
    sampled: int
    """Entries encoded again."""
    not_compared: int | None
    """Entries not encoded again; None without a model."""
    differing: int
    """Entries encoded again that differ by more than a different batch or processor explains."""
    max_abs_diff: float | None
    """Largest absolute difference of an embedding value in the sample; None without a model."""
    verified: bool
    """The cache records which model made it, or every entry was encoded again and is what this model makes."""
    findings: tuple[str, ...] = ()
    """One line per kind of damage: how much, the first place, and how to fix it."""
    notes: tuple[str, ...] = ()
    """Further remarks, in sentences."""

    @property
    def passed(self) -> bool:
        """True if nothing was found."""
        counts = (self.corrupt, self.duplicates, self.not_finite, self.stale, self.withdrawn, self.differing)
        return not (any(counts) or self.findings)


def verify(
    store: EmbeddingStore,
    panel: Panel | None = None,
    encoder: Encoder | None = None,
    *,
    sample: Sample = None,
    drop: bool = False,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check every row of a cache; with a panel, compare digests; with a model too, encode entries again.

    Args:
        store: the cache's entries; only `drop` changes them.
        panel: the data that the cache was built from.
        encoder: the model that it was built with.
        sample: number of entries to encode again, 1 or more.
        drop: remove corrupt, non-finite and withdrawn entries; a build makes again what can be made.
        progress: called with (done, total) rows read, then entries encoded again.

    Raises:
        MismatchError: an encoder without a panel, or a panel without the encoder's features.
        InputError: a sample below 1, or `drop` for a file that cannot be written.
    """
    if encoder is not None and panel is None:
        raise MismatchError("a model can be compared only with the data that the cache was built from; give --data too")
    if isinstance(sample, int) and sample < 1:
        raise InputError(f"invalid sample {sample}: expected 1 or more, or all")
    if drop and not store.writable:
        raise InputError(
            f"{store.location} cannot be changed; import it into a .lance cache, or open the newest version"
        )
    stored = store.snapshot().verify(progress=progress)
    dropped = len(stored.damaged) if drop else 0
    if drop:
        store.remove(stored.damaged)
    snapshot = store.snapshot()
    data = _Data(stale=None, withdrawn=None, dropped=0)
    again = _Again()
    if panel is not None and (dropped or not stored.corrupt):
        spec = encoder.spec if encoder is not None else encoder_of(snapshot.spec)
        held = None if spec is None else _Held.of(snapshot, panel, spec)
        data = data if held is None else _compare_windows(store, held, drop)
        if held is not None and encoder is not None:
            again = _encode_again(snapshot, panel, encoder, held.choose(_size(snapshot, sample)), progress)
    report = _report(store.snapshot(), stored, data, again, dropped + data.dropped)
    return replace(report, notes=_notes(store, report, sample)) if again.sampled else report


def _report(snapshot: StoreSnapshot, stored: StoreCheck, data: _Data, again: _Again, dropped: int) -> VerifyReport:
    """Combine all findings, and conclude whether a cache of unknown origin is verified."""
    findings = (*stored.findings, *data.findings, *again.findings)
    rest = None if again.sampled is None else snapshot.index().entries - again.sampled
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
        verified=proven or not is_unverified(snapshot.spec),
        findings=findings,
    )


def _notes(store: EmbeddingStore, report: VerifyReport, sample: Sample) -> tuple[str, ...]:
    """Say what remains to be done for a cache that does not record which model made it."""
    snapshot = store.snapshot()
    entries = snapshot.index().entries
    if not is_unverified(snapshot.spec):
        return ()
    if report.not_compared:
        partial = _size(snapshot, sample) < entries
        return (
            f"{report.not_compared:,} of {entries:,} entries were not compared, so the cache stays unverified; "
            + (
                "`--sample all` compares all" if partial else "the data have no window for them; give the original data"
            ),
        )
    if report.verified and not store.writable:
        return (
            f"every entry matches this model, but that cannot be recorded in {store.location}; "
            "`encash cache import FILE CACHE.lance --trust`, then verify that cache",
        )
    return ()


def adopt(store: EmbeddingStore, panel: Panel, encoder: Encoder, report: VerifyReport) -> None:
    """Record that a cache imported on trust is of this model: its spec, and the digest of each entry's window.

    If interrupted, the cache stays unverified.

    Args:
        store: the cache's entries, imported on trust.
        panel: the data that they were verified with.
        encoder: the model that they were verified with.
        report: the result of `verify`.

    Raises:
        MismatchError: the report does not prove it for every entry.
        InputError: an interchange file, which cannot be written.
    """
    if not report.passed or not report.verified or not report.sampled:
        raise MismatchError("the cache was not shown to be of this model, so it stays as it is; see the findings")
    snapshot = store.snapshot()
    if not is_unverified(snapshot.spec):
        return
    if not store.writable:
        raise InputError(f"{store.location} cannot be written; import it into a .lance cache with --trust first")
    held = _Held.of(snapshot, panel, encoder.spec)
    assert held is not None  # an empty cache is not shown to be of any model
    for entries in snapshot.by_day(_COPIED_ROWS):
        store.write(replace(entries, digest=held.digests(entries.days, entries.tickers)))
    notes = {name: note for name, note in (snapshot.spec.notes or {}).items() if name != UNVERIFIED}
    proven = store_spec(encoder.spec, snapshot.spec.dtype, [encoder.source_digest])
    forecasts = proven.forecast_fingerprint if snapshot.spec.horizons else ""
    store.adopt(
        replace(
            proven,
            horizons=snapshot.spec.horizons,
            forecast_fingerprint=forecasts,
            notes={**notes, **(proven.notes or {})},
        )
    )


@dataclass(frozen=True, kw_only=True)
class _Data:
    """Result of the comparison with the panel."""

    stale: int | None
    withdrawn: int | None
    dropped: int
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Again:
    """Result of the comparison with the model."""

    sampled: int | None = None
    differing: int = 0
    max_abs_diff: float | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Held:
    """Entries of a snapshot on its own days and the tickers that the panel has too, beside the panel's windows."""

    version: int
    """Version in which the rows are valid."""
    days: Days
    """shape (T,)."""
    tickers: Text
    """shape (N,)."""
    row: Int32
    """Row of each cell's entry, −1 if there is none; shape (T, N)."""
    stored: UInt64
    """Digest of the window that each entry was made from, 0 if there is none; shape (T, N)."""
    digest: UInt64
    """Digest of the panel's window, 0 if it has none; shape (T, N)."""
    not_finite: Bool
    """Cells whose window in the panel holds a non-finite value; shape (T, N)."""

    @classmethod
    def of(cls, snapshot: StoreSnapshot, panel: Panel, spec: EncoderSpec) -> _Held | None:
        """Compare a snapshot with a panel; None for an empty one."""
        spec.check_features(panel.num_features, panel.feature_names)
        index = snapshot.index()
        if not index.entries:
            return None
        tickers = index.tickers[np.isin(index.tickers, np.asarray(panel.tickers, dtype=np.str_))]
        names = tuple(tickers.tolist())
        if not names:
            raise MismatchError("the cache and the data have no ticker in common; give the data that it was built from")
        windows = window_digests(panel, names, index.days, spec.lookback)
        row = index.grid(index.days, tickers)
        return cls(
            version=snapshot.version,
            days=index.days,
            tickers=tickers,
            row=row,
            stored=index.digests(row),
            digest=windows.digest,
            not_finite=windows.reason == Reason.NOT_FINITE,
        )

    @property
    def stale(self) -> Bool:
        """Entries whose window is different now; shape (T, N)."""
        stale: Bool = (self.row >= 0) & (self.stored != 0) & (self.digest != 0) & (self.digest != self.stored)
        return stale

    @property
    def withdrawn(self) -> Bool:
        """Entries whose window the panel no longer has; shape (T, N)."""
        withdrawn: Bool = (self.row >= 0) & self.not_finite
        return withdrawn

    def first(self, which: Bool) -> str:
        """Describe how many cells there are, and the first of them."""
        day, ticker = np.argwhere(which)[0]
        return f"{int(which.sum()):,} entries, the first ({self.days[day]}, {str(self.tickers[ticker])!r}),"

    def choose(self, sample: int) -> Cells:
        """Draw cells whose entry was made from the panel's window, as far as is known; by day and ticker."""
        same = (self.stored == 0) | (self.stored == self.digest)
        day, ticker = np.nonzero((self.row >= 0) & same & (self.digest != 0))
        random = np.random.default_rng(0)
        chosen = np.sort(random.choice(len(day), size=min(sample, len(day)), replace=False))
        return Cells(days=self.days[day[chosen]], tickers=self.tickers[ticker[chosen]])

    def digests(self, days: Days, tickers: Text) -> UInt64:
        """Return the digest of the panel's window for each of these cells, 0 if it has none."""
        day, ticker = positions(self.days, days), positions(self.tickers, tickers)
        known = (day >= 0) & (ticker >= 0)
        return np.where(known, self.digest[day, ticker], np.uint64(0))


def _compare_windows(store: EmbeddingStore, held: _Held, drop: bool) -> _Data:
    """Find entries that the data no longer support, and remove the withdrawn ones if requested."""
    stale, withdrawn, findings = held.stale, held.withdrawn, list[str]()
    if stale.any():
        findings.append(
            f"{held.first(stale)} are stale: the data have been restated; `encash update --model M --data F --cache "
            f"{store.location}` makes them again"
        )
    if withdrawn.any():
        findings.append(
            f"{held.first(withdrawn)} are withdrawn: their window holds a non-finite value now; "
            f"`encash cache verify {store.location} --data F --drop` removes them"
        )
    if drop:
        store.remove(VersionRows(version=held.version, rows=held.row[withdrawn].astype(np.int64)))
    return _Data(
        stale=int(stale.sum()) if held.stored.any() else None,
        withdrawn=int(withdrawn.sum()),
        dropped=int(withdrawn.sum()) if drop else 0,
        findings=tuple(findings),
    )


def _size(snapshot: StoreSnapshot, sample: Sample) -> int:
    """Return how many entries to encode again."""
    if sample == "all" or (sample is None and is_unverified(snapshot.spec)):
        return snapshot.index().entries
    return SAMPLE if sample is None else sample


def _encode_again(
    snapshot: StoreSnapshot, panel: Panel, encoder: Encoder, cells: Cells, progress: Progress | None
) -> _Again:
    """Encode cells and compare them with what is stored."""
    findings = _identity_findings(snapshot, encoder.spec)
    if encoder.spec.dim != snapshot.spec.dim or len(cells) == 0:
        return _Again(findings=tuple(findings))
    allowed = TOLERANCE[snapshot.spec.dtype] + COARSE.get(encoder.spec.precision, 0.0)
    differing, done, largest, worst = 0, 0, -1.0, ""
    if progress is not None:
        progress(0, len(cells))
    for entries in _encoded(panel, encoder, cells, snapshot.spec.dtype):
        stored = snapshot.vectors(snapshot.index().locate(entries.days, entries.tickers))
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
            "are of a different model, or of different data than their digests say: build a new cache with this model"
        )
    return _Again(sampled=len(cells), differing=differing, max_abs_diff=largest, findings=tuple(findings))


def _encoded(panel: Panel, encoder: Encoder, cells: Cells, dtype: str) -> Iterator[Entries]:
    """Encode cells, at most some thousands of entries at a time."""
    for first in range(0, len(cells), _CELLS):
        part: Int64 = np.arange(first, min(first + _CELLS, len(cells)))
        for task in read_tasks(panel, cells.take(part), encoder.spec, dtype):
            yield run_whole_task(task, encoder).entries


def _identity_findings(snapshot: StoreSnapshot, spec: EncoderSpec) -> list[str]:
    """Return how the recorded model differs from this one."""
    if is_unverified(snapshot.spec):
        ours, theirs = snapshot.spec.dim, spec.dim
        return [] if ours == theirs else [f"the cache holds vectors of length {ours}, the model makes {theirs}"]
    try:
        check_encoder(snapshot.spec, spec)
    except MismatchError as error:
        return [str(error)]
    return []
