"""Each file that a command reads and each place that it writes, in each condition: one line, nothing lost."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.border_table import (
    CONDITIONS,
    PLACES,
    READS,
    STREAMS,
    WRITES,
    can_mount,
    make_world,
    read_case,
    stream_case,
    subjects,
    write_case,
)

INSTANTS = 4
FULL = ("full", "4 KiB free", "20 KiB free")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize(
    ("command", "name", "condition"),
    [
        ("prepare", "t.csv", "loop"),
        ("backtest", "k/clusters.npz", "pipe"),
        ("report", "run/equity.parquet", "device"),
        ("import", "c.h5", "locked"),
    ],
)
def test_a_file_in_a_bad_condition_is_one_line(world, command, name, condition):
    """Exit code 2, one line, and no file changed."""
    found = read_case(world, command, name, condition)
    assert found.passed, found
    assert found.code == 2, found


@pytest.mark.parametrize(("command", "place"), [("prepare", "loop"), ("build", "newline")])
def test_a_place_that_cannot_be_written_is_one_line(world, command, place):
    """One line, or the command succeeds; nothing is left under a temporary name."""
    found = write_case(world, command, place)
    assert found.passed, found


@pytest.mark.skipif(not can_mount(), reason="this user cannot mount a small disk")
@pytest.mark.parametrize("command", ["merge"])
def test_a_full_disk_is_one_line(world, command):
    """Nothing under the final name, nothing lost elsewhere."""
    found = write_case(world, command, "4 KiB free")
    assert (found.code, found.passed) == (1, True), found


@pytest.mark.slow
@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("command", READS)
def test_the_whole_table_of_files(world, command, condition):
    """Each file of each command; without a change, the command succeeds."""
    found = {name: read_case(world, command, name, condition) for name in subjects(world, command)}
    assert found
    assert {name: case for name, case in found.items() if not case.passed} == {}
    if condition == "sound":
        assert {case.code for case in found.values()} == {0}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", WRITES)
def test_the_whole_table_of_places(world, command, place):
    """Each command that writes, to each place."""
    if place in FULL and not can_mount():
        pytest.skip("this user cannot mount a small disk")
    found = write_case(world, command, place)
    assert found.passed, found
    if place == "sound":
        assert found.code == 0, found


@pytest.mark.slow
@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("command", WRITES)
def test_the_whole_table_of_streams(world, command, streams):
    """A closed stream changes nothing; a full one is at most one line; files are whole in any case."""
    found = stream_case(world, command, streams)
    assert found.passed, found
    if "closed" in streams:
        assert found.code == 0, found


def start(folder: Path, words: str, world: Path, **options) -> subprocess.Popen[str]:
    """Start the command as its script does; jobs in the background ignore Ctrl-C, so it is not ignored first."""
    script = folder / "encash"
    script.write_text("import sys\nfrom encash.__main__ import main\nsys.exit(main())\n")
    code = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(script), *words.split()],
        cwd=world,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def wait_for_modules(process: subprocess.Popen[str], name: str) -> None:
    """Wait until a process has mapped a library."""
    maps = Path(f"/proc/{process.pid}/maps")
    for _ in range(3000):
        try:
            if name in maps.read_text() or process.poll() is not None:
                return
        except OSError:
            return
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_a_signal_at_any_instant_of_a_start_is_one_line(world, tmp_path, number):
    """From the first library on, through all imports, to the work and the end: one line and exit code 1, or success."""
    generator = random.Random(int(number))
    for instant in range(INSTANTS):
        words = ("cache versions c.lance", "plan --model m.pt --data f.h5 --cache c.lance")[instant % 2]
        process = start(tmp_path, words, world)
        wait_for_modules(process, ("_lsprof", "_struct", "_multiarray_umath", "lance.abi3")[instant % 4])
        time.sleep(generator.uniform(0, 0.5))
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said.count("\n")) in ((0, 0), (1, 1)), said
        assert "Traceback" not in said


def test_little_address_space_is_one_line(world, tmp_path):
    """Libraries that cannot be loaded, or cannot start threads, do not speak for themselves."""
    for mebibytes in (100, 600):
        done = subprocess.run(
            ["sh", "-c", f"ulimit -v {mebibytes << 10}; {sys.executable} -m encash cache versions c.lance"],
            cwd=world,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "not enough memory" in done.stderr
