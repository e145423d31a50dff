"""The command `sweep`."""

from __future__ import annotations

from pathlib import Path

import pytest

from encash.cli import main
from tests.cli.commands import answer, runs


def test_a_sweep_a_list_a_walk_and_neighbours(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The commands beyond a single backtest give their keys, on the same cache."""
    days = (folder / "days.txt").read_text().split()
    cache = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    clusters = ["--clusters", str(folder / "k")]
    (tmp_path / "grid.toml").write_text(
        f'[base]\nstart = "{days[100]}"\n[grid]\ntop_k = [1, 2, 3]\nfilter = ["hard", "none"]\n'
    )
    sweep = [
        "sweep",
        str(tmp_path / "grid.toml"),
        *cache,
        *clusters,
        "--workers",
        "1",
        "--out",
        str(tmp_path / "sweep"),
    ]
    swept = answer(capsys, *sweep)
    assert (swept["runs"], swept["computed"]) == (6, 6)
    assert Path(swept["table"]).is_file()
    assert (tmp_path / "sweep" / "heat_filter_top_k.svg").read_text().startswith("<?xml")
    page = tmp_path / "sweep" / "best" / "report.html"
    for shown in (
        swept["report"],
        answer(capsys, "report", swept["best_run"], "--out", str(tmp_path / "p.html"))["report"],
    ):
        assert "ignificant among all trials" in Path(shown).read_text()
        assert "Chosen among 6 configurations" in Path(shown).read_text()
    assert Path(swept["report"]) == page
    assert answer(capsys, *sweep)["computed"] == 0
    (tmp_path / "grid.toml").write_text(f'[base]\nstart = "{days[100]}"\n[grid]\ntop_k = [1, 2, 3]\n')
    assert answer(capsys, *sweep)["runs"] == 3
    assert not list((tmp_path / "sweep").glob("heat_*")), "a picture of settings that this grid does not vary"
    picks = answer(capsys, "picks", "--date", days[150], *cache, *clusters, "--top-k", "2")
    assert 0 < len(picks["picks"]) <= 2
    walk = ["clusters", "walk", *cache, "--every", "20", "--horizon", "5", "--embargo", "5", "-k", "3", "--top", "1"]
    walked = answer(capsys, *walk, "--history", "60", "--out", str(tmp_path / "walk"))
    assert walked["refits"] >= 2
    run = runs(folder, "--cache", str(folder / "c.lance"))
    run[run.index("--clusters") + 1] = str(tmp_path / "walk")
    assert answer(capsys, *run)["filter"] == "hard"
    ticker = picks["picks"][0]["ticker"]
    near = answer(capsys, "similar", ticker, days[150], *cache, "--count", "3", "--embargo", "10")
    assert len(near["neighbours"]) == 3
    assert all(row["date"] <= days[140] for row in near["neighbours"])


def test_a_sweep_tells_people_its_best_run_and_what_that_is_worth(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Settings and figures of the best run, a line each, with no key or place of the sweep's own files."""
    days = (folder / "days.txt").read_text().split()
    grid = tmp_path / "grid.toml"
    sweep = ["sweep", str(grid), "--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5"), "--quiet"]
    for name, varied in (("several", "top_k = [1, 2]"), ("same", "seed = [1, 2]"), ("one", "top_k = [2]")):
        grid.write_text(f'[base]\nstart = "{days[100]}"\n[grid]\n{varied}\n')
        found = answer(capsys, *sweep, "--out", str(tmp_path / name))
        assert main([*sweep, "--out", str(tmp_path / name)]) == 0
        text = capsys.readouterr().out
        setting = varied.split()[0]
        assert f"best             {setting} {found['best'][setting]}, filter none" in text
        assert f"Sharpe {found['best']['sharpe']:.2f}" in text
        assert found["best"]["key"] not in text
        assert "{" not in text
        assert ("not judged: " + found["note"] in text) == (found["deflated_sharpe"] is None)


def test_the_help_of_a_sweep_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the configuration, and the filter: an unknown one is sent there."""
    from dataclasses import fields

    from encash.backtest import BacktestConfig
    from encash.cli.sweep import SETTINGS

    assert set(SETTINGS) == {field.name for field in fields(BacktestConfig)} | {"filter", "keep"}
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in SETTINGS)
