"""Backtests that rank by the mean of the forecasts of several caches."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

import encash
from encash.cli import main
from encash.metrics import ranks
from encash.testing import write_checkpoint
from tests.cli.commands import LOOKBACK, answer, refusal, runs


@pytest.fixture(scope="module")
def several(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The cache of the folder, and those of two further encoders, in a folder of their own."""
    home = tmp_path_factory.mktemp("several")
    with encash.open_panel(folder / "f.h5") as panel:
        width = panel.num_features
    found = [str(folder / "c.lance")]
    for number in (1, 2):
        model, cache = str(home / f"more{number}.pt"), str(home / f"more{number}.lance")
        write_checkpoint(model, num_features=width, lookback=LOOKBACK, seed=number)
        assert main(["build", "--model", model, "--data", str(folder / "f.h5"), "--cache", cache, "--quiet"]) == 0
        found.append(cache)
    return found


def averaged(folder: Path, caches: list[str], *more: str) -> list[str]:
    return runs(folder, "--cache", caches[0], "--average", *caches[1:], *more)


def picks(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "run" / "picks.parquet").to_pylist()
    return rows


def forecasts(caches: list[str], day: dt.date, tickers: list[str], at: int = 1) -> np.ndarray:
    """Forecasts of each cache, shape (caches, tickers)."""
    return np.stack([encash.open_cache(cache).forecasts(day, tickers)[0][:, at] for cache in caches])


def test_forecasts_are_the_mean_of_all_caches_without_a_model(
    folder: Path, several: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By value; the filter still uses the embeddings of --cache."""
    found = answer(capsys, *averaged(folder, several))
    assert (found["forecast_source"], found["model_loaded"], found["misses"], found["stale"]) == (
        "average",
        False,
        0,
        0,
    )
    assert [row["cache"] for row in found["average"]["caches"]] == several
    rows = picks(folder)
    for row in rows[::7]:
        assert row["forecast"] == pytest.approx(forecasts(several, row["date"], [row["ticker"]]).mean(), rel=1e-6)
    answer(capsys, *runs(folder, "--cache", several[0]))
    assert [(row["cluster"], row["kept"]) for row in picks(folder)] == [(row["cluster"], row["kept"]) for row in rows]


def test_ranks_are_among_all_tickers_of_the_day(
    folder: Path, several: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A run on some tickers has the same scores as one on all, and the size of a forecast does not count."""
    tickers = encash.open_cache(several[0]).index().tickers.tolist()
    answer(capsys, *averaged(folder, several, "--average-by", "rank"))
    rows = {(row["date"], row["ticker"]): row["forecast"] for row in picks(folder)}
    for day in sorted({day for day, _ in rows})[::5]:
        rank = ranks(forecasts(several, day, tickers).astype(np.float64)).mean(axis=0)
        for ticker, expected in zip(tickers, (rank - 0.5) / len(tickers) - 0.5, strict=True):
            assert rows[day, ticker] == pytest.approx(expected, abs=1e-6)
    answer(capsys, *averaged(folder, several, "--average-by", "rank", "--tickers", ",".join(tickers[2:6])))
    for row in picks(folder):
        assert row["forecast"] == rows[row["date"], row["ticker"]]


def test_the_result_and_the_page_compare_the_encoders(
    folder: Path, several: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """IC and rank IC of the mean and of each cache on the same cells."""
    found = answer(capsys, *averaged(folder, several))
    assert [row["name"] for row in found["forecast_ic"]] == ["average", *several]
    assert len({row["cells"] for row in found["forecast_ic"]}) == 1
    page = (folder / "run" / "report.html").read_text()
    plain = averaged(folder, several[1:])
    del plain[plain.index("--clusters") : plain.index("--clusters") + 2]
    other = answer(capsys, *plain)
    assert other["forecast_ic"][1] == found["forecast_ic"][2]
    assert other["forecast_ic"][0]["rank_ic"] != found["forecast_ic"][0]["rank_ic"]
    assert "Forecasts beside each other" in page
    assert all(Path(cache).name in page for cache in several[:2])


def test_a_head_is_compared_with_the_encoder(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """On the page, too; a run by the encoder itself has nothing to compare."""
    days = (folder / "days.txt").read_text().split()
    files = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    head = str(tmp_path / "head")
    assert main(["head", "fit", *files, "--end", days[90], "--horizon", "1", "5", "--out", head, "--quiet"]) == 0
    found = answer(capsys, *runs(folder, *files[:2], "--head", head))
    assert [row["name"] for row in found["forecast_ic"]] == ["head", "encoder"]
    assert found["forecast_ic"][0]["rank_ic"] != found["forecast_ic"][1]["rank_ic"]
    assert "Forecasts beside each other" in (folder / "run" / "report.html").read_text()
    assert "forecast_ic" not in answer(capsys, *runs(folder, *files[:2]))
    assert "Forecasts beside each other" not in (folder / "run" / "report.html").read_text()


def test_an_entry_that_one_cache_lacks_is_missing(
    folder: Path, several: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No mean over the others: it counts as missing, and the run is refused as usual."""
    days = (folder / "days.txt").read_text().split()
    part = str(tmp_path / "part.lance")
    build = [
        "build",
        "--model",
        str(Path(several[1]).with_suffix(".pt")),
        "--data",
        str(folder / "f.h5"),
        "--cache",
        part,
    ]
    assert main([*build, "--start", days[110], "--quiet"]) == 0
    caches = [several[0], part]
    assert "have a price but no entry" in refusal(capsys, *averaged(folder, caches))
    found = answer(capsys, *averaged(folder, caches, "--max-missing", "1"))
    assert found["missing_share"] > 0
    assert all(str(row["date"]) >= days[110] for row in picks(folder) if row["picked"])


def test_an_entry_that_is_stale_in_one_cache_is_not_used(
    folder: Path, several: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A restated window that only --cache has encoded again counts as missing; when all have, the run is whole."""
    restated = tmp_path / "f.h5"
    restated.write_bytes((folder / "f.h5").read_bytes())
    with h5py.File(restated, "r+") as file:
        rows = file["T0001/features"]
        rows[-30:] = 2 * rows[-30:] + 1
    caches = []
    for number, cache in enumerate(several[:2]):
        caches.append(str(tmp_path / f"c{number}.lance"))
        shutil.copytree(cache, caches[-1])
    command = [*averaged(folder, caches, "--filter", "none"), "--max-missing", "1"]
    command[command.index("--data") + 1] = str(restated)
    for number, model in enumerate((folder / "m.pt", Path(several[1]).with_suffix(".pt"))):
        build = ["build", "--model", str(model), "--data", str(restated), "--cache", caches[number], "--quiet"]
        assert main(build) == 0
        found = answer(capsys, *command)
        assert (found["missing_share"] > 0) == (number == 0)
        assert found["stale"] == 0


def test_the_training_of_every_encoder_counts(
    folder: Path, several: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An encoder that was trained on days of the run is refused, whichever cache it filled."""
    days = (folder / "days.txt").read_text().split()
    with encash.open_panel(folder / "f.h5") as panel:
        width = panel.num_features
    model, late = str(tmp_path / "late.pt"), str(tmp_path / "late.lance")
    write_checkpoint(model, num_features=width, lookback=LOOKBACK, seed=9, extras={"train_end": days[120]})
    assert main(["build", "--model", model, "--data", str(folder / "f.h5"), "--cache", late, "--quiet"]) == 0
    assert f"trained on days up to {days[120]}" in refusal(capsys, *averaged(folder, [several[0], late]))
    found = answer(capsys, *averaged(folder, several))
    assert found["training_period"] == "training period unknown"


def test_picks_and_sweeps_take_an_average(
    folder: Path, several: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The same flags."""
    days = (folder / "days.txt").read_text().split()
    files = ["--prices", str(folder / "p.h5"), "--cache", several[0], "--average", several[1], "--average-by", "rank"]
    assert len(answer(capsys, "picks", "--date", days[150], *files, "--top-k", "2")["picks"]) == 2
    grid = tmp_path / "grid.toml"
    grid.write_text(f'[base]\nstart = "{days[100]}"\nend = "{days[150]}"\n[grid]\ntop_k = [1, 2]\n')
    assert answer(capsys, "sweep", str(grid), *files, "--out", str(tmp_path / "s"))["computed"] == 2


def test_what_cannot_be_averaged_is_refused(
    folder: Path, several: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One line each."""
    copy = str(tmp_path / "copy.lance")
    shutil.copytree(several[0], copy)
    assert "hold the forecasts of one encoder" in refusal(capsys, *averaged(folder, [several[0], copy]))
    assert "named twice" in refusal(capsys, *averaged(folder, [several[0], several[0]]))
    both = averaged(folder, several[:2], "--scores", str(folder / "s.csv"))
    assert "--scores and --average each give forecasts" in refusal(capsys, *both)
    assert "give --cache C" in refusal(capsys, *runs(folder, "--average", several[1]))
    alone = runs(folder, "--cache", several[0], "--average-by", "rank")
    assert "--average-by rank is for --average" in refusal(capsys, *alone)
    listed = runs(folder, "--encoders", str(folder / "e.toml"), "--average", several[1])
    assert "--average" in refusal(capsys, *listed)
    assert "no cache" in refusal(capsys, *averaged(folder, [several[0], str(tmp_path / "none.lance")]))
