"""Groups, short sides and limits of volume on the command line."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from encash.cli import main
from tests.cli.commands import answer, models, refusal, runs


@pytest.fixture
def groups(folder: Path, tmp_path: Path) -> list[str]:
    """Two sectors in turn."""
    with h5py.File(folder / "f.h5") as file:
        tickers = sorted(file)
    path = tmp_path / "sectors.csv"
    path.write_text("ticker,sector\n" + "".join(f"{name},s{number % 2}\n" for number, name in enumerate(tickers)))
    return ["--groups", str(path)]


@pytest.fixture
def inputs(folder: Path) -> list[str]:
    return ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]


def test_picks_of_a_day_are_neutral_and_short(
    folder: Path, inputs: list[str], groups: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each sector has a pick on each side; shorts have negative weights and make no orders."""
    asked = ["picks", "--date", "latest", *inputs, *groups, "--group-neutral", "--top-k", "2", "--short"]
    picks = answer(capsys, *asked)["picks"]
    sectors = dict(line.split(",") for line in Path(groups[1]).read_text().splitlines())
    assert sorted((sectors[one["ticker"]], one["weight"]) for one in picks) == [
        ("s0", -0.5), ("s0", 0.5), ("s1", -0.5), ("s1", 0.5),
    ]  # fmt: skip
    assert "does not sell short" in refusal(capsys, *asked, "--orders", "--cash", "1000")


def test_groups_that_nothing_uses_are_refused(
    folder: Path, inputs: list[str], groups: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever they are given; so are limits without groups."""
    (tmp_path / "grid.toml").write_text("[grid]\ntop_k = [2, 3]\n")
    sweep = ["sweep", str(tmp_path / "grid.toml"), *inputs, "--out", str(tmp_path / "sweep")]
    audit = ["audit", *models(folder), *inputs]
    for command in (["picks", "--date", "latest", *inputs], sweep, audit, runs(folder, *inputs[:2])):
        assert "give both it and one of these" in refusal(capsys, *command, *groups)
    assert "give --groups FILE" in refusal(capsys, *runs(folder, *inputs[:2], "--max-per-group", "1"))


def test_the_audit_proves_that_books_do_not_know_their_future(
    folder: Path, inputs: list[str], groups: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The picks of a neutral, liquid book, short of the worst clusters, keep their bits when the future goes."""
    priced = tmp_path / "p.h5"
    priced.write_bytes((folder / "p.h5").read_bytes())
    with h5py.File(priced, "r+") as file:
        for number, group in enumerate(file.values()):
            group["dollars"] = np.full(len(group["prices"]), 1e6 * (number + 1), np.float32)
    book = ["--group-neutral", "--top-k", "2", "--short", "worst-clusters", "--min-dollar-volume", "1.5e6"]
    given = ["audit", *models(folder), *inputs[:2], "--prices", str(priced), "--clusters", str(folder / "k"), *groups]
    found = answer(capsys, *given, *book, "--days", "3", "--sample", "8", "--allow-untried")
    chain = {check["name"]: check["passed"] for check in found["checks"] if check["name"].startswith("data to picks")}
    assert chain == {"data to picks: truncation": True, "data to picks: poison": True}


def test_a_book_with_shorts_prints_its_exposure(
    folder: Path, inputs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And its page is written; prices without dollar volumes are refused."""
    command = runs(folder, *inputs[:2], "--short", "worst-clusters", "--borrow-rate", "0.01", "--compare", "19")
    assert main(command) == 0
    assert "exposure       long" in capsys.readouterr().out
    page = (folder / "run" / "report.html").read_text()
    assert all(term in page for term in ("Short exposure", "Borrow fees", "Margin calls"))
    assert "no dollar volume" in refusal(capsys, *runs(folder, *inputs[:2], "--max-volume-share", "0.1"))
