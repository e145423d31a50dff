"""Joining stores of one encoder: what they agree on once, what they disagree on reported, nothing lost in silence.
Knows the seam alone."""

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
from encash.store.base import EmbeddingStore, Entries
from encash.store.codec import round_vectors
from encash.store.locator import check_same

_BATCH_ROWS = 16_384
_SHOWN = 20
"""Conflicts that a report lists one by one."""

OnConflict = Literal["refuse", "first", "last"]


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """One key under which two stores keep different things."""

    day: str
    ticker: str
    first: str
    """Location of the store that comes first."""
    second: str
    what: str
    """``input`` (the windows differ) or ``values`` (same window, other vector or forecast)."""


@dataclass(frozen=True, kw_only=True)
class MergeReport:
    """What a merge did."""

    added: int
    """Entries that the target has gained."""
    same: int
    """Entries of the sources that were there already, equal in every bit."""
    replaced: int
    """Entries of the target that a later source replaced (only where conflicts go to the last)."""
    conflicts: int
    """Keys under which two of the stores differ."""
    examples: tuple[Conflict, ...]
    """The first of them."""


def merge(
    sources: Sequence[EmbeddingStore],
    into: EmbeddingStore | Callable[[], EmbeddingStore],
    *,
    on_conflict: OnConflict = "refuse",
    progress: Progress | None = None,
) -> MergeReport:
    """Bring all entries of some stores into one.

    All of them are compared before anything is written. An entry of unknown input (digest 0) is compared by its values.

    Args:
        sources: in order; none of them is changed.
        into: takes the entries; what it has already counts as the first source. Or what makes a store, called once
            nothing is in the way: so a merge that is refused leaves none behind.
        on_conflict: ``refuse`` to write nothing, ``first`` or ``last`` to let the store win that comes first or last.
        progress: told (done, total) entries as they are compared, and then, from 0 again, as they are written.

    Raises:
        MismatchError: a store of another encoder, or one whose encoder is not known; or conflicts, when refused.
        InputError: a store that is merged into itself, or another way to settle conflicts.
    """
    target = None if callable(into) else into
    _check(sources, target, on_conflict)
    conflicts, examples = _compare(target, sources, progress)
    if conflicts and on_conflict == "refuse":
        first = examples[0]
        raise MismatchError(
            f"{conflicts:,} entries differ, first ({first.day}, {first.ticker}) in {first.first} and {first.second} "
            f"({first.what}); nothing was written: settle it with --on-conflict first or last"
        )
    added, same, replaced = _write(sources, into() if callable(into) else into, on_conflict, progress)
    return MergeReport(added=added, same=same, replaced=replaced, conflicts=conflicts, examples=tuple(examples))


def check_replaces_nothing(source: EmbeddingStore, into: EmbeddingStore) -> None:
    """Refuse a source of which an entry, rounded as the other store keeps it, is of another window or, where a window
    is not known, has other values than what that store has under its key. Only the shared entries are read.

    Raises:
        MismatchError: how many, and the first.
        FormatError: an entry of the source is not what was written.
    """
    index, held = source.index(), into.index()
    rows = index.row[index.row >= 0].astype(np.int64)
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
            f"{found:,} entries of {source.location} differ from those of {into.location}, {first} for one; nothing "
            "was written: import it into a cache of its own (`encash cache merge --on-conflict` joins those of one "
            "model)"
        )


def _write(
    sources: Sequence[EmbeddingStore], into: EmbeddingStore, on_conflict: str, progress: Progress | None
) -> tuple[int, int, int]:
    """Write what is wanted of each source in turn; how many entries were added, the same, and replaced."""
    added = same = replaced = done = 0
    total = sum(source.index().entries for source in sources)
    for source in sources:
        for batch in source.by_day(_BATCH_ROWS):
            rows = into.index().locate(batch.days, batch.tickers)
            known = rows >= 0
            differs = known.copy()
            differs[known] = _differences(into, rows[known], batch.take(known)) != ""
            wanted = ~known | differs if on_conflict == "last" else ~known
            into.write(batch.take(wanted))
            added += int(np.count_nonzero(~known))
            same += int(np.count_nonzero(known & ~differs))
            replaced += int(np.count_nonzero(wanted & known))
            done += len(batch)
            if progress is not None:
                progress(done, total)
    return added, same, replaced


def _check(sources: Sequence[EmbeddingStore], into: EmbeddingStore | None, on_conflict: str) -> None:
    """Refuse what cannot be merged before anything is read."""
    if on_conflict not in ("refuse", "first", "last"):
        raise InputError(f"{on_conflict!r} does not settle conflicts; choose refuse, first or last")
    for source in sources:
        if into is not None and os.path.realpath(source.location) == os.path.realpath(into.location):
            raise InputError(f"{into.location} cannot be merged into itself; name another target")
        if not source.spec.fingerprint:
            raise MismatchError(
                f"{source.location} does not say which model made it, so it cannot be merged; import it into a .lance "
                "cache (--trust), and let `encash cache verify` find out"
            )
        check_same((into or sources[0]).spec, source)


def _compare(
    target: EmbeddingStore | None, sources: Sequence[EmbeddingStore], progress: Progress | None
) -> tuple[int, list[Conflict]]:
    """Count the keys under which two stores differ: each source is read, and with that checked, and compared with the
    target and with all sources before it."""
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


def _conflict(batch: Entries, at: int, first: EmbeddingStore, second: EmbeddingStore, what: str) -> Conflict:
    return Conflict(
        day=str(batch.days[at]),
        ticker=str(batch.tickers[at]),
        first=first.location,
        second=second.location,
        what=what,
    )


def _differences(store: EmbeddingStore, rows: Int64, entries: Entries) -> np.ndarray:
    """In what each entry differs from the row of a store: ``""``, ``input`` or ``values``."""
    if len(rows) == 0:
        return np.empty(0, dtype="<U6")
    ours, theirs = store.index().digest[rows], entries.digest
    other_input = (ours != theirs) & (ours != 0) & (theirs != 0)
    forecast, confidence = store.forecasts(rows)
    equal: Bool = _equal_rows(store.vectors(rows), entries.embedding)
    equal &= _equal_rows(forecast, entries.forecast) & _equal_rows(confidence, entries.confidence)
    return np.where(other_input, "input", np.where(equal, "", "values"))


def _equal_rows(ours: np.ndarray, theirs: np.ndarray) -> Bool:
    """Whether two rows have the same bytes."""
    equal: Bool = row_digests(ours) == row_digests(theirs)
    return equal
