"""The command `picks`, after the data were restated."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest

from encash.cli import main
from tests.cli.commands import answer, models, refusal


@pytest.fixture
def inputs(folder: Path) -> list[str]:
    return ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5"), "--top-k", "2"]


def test_picks_say_whether_their_entries_were_checked(
    folder: Path, inputs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the features nothing is compared, and text and JSON say so; with them stale entries are counted."""
    last = (folder / "days.txt").read_text().split()[-1]
    bare = answer(capsys, "picks", "--date", "latest", *inputs)
    assert (bare["date"], bare["age_sessions"], bare["staleness"], bare["stale"]) == (last, 0, "not checked", None)
    assert main(["picks", "--date", "latest", *inputs, "--quiet"]) == 0
    assert "staleness NOT CHECKED" in capsys.readouterr().out
    checked = answer(capsys, "picks", "--date", "latest", *inputs, "--data", str(folder / "f.h5"))
    assert (checked["staleness"], checked["stale"], checked["picks"]) == ("checked", 0, bare["picks"])


def test_a_date_that_is_no_day_is_answered_with_both_forms(
    inputs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A day, or the word that takes the last one."""
    with pytest.raises(SystemExit):
        main(["picks", "--date", "yesterday", *inputs])
    line = capsys.readouterr().err
    assert "'yesterday' is not a day; expected YYYY-MM-DD, such as 2024-01-02, or latest" in line


def test_the_example_of_the_help_is_right_after_a_restatement(
    folder: Path, inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the features, so that a restated entry is encoded again or refused, never served."""
    with pytest.raises(SystemExit):
        main(["picks", "--help"])
    example = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  encash picks"))
    assert "--date latest --data features.h5" in example
    restated = tmp_path / "f.h5"
    restated.write_bytes((folder / "f.h5").read_bytes())
    with h5py.File(restated, "r+") as file:
        for group in file.values():
            group["features"][-3:] = group["features"][-3:] * np.float32(3) + np.float32(0.5)
    line = refusal(capsys, "picks", "--date", "latest", *inputs, "--data", str(restated))
    assert "have a price but no entry" in line
    model = models(folder)[:2]
    again = answer(capsys, "picks", "--date", "latest", *inputs, *model, "--data", str(restated))
    assert again["staleness"] == "checked"
    assert again["stale"] == again["candidates"]
    assert again["picks"] != answer(capsys, "picks", "--date", "latest", *inputs)["picks"]


def test_an_older_day_has_an_age(folder: Path, inputs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """In sessions of the prices after it."""
    days = (folder / "days.txt").read_text().split()
    assert answer(capsys, "picks", "--date", days[-4], *inputs)["age_sessions"] == 3
    assert main(["picks", "--date", days[-4], *inputs, "--quiet"]) == 0
    assert "3 sessions before the last one" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["backtest", "picks", "sweep"])
def test_a_partly_built_cache_is_refused_with_and_without_the_features(
    command: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same candidates, the same line, and the fix that applies; with it, the same picks."""
    days = (folder / "days.txt").read_text().split()
    part = str(tmp_path / "part.lance")
    assert main(["build", *models(folder), "--cache", part, "--num-stocks", "5", "--quiet"]) == 0
    (tmp_path / "grid.toml").write_text(f'[base]\nstart = "{days[100]}"\n[grid]\ntop_k = [1, 2]\n')
    own = {
        "backtest": ["--start", days[100], "--top-k", "2", "--no-report", "--run-dir", str(tmp_path / "run")],
        "picks": ["--date", days[120], "--top-k", "2"],
        "sweep": ["--workers", "1", "--out", str(tmp_path / "sweep")],
    }[command]
    grid = [str(tmp_path / "grid.toml")] if command == "sweep" else []
    given = [command, *grid, "--cache", part, "--prices", str(folder / "p.h5"), *own]
    data = ["--data", str(folder / "f.h5")]
    lines = [refusal(capsys, *given), refusal(capsys, *given, *data)]
    assert lines[0] == lines[1]
    assert "name the others with --tickers: 3 of 8 tickers have no entry on any day" in lines[0]
    named = ["--tickers", ",".join(f"T{number:04d}" for number in range(3, 8))]
    found = [answer(capsys, *given, *named)]
    if command == "sweep":  # a sweep that checks its entries needs its own folder
        given[-1] += "-checked"
    found.append(answer(capsys, *given, *named, *data))
    key = {"backtest": "final_capital", "picks": "picks", "sweep": "best"}[command]
    if command == "sweep":
        assert [one[key].pop("staleness") for one in found] == ["not checked", "checked"]
    assert json.dumps(found[0][key]) == json.dumps(found[1][key])


def test_a_sweep_filters_like_a_backtest(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hard with clusters if the grid names no filter, and it says whether its entries were checked."""
    days = (folder / "days.txt").read_text().split()
    (tmp_path / "grid.toml").write_text(
        f'[base]\nstart = "{days[100]}"\nhorizon = 5\ntop_k = 2\n[grid]\nseed = [1, 2]\n'
    )
    given = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5"), "--clusters", str(folder / "k")]
    swept = answer(
        capsys, "sweep", str(tmp_path / "grid.toml"), *given, "--workers", "1", "--out", str(tmp_path / "sweep")
    )
    alone = answer(
        capsys,
        "backtest",
        *given,
        "--start",
        days[100],
        "--top-k",
        "2",
        "--no-report",
        "--run-dir",
        str(tmp_path / "r"),
    )
    assert swept["best"]["filter"] == alone["filter"] == "hard"
    assert swept["best"]["final_capital"] == alone["final_capital"]
    assert (swept["staleness"], alone["staleness"]) == ("not checked", "not checked")
    checked = ["--data", str(folder / "f.h5"), "--workers", "1", "--out", str(tmp_path / "checked")]
    assert answer(capsys, "sweep", str(tmp_path / "grid.toml"), *given, *checked)["staleness"] == "checked"
    assert alone["ranking_prices"] == "same"


def test_a_run_on_other_prices_than_the_ranking_warns(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prices that differ in the days of the ranking are other ones; later days and later listings are not."""
    days = (folder / "days.txt").read_text().split()
    run = ["backtest", "--cache", str(folder / "c.lance"), "--clusters", str(folder / "k"), "--start", days[100]]
    run += ["--top-k", "2", "--no-report", "--run-dir", str(tmp_path / "run"), "--prices", str(tmp_path / "p.h5")]
    for rows, expected in ((slice(70, 75), "other"), (slice(120, 125), "same")):
        (tmp_path / "p.h5").write_bytes((folder / "p.h5").read_bytes())
        with h5py.File(tmp_path / "p.h5", "r+") as file:
            group = next(iter(file.values()))
            group["prices"][rows] = group["prices"][rows] * 1.01
        found = answer(capsys, *run)
        assert (found["ranking_prices"], len(found["warnings"])) == (expected, int(expected == "other"))
    (tmp_path / "p.h5").write_bytes((folder / "p.h5").read_bytes())
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        group = next(iter(file.values()))
        group["prices"][60:] = group["prices"][60:] * 0.5
    picks = ["picks", "--date", days[150], *run[1:5], "--top-k", "2", "--prices", str(tmp_path / "p.h5")]
    for command, quiet in product((run, picks), ([], ["--quiet"])):
        assert main([*command, *quiet]) == 0
        shown = capsys.readouterr()
        assert ("RANKING        made on other prices" in shown.out) == (command is run)
        assert shown.err.count("rank again with these prices") == 1


def test_picks_give_the_orders_of_a_nightly_job(
    folder: Path, inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Differences to what is held, on the screen, in the JSON and in a file; the second night has nothing to do."""
    held, orders = tmp_path / "held.csv", tmp_path / "orders.csv"
    command = ["picks", "--date", "latest", *inputs, "--orders", str(orders), "--positions", str(held)]
    held.write_text("ticker,shares\n")
    first = answer(capsys, *command, "--cash", "100000", "--buy-fee", "0", "--sell-fee", "0")
    assert {one["ticker"] for one in first["orders"]} == {row["ticker"] for row in first["picks"]}
    assert orders.read_text().splitlines()[1:] == [
        f"{one['ticker']},{one['side']},{one['shares']},{one['price']!r}" for one in first["orders"]
    ]
    held.write_text("ticker,shares\n" + "".join(f"{one['ticker']},{one['shares']}\n" for one in first["orders"]))
    cash = ["--cash", str(first["cash_after"]), "--buy-fee", "0", "--sell-fee", "0"]
    assert answer(capsys, *command, *cash)["orders"] == []
    assert "give that too" in refusal(capsys, "picks", "--date", "latest", *inputs, "--cash", "5")
    assert "give --orders CSV too" in refusal(capsys, "picks", "--date", "latest", *inputs, "--orders", "--spreadsheet")
    answer(capsys, *command, "--cash", "9", "--spreadsheet")
    assert (tmp_path / "orders_spreadsheet.csv").read_text() == orders.read_text()  # no ticker is a formula
    assert main([*command, "--cash", "9", "--quiet"]) == 0
    assert "account " in capsys.readouterr().out
