"""The command `head`, and backtests that rank by a head or by scores of one's own."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import encash
import encash.heads
import encash.pipeline
from encash.arrays import Int64
from encash.cli import main
from encash.store.base import Entries
from encash.store.lance.snapshot import LanceSnapshot
from encash.testing import MeanEncoder
from tests.cli.commands import LOOKBACK, answer, models, refusal, runs

HORIZONS = ["--horizon", "1", "5"]


@pytest.fixture(scope="module")
def head(folder: Path) -> Path:
    """A head on the cache of the folder, fitted up to the session before the clusters' first use."""
    days = (folder / "days.txt").read_text().split()
    files = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    assert main(["head", "fit", *files, "--end", days[90], *HORIZONS, "--out", str(folder / "head"), "--quiet"]) == 0
    return folder / "head"


def cached(folder: Path, *more: str) -> list[str]:
    return runs(folder, "--cache", str(folder / "c.lance"), *more)


def write_scores(path: Path, rows: list[tuple[str, str, float]]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("date", "ticker", "score"), *rows])


def test_a_head_says_what_it_is_worth_and_shows_it_again(
    folder: Path, head: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Skill by horizon on held-out sessions, with errors; the day from which it may be used; the same from `show`."""
    shown = answer(capsys, "head", "show", str(head))
    days = (folder / "days.txt").read_text().split()
    assert (shown["kind"], shown["horizons"], shown["price_end"]) == ("ridge", [1, 5], days[90])
    (fit,) = shown["fits"]
    assert (fit["end"], fit["first_day"]) == (days[90], days[95])
    assert [one["horizon"] for one in fit["skill"]] == [1, 5]
    assert all(one["ic_error"] > 0 for one in fit["skill"])


def test_a_backtest_ranks_by_the_head_without_loading_a_model(
    folder: Path, head: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forecasts and confidences of the picks are those of the head for the cached embeddings."""
    own, by_head = answer(capsys, *cached(folder)), answer(capsys, *cached(folder, "--head", str(head)))
    assert (own["forecast_source"], by_head["forecast_source"]) == ("encoder", "head")
    assert (by_head["hits"], by_head["misses"], by_head["model_loaded"]) == (own["hits"], 0, False)
    assert by_head["fingerprints"]["forecast"] == answer(capsys, "head", "show", str(head))["head"]
    picks = pq.read_table(folder / "run" / "picks.parquet").to_pylist()
    loaded, cache = encash.heads.load_head(head), encash.open_cache(str(folder / "c.lance"))
    for row in picks[:30]:
        vectors, found = cache.get(row["date"], [row["ticker"]])
        assert found[0]
        day = np.array([np.datetime64(row["date"], "D")])
        forecast, confidence = loaded.forecast(day, np.array([row["ticker"]]), vectors)
        assert (row["forecast"], row["confidence"]) == (forecast[0, 1], confidence[0, 1])
    assert json.loads((folder / "run" / "result.json").read_text())["head"]["held_out_ic"].keys() == {"1", "5"}


def test_scores_without_any_date_are_refused(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A column of dates without a value, of any type, is one line."""
    scores = pa.table({"date": pa.nulls(2), "ticker": ["T0001", "T0002"], "score": [1.0, 2.0]})
    pq.write_table(scores, tmp_path / "s.parquet")
    line = refusal(capsys, *runs(folder, "--filter", "none", "--scores", str(tmp_path / "s.parquet")))
    assert "a row without a date" in line


def test_stored_forecasts_save_the_vectors_and_change_nothing(
    folder: Path, head: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With them no vector is read; without them, or with half of them stale, every byte is the same."""
    command = cached(folder, "--head", str(head), "--filter", "none", "--no-report")
    picks = folder / "run" / "picks.parquet"
    read: list[int] = []
    read_sound = LanceSnapshot.read_sound

    def counted(self: LanceSnapshot, rows: Int64) -> Entries:
        read.append(len(rows))
        return read_sound(self, rows)

    monkeypatch.setattr(LanceSnapshot, "read_sound", counted)
    answer(capsys, *command)
    assert not read
    first = picks.read_bytes()
    shutil.copytree(head, tmp_path / "bare", ignore=shutil.ignore_patterns("forecasts"))
    bare = [*command[: command.index("--head")], "--head", str(tmp_path / "bare"), "--filter", "none", "--no-report"]
    answer(capsys, *bare)
    assert sum(read) > 0
    assert picks.read_bytes() == first
    part, read[:] = str(tmp_path / "part.lance"), []
    days = (folder / "days.txt").read_text().split()
    answer(capsys, "build", *models(folder), "--cache", part, "--end", days[120])
    update = [*command[: command.index("--cache") + 1], part, "--head", str(tmp_path / "bare"), "--filter", "none"]
    loaded = encash.heads.load_head(tmp_path / "bare")
    encash.pipeline.update_forecasts(encash.open_cache(part), tmp_path / "bare", loaded)
    answer(capsys, "build", *models(folder), "--cache", part)
    read[:] = []
    answer(capsys, *update, "--no-report")
    assert sum(read) > 0
    assert picks.read_bytes() == first


def test_sweeps_picks_and_comparisons_rank_by_the_head(
    folder: Path, head: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The same capital as one run; the picks of a day are those of the run; a sweep knows when the head changes."""
    days = (folder / "days.txt").read_text().split()
    run = answer(capsys, *cached(folder, "--head", str(head), "--compare", "19"))
    assert run["verdict"]["sentence"]
    grid = tmp_path / "grid.toml"
    grid.write_text(f'[base]\nstart = "{days[100]}"\nend = "{days[150]}"\ntop_k = 2\n[grid]\nhorizon = [5, 1]\n')
    sources = ["--data", str(folder / "f.h5"), "--prices", str(folder / "p.h5"), "--cache", str(folder / "c.lance")]
    swept = ["sweep", str(grid), *sources, "--clusters", str(folder / "k"), "--out", str(tmp_path / "sweep")]
    assert answer(capsys, *swept, "--head", str(head))["computed"] == 2
    finals = pq.read_table(tmp_path / "sweep" / "sweep.parquet")["final_capital"].to_pylist()
    assert run["final_capital"] in finals
    assert "different" in refusal(capsys, *swept) or "other" in refusal(capsys, *swept)
    chosen = answer(
        capsys, "picks", *sources, "--clusters", str(folder / "k"), "--head", str(head), "--date", days[100],
        "--top-k", "2",
    )  # fmt: skip
    first = pq.read_table(folder / "run" / "picks.parquet").to_pylist()
    picked = [row["ticker"] for row in first if str(row["date"]) == days[100] and row["weight"] > 0]
    assert [row["ticker"] for row in chosen["picks"]] == picked


def test_a_head_that_knows_the_future_is_refused(folder: Path, head: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first decision comes before the embargo of the fit has passed."""
    days = (folder / "days.txt").read_text().split()
    command = cached(folder, "--head", str(head))
    command[command.index("--start") + 1] = days[94]
    assert f"fitted on returns up to {days[90]}, so it may be used from {days[95]}" in refusal(capsys, *command)
    allowed = answer(capsys, *command, "--allow-lookahead", "a test")
    assert "the head was fitted" in allowed["lookahead"]


def test_a_horizon_without_a_head_names_the_command_that_makes_it(
    folder: Path, head: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A holding period of 3 sessions, forecasts of 1 and 5."""
    line = refusal(capsys, *cached(folder, "--head", str(head), "--horizon", "3", "--filter", "none"))
    assert "there are 1, 5" in line
    assert "encash head fit --horizon 3" in line


def test_scores_of_the_encoder_give_the_run_of_the_encoder(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The cached forecasts as a CSV of scores and confidences, and as Parquet: the same ledger to the byte."""
    answer(capsys, *cached(folder, "--filter", "none"))
    ledger = (folder / "run" / "ledger.csv").read_bytes()
    rows = pq.read_table(folder / "run" / "picks.parquet").select(["date", "ticker", "forecast", "confidence"])
    table = rows.rename_columns(["datetime", "instrument", "score", "confidence"])
    pq.write_table(table, tmp_path / "s.parquet")
    lines = [",".join(map(str, row.values())) for row in table.to_pylist()]
    (tmp_path / "s.csv").write_text("\n".join(["date,symbol,score,confidence", *lines]) + "\n")
    for name in ("s.parquet", "s.csv"):
        alone = [word for word in runs(folder, "--filter", "none", "--scores", str(tmp_path / name))]
        at = alone.index("--clusters")
        del alone[at : at + 2]
        found = answer(capsys, *alone)
        assert (folder / "run" / "ledger.csv").read_bytes() == ledger
        assert (found["forecast_source"], found["scores"]["joined"]) == ("scores", table.num_rows)
        assert found["scores"]["other_tickers"] == []


def test_scores_are_counted_and_a_gap_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Unknown tickers and days are counted and named; candidates without a score count as missing."""
    days = (folder / "days.txt").read_text().split()
    tickers = list(encash.open_prices(folder / "p.h5").tickers)
    full = [(day, ticker, 0.01 * at) for day in days[100:151] for at, ticker in enumerate(tickers)]
    scores = tmp_path / "s.csv"
    write_scores(scores, [*full, ("2031-01-01", tickers[0], 1.0), (days[120], "NOBODY", 2.0)])
    command = [*runs(folder, "--filter", "none", "--scores", str(scores))]
    found = answer(capsys, *command)
    assert (found["scores"]["scores"], found["scores"]["joined"]) == (len(full) + 2, len(full))
    assert found["scores"]["other_tickers"] == ["NOBODY"]
    assert found["scores"]["other_days"] == ["2031-01-01"]
    picks = pq.read_table(folder / "run" / "picks.parquet").to_pylist()
    assert {row["ticker"] for row in picks if row["weight"] > 0} == set(tickers[-2:])
    latest = ["picks", "--date", "latest", "--prices", str(folder / "p.h5"), "--scores", str(scores), "--top-k", "2"]
    write_scores(scores, full)
    assert answer(capsys, *latest)["date"] == days[150]
    write_scores(scores, [row for row in full if row[1] != tickers[3]])
    line = refusal(capsys, *command)
    assert "have a price but no score" in line
    assert "give scores of these days and tickers" in line
    assert "build" not in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("date,ticker,value\n2024-01-02,A,1\n", "no column score"),
        ("date,ticker,score,factor\n2024-01-02,A,1,2\n", "several columns of score"),
        ("date,ticker,score\n2024-01-02,A,1\n2024-01-02,A,2\n", "2 scores of A on 2024-01-02"),
        ("date,ticker,score\n2024-01-02,A,inf\n", "row 1: the score inf is beyond the range of float32"),
        ("date,ticker,score\n2024-01-02,A,0\n2024-01-02,B,-1e39\n", "row 2: the score -1e+39 is beyond the range"),
        ("date,ticker,score\n2024-01-02,A,1e-45\n", "beyond the range of float32"),
        ("date,ticker,score,confidence\n2024-01-02,A,1,55\n", "confidence is 55"),
        ("date,ticker,score\n2024-01-02,A,\n", "has no score"),
        ("date,ticker,score\n2024-01-02,A,much\n", "invalid value 'much'"),
        ("date,ticker,score\nsoon,A,1\n", "soon"),
        ("date,ticker,score\n2024-01-02,,1\n", "without a date or a ticker"),
    ],
)
def test_scores_that_do_not_say_what_they_mean_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, expected: str
) -> None:
    """One line that names the file and the fault."""
    (tmp_path / "s.csv").write_text(text)
    line = refusal(capsys, *runs(folder, "--filter", "none", "--scores", str(tmp_path / "s.csv")))
    assert expected in line
    assert "s.csv" in line


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_scores_with_damaged_text_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str
) -> None:
    """Bytes that are no UTF-8, and in Feather offsets outside of the text, are one line and never end the process."""
    path = tmp_path / f"s{suffix}"
    text = pa.array(["2024-01-02", "2024-01-03"]).buffers()
    offsets = {"bytes": text[1], "offsets": pa.py_buffer(np.array([0, -194, 20], "<i4").tobytes())}
    for name, kept in offsets.items():
        content = text[2] if name == "offsets" else pa.py_buffer(b"\xff" * 20)
        dates = pa.StringArray.from_buffers(2, kept, content)
        table = pa.table({"date": dates, "ticker": ["A", "B"], "score": [1.0, 2.0]})
        if suffix == ".feather":
            with pa.OSFile(str(path), "w") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
        elif name == "bytes":
            pq.write_table(table, path)
        assert "cannot be read" in refusal(capsys, *runs(folder, "--filter", "none", "--scores", str(path)))


def test_an_encoder_without_forecasts_gets_to_a_backtest_through_a_head(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Embeddings only: a backtest is refused with the command that helps, and that command leads to a result."""
    days, cache = (folder / "days.txt").read_text().split(), str(tmp_path / "silent.lance")
    with encash.open_panel(folder / "f.h5") as panel:
        silent = MeanEncoder(panel.num_features, lookback=LOOKBACK, horizons=())
        encash.open_cache(cache).build(panel, silent)
    command = runs(folder, "--cache", cache)
    at = command.index("--clusters")
    del command[at : at + 2]
    assert "encash head fit" in refusal(capsys, *command)
    files = ["--cache", cache, "--prices", str(folder / "p.h5"), "--end", days[90], *HORIZONS]
    answer(capsys, "head", "fit", *files, "--out", str(tmp_path / "h"))
    assert answer(capsys, *command, "--head", str(tmp_path / "h"))["trades"] > 0
