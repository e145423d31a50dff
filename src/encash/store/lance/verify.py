"""Every row of a version against its checksum. Knows one version; goes on where a piece cannot be read."""

from __future__ import annotations

from encash.errors import EncashError
from encash.progress import Progress
from encash.store.base import StoreCheck
from encash.store.lance.errors import lance_errors
from encash.store.lance.fragments import batches
from encash.store.lance.snapshot import Snapshot
from encash.store.lance.verification import Tally


def verify(snapshot: Snapshot, mend: str, *, batch_rows: int, progress: Progress | None) -> StoreCheck:
    """Read every row with Lance's own reader and compare it with its checksum, and look for versions that are gone.

    Args:
        snapshot: the version.
        mend: what helps where rows are not what was written.
        batch_rows: rows read at once.
        progress: told (done, total) rows.
    """
    tally, done = Tally(snapshot.count, mend), 0
    for piece, start in zip(snapshot.pieces, snapshot.first_rows, strict=False):
        done = start
        try:
            snapshot.known.check_whole(piece, again=True)
            with lance_errors(snapshot.place, "read"):
                for batch in batches(snapshot.dataset, None, [piece], batch_rows):
                    tally.add(batch, snapshot.spec, done)
                    done += batch.num_rows
                    if progress is not None:
                        progress(done, snapshot.count)
        except EncashError as error:
            tally.lose(slice(start, start + piece.rows), f"fragment {piece.number}, {piece.rows:,} entries: {error}")
    try:
        duplicates = snapshot.index_and_places()[0].duplicates
    except EncashError as error:
        tally.findings.append(str(error))
        duplicates = 0
    if lost := snapshot.place.lost_versions():
        tally.findings.append(
            f"{len(lost)} versions after the newest that is there are gone ({lost[0]}); restore the file from a copy, "
            "or build again what it had more and let `encash cache compact` forget it"
        )
    return tally.result(duplicates)
