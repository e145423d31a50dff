"""Shell completion, in the shells themselves."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from encash.cli.completion import SHELLS, completion_script
from encash.cli.main import COMMANDS
from tests.cli.commands import answer

BASH = """
source {script}
function=$(complete -p encash | sed 's/.*-F \\([^ ]*\\).*/\\1/')
words() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); $function encash "${{@: -1}}" "${{@: -2:1}}"; }}
words encash {line}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
CASES = [
    ("", set(COMMANDS)),
    ("bui", {"build"}),
    ("clusters ", {"fit", "rank", "walk", "assign", "show"}),
    ("build --mod", {"--model", "--model-config"}),
    ("cache info c.lance --as", {"--as-of"}),
    ("train --preset ", {"tiny", "small", "100m"}),
    ("report READ", {"READ ME.txt"}),
]


def installed(shell: str) -> str:
    return shutil.which(shell) or pytest.skip(f"{shell} is not installed")


@pytest.fixture
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The script of a shell, in a folder with one file."""
    path = tmp_path / f"completion.{request.param}"
    path.write_text(completion_script(request.param), encoding="utf-8")
    (tmp_path / "READ ME.txt").touch()
    return path


@pytest.mark.parametrize("script", ["bash"], indirect=True)
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_bash_completes(script: Path, line: str, expected: set[str]) -> None:
    """Commands, flags, values of flags, files."""
    words = f"{line}''" if line.endswith(" ") or not line else line
    call = [installed("bash"), "--norc", "-c", BASH.format(script=script, line=words)]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=script.parent)
    assert set(done.stdout.splitlines()) == expected


@pytest.mark.parametrize("script", ["fish"], indirect=True)
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_fish_completes(script: Path, line: str, expected: set[str]) -> None:
    """Commands, flags, values of flags, files."""
    call = [installed("fish"), "--no-config", "-c", f"source {script}; complete -C 'encash {line}'"]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=script.parent)
    found = {text.split("\t")[0].replace("\\", "") for text in done.stdout.splitlines()}
    assert found - {"completion.fish"} == expected, done.stdout


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
@pytest.mark.parametrize(("line", "expected"), [("bui", "encash build"), ("build --mod", "encash build --model")])
def test_zsh_completes(script: Path, line: str, expected: str) -> None:
    """On a terminal, since only there zsh completes: the Tab key finishes a command and a flag."""
    script.rename(script.with_name("_encash"))
    typed = f"fpath=({script.parent} $fpath); autoload -Uz compinit; compinit -u -D; echo rea''dy\n"
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [installed("zsh"), "-f", "-i"],
        env={"PATH": os.environ["PATH"], "TERM": "dumb", "PS1": ">"},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    os.write(terminal, typed.encode())
    shown = read_until(terminal, "\nready")
    os.write(terminal, f"encash {line}\t".encode())
    shown = read_until(terminal, expected)
    os.write(terminal, b"\x03exit\n")
    os.close(terminal)
    process.wait(timeout=20)
    assert expected in shown


def read_until(terminal: int, text: str) -> str:
    shown, end = "", time.monotonic() + 20
    while text not in shown.replace("\r", "") and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536).decode(errors="replace")
    return shown.replace("\r", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON too; every command is in it."""
    script = answer(capsys, "completion", shell)["script"]
    assert script == completion_script(shell)
    assert all(name in script for name in COMMANDS)
