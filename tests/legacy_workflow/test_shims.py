"""The guide's commands by each of their names: installed files, `encash guide shims`, `python -m encash.guide`."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

import encash
from encash.cli import main
from encash.guide.__main__ import main as guide
from encash.legacy_workflow.shims import GUIDE_COMMANDS, command_name, shim
from tests.cli.commands import answer, refusal

SOURCE = Path(encash.__file__).parents[1]


def module_of(name: str) -> Path:
    return Path(*name.split(".")).with_suffix(".py")


@pytest.mark.parametrize("name", GUIDE_COMMANDS)
def test_the_installed_files_are_the_shims_that_the_command_writes(name: str) -> None:
    """One template for both."""
    assert (SOURCE / module_of(name)).read_text(encoding="utf-8") == shim(name)


def test_no_file_of_ours_has_a_path_that_a_package_called_cluster_or_inference_has() -> None:
    """Without `__init__.py` the folders are namespaces: installing encash overwrites no file of such a package."""
    for folder in ("cluster", "inference"):
        found = PathFinder.find_spec(folder, [str(SOURCE)])
        assert found is not None
        assert found.origin is None


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["other", str(SOURCE)])}
    call = [sys.executable, *words]
    return subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False, env=environment)


def test_shims_work_where_a_different_package_has_the_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A regular package `cluster` elsewhere hides the installed names, but not the shims of the working folder."""
    other = tmp_path / "other" / "cluster"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    assert run(tmp_path, "-m", "cluster.cache_embeddings", "--help").returncode == 1
    files = answer(capsys, "guide", "shims", str(tmp_path))["files"]
    assert [Path(file).relative_to(tmp_path) for file in files] == [module_of(name) for name in GUIDE_COMMANDS]
    shown = run(tmp_path, "-m", "cluster.cache_embeddings", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "usage: python -m cluster.cache_embeddings" in shown.stdout


def test_shims_are_written_again_and_never_over_a_file_of_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same content does not conflict; different content is refused before anything is written."""
    (tmp_path / "inference").mkdir()
    own = tmp_path / "inference" / "backtest_simulation.py"
    own.write_text("# mine\n")
    assert "exists and is not a shim" in refusal(capsys, "guide", "shims", str(tmp_path))
    assert own.read_text() == "# mine\n"
    assert not (tmp_path / "cluster").exists()
    own.unlink()
    assert main(["guide", "shims", str(tmp_path)]) == main(["guide", "shims", str(tmp_path)]) == 0


def test_the_commands_have_a_name_that_no_other_package_has(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m encash.guide COMMAND`: help without a command, exit 2 for an unknown one or flag, by its own name."""
    assert guide([]) == 0
    shown = capsys.readouterr().out
    for name in map(command_name, GUIDE_COMMANDS):
        assert name in shown
        for words, code in (([name, "--help"], 0), ([name, "--no-such"], 2)):
            with pytest.raises(SystemExit) as stop:
                guide(words)
            assert stop.value.code == code
            said = capsys.readouterr()
            assert f"python -m encash.guide {name}" in said.out + said.err
    with pytest.raises(SystemExit) as stop:
        guide(["no-such"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
