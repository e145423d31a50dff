"""The mutation harness: it classes what happens, draws the same cases from a seed, and a few dozen cases pass."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from tools.fuzz import case as cases
from tools.fuzz.case import Case, Ran
from tools.fuzz.kinds import KINDS, Kind
from tools.fuzz.mutate_bytes import BYTES
from tools.fuzz.mutate_tables import change_array, change_hdf5, change_zip
from tools.fuzz.mutate_text import TEXT, change_json
from tools.fuzz.pool import Pool
from tools.fuzz.readers import content
from tools.fuzz.world import STEPS, with_sources

ROOT = Path(__file__).parents[2]
TEXTS = b'{"a": [1, 2.5, "2020-05-06"], "b": {"c": null}}\n'


@pytest.mark.parametrize("mutation", [*dict.fromkeys((*BYTES, *TEXT)), change_json])
def test_a_mutation_is_drawn_from_its_seed(mutation):
    """The same random numbers give the same bytes; over some seeds, the bytes change."""
    drawn = [mutation(TEXTS, b"other", np.random.default_rng(seed))[0] for seed in range(20)]
    assert drawn == [mutation(TEXTS, b"other", np.random.default_rng(seed))[0] for seed in range(20)]
    assert any(one != TEXTS for one in drawn)


def test_structured_mutations_leave_files_that_open(tmp_path):
    """An HDF5 file still opens, and an archive has right checksums, with different content."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["T/dates"] = np.array([b"2020-01-01", b"2020-01-02"])
        file["T/values"] = np.ones((2, 3), dtype=np.float32)
        file["T"].attrs["note"] = "text"
    np.savez(tmp_path / "a.npz", a=np.arange(5), b=np.ones(3))
    np.save(tmp_path / "a.npy", np.arange(5))
    whole = content(tmp_path / "a.h5")
    changed = set()
    for seed in range(30):
        random = np.random.default_rng(seed)
        (tmp_path / "b.h5").write_bytes(change_hdf5((tmp_path / "a.h5").read_bytes(), b"", random)[0])
        h5py.File(tmp_path / "b.h5").close()
        changed.add(content(tmp_path / "b.h5"))
        for name, change in (("a.npz", change_zip), ("a.npy", change_array)):
            assert change((tmp_path / name).read_bytes(), b"other", random)[0]
    assert len(changed - {whole}) > 5


def test_content_is_what_a_text_says(tmp_path):
    """Line ends and a byte order mark say the same; a digit, or a field of a CSV file, says something else."""
    written = {"a": b"x,1\ny,2\n", "b": b"\xef\xbb\xbfx,1\r\ny,2", "c": b"x,1\ny,3\n"}
    for name, data in written.items():
        (tmp_path / f"{name}.csv").write_bytes(data)
    said = {name: content(tmp_path / f"{name}.csv") for name in written}
    assert said["a"] == said["b"] != said["c"]
    (tmp_path / "d.toml").write_text("a = [")
    assert content(tmp_path / "d.toml").startswith("unreadable")
    assert content(tmp_path / "e.toml") == "missing"


@pytest.mark.parametrize(
    ("ran", "expected"),
    [
        (Ran(code=2, out="", err="one line\n"), "refused"),
        (Ran(code=2, out="", err="two\nlines\n"), "several lines"),
        (Ran(code=1, out="", err=""), "several lines"),
        (Ran(code=1, out="", err="not enough memory; close other programs\n"), "memory"),
        (Ran(code=3, out="{}", err=""), "found"),
        (Ran(code=0, out="", err="", uncaught="Traceback"), "traceback"),
        (Ran(code=0, out='{"a": 1, "seconds": 5}', err=""), "same result"),
        (Ran(code=0, out='{"a": 2}', err=""), "other result"),
        (Ran(code=0, out="", err=""), "other result"),
    ],
)
@pytest.mark.parametrize("checked", [True, False])
def test_classes(tmp_path, monkeypatch, ran, expected, checked):
    """One line with exit code 1 or 2 is a refusal; a different result is explained only by what a file without
    checksums says."""
    kind = Kind(name="k", files=("*.csv",), commands=("c",), checked=checked)
    monkeypatch.setattr(cases, "KINDS", (kind,))
    monkeypatch.setattr(cases, "run_command", lambda _: ran)
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "a.csv").write_text("1\n")
    (tmp_path / "a.csv").write_text("2\n")
    monkeypatch.chdir(tmp_path)
    case = Case(kind="k", seed=0, file="a.csv", command="c")
    explained = expected == "other result" and not checked
    found = cases.judge(tmp_path / "world", case, {"/a": "1", "#": "2"} if ran.out == "{}" else {"/a": "1"})
    assert found.verdict == ("explained" if explained else expected)
    assert cases.from_json(cases.to_json(found)) == found


def test_a_rollback_that_sets_a_version_aside_has_found_damage(tmp_path, monkeypatch):
    """The list of versions set aside is what the command is for; any other difference needs an explanation."""
    monkeypatch.chdir(tmp_path)
    case, kind = Case(kind="k", seed=0, file="a", command="cache rollback c"), Kind(name="k", files=(), commands=())
    ran = Ran(code=0, out='{"set_aside": [1], "entries": 2}', err="")
    for expected, verdict in (
        ({"/set_aside#": "0", "/entries": "3"}, "found"),
        ({"/set_aside#": "1", "/entries": "3"}, "other result"),
    ):
        assert cases._success(ran, case, kind, expected, explains=False)[0] == verdict


def test_a_process_that_crashes_or_hangs_is_reported():
    """A signal is the status, an exception is not 0, and CPU time has a limit."""

    def work(job: str) -> None:
        if job == "crash":
            os.kill(os.getpid(), signal.SIGUSR1)
        if job == "error":
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            raise ValueError
        while job == "hang":
            time.process_time()

    pool = Pool(work=work, processes=2, seconds=0.5)
    ended = {one.job: (one.status, one.late) for one in pool.run(["crash", "error", "hang", "fine"])}
    assert ended == {"crash": (-10, False), "error": (70, False), "hang": (-9, True), "fine": (0, False)}


def test_files_are_made_with_what_they_are_made_from():
    """A sweep needs a cache and clusters, and nothing else."""
    assert with_sources({"s"}) == {"s", "k", "c.lance"}
    assert with_sources({"x.h5", "p.h5"}) == {"x.h5", "c.lance"}
    assert with_sources(set(STEPS)) == set(STEPS)


def fuzz(*words: str, module: str = "tools.fuzz") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=False)


def test_a_few_dozen_cases(tmp_path):
    """Prices, a model and a list of tickers: no traceback, no hang, no different result without an explanation."""
    kinds = ("prices-text", "prices-columns", "tickers", "model.pt")
    only = [word for kind in kinds for word in ("--only", kind)]
    done = fuzz(*only, "--cases", "40", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert re.search(r"^all +40 ", done.stdout, re.M)


@pytest.mark.slow
def test_minutes_of_mutations(tmp_path):
    """All kinds of files for the minutes of the environment variable ENCASH_FUZZ_MINUTES."""
    done = fuzz("--minutes", os.environ.get("ENCASH_FUZZ_MINUTES", "10"), "--folder", str(tmp_path))
    sys.stdout.write(f"\n{done.stdout}")
    assert done.returncode == 0, done.stdout
    assert all(re.search(rf"^{re.escape(kind.name)} +[1-9]", done.stdout, re.M) for kind in KINDS)


@pytest.mark.slow
def test_commands_are_killed(tmp_path):
    """After a kill at a random instant other commands read what is whole or refuse it in one line, and the same command
    ends with the result of a run that was not killed."""
    kills = os.environ.get("ENCASH_KILLS_PER_COMMAND", "14")
    done = fuzz("--kills", kills, "--folder", str(tmp_path), module="tools.fuzz.kills")
    sys.stdout.write(f"\n{done.stdout}")
    assert done.returncode == 0, done.stdout
