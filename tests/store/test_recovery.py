"""A damaged version is named together with the one that is whole, and `rollback` returns to it; nothing is deleted."""

import json
import shutil
from pathlib import Path

import pytest

from encash.cli import main
from encash.errors import FormatError, InputError, MissingFileError
from encash.store import EmbeddingStore, create_store, open_store, rollback
from encash.testing.store_contract import everything
from tests.store.survival_worker import SPEC, step_entries

DAMAGE = {
    "empty": lambda data: b"",
    "cut short": lambda data: data[:100],
    "a flipped byte": lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:],
    "a flipped byte at the end": lambda data: data[:-3] + bytes([data[-3] ^ 0x80]) + data[-2:],
    "other bytes": lambda data: b"\xff" * len(data),
}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with versions 1 (empty) to 4."""
    path = tmp_path_factory.mktemp("history") / "c.lance"
    store = create_store(path, SPEC)
    for step in range(3):
        store.write(step_entries(step))
    return path


@pytest.fixture
def path(history: Path, tmp_path: Path) -> Path:
    """A copy of the history."""
    return Path(shutil.copytree(history, tmp_path / "c.lance"))


def manifest(path: Path, version: int) -> Path:
    return path / "_versions" / f"{(1 << 64) - 1 - version:020d}.manifest"


def damage(path: Path, version: int, how: str) -> None:
    file = manifest(path, version)
    file.write_bytes(DAMAGE[how](file.read_bytes()))


def content(store: EmbeddingStore) -> dict:
    return everything(store)


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_newest_version_costs_only_that_commit(path, how):
    """Opening names the intact version and the command; the command returns to it; the next commit succeeds."""
    before = content(open_store(path, version=3))
    damage(path, 4, how)
    message = rf"version 4 of .* is damaged .*version 3 is intact: `encash cache rollback {path}` makes it the newest"
    with pytest.raises(FormatError, match=message) as caught:
        open_store(path)
    assert "object store" not in str(caught.value)
    done = rollback(path)
    assert (done.version, done.content_of, done.set_aside, done.entries) == (3, 3, (4,), len(before))
    store = open_store(path)
    assert content(store) == before
    assert store.snapshot().verify().passed
    assert not store.snapshot().verify().findings
    store.write(step_entries(3))
    assert store.version == 4
    assert len(list((path / "_encash_set_aside").iterdir())) == 1


def test_several_damaged_versions_are_set_aside_together(path):
    """The newest intact version is found below any number of damaged ones."""
    damage(path, 4, "empty")
    damage(path, 3, "cut short")
    with pytest.raises(FormatError, match="version 2 is intact"):
        open_store(path)
    assert rollback(path).set_aside == (4, 3)
    assert open_store(path).version == 2


def test_a_damaged_old_version_is_found_and_set_aside(path):
    """The newest version stays readable and writable; `verify` reports the old one, and what needs it names the fix."""
    damage(path, 2, "empty")
    store = open_store(path)
    expected = content(store)
    (finding,) = store.snapshot().verify().findings
    assert "version 2 is damaged" in finding
    for needs_it in (store.versions, store.compact):
        with pytest.raises(FormatError, match=r"version 2 .*`encash cache rollback .* sets version 2 aside"):
            needs_it()
    assert rollback(path).set_aside == (2,)
    store = open_store(path)
    assert [version.number for version in store.versions()] == [1, 3, 4]
    store.compact(keep_versions=2)
    assert content(store) == expected


def test_an_earlier_version_is_committed_again_on_top(path):
    """A return to a version below others that are whole keeps the history, and can itself be undone."""
    newest = content(open_store(path))
    done = rollback(path, 2)
    assert (done.version, done.content_of, done.set_aside) == (5, 2, ())
    assert content(open_store(path)) == content(open_store(path, version=2))
    assert rollback(path, 4).version == 6
    assert content(open_store(path)) == newest
    assert open_store(path).snapshot().verify().passed


def test_a_store_that_is_whole_is_left_as_it_is(path):
    """Without damage and without a version, nothing changes."""
    names = sorted(file.name for file in path.rglob("*"))
    assert rollback(path).version == 4
    assert sorted(file.name for file in path.rglob("*")) == names


def test_what_cannot_be_rolled_back_is_refused(path, tmp_path):
    """A version that does not exist or is damaged, a URL, a file of one version, a store without a whole version."""
    with pytest.raises(MissingFileError, match="has no version 9; it has 4, 3, 2, 1"):
        rollback(path, 9)
    damage(path, 2, "empty")
    with pytest.raises(InputError, match=r"version 2 of .* is damaged too"):
        rollback(path, 2)
    with pytest.raises(InputError, match="is a URL"):
        rollback("s3://bucket/c.lance")
    with pytest.raises(InputError, match="one version only"):
        rollback(tmp_path / "c.h5")
    for version in (1, 3, 4):
        damage(path, version, "empty")
    with pytest.raises(FormatError, match=r"no version of .* is intact"):
        open_store(path)
    with pytest.raises(FormatError, match=r"no version of .* is intact"):
        rollback(path)


def test_the_command_prints_where_the_cache_is_now(path, capsys):
    """``encash cache rollback`` returns 0 and JSON; a damaged cache elsewhere is exit 2 with one line."""
    damage(path, 4, "empty")
    assert main(["cache", "compact", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["cache", "rollback", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": 3, "content_of": 3, "set_aside": [4], "entries": 300}
    assert main(["cache", "compact", str(path), "--json"]) == 0
