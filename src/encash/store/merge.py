"""Merging stores of one encoder: equal entries once, conflicts reported, nothing dropped silently."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from encash.arrays import Bool, Int64
from encash.errors import InputError, MismatchError
from encash.fingerprint import row_digests
from encash.progress import Progress
from encash.store.base import EmbeddingStore, Entries, StoreSnapshot
from encash.store.codec import round_vectors
from encash.store.locator import check_same

_BATCH_ROWS = 16_384
_SHOWN = 20
"""Conflicts that a report lists individually."""

OnConflict = Literal["refuse", "first", "last"]


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """One key for which two stores hold different entries."""

    day: str
    ticker: str
    first: str
    """Location of the earlier store."""
    second: str
    what: str
    """``input`` (the windows differ) or ``values`` (same window, different vector or forecast)."""


@dataclass(frozen=True, kw_only=True)
class MergeReport:
    """Summary of a merge."""

    added: int
    """Entries new to the target."""
    same: int
    """Entries of the sources that the target had already, equal in every bit."""
    replaced: int
    """Entries of the target that a later source replaced (only if conflicts go to the last)."""
    conflicts: int
    """Keys for which two of the stores differ."""
    examples: tuple[Conflict, ...]
    """The first conflicts."""


def merge(
    sources: Sequence[StoreSnapshot],
    into: EmbeddingStore | Callable[[], EmbeddingStore],
    *,
    on_conflict: OnConflict = "refuse",
    progress: Progress | None = None,
) -> MergeReport:
    """Merge all entries of some stores into one.

    All are compared before anything is written. An entry of unknown input (digest 0) is compared by its values.

    Args:
        sources: in order; none of them is changed.
        into: receives the entries; what it has already counts as the first source. Or a function that creates a store,
            called once nothing is in the way, so that a refused merge leaves none behind.
        on_conflict: ``refuse`` to write nothing, ``first`` or ``last`` to keep the entry of the first or last store.
        progress: called with (done, total) entries as they are compared, then, from 0 again, as they are written.

    Raises:
        MismatchError: a store of a different encoder, or one whose encoder is unknown; or refused conflicts.
        InputError: a store merged into itself, or an unknown `on_conflict`.
    """
    target = None if callable(into) else into
    _check(sources, target, on_conflict)
    conflicts, examples = _compare(None if target is None else target.snapshot(), sources, progress)
    if conflicts and on_conflict == "refuse":
        first = examples[0]
        raise MismatchError(
            f"{conflicts:,} entries differ, first ({first.day}, {first.ticker}) in {first.first} and {first.second} "
            f"({first.what}); nothing was written: resolve it with --on-conflict first or last"
        )
    added, same, replaced = _write(sources, into() if callable(into) else into, on_conflict, progress)
    return MergeReport(added=added, same=same, replaced=replaced, conflicts=conflicts, examples=tuple(examples))


def check_replaces_nothing(source: StoreSnapshot, into: StoreSnapshot) -> None:
    """Refuse a source that would replace an entry of a store by a different one.

    Entries differ if their windows do or, if a window is unknown, their values, rounded to the dtype of the store. Only
    shared entries are read.

    Raises:
        MismatchError: how many entries differ, and the first.
        FormatError: an entry of the source is not what was written.
    """
    index, held = source.index(), into.index()
    rows = index.rows()
    rows = rows[held.locate(*index.keys(rows)) >= 0]
    found, first = 0, ""
    for at in range(0, len(rows), _BATCH_ROWS):
        entries = source.read_sound(rows[at : at + _BATCH_ROWS])
        entries = replace(entries, embedding=round_vectors(entries.embedding, into.spec.dtype))
        theirs = held.locate(entries.days, entries.tickers)
        what = _differences(into, theirs, entries)
        same_window = (entries.digest != 0) & (entries.digest == held.digest[theirs])
        differing = np.flatnonzero((what != "") & ~same_window)
        if len(differing) and not found:
            first = f"({entries.days[differing[0]]}, {str(entries.tickers[differing[0]])!r})"
        found += len(differing)
    if found:
        raise MismatchError(
            f"{found:,} entries of {source.location} differ from those of {into.location}, the first {first}; nothing "
            "was written: import it into a separate cache (`encash cache merge --on-conflict` joins those of one model)"
        )


def _write(
    sources: Sequence[StoreSnapshot], into: EmbeddingStore, on_conflict: str, progress: Progress | None
) -> tuple[int, int, int]:
    """Write the wanted entries of each source; return how many were added, equal, and replaced."""
    added = same = replaced = done = 0
    total = sum(source.index().entries for source in sources)
    for source in sources:
        for batch in source.by_day(_BATCH_ROWS):
            held = into.snapshot()
            rows = held.index().locate(batch.days, batch.tickers)
            known = rows >= 0
            differs = known.copy()
            differs[known] = _differences(held, rows[known], batch.take(known)) != ""
            wanted = ~known | differs if on_conflict == "last" else ~known
            into.write(batch.take(wanted))
            added += int(np.count_nonzero(~known))
            same += int(np.count_nonzero(known & ~differs))
            replaced += int(np.count_nonzero(wanted & known))
            done += len(batch)
            if progress is not None:
                progress(done, total)
    return added, same, replaced


def _check(sources: Sequence[StoreSnapshot], into: EmbeddingStore | None, on_conflict: str) -> None:
    """Refuse what cannot be merged before anything is read."""
    if on_conflict not in ("refuse", "first", "last"):
        raise InputError(f"{on_conflict!r} is not a way to resolve conflicts; choose refuse, first or last")
    for source in sources:
        if into is not None and os.path.realpath(source.location) == os.path.realpath(into.location):
            raise InputError(f"{into.location} cannot be merged into itself; name a different target")
        if not source.spec.fingerprint:
            raise MismatchError(
                f"{source.location} does not record which model made it, so it cannot be merged; import it into a "
                ".lance cache (--trust), and let `encash cache verify` find out"
            )
        check_same((into or sources[0]).spec, source)


def _compare(
    target: StoreSnapshot | None, sources: Sequence[StoreSnapshot], progress: Progress | None
) -> tuple[int, list[Conflict]]:
    """Count the keys for which two stores differ.

    Each source is read, and thereby checked, and compared with the target and with all sources before it.
    """
    found, examples, done = 0, list[Conflict](), 0
    total = sum(source.index().entries for source in sources)
    for place, later in enumerate(sources):
        for batch in later.by_day(_BATCH_ROWS):
            differing = np.zeros(len(batch), dtype=bool)
            for earlier in (*([] if target is None else [target]), *sources[:place]):
                rows = earlier.index().locate(batch.days, batch.tickers)
                known = np.flatnonzero((rows >= 0) & ~differing)
                what = _differences(earlier, rows[known], batch.take(known))
                for at in np.flatnonzero(what != "")[: max(0, _SHOWN - len(examples))]:
                    examples.append(_conflict(batch, int(known[at]), earlier, later, str(what[at])))
                differing[known[what != ""]] = True
            found += int(np.count_nonzero(differing))
            done += len(batch)
            if progress is not None:
                progress(done, total)
    return found, examples


def _conflict(batch: Entries, at: int, first: StoreSnapshot, second: StoreSnapshot, what: str) -> Conflict:
    return Conflict(
        day=str(batch.days[at]),
        ticker=str(batch.tickers[at]),
        first=first.location,
        second=second.location,
        what=what,
    )


def _differences(store: StoreSnapshot, rows: Int64, entries: Entries) -> np.ndarray:
    """Return how each entry differs from the row of a store: ``""``, ``input`` or ``values``."""
    if len(rows) == 0:
        return np.empty(0, dtype="<U6")
    ours, theirs = store.index().digest[rows], entries.digest
    input_differs = (ours != theirs) & (ours != 0) & (theirs != 0)
    forecast, confidence = store.forecasts(rows)
    equal: Bool = _equal_rows(store.vectors(rows), entries.embedding)
    equal &= _equal_rows(forecast, entries.forecast) & _equal_rows(confidence, entries.confidence)
    return np.where(input_differs, "input", np.where(equal, "", "values"))


def _equal_rows(ours: np.ndarray, theirs: np.ndarray) -> Bool:
    """Return which rows have the same bytes."""
    equal: Bool = row_digests(ours) == row_digests(theirs)
    return equal
