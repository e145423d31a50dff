"""Backtests whose encoders change in the course of time."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

import encash
from encash.cli import main
from encash.testing import write_checkpoint
from tests.cli.commands import LOOKBACK, answer, refusal

ENDS = (70, 100, 120)
"""Sessions at which the three encoders end their training."""
LONGEST = 20
"""Longest horizon of the encoders: their embargo."""


@pytest.fixture(scope="module")
def several(folder: Path) -> Path:
    """Three encoders with caches, clusters and rankings, and a list of them."""
    days = (folder / "days.txt").read_text().split()
    with encash.open_panel(folder / "f.h5") as panel:
        width = panel.num_features
    where, lines = folder / "years", []
    where.mkdir()
    for number, end in enumerate(ENDS):
        write_checkpoint(where / f"m{number}.pt", num_features=width, lookback=LOOKBACK, seed=number)
        cache, clusters = str(where / f"c{number}.lance"), str(where / f"k{number}")
        data, prices = ["--data", str(folder / "f.h5")], ["--prices", str(folder / "p.h5")]
        fit = ["--cache", cache, "--end", days[end], "--quiet"]
        for command in (
            ["build", "--model", str(where / f"m{number}.pt"), *data, "--cache", cache, "--quiet"],
            ["clusters", "fit", *fit, "-k", str(3 + number), "--out", clusters],
            ["clusters", "rank", *fit, "--clusters", clusters, *prices, "--horizon", "5", "--top", "2"],
        ):
            assert main(command) == 0
        lines += [
            "[[encoder]]",
            f'cache = "c{number}.lance"',
            f'clusters = "k{number}"',
            f'train_end = "{days[end]}"',
        ]
    (where / "encoders.toml").write_text("\n".join(lines) + "\n")
    return where


def run(folder: Path, several: Path, *more: str) -> list[str]:
    days = (folder / "days.txt").read_text().split()
    files = ["--data", str(folder / "f.h5"), "--prices", str(folder / "p.h5")]
    span = ["--start", days[ENDS[0] + LONGEST], "--end", days[155], "--top-k", "2"]
    where = ["--run-dir", str(folder / "run"), "--encoders", str(several / "encoders.toml")]
    return ["backtest", *files, *where, *span, "--quiet", *more]


def test_each_day_uses_the_newest_encoder_that_may_be_used(
    folder: Path, several: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forecasts and clusters of every candidate are those of the encoder of its day; each after its embargo."""
    days = (folder / "days.txt").read_text().split()
    found = answer(capsys, *run(folder, several))
    assert found["training_period"] == "training period unknown"
    assert (found["misses"], found["stale"], found["model_loaded"]) == (0, 0, False)
    caches = [encash.open_cache(str(several / f"c{number}.lance")) for number in range(3)]
    models = [encash.clusters.load_clusters(several / f"k{number}") for number in range(3)]
    seen = set()
    for row in pq.read_table(folder / "run" / "picks.parquet").to_pylist():
        day = str(row["date"])
        number = max(at for at, end in enumerate(ENDS) if days.index(day) >= end + LONGEST)
        vectors, there = caches[number].get(day, [row["ticker"]])
        assert there[0]
        assert row["cluster"] == models[number].assign(vectors)[0][0]
        seen.add(number)
    assert seen == {0, 1, 2}


def test_a_decision_before_the_first_embargo_is_refused(
    folder: Path, several: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The longest horizon after the end of the first training."""
    days = (folder / "days.txt").read_text().split()
    command = run(folder, several)
    command[command.index("--start") + 1] = days[ENDS[0] + LONGEST - 1]
    line = refusal(capsys, *command)
    assert f"may be used from {days[ENDS[0] + LONGEST]}" in line


def test_prices_after_a_day_change_nothing_before_it(
    folder: Path, several: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Every price after the middle of the run is edited: the ledger up to it has the same bytes."""
    days = (folder / "days.txt").read_text().split()
    answer(capsys, *run(folder, several))
    before = (folder / "run" / "ledger.csv").read_text().splitlines()
    edited, middle = tmp_path / "p.h5", days[125]
    edited.write_bytes((folder / "p.h5").read_bytes())
    with h5py.File(edited, "r+") as file:
        for group in file.values():
            late = np.array([day.decode() > middle for day in group["dates"][:]])
            name = "prices" if "prices" in group else "close"
            group[name][:] = np.where(late, group[name][:] * np.linspace(1, 2, len(late)), group[name][:])
    command = run(folder, several)
    command[command.index("--prices") + 1] = str(edited)
    answer(capsys, *command)
    after = (folder / "run" / "ledger.csv").read_text().splitlines()
    early = [line for line in before if line[:10] <= middle]
    assert len(early) > 10
    assert early == [line for line in after if line[:10] <= middle]
    assert before != after


def test_sweeps_comparisons_and_picks_take_the_list(
    folder: Path, several: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The same capital as the run; a verdict; the picks of a day."""
    days = (folder / "days.txt").read_text().split()
    found = answer(capsys, *run(folder, several, "--compare", "19"))
    assert found["verdict"]["sentence"]
    grid = tmp_path / "grid.toml"
    start, end = days[ENDS[0] + LONGEST], days[155]
    grid.write_text(f'[base]\nstart = "{start}"\nend = "{end}"\ntop_k = 2\n[grid]\nseed = [42, 43]\n')
    files = ["--data", str(folder / "f.h5"), "--prices", str(folder / "p.h5")]
    listed = [*files, "--encoders", str(several / "encoders.toml")]
    assert answer(capsys, "sweep", str(grid), *listed, "--out", str(tmp_path / "s"))["computed"] == 2
    finals = pq.read_table(tmp_path / "s" / "sweep.parquet")["final_capital"].to_pylist()
    assert found["final_capital"] in finals
    chosen = answer(capsys, "picks", *listed, "--date", days[150], "--top-k", "2")
    assert len(chosen["picks"]) == 2


def test_heads_of_each_year_are_compared_with_the_encoders(
    folder: Path, several: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """IC of the heads in use and of the encoders; if one has no head, there is nothing to compare."""
    days = (folder / "days.txt").read_text().split()
    lines = []
    for number, end in enumerate(ENDS):
        files = ["--cache", str(several / f"c{number}.lance"), "--prices", str(folder / "p.h5"), "--end", days[end]]
        head = ["head", "fit", *files, "--horizon", "5", "--kind", "ridge", "--out", str(several / f"h{number}")]
        assert main([*head, "--quiet"]) == 0
        lines += ["[[encoder]]", f'cache = "c{number}.lance"', f'head = "h{number}"', f'train_end = "{days[end]}"']
    for text, names in (("\n".join(lines), ["in use", "encoder"]), ("\n".join(lines).replace('head = "h0"', ""), [])):
        (several / "heads.toml").write_text(text + "\n")
        command = run(folder, several)
        command[command.index("--encoders") + 1] = str(several / "heads.toml")
        found = answer(capsys, *command, "--horizon", "5")
        assert [row["name"] for row in found.get("forecast_ic", [])] == names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "holds nothing"),
        ("[encoder]\ncache = 'c0.lance'\n", "expected a table"),
        ("[[encoder]]\nclusters = 'k0'\n", "names no cache"),
        ("[[encoder]]\ncache = 'c0.lance'\nmodell = 'm'\n", "unknown key 'modell'"),
        ("[[encoder]]\ncache = 'c0.lance'\n", "state it as train_end"),
        (
            "[[encoder]]\ncache = 'c0.lance'\ntrain_end = 'soon'\n",
            "bad.toml, encoder 1: train_end: 'soon' is not a day",
        ),
        ("[[encoder]]\ncache = 'c0.lance'\ntrain_end = 2015-06-30T00:00:00-05:00\n", "encoder 1: train_end is"),
        ("[[encoder]]\ncache = ['c0.lance']\n", "encoder 1: cache is ['c0.lance']; expected text in quotes"),
        ("[[encoder]\n", "not TOML"),
    ],
)
def test_a_list_that_does_not_say_what_it_means_is_refused(
    folder: Path, several: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    """One line that says what was expected."""
    listed = several / "bad.toml"
    listed.write_text(text)
    command = run(folder, several)
    command[command.index("--encoders") + 1] = str(listed)
    assert expected in refusal(capsys, *command)


def test_a_list_cannot_make_a_training_end_before_the_day_that_the_cache_records(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An encoder that was trained up to session 120 is no encoder of session 70; a later day is a longer embargo."""
    days = (folder / "days.txt").read_text().split()
    with encash.open_panel(folder / "f.h5") as panel:
        width = panel.num_features
    model = write_checkpoint(
        tmp_path / "m.pt", num_features=width, lookback=LOOKBACK, extras={"train_end": days[ENDS[2]]}
    )
    build = ["build", "--model", str(model), "--data", str(folder / "f.h5"), "--cache", str(tmp_path / "c.lance")]
    assert main([*build, "--quiet"]) == 0
    capsys.readouterr()

    def stated(session: int) -> list[str]:
        text = f'[[encoder]]\ncache = "c.lance"\ntrain_end = "{days[session]}"\n'
        (tmp_path / "encoders.toml").write_text(text)
        return [*run(folder, tmp_path), "--run-dir", str(tmp_path / "run"), "--start", days[ENDS[2] + LONGEST]]

    assert "leave train_end out" in refusal(capsys, *stated(ENDS[0]))
    assert answer(capsys, *stated(ENDS[2]))["lookahead"] is False
    assert "would have look-ahead bias" in refusal(capsys, *stated(ENDS[2] + 1))


def test_a_cache_beside_the_list_and_foreign_clusters_are_refused(
    folder: Path, several: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list names everything of each encoder."""
    cache = str(folder / "c.lance")
    assert "leave the key model out" in refusal(capsys, *run(folder, several, "--no-model"))
    assert "leave --cache out" in refusal(capsys, *run(folder, several, "--cache", cache))
    text = (several / "encoders.toml").read_text()
    (several / "mixed.toml").write_text(text.replace('"k1"', '"k0"', 1))
    command = run(folder, several)
    command[command.index("--encoders") + 1] = str(several / "mixed.toml")
    assert "fitted on embeddings of encoder" in refusal(capsys, *command)
    (several / "some.toml").write_text(text.replace('clusters = "k1"\n', "", 1))
    command[command.index("--encoders") + 1] = str(several / "some.toml")
    assert "some encoders have clusters" in refusal(capsys, *command)
