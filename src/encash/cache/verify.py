"""Is what a cache holds what its model says of these data? Checksums, digests against the panel, and a sample encoded
again. Knows a cache, a panel and an encoder; repairs nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from encash.arrays import Bool, Days, Text, UInt64, positions
from encash.cache.cache import Cache, open_cache
from encash.cache.identity import UNVERIFIED, check_encoder, encoder_of, is_unverified, store_spec
from encash.cache.plan import rows_on_grid, window_digests
from encash.cache.task import Cells, read_tasks, run_task
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import MismatchError
from encash.panel.panel import Panel
from encash.panel.windows import Reason

Progress = Callable[[int, int], None]
"""Called with (done, total) rows."""

TOLERANCE = {"float32": 1e-4, "float16": 2e-3, "int8": 2e-2}
"""Largest difference from a vector encoded again, as a share of its largest number: what other batches, libraries and
processors change, and rounding may double."""
COARSE = 5e-2
"""The same for an encoder that computes in half precision."""
TASK_BYTES = 32 * 2**20


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
    sampled: int
    """Entries encoded again."""
    differing: int
    """Of these, those that differ by more than other batches and processors explain."""
    max_abs_diff: float | None
    """Largest difference of a number of an embedding in the sample; None without a model."""
    verified: bool
    """The cache says which model made it, or the whole sample is what this model makes."""
    findings: tuple[str, ...] = ()
    """One line for each kind of damage."""

    @property
    def found(self) -> bool:
        """Something was found."""
        return not self.passed

    @property
    def passed(self) -> bool:
        """Nothing was found."""
        return not (self.corrupt or self.duplicates or self.not_finite or self.stale or self.differing or self.findings)


def verify(
    cache: Cache,
    panel: Panel | None = None,
    encoder: Encoder | None = None,
    *,
    sample: int = 256,
    seed: int = 0,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check every row of a cache; with a panel, its digests; with a model besides, a sample encoded again.

    Args:
        cache: what is checked; nothing in it is changed.
        panel: the data that it was built from.
        encoder: the model that it was built with.
        sample: how many entries are encoded again.
        seed: which ones.
        progress: told (done, total) rows.

    Raises:
        MismatchError: an encoder without a panel, or a panel without the encoder's features.
    """
    if encoder is not None and panel is None:
        raise MismatchError("a model can be compared only with the data that the cache was built from; give --data too")
    stored = cache.store.verify(progress=progress)
    findings = list(stored.findings)
    stale, again = None, _Again(sampled=0, differing=0, max_abs_diff=None)
    spec = encoder.spec if encoder is not None else encoder_of(cache.spec)
    if panel is not None and spec is not None and not stored.corrupt:
        spec.check_features(panel.num_features, panel.feature_names)
        held = _Held.of(cache, panel, spec)
        stale = held.count_stale()
        if encoder is not None:
            findings += _identity_findings(cache, encoder.spec)
            if encoder.spec.dim == cache.spec.dim:
                again = _encode_again(cache, panel, encoder, held.choose(sample, seed))
    proven = again.sampled > 0 and not again.differing and not findings
    return VerifyReport(
        checked=stored.checked,
        corrupt=stored.corrupt,
        duplicates=stored.duplicates,
        not_finite=stored.not_finite,
        stale=stale,
        sampled=again.sampled,
        differing=again.differing,
        max_abs_diff=again.max_abs_diff,
        verified=proven or not is_unverified(cache.spec),
        findings=tuple(findings),
    )


def adopt(cache: Cache, panel: Panel, encoder: Encoder, report: VerifyReport) -> None:
    """Write down that a cache imported on trust is of this model: its spec, and the digest of each entry's window.

    Entries outside the panel keep an unknown digest. Interrupted, the cache is unverified as before.

    Args:
        cache: imported on trust.
        panel: the data that it was verified with.
        encoder: the model that it was verified with.
        report: what `verify` found.

    Raises:
        MismatchError: the report does not prove it.
    """
    if not report.passed or not report.verified or not report.sampled:
        raise MismatchError("the cache is not proven to be of this model, so it stays as it is; see the findings")
    if not is_unverified(cache.spec):
        return
    held = _Held.of(cache, panel, encoder.spec)
    for entries in open_cache(cache.path, version=cache.version).scan():
        cache.store.write(replace(entries, digest=held.digests(entries.days, entries.tickers)).sorted())
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
class _Again:
    """What a sample encoded again says."""

    sampled: int
    differing: int
    max_abs_diff: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Held:
    """The entries of a cache on the grid of those of its days and tickers that the panel has too."""

    days: Days
    tickers: Text
    held: Bool
    """Whether there is an entry; shape (T, N)."""
    stored: UInt64
    """Its digest, 0 where it is unknown; shape (T, N)."""
    digest: UInt64
    """The digest of the window that the panel has, 0 where it has none; shape (T, N)."""
    spoilt: Bool
    """Where the panel's window holds a value that is not finite; shape (T, N)."""

    @classmethod
    def of(cls, cache: Cache, panel: Panel, spec: EncoderSpec) -> _Held:
        """Compare a cache with a panel."""
        index = cache.index()
        tickers = index.tickers[np.isin(index.tickers, np.asarray(panel.tickers, dtype=np.str_))]
        names = tuple(tickers.tolist())
        if not names or not len(index.days):
            raise MismatchError("the cache and the data have no ticker in common; give the data that it was built from")
        windows = window_digests(panel, names, index.days, spec.lookback)
        row = rows_on_grid(index, index.days, names)
        return cls(
            days=index.days,
            tickers=tickers,
            held=row >= 0,
            stored=np.where(row >= 0, index.digest[row], np.uint64(0)),
            digest=windows.digest,
            spoilt=windows.reason == Reason.NOT_FINITE,
        )

    def count_stale(self) -> int | None:
        """Entries whose window is another one now; None where no entry says which window it was made from."""
        known = self.held & (self.stored != 0)
        if not known.any():
            return None
        changed = (self.digest != 0) & (self.digest != self.stored)
        return int((known & (changed | self.spoilt)).sum())

    def choose(self, sample: int, seed: int) -> Cells:
        """Some cells whose entry was made from the panel's window, as far as is known; by day and ticker."""
        same = (self.stored == 0) | (self.stored == self.digest)
        day, ticker = np.nonzero(self.held & same & (self.digest != 0))
        random = np.random.default_rng(seed)
        chosen = np.sort(random.choice(len(day), size=min(sample, len(day)), replace=False))
        return Cells(days=self.days[day[chosen]], tickers=self.tickers[ticker[chosen]])

    def digests(self, days: Days, tickers: Text) -> UInt64:
        """The digest of the panel's window for each of these cells, 0 where it has none."""
        day, ticker = positions(self.days, days), positions(self.tickers, tickers)
        known = (day >= 0) & (ticker >= 0)
        return np.where(known, self.digest[day, ticker], np.uint64(0))


def _encode_again(cache: Cache, panel: Panel, encoder: Encoder, cells: Cells) -> _Again:
    """Encode cells and compare them with what is stored."""
    if len(cells) == 0:
        return _Again(sampled=0, differing=0, max_abs_diff=None)
    allowed = COARSE if encoder.spec.precision != "float32" else TOLERANCE[cache.spec.dtype]
    differing, largest = 0, 0.0
    for task in read_tasks(panel, cells, encoder.spec, cache.spec.dtype, TASK_BYTES):
        entries = run_task(task, encoder).entries
        stored = cache.store.vectors(cache.index().locate(entries.days, entries.tickers))
        difference = np.abs(stored - entries.embedding).max(axis=1)
        differing += int((difference > allowed * np.abs(entries.embedding).max(axis=1)).sum())
        largest = max(largest, float(difference.max()))
    return _Again(sampled=len(cells), differing=differing, max_abs_diff=largest)


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
