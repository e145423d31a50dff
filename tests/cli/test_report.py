"""The command `report`."""

from __future__ import annotations

import html
import os
import re
import shlex
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from encash import open_cache, open_panel, open_prices, pipeline
from encash.cli import main
from encash.cli.main import parser
from encash.panel.bars import Bars
from encash.panel.write import write_prices
from encash.report import read_run
from encash.report.commands import TAKEN, run_command
from encash.report.commands import test_command as page_command
from encash.testing import write_checkpoint
from tests.cli.commands import LOOKBACK, answer, models, refusal, runs
from tests.report.test_render import Page


def test_groups_belong_to_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run folder has no prices: the refusal names the command that takes groups."""
    line = refusal(capsys, "report", str(folder / "run"), "--groups", "sectors.csv")
    assert "encash backtest … --compare 200 --groups sectors.csv" in line


def test_a_report_shows_the_clusters_it_is_given(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Map, returns and wins by cluster stand on the page of a run; of a walk also what stays from refit to refit."""
    run = runs(folder, "--cache", str(folder / "c.lance"))
    answer(capsys, *run)
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    walk = ["clusters", "walk", *data, "--every", "20", "--horizon", "5", "--embargo", "5", "-k", "3", "--top", "1"]
    answer(capsys, *walk, "--history", "60", "--out", str(tmp_path / "walk"))
    page = tmp_path / "page.html"
    report = ["report", str(folder / "run"), "--out", str(page), "--clusters"]
    assert "different clusters" in refusal(capsys, *report, str(tmp_path / "walk"))
    assert "no clusters.json" in refusal(capsys, *report, str(tmp_path / "nowhere"))
    for clusters, refits in ((folder / "k", False), (tmp_path / "walk", True)):
        run[run.index("--clusters") + 1] = str(clusters)
        answer(capsys, *run)
        answer(capsys, *report, str(clusters))
        text = page.read_text()
        assert "2-D projection of the clusters" in text
        assert "had the highest win rate" in text
        assert "each kept cluster is chosen in" in text
        assert ("From one refit to the next" in text) == refits


def test_the_ranking_that_is_shown_is_that_of_the_run(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The clusters that a page calls kept are those of the horizon of the run; one that was not ranked is refused."""
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    shutil.copytree(folder / "k", tmp_path / "k")
    days = (folder / "days.txt").read_text().split()
    rank = ["clusters", "rank", "--clusters", str(tmp_path / "k"), *data, "--end", days[80], "--horizon", "10"]
    answer(capsys, *rank, "--top", "1")
    run = runs(folder, "--cache", str(folder / "c.lance"), "--horizon", "10", "--run-dir", str(tmp_path / "run"))
    run[run.index("--clusters") + 1] = str(tmp_path / "k")
    answer(capsys, *run)
    report = ["report", str(tmp_path / "run"), "--out", str(tmp_path / "page.html"), "--clusters", str(tmp_path / "k")]
    answer(capsys, *report)
    lines = (tmp_path / "k" / "best_clusters_10d.txt").read_text().splitlines()
    best = [line for line in lines if not line.startswith("#")]
    text = (tmp_path / "page.html").read_text()
    assert f"Blue clusters are kept: {', '.join(best)}." in text
    assert "% in 10 sessions" in text
    assert "ranking_7d.json" in refusal(capsys, *report, "--horizon", "7")


def test_a_run_that_was_edited_is_refused_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Comparisons, trials and the ledger for spreadsheets belong to a run; without its record it is shown unchecked."""
    run, page = tmp_path / "run", tmp_path / "page.html"
    more = ("--num-trials", "2", "--compare", "3", "--spreadsheet", "--run-dir", str(run))
    answer(capsys, *runs(folder, "--cache", str(folder / "c.lance"), *more))
    report = ["report", str(run), "--out", str(page)]
    assert answer(capsys, *report)["unchecked"] == []
    assert "as the backtest wrote them" in page.read_text()
    shutil.copytree(run, tmp_path / "whole")
    for name in ("result.json", "ledger.csv", "ledger_spreadsheet.csv", "trials.csv", "comparisons.json"):
        before = (run / name).read_bytes()
        (run / name).write_bytes(before.replace(b"1", b"2", 1))
        assert f"{run / name} was changed" in refusal(capsys, *report)
        (run / name).write_bytes(before)
    (run / "trials.csv").write_bytes((run / "trials.csv").read_bytes().replace(b"\n", b"\r\n"))
    (run / "digests.json").unlink()
    assert answer(capsys, *report)["unchecked"] == [str(run)]
    assert "not checked: the folder has no digests.json" in page.read_text()
    assert main(report) == 0
    assert f"not checked: {run} has no digests.json" in capsys.readouterr().out
    both = answer(capsys, "report", str(tmp_path / "whole"), str(run), "--out", str(page))
    assert both["unchecked"] == [str(run)]
    assert re.search(r"Not checked, because the folder has no digests\.json: [^,]*run\.", page.read_text())


def test_a_report_shows_neighbors_and_the_equality_of_two_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With the cache and the prices of the run, the past windows nearest to its picks by day; with a second run, the
    hashes of both ledgers."""
    cache, prices, page = folder / "c.lance", folder / "p.h5", tmp_path / "page.html"
    twice = [tmp_path / "one", tmp_path / "two"]
    for run in twice:
        answer(capsys, *runs(folder, "--cache", str(cache), "--run-dir", str(run)))
    report = ["report", str(twice[0]), "--out", str(page), "--cache", str(cache)]
    assert "give both or neither" in refusal(capsys, *report)
    answer(capsys, *report, "--prices", str(prices), "--same-as", str(twice[1]))
    text = page.read_text()
    assert "Similar days" in text
    assert "one and two have the same ledger" in text
    entry = read_run(twice[0]).candidates
    day, ticker = entry.days[-1], entry.names[entry.ticker[-1]]
    asked = [*report, "--prices", str(prices), "--day", str(day), "--ticker", ticker]
    answer(capsys, *asked)
    assert f'data-day="{day}"' in page.read_text()
    answer(capsys, "similar", ticker, str(day), "--cache", str(cache), "--prices", str(prices))
    assert "no entry of NONE" in refusal(capsys, *asked, "--ticker", "NONE")
    assert "picked nothing on 1999-01-04" in refusal(capsys, *report, "--prices", str(prices), "--day", "1999-01-04")
    assert "give --cache and --prices" in refusal(capsys, "report", str(twice[0]), "--day", "1999-01-04")
    assert "with --day" in refusal(capsys, *report, "--prices", str(prices), "--ticker", ticker)
    other, model = tmp_path / "other.lance", tmp_path / "other.pt"
    width = open_panel(folder / "f.h5").num_features
    write_checkpoint(model, seed=7, num_features=width, lookback=LOOKBACK)
    answer(capsys, "build", "--model", str(model), "--data", str(folder / "f.h5"), "--cache", str(other))
    line = refusal(capsys, "report", str(twice[0]), "--out", str(page), "--cache", str(other), "--prices", str(prices))
    assert "give the cache of the run" in line


def test_neighbors_do_not_look_ahead(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The outcome of each neighbor ended before the day of its pick, and prices from that day on change nothing; the
    nearest one is what `similar` finds, with the return of the prices file over the horizon of the run."""
    run, cache = tmp_path / "run", str(folder / "c.lance")
    answer(capsys, *runs(folder, "--cache", cache, "--run-dir", str(run)))
    prices = open_prices(folder / "p.h5")
    found = pipeline.neighborhoods(read_run(run), cache, folder / "p.h5")
    horizon = read_run(run).horizon
    assert len({one.day for one in found}) > 3
    assert horizon is not None
    column = {ticker: place for place, ticker in enumerate(prices.tickers)}
    row = {str(day): place for place, day in enumerate(prices.days)}
    for one in found:
        assert list(one.distance) == sorted(one.distance)
        for day, ticker, after in zip(one.days, one.tickers, one.returns, strict=True):
            ended = row[day] + horizon
            assert ended < row[one.day]
            expected = prices.close[ended, column[ticker]] / prices.close[row[day], column[ticker]] - 1
            assert after == pytest.approx(expected)
        near = pipeline.find_similar(
            open_cache(cache), one.ticker, one.day, before=prices.days[row[one.day] - 20], count=1, sessions=prices.days
        )
        assert (one.days[0], one.tickers[0], one.distance[0]) == (str(near.days[0]), near.tickers[0], near.distance[0])
    middle = found[len(found) // 2].day
    close = np.where((prices.days >= np.datetime64(middle))[:, None], prices.close * 3, prices.close)
    bars = [
        (ticker, Bars(days=prices.days[known], close=close[known, place]))
        for place, ticker in enumerate(prices.tickers)
        if (known := np.isfinite(prices.close[:, place])).any()
    ]
    write_prices(tmp_path / "later.h5", bars)
    again = pipeline.neighborhoods(read_run(run), cache, tmp_path / "later.h5")
    before = [(one.ticker, one.day, one.days, one.tickers, one.returns.tolist()) for one in found if one.day <= middle]
    assert before == [
        (one.ticker, one.day, one.days, one.tickers, one.returns.tolist()) for one in again if one.day <= middle
    ]


def test_of_many_picks_some_days_are_shown(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days at equal distances, and the best and the worst of all days, by what followed the picks; a requested day is
    shown too, and only the first ones count in means."""
    run, cache = tmp_path / "run", str(folder / "c.lance")
    answer(capsys, *runs(folder, "--cache", cache, "--run-dir", str(run)))
    every = pipeline.neighborhoods(read_run(run), cache, folder / "p.h5")
    days = sorted({one.day for one in every})
    after = {day: np.mean([one.actual for one in every if one.day == day]) for day in days}
    assert all(one.regular for one in every)
    assert {one.day for one in every if one.remark == "best day"} == {max(days, key=lambda day: after[day])}
    assert {one.day for one in every if one.remark == "worst day"} == {min(days, key=lambda day: after[day])}
    monkeypatch.setattr("encash.pipeline.neighbors._MOST_PICKS", 4)
    some = pipeline.neighborhoods(read_run(run), cache, folder / "p.h5", days=[days[1]])
    assert {one.day for one in some} < set(days)
    assert {one.day for one in some if one.regular} <= {days[0], days[-1]}
    remarks = {one.remark: one.day for one in some}
    assert remarks["requested"] == days[1]
    assert {"best day", "worst day"} & set(remarks)


def test_the_command_of_a_run_repeats_it(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The page shows the words that ran; run again, they write the same equity and ledger, byte by byte."""

    run = tmp_path / "a run"
    answer(capsys, *runs(folder, "--cache", str(folder / "c.lance"), "--run-dir", str(run)))
    before = [(run / name).read_bytes() for name in ("equity.parquet", "ledger.csv")]
    command = run_command(read_run(run))
    shown = re.sub(r"<[^>]*>", "", (run / "report.html").read_text())  # a flag is kept in one line by an element
    assert command in html.unescape(shown)
    assert main(shlex.split(command)[1:]) == 0
    assert [(run / name).read_bytes() for name in ("equity.parquet", "ledger.csv")] == before


def test_the_commands_of_a_page_run(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each command that a page prints does its work when it is pasted, after the words that it says to replace: of a
    run on a cache only the model."""
    run = tmp_path / "run"
    assert main(runs(folder, "--cache", str(folder / "c.lance"), "--run-dir", str(run), "--compare=3")) == 0
    page = Page((run / "report.html").read_text())
    assert "Replace MODEL: the run does not record it." in page.words
    commands = [shlex.split(command) for command in dict.fromkeys(page.commands)]
    assert {words[1] for words in commands} == {"audit", "backtest", "cache"}
    for words in commands:
        given = [str(folder / "m.pt") if word == "MODEL" else word for word in words[1:]]
        fewer = ["3" if word == "200" else word for word in given]
        assert main([*fewer, "--quiet"]) in ((0, 3) if words[1] == "audit" else (0,)), words


def test_the_commands_of_a_live_run_need_its_cache(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The model is known, a cache is not."""
    answer(capsys, *runs(folder, *models(folder)[:2], "--run-dir", str(tmp_path / "run")))
    run = read_run(tmp_path / "run")
    assert page_command(run, ("audit",)).missing == ()
    assert page_command(run, ("cache", "coverage")).missing == ("CACHE",)


def test_a_command_takes_only_flags_that_it_knows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that it takes from a run are flags of both commands, and the command of a sweep is accepted."""
    helps = dict[str, str]()
    for name in ("backtest", *TAKEN):
        capsys.readouterr()
        with suppress(SystemExit):
            main([*name.split(), "--help"])
        helps[name] = capsys.readouterr().out
    for name, flags in TAKEN.items():
        for flag in flags:
            assert re.search(rf"^  {flag}\b", helps[name], flags=re.MULTILINE), (name, flag)
            assert re.search(rf"^  {flag}\b", helps["backtest"], flags=re.MULTILINE)
    answer(capsys, *runs(folder, "--cache", str(folder / "c.lance")))
    command = page_command(read_run(folder / "run"), ("sweep",))
    assert command.missing == ("GRID.toml",)
    assert parser("sweep").parse_args(shlex.split(command.text)[1:]).cache == str(folder / "c.lance")


@pytest.mark.parametrize("name", ["command.json", "comparisons.json", "ledger.csv"])
def test_a_pipe_in_place_of_a_file_of_a_run_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    """Reading it would never end."""
    run = tmp_path / "run"
    answer(capsys, *runs(folder, "--cache", str(folder / "c.lance"), "--run-dir", str(run), "--compare", "5"))
    (run / name).unlink()
    os.mkfifo(run / name)
    assert name in refusal(capsys, "report", str(run), "--out", str(tmp_path / "r.html"))


def test_a_sweep_has_a_page(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`report SWEEP` shows every run of the folder."""
    grid = tmp_path / "grid.toml"
    start = (folder / "days.txt").read_text().split()[80]
    grid.write_text(f'[base]\nstart = "{start}"\n[grid]\ntop_k = [1, 2]\nhorizon = [1, 5]\n')
    inputs = ["--prices", str(folder / "p.h5"), "--cache", str(folder / "c.lance")]
    answer(capsys, "sweep", str(grid), *inputs, "--out", str(tmp_path / "sweep"), "--workers", "1")
    found = answer(capsys, "report", str(tmp_path / "sweep"), "--out", str(tmp_path / "page.html"))
    assert found["unchecked"] == []
    text = (tmp_path / "page.html").read_text()
    assert "encash sweep" in (tmp_path / "sweep" / "best" / "report.html").read_text()
    assert re.search("Sharpe ratio by (top_k and horizon|horizon and top_k)", text)
