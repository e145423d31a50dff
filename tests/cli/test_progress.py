import io
import itertools
import re
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encash import live_progress as progress_module
from encash.cli import main
from encash.live_progress import Bar, LiveLine, bytes_below
from encash.panel import toy_panel, write_panel
from encash.testing import write_checkpoint

LOOKBACK = 8
TWO_PICKS = ("--top-k", "2", "--max-missing", "1", "--no-report")
TORCH, RUNTIME = ("--engine", "torch"), ("--engine", "onnxruntime")


class Terminal(io.StringIO):
    """A stream that takes a live line."""

    def isatty(self):
        return True


def test_the_bar_says_rate_remaining_time_and_bytes_written(tmp_path, monkeypatch):
    """A line holds entries a second, what is left of the time, and what lies on the disk by now."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one").write_bytes(bytes(3 * 2**20))
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    bar = Bar("encoding", "entries", stream=stream, written=lambda: bytes_below(str(tmp_path)))
    now[0] = 20.0
    bar(200, 1_000)
    assert stream.getvalue() == "encoding  200 of 1,000 entries  10/s  1:20 left  3.0 MiB written\n"


@pytest.mark.parametrize(
    ("reports", "line"),
    [
        ([(1.0, 6)], ""),
        ([(1.0, 2)], "work  2 of 10 steps  2/s  4 s left"),
        ([(1.0, 2), (3.0, 9)], "work  9 of 10 steps  3/s  0 s left"),
        ([(8.0, 0), (9.0, 4)], "work  4 of 10 steps  4/s  2 s left"),
        ([(8.0, 0), (9.0, 0)], "work  0 of 10 steps"),
    ],
)
def test_the_bar_is_for_work_of_more_than_two_seconds(monkeypatch, reports, line):
    """Nothing where the rate says that the work is done before; a first report of nothing done begins the clock, and
    only the first one."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = Terminal()
    bar = Bar("work", "steps", stream=stream)
    for now[0], done in reports:
        bar(done, 10)
    assert stream.getvalue().split("\r\x1b[2K")[-1] == line


JOBS = {
    "steady": lambda t: t / 19,
    "slow start": lambda t: max(0.0, t - 8) / 11,
    "first step of eight seconds": lambda t: (t >= 8) / 96 + max(0.0, t - 8) / 11 * 95 / 96,
    "blocks": lambda t: int(t / 19 * 12) / 12,
    "first step at once": lambda t: min(1.0, 1e-5 + max(0.0, t - 3) / 16),
}


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("total", [96, 800_000])
def test_the_remaining_time_is_sane_from_the_first_second_on(name, total, monkeypatch):
    """Of jobs of 19 s, no line claims more than three times what is left and 3 s; and one is shown in the end."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream, shown = Terminal(), 0
    bar = Bar("work", "steps", stream=stream)
    for tick in range(1, 190):
        now[0] = tick / 10
        stream.truncate(0)
        bar(min(total, int(total * JOBS[name](now[0]))), total)
        if found := re.search(r"(?:(\d+):)?(?:(\d+):)?(\d+)(?: s)? left", stream.getvalue()):
            hours_or_minutes, minutes, seconds = (int(part or 0) for part in found.groups())
            left = seconds + 60 * (minutes + 60 * hours_or_minutes if found[2] else hours_or_minutes)
            assert left <= 3 * (19 - now[0]) + 3, f"at {now[0]} s: {stream.getvalue()}"
            shown += now[0] > 9.5
    assert shown > 10


@pytest.mark.parametrize("title", ["a long title " * 20, "日本株式会社" * 20, "e\u0301" * 200])
def test_the_line_is_never_wider_than_the_terminal(title, monkeypatch):
    """In columns of the terminal: East Asian characters take two, combining ones none."""
    monkeypatch.setenv("COLUMNS", "50")
    stream = Terminal()
    LiveLine(stream).draw(title)
    text = stream.getvalue().removeprefix("\r\x1b[2K")
    assert text.endswith("…")
    widths = [0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF") for one in text]
    assert 48 <= sum(widths) <= 49


def test_a_command_that_says_nothing_shows_that_time_passes(monkeypatch):
    """The title, then the last text, each with the time; nothing once the line is closed."""
    monkeypatch.setattr(progress_module, "_SILENT_SECONDS", 0.01)
    stream = Terminal()
    line = LiveLine(stream, "encash work")
    wait_for(lambda: "encash work  (" in stream.getvalue())
    line.draw("half of it")
    wait_for(lambda: "half of it  (" in stream.getvalue())
    line.clear()
    wait_for(lambda: stream.getvalue().rstrip().split("\r\x1b[2K")[-1].startswith("encash work  ("))
    line.close()
    closed = stream.getvalue()
    assert closed.endswith("\r\x1b[2K")
    time.sleep(0.1)
    assert stream.getvalue() == closed


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features, prices, and two models, of which one is worth a measurement."""
    where = tmp_path_factory.mktemp("loading")
    panel = toy_panel(seed=1, num_tickers=4, num_sessions=80)
    write_panel(panel, where / "f.h5", where / "p.h5")
    write_checkpoint(where / "tiny.pt", num_features=panel.num_features, lookback=LOOKBACK)
    sizes: dict[str, Any] = {"hidden_dim": 128, "num_heads": 4}
    write_checkpoint(where / "large.pt", num_features=panel.num_features, lookback=LOOKBACK, **sizes)
    return where


class TestLoading:
    """What a terminal shows while a command loads its model, where each look at the clock finds it a second on."""

    @pytest.fixture
    def shown(self, folder, monkeypatch):
        """Runs a command and gives the (done, total) of the lines about its model."""

        def run(*command: str) -> list[tuple[int, int]]:
            monkeypatch.setattr(time, "monotonic", itertools.count().__next__)
            monkeypatch.setattr(sys, "stderr", terminal := Terminal())
            assert main([*command, "--data", str(folder / "f.h5")]) == 0
            found = re.findall(r"loading the model  (\d+) of (\d+) steps  \S+/s", terminal.getvalue())
            return [(int(done), int(total)) for done, total in found]

        return run

    def test_each_way_that_is_measured_is_a_step(self, folder, shown, tmp_path):
        """The reading, float32, what torch has beside it, and the batch; counted from the reading to the end."""
        told = shown("plan", "--model", str(folder / "large.pt"), "--cache", str(tmp_path / "c.lance"), *TORCH)
        total = told[0][1]
        assert total >= 4
        assert list(dict.fromkeys(told)) == [(done, total) for done in range(1, total + 1)]

    def test_a_model_that_is_loaded_in_a_backtest_is_told_too(self, folder, shown, tmp_path):
        """A live run loads it beneath the bar of its own cells."""
        live = ["--prices", str(folder / "p.h5"), "--model", str(folder / "large.pt"), *TORCH]
        told = shown("backtest", *live, "--run-dir", str(tmp_path / "run"), *TWO_PICKS)
        assert told[-1][0] == told[-1][1] >= 4

    def test_an_export_is_told_before_it_begins(self, folder, shown, tmp_path):
        """It counts as many steps, which are known to be ahead."""
        pytest.importorskip("onnxruntime", reason="onnxruntime comes with the dev install")
        pytest.importorskip("onnxscript", reason="onnxscript comes with the dev install")
        told = shown("plan", "--model", str(folder / "tiny.pt"), "--cache", str(tmp_path / "c.lance"), *RUNTIME)
        assert told[0][1] > 10 * told[0][0]
        assert told[-1] == (told[0][1], told[0][1])

    @pytest.mark.parametrize("more", [["--model", "tiny.pt"], ["--model", "large.pt", "--quiet", "--engine", "torch"]])
    def test_nothing_is_shown_of_a_small_model_or_quietly(self, folder, shown, tmp_path, monkeypatch, more):
        """A tiny model is not measured: no line, whatever the clock says. With --quiet there is none at all."""
        monkeypatch.chdir(folder)
        assert shown("plan", *more, "--cache", str(tmp_path / "c.lance")) == []


def test_slow_work_has_a_rate_too(monkeypatch):
    """A step in four seconds is 0.25 a second, not none."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    bar = Bar("training", "steps", stream=stream)
    now[0] = 20.0
    bar(5, 96)
    assert "0.25/s" in stream.getvalue()
