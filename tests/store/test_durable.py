import errno
import os
import time

import numpy as np
import pytest

from encash.errors import WorkError
from encash.store import create_store, open_store
from encash.store.local import fsync as durable
from encash.store.local.fsync import syncing
from encash.testing.store_contract import everything, make_entries, make_spec


def refuse(handle: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_new_files_are_flushed_even_if_renamed(tmp_path, monkeypatch):
    """New files are flushed while they are written and renamed; existing files are not touched."""
    synced = set()

    def note(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fdatasync", note)
    (tmp_path / "old").write_text("old")
    with syncing(tmp_path):
        (tmp_path / "new").write_text("new")
        (tmp_path / "new").rename(tmp_path / "final")
        until = time.monotonic() + 20
        while not synced and time.monotonic() < until:
            time.sleep(0.001)
    assert synced == {(tmp_path / "final").stat().st_ino}


def test_the_folder_may_be_created_later(tmp_path):
    """The folder may be created during the block, or never."""
    with syncing(tmp_path / "a"):
        (tmp_path / "a").mkdir()
    with syncing(tmp_path / "none"):
        pass


def test_an_early_disk_error_is_not_lost(tmp_path, monkeypatch):
    """If the disk fails while a commit is being written, nothing is committed and the error says so, although the
    system reports it only once and the final sync succeeds. The next write succeeds."""
    monkeypatch.setattr(durable, "_POLL_SECONDS", 0.0)
    spec = make_spec(dim=512)
    store = create_store(tmp_path / "a.lance", spec)
    first = make_entries(spec, ["2024-01-02"], ["A"])
    store.write(first)
    before = everything(store)
    many = make_entries(spec, ["2024-01-03"], [f"T{number:05}" for number in range(20_000)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        with pytest.raises(WorkError, match="nothing was committed"):
            store.write(many)
    assert everything(open_store(store.location)) == before
    store.write(many)
    assert np.array_equal(open_store(store.location).snapshot().vectors(np.arange(1, 20_001)), many.embedding)
