"""A run as the backtest writes it, with its comparisons, as a page."""

import json
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pytest

from encash.backtest import BacktestConfig, BacktestInputs, run_backtest, write_run
from encash.backtest.evaluation.comparisons import CompareConfig, run_comparisons, write_comparisons
from encash.cache import LookupStats
from encash.cache.lookup import Lookup, Signals
from encash.clusters import Random
from encash.panel.panel import PriceTable
from encash.report import read_comparisons, read_run, render_report
from tests.backtest.conftest import FakeReader

HORIZONS = (1, 5)


@dataclass
class DrawnLookup(FakeReader):
    """Signals that are a function of the cell only."""

    horizons: tuple = HORIZONS
    stats: LookupStats = field(default_factory=LookupStats)
    encoder_spec: None = None

    def read(self, days, tickers, *, embeddings, forecasts=True, progress=None):
        """All cells in one chunk."""
        count = len(days)
        self.stats.hits += count
        cell = days.astype(np.int64) * 31 + np.array([int(ticker[1:]) for ticker in tickers]) * 7
        waves = np.sin(cell[:, None] * np.array([1.0, 2.0])).astype(np.float32)
        yield Signals(
            start=0,
            stop=count,
            embedding=waves if embeddings else None,
            forecast=0.01 * waves,
            confidence=np.abs(waves),
            found=np.ones(count, dtype=bool),
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder with comparisons."""
    draw = np.random.default_rng(1)
    days = np.busday_offset("2020-01-01", np.arange(120), roll="forward").astype("datetime64[D]")
    close = 50.0 * np.exp(np.cumsum(draw.normal(0, 0.01, (120, 9)), axis=0))
    prices = PriceTable(days=days, tickers=tuple(f"T{number}" for number in range(9)), close=close)
    config = BacktestConfig(horizon=5, top_k=2)
    chosen = Random(keep_share=0.5, seed=3)
    folder = tmp_path_factory.mktemp("runs") / "real"

    def inputs():
        return BacktestInputs(prices=prices, lookup=cast(Lookup, DrawnLookup()), filter=chosen)

    write_run(run_backtest(config, inputs()), folder)
    settings = CompareConfig(draws=25)
    write_comparisons(run_comparisons(config, inputs(), settings=settings), folder)
    return folder


def test_a_written_run_is_read_as_it_was(folder):
    """Equity, picks, settings and figures come back from the folder."""
    run = read_run(folder)
    assert run.equity.net[-1] == pytest.approx(run.figure("final_capital"))
    assert run.horizon == 5
    assert run.capital == 100_000.0
    assert run.candidates.picked.sum() > 0
    assert run.has_benchmark


def test_written_comparisons_are_read_as_they_were(folder):
    """Draws, phases, the later fill, ranges and evidence come back from the folder."""
    extras = read_comparisons(folder)
    assert len(extras.random_filters) == 25
    assert extras.test is not None
    assert extras.test.to_json() == json.loads((folder / "comparisons.json").read_text())["verdict"]
    assert sorted(extras.phases) == [0, 1, 2, 3, 4]
    assert extras.phases[0] == pytest.approx(read_run(folder).equity.net[-1])
    assert extras.later is not None
    assert extras.random_range is not None
    assert len(extras.random_range.low) == len(read_run(folder).equity.days)
    assert [one.horizon for one in extras.skill] == list(HORIZONS)
    assert {one.name for one in extras.alternatives} >= {"no filter", "random filter", "phases", "lag + 1"}


def test_the_page_of_a_written_run_gives_its_verdict(folder, tmp_path):
    """The first line says what else there was, and the finding; the percentiles among the random filters follow."""
    text = render_report([folder], tmp_path / "report.html").read_text()
    assert "Holding all candidates returned" in text
    assert "against 25 random filters that persist as these do" in text
    assert "by return" in text
    assert "Training period unknown" in text
