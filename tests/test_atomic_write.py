"""Files and folders are replaced atomically, and operating system errors become one clear error."""

import subprocess
import sys
from pathlib import Path

import pytest

from encash import atomic_write
from encash.atomic_write import PatientFile, check_folder, make_folder, whole_file, whole_folder, write_whole, writing
from encash.errors import InputError, WorkError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_when_it_is_whole(tmp_path):
    """Until the block ends the old file is there; the folder is made, and nothing else is left in it."""
    target = tmp_path / "made" / "x.txt"
    write_whole(target, b"old")
    with whole_file(target) as part:
        part.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["x.txt"]


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    """Of a file and of a folder; our own errors pass as they are."""
    write_whole(tmp_path / "x", b"old")
    with whole_folder(tmp_path / "f") as part:
        (part / "a").write_bytes(b"old")
    for place in (whole_file(tmp_path / "x"), whole_folder(tmp_path / "f")):
        with pytest.raises(InputError, match="bad input"), place:
            raise InputError("bad input")
    assert (tmp_path / "x").read_bytes() == (tmp_path / "f" / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["f", "x"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    """What only the old one had is gone."""
    for name in ("a", "b"):
        with whole_folder(tmp_path / "f") as part:
            (part / name).touch()
    assert names(tmp_path / "f") == ["b"]


def test_a_place_that_cannot_be_written_is_one_work_error(tmp_path):
    """A file where a folder is needed, and a folder where a file goes: named, with the reason and the mend."""
    (tmp_path / "file").write_bytes(b"kept")
    inside = tmp_path / "file" / "deeper" / "x"
    for attempt in (
        lambda: write_whole(inside, b""),
        lambda: make_folder(inside),
        lambda: check_folder(inside),
        lambda: whole_folder(inside).__enter__(),
    ):
        with pytest.raises(WorkError, match=r"a file stands where a folder is needed; .*give a path") as caught:
            attempt()
        assert str(inside) in str(caught.value)
    with pytest.raises(WorkError, match="not a regular file"):
        write_whole(tmp_path, b"")
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_disk_that_refuses_while_a_file_is_filled_is_told_in_our_words(tmp_path):
    """What the system says in the middle of a block comes out as the one error too."""
    with pytest.raises(WorkError, match="No space left"), writing(tmp_path), open("/dev/full", "wb") as file:
        file.write(b"x" * 100_000)
    write_whole(tmp_path / "x", b"old")
    with pytest.raises(WorkError, match="x could not be written"), whole_file(tmp_path / "x") as part:
        part.unlink()
    assert (tmp_path / "x").read_bytes() == b"old"


def test_a_patient_file_tells_of_a_refusal_when_it_is_asked(tmp_path):
    """Writes seem to go well, the first thing that the system said against one is kept; a sound file says nothing."""
    with PatientFile("/dev/full") as full:
        assert full.write(b"12345678") == 8
        full.truncate(3)
        with pytest.raises(OSError, match="No space left"):
            full.check()
    with PatientFile(tmp_path / "x") as sound:
        sound.write(b"12345678")
        assert sound.truncate(3) == 3
        sound.check()
    assert (tmp_path / "x").read_bytes() == b"123"


def test_a_check_makes_nothing(tmp_path):
    """A folder that could be made passes and is not made."""
    check_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == []


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path):
    """What a killed writer left behind is removed by the next one; what another is writing right now is not."""
    target = tmp_path / "x [1].h5"
    dead = (
        "import sys, os\nfrom encash.atomic_write import whole_file\nwith whole_file(sys.argv[1]) as part: os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", dead, str(target)], check=False)
    assert len(names(tmp_path)) == 1
    with whole_file(target) as living:
        assert names(tmp_path) == [living.name]
        write_whole(target, b"another")
        assert living.exists()
        living.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert names(tmp_path) == [target.name]


DYING_WRITER = """
import os, shutil, signal, sys
from pathlib import Path
from encash import atomic_write

target, step, exchange = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "exchange"
steps = 0

def dies_before(call):
    def wrapped(*args, **kwargs):
        global steps
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1
        return call(*args, **kwargs)
    return wrapped

if not exchange:
    atomic_write._exchange = lambda one, other: False
with atomic_write.whole_folder(target) as part:
    for name in ("a", "b"):
        (part / name).write_text("new")
    Path.rename = dies_before(Path.rename)
    atomic_write._exchange = dies_before(atomic_write._exchange) if exchange else atomic_write._exchange
    shutil.rmtree = dies_before(shutil.rmtree)
    os.close = dies_before(os.close)
print(steps)
"""


def written_folder(path: Path, text: str) -> None:
    with whole_folder(path) as part:
        for name in ("a", "b"):
            (part / name).write_text(text)


def contents(path: Path) -> set[str]:
    return {(path / name).read_text() for name in ("a", "b")}


def run_dying_writer(target: Path, step: int, mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", DYING_WRITER, str(target), str(step), mode], check=False)
    return done.returncode


@pytest.mark.parametrize("mode", ["exchange", "two renames"])
def test_a_folder_survives_a_kill_at_every_step(tmp_path, mode):
    """Killed at any step, the target is the old folder or the new one, complete; the next writer removes the rest.

    Where names cannot be exchanged there is one step without a target; then the next writer restores the old one, even
    if it fails itself.
    """
    target, missing = tmp_path / "f", 0
    for step in range(10):
        written_folder(target, "old")
        finished = run_dying_writer(target, step, mode) == 0
        if not target.exists():
            missing += 1
            with pytest.raises(InputError, match="bad input"), whole_folder(target):
                raise InputError("bad input")
            assert contents(target) == {"old"}
        assert contents(target) in ({"old"}, {"new"})
        written_folder(target, "next")
        assert contents(target) == {"next"}
        assert names(tmp_path) == ["f"]
        if finished:
            break
    assert finished
    assert step >= 3
    assert missing == (0 if mode == "exchange" else 1)


@pytest.mark.parametrize("failing", [1, 2])
def test_a_rename_that_fails_keeps_the_old_folder(tmp_path, monkeypatch, failing):
    """Where names cannot be exchanged, either of the two renames may fail: the old folder is back at its place."""
    target, calls, rename = tmp_path / "f", [], Path.rename
    written_folder(target, "old")

    def fails(self: Path, other: Path) -> Path:
        calls.append(other)
        if len(calls) == failing:
            raise OSError(5, "Input/output error")
        return rename(self, other)

    monkeypatch.setattr(atomic_write, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(WorkError, match="f could not be written: Input/output error"):
        written_folder(target, "new")
    assert contents(target) == {"old"}
    assert names(tmp_path) == ["f"]


def test_a_file_that_cannot_be_renamed_keeps_the_old_one(tmp_path, monkeypatch):
    """The hidden file goes away, the target keeps its content."""
    write_whole(tmp_path / "x", b"old")

    def fails(self: Path, other: Path) -> Path:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(WorkError, match="x could not be written: Input/output error"):
        write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_a_living_writer_of_a_folder_keeps_its_part(tmp_path):
    """Another writer of the same folder does not remove what is being filled."""
    with whole_folder(tmp_path / "f") as living:
        written_folder(tmp_path / "f", "other")
        assert living.exists()
        (living / "a").write_text("mine")
    assert names(tmp_path) == ["f"]
    assert names(tmp_path / "f") == ["a"]


def test_writing_through_a_symbolic_link_replaces_its_target(tmp_path):
    """The link stays, for files and folders, absolute and relative, and where its target is yet to be made."""
    data = tmp_path / "data"
    write_whole(data / "x", b"old")
    written_folder(data / "f", "old")
    (tmp_path / "x").symlink_to("data/x")
    (tmp_path / "f").symlink_to(data / "f")
    (tmp_path / "new").symlink_to("elsewhere/new")
    write_whole(tmp_path / "x", b"new")
    written_folder(tmp_path / "f", "new")
    write_whole(tmp_path / "new", b"new")
    assert all((tmp_path / name).is_symlink() for name in ("x", "f", "new"))
    assert (data / "x").read_bytes() == (tmp_path / "elsewhere" / "new").read_bytes() == b"new"
    assert contents(data / "f") == {"new"}
    assert names(data) == ["f", "x"]
    assert names(tmp_path) == ["data", "elsewhere", "f", "new", "x"]


def test_a_link_to_itself_is_one_work_error(tmp_path):
    """A loop of links has no target; it stays as it is."""
    (tmp_path / "x").symlink_to("x")
    for write in (lambda: write_whole(tmp_path / "x", b""), lambda: written_folder(tmp_path / "x", "")):
        with pytest.raises(WorkError, match="x could not be written: Too many levels of symbolic links"):
            write()
    assert (tmp_path / "x").is_symlink()
