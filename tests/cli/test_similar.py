"""The command `similar`."""

from __future__ import annotations

from pathlib import Path

import pytest

from encash.panel import toy_panel
from tests.cli.commands import answer, refusal


def test_neighbours_show_only_what_was_known_on_the_day(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Returns that end after the day are not told, whatever the embargo."""
    days = (folder / "days.txt").read_text().split()
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    ticker = answer(capsys, "picks", "--date", days[150], *data)["picks"][0]["ticker"]
    near = answer(capsys, "similar", ticker, days[150], *data, "--embargo", "1", "--count", "200", "--apart", "1")
    for row in near["neighbours"]:
        known = [days.index(row["date"]) + horizon <= 150 for horizon in near["horizons"]]
        assert [value is not None for value in row["returns"]] == known
    assert {value is None for row in near["neighbours"] for value in row["returns"]} == {True, False}, "both occur"


def test_an_episode_is_listed_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the days of one ticker that are near to each other only the nearest; without that, the nearest of all."""
    days = (folder / "days.txt").read_text().split()
    ticker = toy_panel(seed=1, num_tickers=8, num_sessions=160).tickers[0]
    similar = ["similar", ticker, days[150], "--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    every = answer(capsys, *similar, "--apart", "1", "--count", "2000")["neighbours"]
    near = answer(capsys, *similar, "--count", "12")["neighbours"]
    assert near[0] == every[0]
    assert len(near) == 12
    taken: list[tuple[str, int]] = []
    for row in every:
        name, place = row["ticker"], days.index(row["date"])
        if all(name != other or abs(place - at) >= 20 for other, at in taken):
            taken.append((name, place))
    assert [(row["ticker"], days.index(row["date"])) for row in near] == taken[:12]


def test_an_entry_that_is_not_there_is_named_by_what_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelled ticker is not one to build, nor is a day without a session."""
    day = (folder / "days.txt").read_text().split()[150]
    ticker, cache = toy_panel(seed=1, num_tickers=8, num_sessions=160).tickers[0], ("--cache", str(folder / "c.lance"))
    assert f"no entry of {ticker}X; did you mean {ticker}?" in refusal(capsys, "similar", f"{ticker}X", day, *cache)
    line = refusal(capsys, "similar", ticker, "2030-01-05", *cache)
    assert f"no entry of {ticker} on 2030-01-05; give a session that is in it" in line


def test_similar_finds_its_cache_and_needs_no_prices(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only cache of the working folder, and the embargo in the cache's sessions; several or none are named."""
    days = (folder / "days.txt").read_text().split()
    ticker = toy_panel(seed=1, num_tickers=8, num_sessions=160).tickers[0]
    monkeypatch.chdir(folder)
    near = answer(capsys, "similar", ticker, days[150], "--count", "3", "--embargo", "10")
    assert (len(near["neighbours"]), near["before"], near["horizons"]) == (3, days[140], [])
    assert near == {
        **answer(capsys, "similar", ticker, days[150], "--cache", "c.lance", "--count", "3", "--embargo", "10")
    }
    monkeypatch.chdir(tmp_path)
    assert "there is no *.lance here" in refusal(capsys, "similar", ticker, days[150])
    for name in ("a.lance", "b.lance"):
        (tmp_path / name).symlink_to(folder / "c.lance")
    assert "(a.lance, b.lance)" in refusal(capsys, "similar", ticker, days[150])
