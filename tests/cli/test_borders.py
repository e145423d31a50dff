"""Files without permission, locked files, closed or full streams, ASCII consoles, signals: one line, nothing lost."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from encash.cache import open_cache
from encash.panel import toy_panel, write_panel
from encash.testing import MeanEncoder

WITHOUT_PRIVILEGES = "-dac_override,-dac_read_search"
"""Capabilities by which root reads and writes what it may not."""


def ordinary_user() -> list[str]:
    """Return the words before a command that make file permissions apply to it."""
    if os.getuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root ignores permissions, and setpriv is not installed")
    return ["setpriv", f"--inh-caps={WITHOUT_PRIVILEGES}", f"--bounding-set={WITHOUT_PRIVILEGES}"]


UNIGNORE = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):  # jobs in the background, or of nohup, ignore them
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "encash", *sys.argv[1:]])
"""


def wait_until_open(process: int, name: str) -> None:
    """Wait until a process has opened a file of this name."""
    folder = Path(f"/proc/{process}/fd")
    for _ in range(600):
        with contextlib.suppress(OSError):
            if any(os.readlink(link).endswith(name) for link in folder.iterdir()):
                return
        time.sleep(0.1)
    raise TimeoutError(f"process {process} has not opened {name}")


def encash(*words: object, before: tuple[str, ...] = (), **options) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "encash", *map(str, words)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(command, text=True, timeout=120, check=False, **options)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features, prices and a small cache."""
    folder = tmp_path_factory.mktemp("files")
    panel = toy_panel(seed=1, num_tickers=3, num_sessions=40)
    write_panel(panel, folder / "f.h5", folder / "p.h5")
    open_cache(folder / "c.lance").build(panel, MeanEncoder(panel.num_features, lookback=5))
    (folder / "g.toml").write_text("[base]\nhorizon = 1\n[grid]\ntop_k = [1]\n")
    (folder / "t.csv").write_text("date,ticker,close\n2024-01-02,A,1\n")
    return folder


@pytest.mark.parametrize(
    ("closed", "words"),
    [
        ("f.h5", "cache coverage c.lance --data f.h5"),
        ("c.lance", "cache versions c.lance"),
        ("c.lance/_versions/*", "cache versions c.lance"),
        ("c.lance/data/*", "cache export c.lance x.h5"),
        ("p.h5", "backtest --data f.h5 --prices p.h5 --cache c.lance --horizon 1"),
        ("g.toml", "sweep g.toml --data f.h5 --prices p.h5 --cache c.lance --out s"),
        ("t.csv", "prepare t.csv"),
    ],
)
def test_a_file_without_permission_is_one_line(files, tmp_path, closed, words):
    """The line names the file and says permission; it does not call the file damaged. Exit code 2."""
    folder = tmp_path / "copy"
    shutil.copytree(files, folder)
    for path in folder.glob(closed):
        path.chmod(0)
    try:
        done = encash(*words.split(), cwd=folder, before=tuple(ordinary_user()))
    finally:
        for path in folder.glob(closed):
            path.chmod(0o700)
    assert done.returncode == 2, done.stderr
    assert "ermission" in done.stderr
    assert "damaged" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_being_written_is_locked_not_damaged(files, tmp_path):
    """While a different process has an HDF5 file open for writing, the error says so and names the setting."""
    path = shutil.copy(files / "f.h5", tmp_path / "f.h5")
    with h5py.File(path, "r+"):
        done = encash("cache", "coverage", files / "c.lance", "--data", path)
    assert done.returncode == 2
    assert "locked by another process" in done.stderr
    assert "HDF5_USE_FILE_LOCKING" in done.stderr


def test_a_full_or_closed_output_is_one_line(files):
    """A full device is reported once; a closed stdout or stderr changes nothing else."""
    with open("/dev/full", "w") as full:
        done = encash("cache", "versions", files / "c.lance", stdout=full)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in done.stderr
    shell = f"{sys.executable} -m encash cache versions {files / 'c.lance'}"
    for streams, code in ((">&-", 0), ("2>&-", 0), (">&- 2>&-", 0)):
        done = subprocess.run(["sh", "-c", f"{shell} {streams}"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (code, ""), streams
    done = subprocess.run(["sh", "-c", f"{shell} | true"], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_console_with_ascii_only_prints_plain_characters(files):
    """Dashes and the like that a console cannot show are written in ASCII; the command succeeds."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for words in (["--help"], ["cache", "coverage", files / "c.lance", "--data", files / "f.h5"]):
        done = encash(*words, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii()
        assert "?" not in done.stdout


def test_json_on_an_ascii_console_loses_no_character(files, tmp_path):
    """What the console lacks is escaped, in results and in errors."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    path = shutil.copytree(files / "c.lance", tmp_path / "prés–日本.lance")
    done = encash("cache", "list", tmp_path, "--json", env=environment)
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["caches"][0]["path"] == str(path)
    done = encash("cache", "info", tmp_path / "é.lance", "--json", env=environment)
    assert str(tmp_path / "é.lance") in json.loads(done.stdout)["error"]


def test_a_failure_is_json_too(tmp_path):
    """With --json the error is also one object on stdout; with --quiet its line is still on stderr."""
    done = encash("cache", "info", tmp_path / "none.lance", "--json", "--quiet")
    assert done.returncode == 2
    (name, message) = json.loads(done.stdout).popitem()
    assert name == "error"
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_stops_a_command_with_one_line(files, tmp_path, number):
    """SIGTERM, SIGHUP and Ctrl-C end with exit code 1 and one line, while a command waits for a lock."""
    path = Path(shutil.copytree(files / "c.lance", tmp_path / "c.lance"))
    import fcntl

    with open(path / "_encash.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-c", UNIGNORE, "cache", "versions", str(path), "--tag", "a"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until_open(process.pid, "_encash.lock")
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said == "encash cache versions: stopped; what was committed is kept, and the same command starts again\n"


def test_an_interrupt_in_a_callback_of_a_library_is_a_stop(capsys: pytest.CaptureFixture[str]) -> None:
    """Python reports it as a SystemError that was caused by the interrupt; any other one stays an error."""
    import argparse

    from encash.cli.console import run

    def interrupted(*_: object) -> None:
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()

    def broken(*_: object) -> None:
        raise SystemError("a defect")

    assert run(interrupted, argparse.Namespace(), "encash work") == 1
    assert capsys.readouterr().err.startswith("encash work: stopped; ")
    with pytest.raises(SystemError, match="a defect"):
        run(broken, argparse.Namespace(), "encash work")


@pytest.mark.parametrize("name", ["encash", "encash.guide", "cluster.cache_embeddings"])
def test_a_stop_while_libraries_are_imported_says_that_nothing_was_changed(name: str, tmp_path: Path) -> None:
    """The first import of a library sends the signal: one line, exit code 1, whatever the command is called."""
    from encash.legacy_workflow.shims import write_shims

    (tmp_path / "lazy_loader.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    write_shims(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", UNIGNORE.replace('"encash"', repr(name))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert "nothing was changed, and the same command starts it again" in done.stderr


@pytest.mark.parametrize("code", [0, 3])
def test_a_command_ends_quickly_and_in_order(code: int) -> None:
    """Exit functions of libraries run and what they print is shown, but the interpreter is not taken apart; the exit
    code stays."""
    script = f"""
import atexit, sys
from encash.command_start import finish
class Loud:
    def __del__(self):
        print("taken apart")
sys.kept = Loud()
atexit.register(print, "exit functions")
finish(lambda: print("work") or {code})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "work\nexit functions\n", "")
