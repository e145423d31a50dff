"""Counting what is wrong with rows. Knows Arrow batches of a store; nothing of files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from encash.store.base import StoreCheck, StoreSpec
from encash.store.columns import from_batch
from encash.store.rows import row_checksums


class Tally:
    """What `verify` has seen so far."""

    def __init__(self) -> None:
        self.checked = self.corrupt = self.not_finite = 0
        self.findings: list[str] = []

    def add(self, batch: pa.RecordBatch, spec: StoreSpec) -> None:
        """Check the rows of one batch."""
        entries, codes, scale = from_batch(batch, spec)
        coded = batch.column("ticker").dictionary_encode()
        sums = row_checksums(
            codes, scale, entries, np.array(coded.dictionary.to_pylist(), dtype=np.str_), coded.indices.to_numpy()
        )
        wrong = np.flatnonzero(sums != batch.column("checksum").to_numpy())
        if len(wrong):
            at = int(wrong[0])
            self._find(f"checksums differ, first at ({entries.days[at]}, {str(entries.tickers[at])!r})", self.corrupt)
        values = [codes, entries.forecast, entries.confidence]
        finite = np.logical_and.reduce([np.isfinite(value).all(axis=1) for value in values])
        if not finite.all():
            at = int(np.argmin(finite))
            self._find(f"NaN or infinity, first at ({entries.days[at]}, {str(entries.tickers[at])!r})", self.not_finite)
        self.checked += len(entries)
        self.corrupt += len(wrong)
        self.not_finite += int(np.count_nonzero(~finite))

    def lose(self, rows: int, finding: str) -> None:
        """Rows that could not be read."""
        self.corrupt += rows
        self.findings.append(finding)

    def result(self, duplicates: int) -> StoreCheck:
        """The whole of it."""
        if duplicates:
            self.findings.append(
                f"{duplicates:,} rows have a key that a later row has too; `encash cache compact` drops them"
            )
        return StoreCheck(
            checked=self.checked,
            corrupt=self.corrupt,
            duplicates=duplicates,
            not_finite=self.not_finite,
            findings=tuple(self.findings),
        )

    def _find(self, finding: str, before: int) -> None:
        if not before:
            self.findings.append(finding)
