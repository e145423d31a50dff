"""Verification: every row of a snapshot against its checksum, continuing after unreadable fragments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from encash.arrays import Bool
from encash.errors import EncashError
from encash.progress import Progress
from encash.store.base import Entries, StoreCheck, StoreSnapshot, StoreSpec, VersionRows
from encash.store.lance.columns import from_batch
from encash.store.lance.fragments import Fragment
from encash.store.rows import row_checksums

ReadFragment = Callable[[Fragment, int], Iterator[pa.RecordBatch]]
"""Reads the rows of a fragment in batches of at most N rows."""


def verify(
    snapshot: StoreSnapshot,
    fragments: Sequence[Fragment],
    read: ReadFragment,
    *,
    batch_rows: int,
    progress: Progress | None,
) -> StoreCheck:
    """Compare every row of a snapshot with its checksum.

    Args:
        snapshot: the version.
        fragments: its fragments, in the order of the rows.
        read: reads the rows of one of them.
        batch_rows: rows read at once.
        progress: called with (done, total) rows.
    """
    total = sum(fragment.rows for fragment in fragments)
    found, start = _Findings(total, snapshot.repair_hint.format(location=snapshot.location)), 0
    for fragment in fragments:
        done = start
        try:
            for batch in read(fragment, batch_rows):
                found.add(batch, snapshot.spec, done)
                done += batch.num_rows
                if progress is not None:
                    progress(done, total)
        except EncashError as error:
            found.lost[start : start + fragment.rows] = True
            found.lines.append(f"fragment {fragment.number}, {fragment.rows:,} entries: {error}")
        start += fragment.rows
    try:
        duplicates = snapshot.index().duplicates
    except EncashError as error:
        found.lines.append(str(error))
        duplicates = 0
    return found.result(snapshot.version, duplicates)


class _Findings:
    """Findings in the rows read so far."""

    def __init__(self, rows: int, repair_hint: str) -> None:
        self._repair_hint = repair_hint
        self._checked = 0
        self._wrong, self._not_finite, self.lost = (np.zeros(rows, dtype=np.bool_) for _ in range(3))
        self._first_wrong = self._first_not_finite = ""
        self.lines: list[str] = []

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

    def result(self, version: int, duplicates: int) -> StoreCheck:
        """Return the final report."""
        corrupt = self._wrong | self.lost
        for rows, what, first in (
            (self._wrong, "checksums differ", self._first_wrong),
            (self._not_finite, "rows hold NaN or infinity", self._first_not_finite),
        ):
            if first:
                self.lines.append(f"{int(rows.sum()):,} {what}, first at {first}; {self._repair_hint}")
        if duplicates:
            self.lines.append(
                f"{duplicates:,} rows have a key that a later row repeats; `encash cache compact` drops them"
            )
        return StoreCheck(
            checked=self._checked,
            corrupt=int(corrupt.sum()),
            duplicates=duplicates,
            not_finite=int(self._not_finite.sum()),
            findings=tuple(self.lines),
            damaged=VersionRows(version=version, rows=np.flatnonzero(corrupt | self._not_finite)),
        )


def _first(entries: Entries, which: Bool) -> str:
    """Return the key of the first of some rows; empty if none is marked."""
    at = int(which.argmax())
    return f"({entries.days[at]}, {str(entries.tickers[at])!r})" if which[at] else ""
