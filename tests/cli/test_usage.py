"""Flags, help, errors and what people read, the same for each command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from encash.cli import main
from encash.cli.main import parser
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
    """An unknown flag, a bad day, flags without a command."""
    for command in (["build", "--nonsense"], ["backtest", "--prices", "p.h5", "--start", "yesterday"], ["--json"]):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("command", [[], ["cache"], ["clusters"], ["head"], ["guide"]])
def test_without_a_subcommand_help_is_shown(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout, with exit code 0: who types no more than the name asks what there is."""
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 0
    said = capsys.readouterr()
    assert said.out.startswith(" ".join(["usage: encash", *command]))
    assert not said.err


MEANT = [
    ("bild", "unknown command 'bild'; did you mean build?"),
    ("cache inof c", "unknown command 'inof'; did you mean info?"),
    ("clusters ranks", "unknown command 'ranks'; did you mean rank?"),
    ("clusters fti", "unknown command 'fti'; did you mean fit?"),
    ("head shwo", "unknown command 'shwo'; did you mean show?"),
    ("guide shmis", "unknown command 'shmis'; did you mean shims?"),
    ("cache inof --help", "unknown command 'inof'; did you mean info?"),
    ("backtest --prices p --filter nearset", "did you mean nearest?"),
    ("build --modle m --data f --cache c", "--modle; did you mean --model?"),
    ("build --model m --data f --cache c --batchsize=3", "--batchsize=3; did you mean --batch-size?"),
    ("backtest --prices p --top_k 5 --buyfee 0", "--top_k 5 --buyfee 0; did you mean --top-k, --buy-fee?"),
    ("plan --model-path m --dataset-path d", "--model-path --dataset-path; did you mean --model?"),
    ("train --data f --prices p --out m --train-end 2020-01-01 --preset smal", "did you mean small?"),
    ("backtest --prices p --precis int8", "did you mean --precision?"),
    ("--versoin", "did you mean --version?"),
    ("build --model m --data f --cache c -- --modle", "unrecognized arguments: -- --modle (see"),
    ("qwertz", "unknown command 'qwertz': expected demo, "),
]


@pytest.mark.parametrize(("line", "meant"), MEANT)
def test_what_was_meant_is_suggested(line: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For commands, flags and values, also if a misspelled flag is a required one; exit 2, one line."""
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert meant in said


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("backtest --prices {}/p.h5 --cache {}/c.lance --weights equal_wieght", "equal"),
        ("backtest --prices {}/p.h5 --cache {}/c.lance --cost-model proportoinal", "proportional"),
        ("clusters fit --cache {}/c.lance --end 2030-01-01 --clusterer kmaens --out {}/none", "kmeans"),
        ("build --model {}/m.pt --data {}/f.h5 --cache {}/none.lance --precision int9", "int8"),
        ("build --model {}/m.pt --data {}/f.h5 --cache {}/none.lance --engine trch", "torch"),
        ("prepare {}/days.csv --columns close=Clsoe", "Close"),
        ("prepare {}/days.csv --columns clsoe=Close", "close"),
    ],
)
def test_what_was_meant_is_suggested_for_values_that_the_library_checks(
    folder: Path, line: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of weights, cost models, clusterers, precisions, engines, columns and roles."""
    (folder / "days.csv").write_text("Day,Symbol,Close\n2024-01-02,A,1\n")
    assert f"; did you mean {meant}?" in refusal(capsys, *line.replace("{}", str(folder)).split())


def every_parser(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all its subcommands."""
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                yield from every_parser(own)


@pytest.mark.parametrize("columns", [40, 80])
def test_help_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every argument has a text. In 80 columns no line is longer; in 40 only the names of a flag and its values, and
    lines that are copied, such as a flag of an example or a setting of a grid."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for own in every_parser(parser()):
        groups = [action for action in own._actions if isinstance(action, argparse._SubParsersAction)]
        assert all(action.help for action in own._actions if action not in groups), own.prog
        long = [line for line in own.format_help().splitlines() if len(line) > columns]
        assert all(columns == 40 and line.startswith(" ") for line in long), (own.prog, long)


def test_every_command_explains_itself_with_an_example_that_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example of the help, in the lines of a narrow terminal, is parsed with all its flags; … stands for flags of
    the example before it."""
    monkeypatch.setenv("COLUMNS", "60")
    for own in every_parser(parser()):
        if not own._defaults.get("handler"):
            continue
        text = own.format_help().partition("example:\n")[2].replace("\\\n", "")
        examples = [line.split() for line in text.splitlines() if line.startswith("  encash ")]
        assert examples, own.prog
        assert examples[0][: len(own.prog.split())] == own.prog.split()
        for words in examples:
            if "…" not in words and ">" not in words:
                assert parser(words[1]).parse_args(words[1:]).handler is not None


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
