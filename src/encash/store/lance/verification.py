"""Counting what is wrong with rows. Knows Arrow batches of a store; nothing of files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from encash.arrays import Bool
from encash.store.base import Entries, StoreCheck, StoreSpec
from encash.store.lance.columns import from_batch
from encash.store.rows import row_checksums


class Tally:
    """What `verify` has seen so far."""

    def __init__(self, rows: int, mend: str) -> None:
        """Begin.

        Args:
            rows: of the store.
            mend: what helps where rows are not what was written.
        """
        self._mend = mend
        self._checked = 0
        self._wrong, self._not_finite, self._lost = (np.zeros(rows, dtype=np.bool_) for _ in range(3))
        self._first_wrong = self._first_not_finite = ""
        self.findings: list[str] = []

    def add(self, batch: pa.RecordBatch, spec: StoreSpec, first_row: int) -> None:
        """Check the rows of one batch, the first of which has this number."""
        entries, codes, scale = from_batch(batch, spec)
        coded = batch.column("ticker").dictionary_encode()
        sums = row_checksums(
            codes, scale, entries, np.array(coded.dictionary.to_pylist(), dtype=np.str_), coded.indices.to_numpy()
        )
        wrong = sums != batch.column("checksum").to_numpy()
        values = [codes, entries.forecast, entries.confidence]
        not_finite = ~np.logical_and.reduce([np.isfinite(value).all(axis=1) for value in values])
        here = slice(first_row, first_row + len(entries))
        self._wrong[here], self._not_finite[here] = wrong, not_finite
        self._first_wrong = self._first_wrong or _first(entries, wrong)
        self._first_not_finite = self._first_not_finite or _first(entries, not_finite)
        self._checked += len(entries)

    def lose(self, rows: slice, finding: str) -> None:
        """Rows that could not be read."""
        self._lost[rows] = True
        self.findings.append(finding)

    def result(self, duplicates: int) -> StoreCheck:
        """The whole of it."""
        corrupt = self._wrong | self._lost
        for rows, what, first in (
            (self._wrong, "checksums differ", self._first_wrong),
            (self._not_finite, "rows hold NaN or infinity", self._first_not_finite),
        ):
            if first:
                self.findings.append(f"{int(rows.sum()):,} {what}, first at {first}; {self._mend}")
        if duplicates:
            self.findings.append(
                f"{duplicates:,} rows have a key that a later row has too; `encash cache compact` drops them"
            )
        return StoreCheck(
            checked=self._checked,
            corrupt=int(corrupt.sum()),
            duplicates=duplicates,
            not_finite=int(self._not_finite.sum()),
            findings=tuple(self.findings),
            damaged=np.flatnonzero(corrupt | self._not_finite),
        )


def _first(entries: Entries, which: Bool) -> str:
    """The key of the first of some rows; empty where there is none."""
    at = int(which.argmax())
    return f"({entries.days[at]}, {str(entries.tickers[at])!r})" if which[at] else ""
