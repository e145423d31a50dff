"""Flags, help, errors and what people read, the same for each command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from encash.cli import main
from tests.cli.commands import models, refusal


def test_people_read_rounded_figures_and_no_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json no number has more figures than anybody reads, and no list, table or truth is spelt as code."""
    capsys.readouterr()
    plan = ["plan", *models(folder), "--cache", str(folder / "other.lance"), "--quiet"]
    for command in (plan, ["cache", "info", str(folder / "c.lance")]):
        assert main(command) == 0
        told = capsys.readouterr().out
        assert re.search(r"\d\.\d{7,}|[\[\]{}]|True|False|None", told) is None, told


def test_wrong_usage_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown flag, a bad day, no command."""
    for command in (["build", "--nonsense"], ["backtest", "--prices", "p.h5", "--start", "yesterday"], []):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_every_command_explains_itself_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` of each command shows an example."""
    names = (
        "demo",
        "prepare",
        "train",
        "plan",
        "build",
        "update",
        "backtest",
        "report",
        "sweep",
        "picks",
        "audit",
        "similar",
    )
    nested = [("cache", name) for name in ("info", "coverage", "verify", "merge", "export", "import", "compact")]
    nested += [("clusters", name) for name in ("fit", "rank", "walk", "assign", "show")]
    for command in [(name,) for name in names] + nested:
        with pytest.raises(SystemExit) as stop:
            main([*command, "--help"])
        assert stop.value.code == 0
        assert "example" in capsys.readouterr().out, command


@pytest.mark.parametrize(
    "flags",
    [
        ["build", "--model", "m", "--data", "f", "--cache", "c", "--workers", "0"],
        ["sweep", "grid.toml", "--prices", "p", "--out", "o", "--workers", "-2"],
        ["backtest", "--prices", "p", "--num-trials", "0"],
        ["backtest", "--prices", "p", "--compare", "-1"],
        ["backtest", "--prices", "p", "--compare", "0"],
    ],
)
def test_counts_begin_at_one(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No workers, no trials and no draws are no wish: exit 2, and what was expected."""
    with pytest.raises(SystemExit) as stop:
        main(flags)
    assert stop.value.code == 2
    assert "1 or more" in capsys.readouterr().err


def test_debug_shows_the_traceback_and_keeps_the_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The traceback, then the same line and the same code as without."""
    assert main(["cache", "info", str(tmp_path / "no.lance"), "--debug"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Traceback")
    assert error.splitlines()[-1].startswith("encash cache info: ")


def test_an_error_names_the_whole_command(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of `cache` and `clusters` too."""
    assert refusal(capsys, "cache", "verify", str(tmp_path / "no.lance")).startswith("encash cache verify: ")
    assert refusal(capsys, "clusters", "show", str(tmp_path / "no")).startswith("encash clusters show: ")


def test_a_list_of_tickers_may_have_blank_lines_and_comments(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A line that begins with # and what follows a # behind a space are for people; no ticker at all is refused."""
    from encash.cli.flags import ticker_list

    (tmp_path / "t.txt").write_text("# mine\n\nAAPL  # Apple\n  \nBRK#A\n")
    assert ticker_list(f"@{tmp_path / 't.txt'}") == ("AAPL", "BRK#A")
    assert "'' names no ticker" in refusal(
        capsys, "build", "--model", "m", "--data", "f", "--cache", str(tmp_path / "c.lance"), "--tickers", ""
    )


@pytest.mark.parametrize("command", [["prepare", "x.csv"], ["cache", "info", "x"]])
def test_a_flag_that_a_command_does_not_have_points_to_its_help(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """Not to the help of `encash`, which lists no flags."""
    with pytest.raises(SystemExit) as stop:
        main([*command, "--features-out", "f", "--prices-out", "p", "--no-such"])
    name = " ".join(["encash", *(word for word in command if not word.startswith("x"))])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{name}: unrecognized arguments: ")
    assert said.endswith(f"--no-such (see {name} --help)\n")
