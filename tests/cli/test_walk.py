"""Encoders that are trained again over the years, each on the past only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import encash
from encash.cli import main
from encash.clusters import FitConfig
from encash.errors import ConflictError, InputError
from encash.pipeline import Interval, plan_walk
from encash.store.local.lock import sole_writer
from encash.training import PRESETS
from tests.cli.commands import answer, refusal
from tests.cli.encoder_walks import ENDS, SESSIONS, TICKERS, open_walk, prepare, run_walk

ROOT = Path(__file__).resolve().parents[2]
EMBARGO = 20
"""Longest horizon of the encoders."""
EDITED = 395
"""Session after which every price is edited: the second encoder is in use, the third is not yet trained."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prices, features and a finished walk."""
    folder = prepare(tmp_path_factory.mktemp("walk"))
    run_walk(folder, folder / "walk")
    return folder


def entries(out: Path, until: np.datetime64 | None = None) -> dict[tuple[str, Any, str], bytes]:
    """Vector, forecast and window digest of every entry up to a day, by folder, day and ticker."""
    found = {}
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        table = encash.open_cache(str(folder / "cache.lance")).to_arrow()
        for row in table.read_all().to_pylist():
            if until is None or row["date"] <= until.item():
                values = [np.asarray(row[name]).tobytes() for name in ("embedding", "forecast", "confidence")]
                found[folder.name, row["date"], row["ticker"]] = b"".join([*values, str(row["digest"]).encode()])
    return found


def files(out: Path, folders: list[str]) -> dict[str, bytes]:
    """Checkpoints, clusters, rankings and records of some encoders."""
    found = {}
    for name in folders:
        for path in [*(out / name).glob("*.*"), *(out / name / "clusters").glob("*.*")]:
            if path.is_file() and not path.name.startswith("."):
                found[str(path.relative_to(out))] = path.read_bytes()
    return found


def folders(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if path.is_dir())


def backtest(folder: Path, out: Path, run: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """The ledger and the picks of a backtest on the encoders of a walk."""
    inputs = ["--data", str(folder / "f.h5"), "--prices", str(folder / "p.h5")]
    listed = ["--encoders", str(out / "encoders.toml"), "--start", str(SESSIONS[ENDS[0] + EMBARGO])]
    settings = ["--horizon", "5", "--top-k", "2", "--no-report", "--max-missing", "1", "--quiet"]
    assert main(["backtest", *inputs, *listed, *settings, "--run-dir", str(run)]) == 0
    return (run / "ledger.csv").read_text().splitlines()[1:], pq.read_table(run / "picks.parquet").to_pylist()


def test_each_encoder_is_trained_built_fitted_and_ranked_on_its_past(world: Path) -> None:
    """Checkpoint, clusters and ranking end on the last day of the training; the cache has just the days it is for."""
    names = folders(world / "walk")
    assert [name[:10] for name in names] == [str(SESSIONS[end]) for end in ENDS]
    lasts = [SESSIONS[end + EMBARGO - 1] for end in ENDS[1:]] + [SESSIONS[-1]]
    for name, end, last in zip(names, ENDS, lasts, strict=True):
        folder = world / "walk" / name
        cache, model = (
            encash.open_cache(str(folder / "cache.lance")),
            encash.clusters.load_clusters(folder / "clusters"),
        )
        assert cache.encoder_spec is not None
        assert cache.encoder_spec.train_end == str(SESSIONS[end])
        assert (cache.index().days[0], cache.index().days[-1]) == (SESSIONS[end - 59], last)
        ranking = encash.clusters.load_ranking(folder / "clusters", 5)
        assert (model.fit_end, ranking.rank_end) == (str(SESSIONS[end]), str(SESSIONS[end]))
        assert ranking.embargo == EMBARGO


def test_a_backtest_uses_the_newest_encoder_that_may_be_used(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list is what --encoders reads; every entry is a hit, and a day before the first embargo is refused."""
    _, picks = backtest(world, world / "walk", tmp_path / "run")
    caches = [encash.open_cache(str(world / "walk" / name / "cache.lance")) for name in folders(world / "walk")]
    seen = set()
    for row in picks:
        day = np.datetime64(row["date"])
        number = max(at for at, end in enumerate(ENDS) if day >= SESSIONS[end + EMBARGO])
        forecast, _, there = caches[number].forecasts(day, [row["ticker"]])
        assert there[0]
        assert forecast[0, 1] == pytest.approx(row["forecast"])
        seen.add(number)
    assert seen == {0, 1, 2}
    inputs = ["--data", str(world / "f.h5"), "--prices", str(world / "p.h5")]
    early = ["--encoders", str(world / "walk" / "encoders.toml"), "--start", str(SESSIONS[ENDS[0] + EMBARGO - 1])]
    assert f"may be used from {SESSIONS[ENDS[0] + EMBARGO]}" in refusal(capsys, "backtest", *inputs, *early)


def test_prices_after_a_day_change_nothing_before_it(world: Path, tmp_path: Path) -> None:
    """Every bar after a day is a different one, and a ticker is listed: models, entries, clusters, picks and ledger up
    to that day have the same bytes; those that may know of it differ."""
    edited = prepare(tmp_path / "edited", edit_after=EDITED)
    run_walk(edited, edited / "walk")
    day, names = SESSIONS[EDITED], folders(world / "walk")
    assert folders(edited / "walk")[:2] == names[:2]
    assert folders(edited / "walk")[2] != names[2]
    assert files(edited / "walk", names[:2]) == files(world / "walk", names[:2])
    before, after = entries(world / "walk", day), entries(edited / "walk", day)
    kept = {key: value for key, value in before.items() if key[0] in names[:2]}
    assert len(kept) > 1000
    assert {key: value for key, value in after.items() if key[0] in names[:2]} == kept
    assert entries(edited / "walk") != entries(world / "walk")
    (ledger, picks), (other_ledger, other_picks) = (
        backtest(one, one / "walk", tmp_path / name) for one, name in ((world, "one"), (edited, "other"))
    )
    early = [line for line in ledger if line[:10] <= str(day)]
    assert len(early) > 20
    assert early == [line for line in other_ledger if line[:10] <= str(day)]
    assert ledger != other_ledger
    kept_picks = [str(row) for row in picks if row["date"] <= day.item()]
    assert kept_picks == [str(row) for row in other_picks if row["date"] <= day.item()]


def test_restated_data_in_the_same_folder_give_what_a_new_folder_has(world: Path, tmp_path: Path) -> None:
    """Restated windows are encoded again, an encoder that would know of them is a new one, and the list names it."""
    edited, out = prepare(tmp_path / "edited", edit_after=EDITED), tmp_path / "walk"
    shutil.copytree(world / "walk", out)
    again = run_walk(edited, out)
    assert [one.trained for one in again] == [False, False, True]
    assert again[0].computed == 0
    assert again[1].computed > 0
    assert again[1].reused > 0
    run_walk(edited, tmp_path / "fresh")
    names = folders(tmp_path / "fresh")
    assert len(set(folders(out)) - set(names)) == 1, "the encoder of the data before is kept, and no longer listed"
    assert (out / "encoders.toml").read_bytes() == (tmp_path / "fresh" / "encoders.toml").read_bytes()
    assert files(out, names) == files(tmp_path / "fresh", names)
    found = entries(out)
    assert {key: value for key, value in found.items() if key[0] in names} == entries(tmp_path / "fresh")


def test_a_repeated_walk_does_nothing(world: Path) -> None:
    """Models, entries and clusters that belong to the same inputs are kept."""
    before = files(world / "walk", folders(world / "walk"))
    again = run_walk(world, world / "walk")
    assert [(one.trained, one.computed, one.fitted) for one in again] == [(False, 0, False)] * 3
    assert files(world / "walk", folders(world / "walk")) == before


def test_a_step_is_kept_by_content_and_not_because_a_file_is_there(world: Path, tmp_path: Path) -> None:
    """A checkpoint, a ranking or a record that was changed is made again, with the same bytes."""
    out = tmp_path / "walk"
    shutil.copytree(world / "walk", out)
    names = folders(out)
    before = files(out, names)
    (out / names[0] / "model.pt").write_bytes(b"something else")
    (out / names[1] / "clusters" / "best_clusters_5d.txt").write_text("0\n")
    (out / names[2] / "model.json").write_text("{}")
    again = run_walk(world, out)
    assert [one.trained for one in again] == [True, False, True]
    assert [one.fitted for one in again] == [False, True, False]
    assert files(out, names) == before


def test_other_settings_of_clusters_keep_models_and_caches(world: Path, tmp_path: Path) -> None:
    """Only the clusters are fitted again; another seed of the training leads to other folders."""
    out = tmp_path / "walk"
    shutil.copytree(world / "walk", out)
    again = run_walk(world, out, fit=FitConfig(k=3))
    assert [(one.trained, one.computed, one.fitted) for one in again] == [(False, 0, True)] * 3
    config = open_walk(world, out).encoders[0].config
    other = open_walk(world, out, train=replace(config.train, seed=1))
    assert {work.folder.name for work in other.encoders}.isdisjoint(folders(out))


def test_a_ticker_may_be_named_before_it_is_listed(tmp_path: Path) -> None:
    """It is encoded when it has windows; encoders before that day are the same with and without it."""
    edited, names = prepare(tmp_path / "edited", edit_after=EDITED), ("AAA", *TICKERS)
    config = open_walk(edited, tmp_path / "w", end=str(SESSIONS[430])).encoders[0].config
    found = run_walk(edited, tmp_path / "w", end=str(SESSIONS[430]), train=replace(config.train, tickers=names))
    assert len(found) == 2
    other = run_walk(edited, tmp_path / "other", end=str(SESSIONS[430]), train=replace(config.train, tickers=TICKERS))
    weights = [encash.open_cache(str(one.folder / "cache.lance")).encoder_spec for one in (*found, *other)]
    assert [one.weights if one else "" for one in weights[:2]] == [one.weights if one else "" for one in weights[2:]]


def test_new_sessions_extend_the_last_cache(world: Path, tmp_path: Path) -> None:
    """A walk to an earlier day is the beginning of the longer one."""
    out = tmp_path / "walk"
    run_walk(world, out, end=str(SESSIONS[400]))
    assert folders(out) == folders(world / "walk")[:2]
    again = run_walk(world, out)
    assert [one.trained for one in again] == [False, False, True]
    assert again[1].computed > 0
    assert again[1].reused > 0
    assert not again[1].fitted
    assert entries(out) == entries(world / "walk")
    assert (out / "encoders.toml").read_bytes() == (world / "walk" / "encoders.toml").read_bytes()


def _kill_when(path: Path, world: Path, out: Path) -> None:
    """Start the walk in its own process, and kill it as soon as a file is there."""
    command = [sys.executable, "-m", "tests.cli.encoder_walks", str(world), str(out)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and not path.exists():
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "the walk ended before it could be killed"


def _is_the_same(out: Path, world: Path) -> None:
    names = folders(world / "walk")
    assert folders(out) == names
    assert files(out, names) == files(world / "walk", names)
    assert entries(out) == entries(world / "walk")
    assert (out / "encoders.toml").read_bytes() == (world / "walk" / "encoders.toml").read_bytes()


def test_a_killed_walk_continues_to_the_same_result(world: Path, tmp_path: Path) -> None:
    """Killed while the second cache is built: the first encoder is not made again, and all bytes are the same."""
    out, name = tmp_path / "walk", folders(world / "walk")[1]
    _kill_when(out / name / "cache.lance", world, out)
    assert not (out / "encoders.toml").exists()
    again = run_walk(world, out)
    assert [one.trained for one in again] == [False, False, True]
    _is_the_same(out, world)


@pytest.mark.slow
def test_a_walk_that_is_killed_at_every_step_ends_the_same(world: Path, tmp_path: Path) -> None:
    """Killed when each file of the second encoder appears, one after the other."""
    out, folder = tmp_path / "walk", tmp_path / "walk" / folders(world / "walk")[1]
    for name in ("model.pt", "model.json", "cache.lance", "clusters/clusters.npz", "clusters/map.npz", "clusters.json"):
        _kill_when(folder / name, world, out)
    run_walk(world, out)
    _is_the_same(out, world)


def test_costs_are_known_before(world: Path, tmp_path: Path) -> None:
    """Windows, entries and bytes are those of the walk; what is there costs nothing; nothing is written."""
    out = tmp_path / "new"
    costs = plan_walk(open_walk(world, out))
    assert not out.exists()
    assert [one.windows for one in costs.encoders] == [128] * 3
    caches = [encash.open_cache(str(world / "walk" / name / "cache.lance")) for name in folders(world / "walk")]
    assert [one.entries for one in costs.encoders] == [cache.index().entries for cache in caches]
    totals = costs.totals()
    assert totals["seconds_estimate"] == pytest.approx(totals["train_seconds"] + totals["encode_seconds"])
    assert min(totals["seconds_estimate"], totals["bytes_estimate"]) > 0
    there = plan_walk(open_walk(world, world / "walk")).totals()
    assert (there["windows"], there["entries"], there["seconds_estimate"]) == (0, 0, 0.0)
    assert there["valid"] == totals["entries"]


def test_two_walks_do_not_write_into_one_folder(world: Path, tmp_path: Path) -> None:
    """The second is refused at once."""
    with sole_writer(tmp_path / "w", "walk"), pytest.raises(ConflictError, match="another walk"):
        run_walk(world, tmp_path / "w")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"end": "2014-06-02"}, "20 sessions later"),
        ({"window": 0}, "look back over 0 sessions"),
    ],
)
def test_a_schedule_without_sessions_is_refused(
    world: Path, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    """Says what the sessions are."""
    with pytest.raises(InputError, match=expected):
        open_walk(world, tmp_path, **changes)


def test_the_command_plans_and_walks(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--plan prints costs and writes nothing; without it, one object with a row per encoder."""
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], samples_per_epoch=128, epochs=1))
    files = ["--data", str(world / "f.h5"), "--prices", str(world / "p.h5"), "--out", str(tmp_path / "w")]
    command = ["walk", *files, "--first-train-end", str(SESSIONS[400]), "--every", "1y", "-k", "3", "--window", "50"]
    planned = answer(capsys, *command, "--plan", "--horizon", "5", "20")
    assert not (tmp_path / "w").exists()
    assert planned["entries"] == planned["encoders"][0]["entries"] > 0
    found = answer(capsys, *command, "--horizon", "5", "20")
    assert [row["train_end"] for row in found["encoders"]] == [str(SESSIONS[400])]
    assert sorted(found["encoders"][0]["best"]) == ["20", "5"]
    assert found["encoders"][0]["computed"] == planned["entries"]
    assert Path(found["list"]).is_file()
    for bad in ("0", "1m", "soon"):
        with pytest.raises(SystemExit, match="2"):
            main([*command[: command.index("--every")], "--every", bad])
        assert "expected 250 (sessions) or 1y (years)" in capsys.readouterr().err


def test_years_end_on_the_last_session_before_the_day() -> None:
    """An interval of years keeps the day of the year."""
    from encash.pipeline.walk_schedule import schedule

    sessions = np.busday_offset(np.datetime64("2010-01-01"), np.arange(1300), roll="forward")
    found = schedule(sessions, "2011-12-31", Interval(count=1, unit="years"), embargo=20, window=10)
    assert [str(one.train_end) for one in found] == ["2011-12-30", "2012-12-31", "2013-12-31"]
    for earlier, later in pairwise(found):
        assert np.searchsorted(sessions, later.first_day) == np.searchsorted(sessions, earlier.last_day) + 1
