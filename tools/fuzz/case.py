"""One case: draw a file, a mutation and a command from a seed; run it in this process; class what happened."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import resource
import shutil
import sys
import traceback
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from encash import cli
from tools.fuzz.kinds import KINDS, Kind, needs
from tools.fuzz.mutate_bytes import BYTES
from tools.fuzz.mutate_tables import STRUCTURED
from tools.fuzz.mutate_text import TEXT, change_json
from tools.fuzz.readers import READERS, content
from tools.fuzz.results import result_of

GOOD = ("same result", "explained", "refused", "found")
BAD = ("traceback", "crash", "several lines", "other result", "hang", "memory")
"""Classes: the same result as without a mutation; a different one that an independent reading of the file explains;
refused in one line; found by a check. Never: an uncaught exception; a signal; several lines on stderr; a different
result without an explanation; no end within the time limit; more memory than the limit."""
SET_ASIDE = "/set_aside#"
"""Number of damaged versions that `cache rollback` says it set aside."""
EXTRA_ADDRESS_SPACE = 6 * 2**30
"""Bytes of address space that a case may add to those of the process that starts it."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case that is fully drawn."""

    kind: str
    seed: int
    file: str
    command: str
    story: str = ""
    """The mutation."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a case did."""

    case: Case
    verdict: str
    """One of `GOOD` or `BAD`."""
    code: int = 0
    detail: str = ""


def kind_of(name: str) -> Kind:
    """Return a kind by its name."""
    return next(kind for kind in KINDS if kind.name == name)


def draw(world: Path, kind: Kind, seed: int, days: dict[str, str]) -> tuple[Case, np.random.Generator]:
    """Draw file and command of a case; the same seed draws the same from the same files."""
    random = np.random.default_rng([seed, zlib.crc32(kind.name.encode())])
    files = kind.files_below(world)
    file = files[int(random.integers(len(files)))]
    command = kind.commands[int(random.integers(len(kind.commands)))].format(file=file, **days)
    return Case(kind=kind.name, seed=seed, file=file, command=command), random


def prepare(world: Path, folder: Path, case: Case, random: np.random.Generator) -> Case:
    """Copy what the command needs into an empty folder, and mutate the file there."""
    copy(world, folder, *(needs(case.command, world) | {case.file.split("/", maxsplit=1)[0]}))
    path, kind = folder / case.file, kind_of(case.kind)
    siblings = kind.files_below(world)
    other = world / siblings[int(random.integers(len(siblings)))]
    if random.integers(4) == 0:
        strangers = sorted(path for path in world.rglob("*") if path.is_file())
        other = strangers[int(random.integers(len(strangers)))]
    if "/" in case.file and random.integers(30) == 0:
        path.unlink()
        return Case(**{**asdict(case), "story": "removed"})
    data, mutations = path.read_bytes(), _mutations(case.file)
    mutation = mutations[int(random.integers(len(mutations)))]
    try:
        changed, story = mutation(data, other.read_bytes(), random)
    except Exception:  # noqa: BLE001 - the values of this file do not allow the change
        changed, story = BYTES[0](data, b"", random)
    path.write_bytes(changed)
    return Case(**{**asdict(case), "story": f"{story} (other: {other.relative_to(world)})"})


def copy(world: Path, folder: Path, *names: str) -> None:
    """Copy files and folders of the world."""
    for name in names:
        source = world / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)


def _mutations(name: str) -> tuple[Callable[..., tuple[bytes, str]], ...]:
    suffix = Path(name).suffix
    if suffix in (".json", ".jsonl"):
        return (change_json,) * len(TEXT) + TEXT + BYTES[:6]
    if suffix in (".csv", ".txt", ".toml"):
        return TEXT * 2 + BYTES
    if suffix in STRUCTURED:
        return BYTES + (STRUCTURED[suffix],) * len(BYTES)
    return BYTES


def limit_memory() -> None:
    """Limit the address space of this process."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + EXTRA_ADDRESS_SPACE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str
    uncaught: str = ""
    """The traceback of an exception that left the command."""


def run_command(command: str) -> Ran:
    """Run a command in the working folder, in this process."""
    words = command.split()
    called: Any = cli
    if "." in words[0]:
        called, words = importlib.import_module(words[0]), words[1:]
    uncaught, code = "", 0
    with _captured() as streams:
        try:
            code = called.main([*words, "--json", "--quiet"])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:  # noqa: BLE001 - whatever leaves a command is a finding
            uncaught = traceback.format_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    out, err = (Path(name).read_text(encoding="utf-8", errors="replace") for name in streams)
    return Ran(code=code or 0, out=out, err=err, uncaught=uncaught)


@contextlib.contextmanager
def _captured() -> Any:
    """Send the standard streams of the process, libraries in C included, to files."""
    names = (f"{os.getcwd()}.out", f"{os.getcwd()}.err")
    kept = sys.stdout, sys.stderr
    saved = [os.dup(number) for number in (1, 2)]
    for number, name in enumerate(names, 1):
        opened = os.open(name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout, sys.stderr = (io.TextIOWrapper(open(number, "wb", closefd=False), "utf-8") for number in (1, 2))  # noqa: SIM115  # until the process ends
    try:
        yield names
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = kept
        for number, one in enumerate(saved, 1):
            os.dup2(one, number)
            os.close(one)


def judge(world: Path, case: Case, expected: dict[str, str]) -> Verdict:
    """Run the command of a prepared case in the working folder, and class what happened."""
    kind = kind_of(case.kind)
    gone = fnmatch(case.file, kind.removable) and not Path(case.file).exists()
    explains = gone or (not kind.checked and _says_otherwise(world, Path(case.file)))
    ran = run_command(case.command)
    name, detail = _failure(ran) if ran.code or ran.uncaught else _success(ran, case, kind, expected, explains=explains)
    return Verdict(case=case, verdict=name, code=ran.code, detail=detail[-3000:])


def _failure(ran: Ran) -> tuple[str, str]:
    """Class a command that did not succeed."""
    if ran.uncaught:
        return "traceback", ran.uncaught
    if "not enough memory" in ran.err:
        return "memory", ran.err
    if ran.code == 3:
        return "found", ran.out
    said = ran.err.strip()
    return ("refused" if said and "\n" not in said else "several lines"), ran.err


def _success(ran: Ran, case: Case, kind: Kind, expected: dict[str, str], *, explains: bool) -> tuple[str, str]:
    """Class a command that succeeded."""
    found = result_of(ran.out, Path.cwd(), case.command)
    different = [name for name in expected if found.get(name) != expected[name]]
    detail = "; ".join(f"{name}: {expected[name][:60]} → {found.get(name, '')[:60]}" for name in different[:6])
    if not different:
        return "same result", ""
    if explains:
        return "explained", detail
    if SET_ASIDE in different:
        return "found", detail
    if kind.verify and run_command(kind.verify).code in (2, 3):
        return "found", detail
    return "other result", detail + ran.err


def _says_otherwise(world: Path, file: Path) -> bool:
    if file.suffix not in READERS:
        return False
    read = content(file)
    return not read.startswith("unreadable") and read != content(world / file)


def to_json(verdict: Verdict) -> str:
    """Write a verdict as a line of JSON."""
    return json.dumps(asdict(verdict))


def from_json(text: str) -> Verdict:
    """Read a verdict."""
    values = json.loads(text)
    return Verdict(**{**values, "case": Case(**values["case"])})
