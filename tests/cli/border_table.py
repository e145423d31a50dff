"""A table: each file that a command reads, and each place that one writes, in each condition that a disk can be in.

Run ``python -m tests.cli.border_table`` to print the whole of it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.fuzz.campaign import import_all

ROOT = Path(__file__).parents[2]

SECONDS = 90
"""A command that takes longer than this hangs."""
READS = {
    "prepare": "prepare t.csv --membership m.csv --features-out out/f.h5 --prices-out out/p.h5",
    "prepare parquet": "prepare t.parquet --features-out out/f.h5 --prices-out out/p.h5",
    "plan": "plan --model m.pt --data f.h5 --cache c.lance --tickers @names.txt",
    "build": "build --model m.pt --data f.h5 --cache c.lance",
    "export": "cache export c.lance out/x.h5",
    "import": "cache import c.h5 out/c.lance",
    "backtest": "backtest --data f.h5 --prices p.h5 --cache c.lance --clusters k --horizon 5 "
    "--start {first} --end {last} --top-k 2 --run-dir out/run --no-report",
    "walked backtest": "backtest --prices p.h5 --cache c.lance --clusters w --horizon 5 --no-model "
    "--start {first} --end {last} --top-k 2 --run-dir out/run --no-report",
    "report": "report run --out out/r.html",
    "sweep": "sweep g.toml --prices p.h5 --cache c.lance --no-model --out s",
}
"""Commands, and by that the files that they read."""
SUBJECTS = {
    "prepare": ["t.csv", "m.csv"],
    "prepare parquet": ["t.parquet"],
    "plan": ["f.h5", "m.pt", "c.lance", "names.txt"],
    "build": ["c.lance/_encash.lock"],
    "export": ["c.lance", "c.lance/_versions", "c.lance/_versions/*", "c.lance/data", "c.lance/data/*"],
    "import": ["c.h5"],
    "backtest": ["p.h5", "f.h5", "k", "k/*.json", "k/*.npz", "k/*.csv"],
    "walked backtest": ["w", "w/*", "w/*/*.json", "w/*/*.npz", "w/*/*.csv"],
    "report": ["run", "run/*"],
    "sweep": ["g.toml", "s", "s/*", "s/*/*"],
}
"""Files and folders of each command; of several that match a pattern, one per kind of name."""
WRITES = {
    "prepare": "prepare t.csv --features-out {out}/f.h5 --prices-out {out}/p.h5",
    "train": "train --data f.h5 --prices p.h5 --out {out}/m.pt --train-end {late} --epochs 1",
    "build": "build --model m.pt --data f.h5 --cache {out}/c.lance",
    "import": "cache import c.h5 {out}/c.lance",
    "export": "cache export c.lance {out}/x.h5",
    "merge": "cache merge c.lance --into {out}/c.lance",
    "fit": "clusters fit --cache c.lance --end {first} -k 3 --out {out}/k",
    "walk": "clusters walk --cache c.lance --prices p.h5 --every 20 --horizon 5 --embargo 5 --history 60 -k 3 "
    "--out {out}/w",
    "backtest": "backtest --prices p.h5 --cache c.lance --clusters k --horizon 5 --no-model --start {first} "
    "--end {last} --top-k 2 --run-dir {out}/run",
    "sweep": "sweep g.toml --prices p.h5 --cache c.lance --no-model --out {out}/s",
    "report": "report run --out {out}/r.html",
}
"""Commands by what they write into a folder."""


STREAMS = {
    "stdin closed": "<&-",
    "stdout closed": ">&-",
    "stderr closed": "2>&-",
    "all closed": "<&- >&- 2>&-",
    "stdout full": ">/dev/full",
    "stderr full": "2>/dev/full",
}
"""Conditions of the standard streams, as a shell writes them."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command did."""

    code: int | None
    """Exit code; None if it hung, below zero if a signal killed it."""
    said: str
    lost: tuple[str, ...]
    """Files that changed or were left over."""

    @property
    def passed(self) -> bool:
        """Exit code 0, or 1 or 2 with one line; nothing lost."""
        if self.lost or "Traceback" in self.said or "Exception ignored" in self.said:
            return False
        return self.code == 0 or (self.code in (1, 2) and self.said.count("\n") == 1)

    @property
    def cell(self) -> str:
        """The exit code, or what is wrong."""
        if self.code is None:
            return "HANG"
        if self.lost:
            return "LOST"
        return str(self.code) if self.passed else f"{self.code}!"


# ---- conditions of a file that is read


def sound(path: Path) -> None:
    """As it is: the command succeeds."""


def unreadable(path: Path) -> None:
    path.chmod(0)


def exchanged(path: Path) -> None:
    """A folder in the place of a file, or a file in the place of a folder."""
    is_folder = path.is_dir()
    _remove(path)
    path.write_bytes(b"") if is_folder else path.mkdir()


def missing(path: Path) -> None:
    _remove(path)


def dangling(path: Path) -> None:
    _remove(path)
    path.symlink_to(path.with_name("nothing"))


def loop(path: Path) -> None:
    _remove(path)
    path.symlink_to(path.name)


def pipe(path: Path) -> None:
    _remove(path)
    os.mkfifo(path)


def device(path: Path) -> None:
    _remove(path)
    path.symlink_to("/dev/zero")


def empty(path: Path) -> None:
    if path.is_file():
        path.write_bytes(b"")
    else:
        _remove(path)
        path.mkdir()


def locked(path: Path) -> None:
    """Another process has an exclusive lock; the lock ends with the process that runs the command."""
    if path.is_file():
        fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)


CONDITIONS: dict[str, Callable[[Path], None]] = {
    condition.__name__: condition
    for condition in (sound, unreadable, exchanged, missing, empty, dangling, loop, pipe, device, locked)
}


# ---- conditions of a place that is written


@contextmanager
def read_only(base: Path) -> Iterator[Path]:
    folder = base / "readonly"
    folder.mkdir()
    folder.chmod(0o500)
    yield folder
    folder.chmod(0o700)


@contextmanager
def full(base: Path, free: int = 0) -> Iterator[Path]:
    """A disk of its own with this many free bytes, and nothing on it."""
    folder = base / f"full{free}"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True, capture_output=True)
    try:
        with open(folder / "filler", "wb") as file:
            file.write(bytes((8 << 20) - free))
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def named(base: Path, name: bytes) -> Iterator[Path]:
    yield base / os.fsdecode(name)


@contextmanager
def a_file(base: Path) -> Iterator[Path]:
    (base / "plain").write_bytes(b"kept")
    yield base / "plain"


@contextmanager
def link(base: Path, target: str) -> Iterator[Path]:
    (base / "link").symlink_to(target)
    yield base / "link"


PLACES: dict[str, Callable[[Path], AbstractContextManager[Path]]] = {
    "sound": lambda base: named(base, b"new"),
    "read-only": read_only,
    "full": full,
    "4 KiB free": lambda base: full(base, 4096),
    "20 KiB free": lambda base: full(base, 20_480),
    "a file": a_file,
    "long name": lambda base: named(base, b"x" * 300),
    "long path": lambda base: named(base, b"/".join([b"x" * 200] * 25)),
    "newline": lambda base: named(base, b"a\nb  c"),
    "not UTF-8": lambda base: named(base, b"a\xff\xfeb"),
    "dangling": lambda base: link(base, "nowhere/at/all"),
    "loop": lambda base: link(base, "link"),
    "/dev/null": lambda base: named(base, b"/dev/null"),
}


# ---- the world, and one case


def make_world(folder: Path) -> Path:
    """Write every kind of file that a command reads, in a process of its own."""
    subprocess.run([sys.executable, "-m", "tests.cli.border_table", "--world", str(folder)], check=True)
    return folder


def write_world(folder: Path) -> None:
    """Write the files of `make_world`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from encash.cli import main
    from encash.panel import toy_panel, write_panel
    from encash.testing import write_checkpoint

    panel = toy_panel(seed=1, num_tickers=8, num_sessions=240)
    assert panel.prices is not None
    days = [str(day) for day in panel.sessions]
    write_panel(panel, folder / "f.h5", folder / "p.h5")
    write_checkpoint(folder / "m.pt", num_features=panel.num_features, lookback=8)
    closes = [[day, *row] for day, row in zip(panel.prices.days.astype(str), panel.prices.close, strict=True)]
    text = "\n".join(",".join(map(str, row)) for row in [["date", *panel.tickers], *closes])
    (folder / "t.csv").write_text(text + "\n")
    columns = dict(zip(["date", *panel.tickers], map(list, zip(*closes, strict=True)), strict=True))
    pq.write_table(pa.table(columns), folder / "t.parquet")
    (folder / "m.csv").write_text("ticker,from,until\n" + "".join(f"{name},2000-01-01,\n" for name in panel.tickers))
    (folder / "names.txt").write_text("\n".join(panel.tickers))
    (folder / "g.toml").write_text(
        f'[base]\nhorizon = 5\nstart = "{days[100]}"\nend = "{days[140]}"\n[grid]\ntop_k = [1]\n'
    )
    (folder / "days.txt").write_text("\n".join(days))
    (folder / "out").mkdir()
    made = [
        WRITES["build"],
        "clusters fit --cache c.lance --end {fitted} -k 3 --out k",
        "clusters rank --cache c.lance --end {fitted} --clusters k --prices p.h5 --horizon 5 --top 2",
        WRITES["walk"],
        WRITES["export"].replace("x.h5", "c.h5"),
        WRITES["backtest"],
        WRITES["sweep"],
    ]
    before = Path.cwd()
    os.chdir(folder)
    try:
        for command in made:
            assert main([*words(command, folder, "."), "--quiet"]) == 0, command
    finally:
        os.chdir(before)


def words(command: str, world: Path, out: str = "out") -> list[str]:
    """Return the words of a command."""
    days = (world / "days.txt").read_text().split()
    filled = {"{first}": days[100], "{last}": days[140], "{fitted}": days[80], "{late}": days[-10], "{out}": out}
    return [_fill(word, filled) for word in command.split()]


def subjects(world: Path, command: str) -> list[str]:
    """Return the files and folders of a command: of names that differ in digits only, one."""
    found: dict[str, str] = {}
    for pattern in SUBJECTS[command]:
        for path in sorted(world.glob(pattern)):
            name = path.relative_to(world).as_posix()
            found.setdefault("".join("0" if letter in "0123456789abcdef-" else letter for letter in name), name)
    return list(found.values())


def read_case(world: Path, command: str, name: str, condition: str) -> Outcome:
    """Run a command on a copy of the world in which one file is in a condition."""
    with tempfile.TemporaryDirectory(prefix="border-") as folder:
        copy = Path(folder) / "world"
        shutil.copytree(world, copy, symlinks=True)
        CONDITIONS[condition](copy / name)
        before = _contents(copy)
        code, said = run(words(READS[command], world), copy)
        _restore(copy / name)
        return Outcome(code=code, said=said, lost=_lost(copy, before, ("out/", "s/", "c.lance/", f"{name}")))


def write_case(world: Path, command: str, place: str) -> Outcome:
    """Run a command that writes to a place in a condition, on a copy of the world."""
    with tempfile.TemporaryDirectory(prefix="border-") as folder:
        copy = Path(folder) / "world"
        shutil.copytree(world, copy, symlinks=True)
        before = _contents(copy)
        with PLACES[place](Path(folder)) as out:
            code, said = run(words(WRITES[command], world, str(out)), copy)
            left = tuple(str(path) for path in Path(folder).rglob("*.part"))
        return Outcome(code=code, said=said, lost=_lost(copy, before, ("c.lance/",)) + left)


def stream_case(world: Path, command: str, streams: str) -> Outcome:
    """Run a command of `WRITES` in a process of its own whose standard streams are in a condition."""
    with tempfile.TemporaryDirectory(prefix="border-") as folder:
        copy = Path(folder) / "world"
        shutil.copytree(world, copy, symlinks=True)
        before = _contents(copy)
        line = shlex.join([sys.executable, "-m", "encash", *words(WRITES[command], world, "new")])
        try:
            done = subprocess.run(
                ["sh", "-c", f"{line} {STREAMS[streams]}"],
                cwd=copy,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(code=None, said="", lost=())
        said, lost = done.stderr, _lost(copy, before, ("c.lance/", "new/"))
        if "Traceback" not in said and "Exception ignored" not in said:
            said = "".join(said.splitlines(keepends=True)[-1:]) or "\n"  # before it are progress and warnings
        return Outcome(code=done.returncode, said=said, lost=lost)


def run(command: list[str], where: Path) -> tuple[int | None, str]:
    """Run a command as a user to whom permissions apply; return its exit code (None if it hangs) and its stderr."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps([command, str(where)]) + "\n")
    server.stdin.flush()
    code, said = json.loads(server.stdout.readline())
    return code, said


@cache
def _server() -> subprocess.Popen[str]:
    """Start `serve`; it ends with this process."""
    line = [sys.executable, "-m", "tests.cli.border_table", "--serve"]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def serve() -> None:
    """Run the commands of `run`, each in a fork, because most of its time would go to imports.

    This process has imported everything and used nothing of it: Lance may not be forked once it is used, as it is in
    a process that runs tests.
    """
    import_all()
    for line in sys.stdin:
        command, where = json.loads(line)
        with tempfile.TemporaryFile() as said:
            if not (child := os.fork()):
                _run_child(command, Path(where), said.fileno())
            code = _wait(child)
            said.seek(0)
            sys.stdout.write(json.dumps([code, said.read().decode(errors="replace")]) + "\n")
        sys.stdout.flush()


def _run_child(command: list[str], where: Path, said: int) -> None:
    code = 99
    try:
        os.setsid()
        os.chdir(where)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        os.dup2(said, 2)
        obey_permissions()
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        from encash.cli import main

        try:
            code = main([*command, "--quiet"])
        except SystemExit as stop:
            code = int(stop.code or 0)
    finally:
        if (error := sys.exc_info()[1]) is not None:
            traceback.print_exception(error)
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int) -> int | None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def obey_permissions() -> None:
    """Give up the capabilities by which root reads and writes everything."""
    if os.getuid():
        return

    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    kept = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "CapEff" in line)[8:], 16)
    kept &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    low, high = kept & 0xFFFFFFFF, kept >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    if ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(Header(0x20080522, 0)), data):
        raise OSError(ctypes.get_errno(), errno.errorcode.get(ctypes.get_errno(), "capset"))


def can_mount() -> bool:
    """Return whether this user can make a small disk."""
    with (
        tempfile.TemporaryDirectory() as folder,
        suppress(OSError, subprocess.CalledProcessError),
        full(Path(folder)),
    ):
        return True
    return False


def _fill(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _restore(path: Path) -> None:
    with suppress(OSError):
        if not path.is_symlink():
            path.chmod(0o700)


def _contents(world: Path) -> dict[str, str]:
    return {
        path.relative_to(world).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(world.rglob("*"))
        if path.is_file() and path.resolve().is_relative_to(world) and os.access(path, os.R_OK)
    }


def _lost(world: Path, before: dict[str, str], ignored: tuple[str, ...]) -> tuple[str, ...]:
    after = _contents(world)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    left = {name for name in changed if not name.startswith(ignored) or name.endswith(".part")}
    return tuple(sorted(left))


def main() -> None:
    """Print both tables, or those of the named commands, and each line that is not as it should be."""
    if sys.argv[1:2] == ["--world"]:
        return write_world(Path(sys.argv[2]))
    if sys.argv[1:2] == ["--serve"]:
        return serve()
    chosen = set(sys.argv[1:]) or {*READS, "writes", "streams"}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="border-world-") as folder:
        world = make_world(Path(folder))
        for command in chosen & READS.keys():
            for name in subjects(world, command):
                found = {condition: read_case(world, command, name, condition) for condition in CONDITIONS}
                wrong += _print_row(f"{command:16} {name[:40]:40}", found)
        for command in WRITES if "writes" in chosen else ():
            wrong += _print_row(f"write {command:51}", {place: write_case(world, command, place) for place in PLACES})
    for command in WRITES if "streams" in chosen else ():
        found = {streams: stream_case(world, command, streams) for streams in STREAMS}
        wrong += _print_row(f"streams {command:49}", found)
    sys.stdout.write("\n".join(wrong) + "\n")


def _print_row(title: str, found: dict[str, Outcome]) -> list[str]:
    """Print one row; return what is wrong in it."""
    sys.stdout.write(title + " " + " ".join(f"{name}={case.cell}" for name, case in found.items()) + "\n")
    sys.stdout.flush()
    return [
        f"{title} {name}: {case.code} {case.lost} {case.said[-600:]}" for name, case in found.items() if not case.passed
    ]


if __name__ == "__main__":
    main()
