"""`encash doctor`: what is installed, what works, and what to do about what does not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from encash.cli import main
from encash.errors import ConflictError, WorkError
from encash.extras import EXTRAS
from encash.pipeline import doctor
from tests.cli.commands import answer
from tests.cli.test_extras import without


def test_a_sound_installation_has_no_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Versions, each extra, disk, fsync, locks, devices and the choice; nothing is left in the folder."""
    found = answer(capsys, "doctor", "--folder", str(tmp_path))
    subjects = [one["subject"] for one in found["findings"]]
    extras = [f"encash[{extra}]" for extra in EXTRAS]
    expected = ["encash", "Python", "machine", "numpy", "pyarrow", "pylance", "h5py", "xxhash", *extras]
    assert subjects[: len(expected)] == expected
    assert {"disk", "fsync", "file locks", "device", "choice"} <= set(subjects)
    details = {one["subject"]: one["detail"] for one in found["findings"]}
    assert "entries/s" in details["choice"]
    assert details["file locks"] == "work"
    assert found["passed"] == (not any(one["fix"] for one in found["findings"]))
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_no_fault_and_a_missing_core_is(tmp_path: Path) -> None:
    """Either is named with the line that installs it; a command without the core says so in one line."""
    done = without("faiss torch", "doctor", "--folder", str(tmp_path), "--json", "--quiet")
    found = {one["subject"]: one for one in json.loads(done.stdout)["findings"]}
    assert 'pip install "encash[clusters]"' in found["encash[clusters]"]["detail"]
    assert "device" not in found
    assert "choice" not in found
    assert done.returncode == 0
    done = without("xxhash", "doctor", "--folder", str(tmp_path), "--no-measure", "--quiet")
    assert done.returncode == 2
    assert done.stderr == "encash doctor: xxhash is not installed; run: pip install --force-reinstall encash\n"


@pytest.mark.parametrize(
    ("fault", "subject", "expected"),
    [
        ("disk_usage", "disk", "free some space"),
        ("_seconds_of_sync", "fsync", "local disk"),
        ("writer_lock", "file locks", "flock"),
    ],
)
def test_each_fault_has_its_fix(
    fault: str,
    subject: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 1, one line per fault that says what to do."""

    def no_locks(*_: object, **__: object) -> None:
        raise WorkError("this file system has no locks")

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    replacements = {
        "disk_usage": (shutil, lambda _: usage),
        "_seconds_of_sync": (doctor, lambda _: 0.5),
        "writer_lock": (doctor, no_locks),
    }
    where, replacement = replacements[fault]
    monkeypatch.setattr(where, fault, replacement)
    assert main(["doctor", "--folder", str(tmp_path), "--no-measure", "--quiet"]) == 1
    (broken,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("BROKEN")]
    assert broken.startswith(f"BROKEN  {subject}: ")
    assert expected in broken


def test_a_folder_that_cannot_be_written_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of the system, in which even root makes no file."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("no /proc here")
    assert main(["doctor", "--folder", "/proc/self", "--no-measure", "--quiet"]) == 1
    assert "work in a folder that this user may write" in capsys.readouterr().out


def test_a_lock_that_lets_two_writers_in_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network disks, where the second lock succeeds too."""
    import contextlib

    assert doctor._locks(tmp_path / "lock") == "work"
    monkeypatch.setattr(doctor, "writer_lock", lambda *_, **__: contextlib.nullcontext())
    assert doctor._locks(tmp_path / "lock") == "a second writer is not excluded"
    assert issubclass(ConflictError, WorkError)
