"""Files and folders appear whole or not at all, and what the system says against them is one clear error."""

import subprocess
import sys
from pathlib import Path

import pytest

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
        with pytest.raises(WorkError, match=r"a file stands where a folder is needed; .*give a place") as caught:
            attempt()
        assert str(inside) in str(caught.value)
    with pytest.raises(WorkError, match="no plain file"):
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
