"""Weights by a function of the user: what it sees, what it may return, and its identity in the run."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from encash.backtest import BacktestConfig, BacktestInputs, make_points, run_backtest, run_sweep
from encash.errors import InputError, MismatchError
from encash.serialization import describe, from_description, identity

SEEN: list[tuple[tuple[str, ...], np.ndarray]] = []


def record(picks, returns):
    """Equal weights; what it was called with is kept, and then overwritten."""
    SEEN.append((picks, returns.copy()))
    returns[:] = 1e9
    return np.full(len(picks), 1 / len(picks))


class Half:
    """A callable object."""

    def __call__(self, picks, returns):
        return [0.5 / len(picks)] * len(picks)


half = Half()


class Labeled(list):
    """Weights with labels, as a table of pandas has them."""

    def __init__(self, values, labels):
        super().__init__(values)
        self.index = labels  # type: ignore[method-assign]  # as in pandas


NAMES = {
    "nan": lambda picks, returns: np.full(len(picks), np.nan),
    "negative": lambda picks, returns: np.r_[-0.1, np.full(len(picks) - 1, 0.1)],
    "above_one": lambda picks, returns: np.ones(len(picks)),
    "short_of_one": lambda picks, returns: np.ones(len(picks) - 1) / len(picks),
    "a_matrix": lambda picks, returns: np.ones((len(picks), 1)) / len(picks),
    "text": lambda picks, returns: "equal",
    "numbers_as_text": lambda picks, returns: ["0.1"] * len(picks),
    "another_order": lambda picks, returns: Labeled(np.full(len(picks), 0.1), sorted(picks, reverse=True)),
    "nothing": lambda picks, returns: None,
    "complex_numbers": lambda picks, returns: np.full(len(picks), 1j),
    "division": lambda picks, returns: 1 / 0,
}
globals().update(NAMES)


def inputs_of(make_prices, make_lookup, seed=0, **sizes):
    prices = make_prices(seed=seed, **sizes)
    return BacktestInputs(prices=prices, lookup=make_lookup(prices, seed))


def named(attribute):
    return f"{__name__}:{attribute}"


def test_a_function_sees_the_past_of_its_picks_and_nothing_else(make_prices, make_lookup):
    """At most N daily returns up to the signal, of the picks, best first; overwriting them changes no price."""
    inputs = inputs_of(make_prices, make_lookup)
    SEEN.clear()
    config = BacktestConfig(top_k=3, weights=named("record"), volatility_sessions=7, start=inputs.prices.days[3])
    run = run_backtest(config, inputs)
    equal = run_backtest(replace(config, weights="equal"), inputs)
    assert run.net.tobytes() == equal.net.tobytes()
    prices, rows = inputs.prices, run.outcome.setup.schedule.signal + 3
    assert len(SEEN) == len(rows)
    for (names, returns), row in zip(SEEN, rows.tolist(), strict=True):
        columns = [prices.tickers.index(name) for name in names]
        close = prices.close[max(0, row - 7) : row + 1, columns]
        assert returns.tolist() == (close[1:] / close[:-1] - 1).tolist()
        day = run.picks.picked_first()
        assert names == tuple(day.ticker[day.date == prices.days[row]])
    assert len(SEEN[0][1]) == 3


def test_a_function_of_shorts_sees_their_returns_as_shorts(make_prices, make_lookup):
    """It is called for each side, with negative returns for the short one."""
    inputs = inputs_of(make_prices, make_lookup)
    SEEN.clear()
    config = BacktestConfig(top_k=2, weights=named("record"), volatility_sessions=5, short="bottom", short_weight=0.5)
    run = run_backtest(replace(config, start=inputs.prices.days[10], tranches=True), inputs)
    picks, half_way = run.picks.picked_first(), len(SEEN) // 2
    names, returns = SEEN[half_way]
    columns = [inputs.prices.tickers.index(name) for name in names]
    close = inputs.prices.close[5:11, columns]
    assert returns.tolist() == (-(close[1:] / close[:-1] - 1)).tolist()
    first = picks.date == picks.date[0]
    assert picks.weight[first].tolist() == [0.5, 0.5, -0.25, -0.25]


def test_what_is_not_invested_stays_in_cash(make_prices, make_lookup):
    """A callable object may invest half of the capital."""
    inputs = inputs_of(make_prices, make_lookup)
    run = run_backtest(BacktestConfig(top_k=4, weights=named("half"), buy_fee=0.0, sell_fee=0.0), inputs)
    assert run.outcome.simulation.cash[0] == pytest.approx(50_000.0)


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_none_are_refused(make_prices, make_lookup, name):
    """In one line that names the function and the day, and says what it returned."""
    inputs = inputs_of(make_prices, make_lookup)
    with pytest.raises(InputError, match=f"test_weight_functions:{name} on 20") as refused:
        run_backtest(BacktestConfig(top_k=3, weights=named(name)), inputs)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["best", "encash.metrics:sharpe_ratio", "nowhere:weights", "encash.metrics:", "a:b:c", ":", ""]
)
def test_names_of_no_function_are_refused(text):
    """When the configuration is made, before anything is read."""
    with pytest.raises(InputError):
        BacktestConfig(weights=text)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the working folder."""
    path = tmp_path / "weights_of_mine.py"
    path.write_text("def equal(picks, returns):\n    return [1 / len(picks)] * len(picks)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "weights_of_mine", raising=False)
    return path


def test_the_source_of_a_function_is_part_of_the_identity(module, monkeypatch):
    """The configuration holds a hash of the module's file; a changed source is a different run."""
    first = BacktestConfig(weights="weights_of_mine:equal")
    assert first == BacktestConfig(weights=first.weights)
    assert from_description(BacktestConfig, describe(first), what="a run") == first
    module.write_text(module.read_text().replace("[1 /", "[0.5 /"))
    monkeypatch.delitem(sys.modules, "weights_of_mine")
    second = BacktestConfig(weights="weights_of_mine:equal")
    assert identity(first) != identity(second)
    assert first.weights.partition("@")[0] == second.weights.partition("@")[0] == "weights_of_mine:equal"
    with pytest.raises(MismatchError, match=r"source of weights_of_mine is now"):
        BacktestConfig(weights=first.weights)


def test_a_function_that_was_edited_after_its_import_is_refused(module):
    """Python still runs the old one, which is not the one that would be hashed; a reload runs the new one."""
    first = BacktestConfig(weights="weights_of_mine:equal")
    module.write_text(module.read_text().replace("[1 /", "[0.25 /"))
    with pytest.raises(MismatchError, match="has changed since Python imported it"):
        BacktestConfig(weights="weights_of_mine:equal")
    importlib.invalidate_caches()
    importlib.reload(sys.modules["weights_of_mine"])
    assert BacktestConfig(weights="weights_of_mine:equal").weights != first.weights


def test_functions_are_settings_of_a_grid(make_prices, make_lookup, module, tmp_path):
    """Each run of a sweep equals the single run, and a different source of the function makes a different run."""
    inputs = inputs_of(make_prices, make_lookup)
    base, grid = (
        {"top_k": 3},
        {"weights": ["equal", "inverse_vol", "weights_of_mine:equal"], "short": ["none", "bottom"]},
    )
    points = make_points(base, grid)
    found = run_sweep(points, inputs, tmp_path / "sweep", workers=1)
    assert found.runs == 6
    alone = [run_backtest(point.config, inputs).summary["sharpe"] for point in points]
    table = pq.read_table(found.table)
    assert table["sharpe"].to_pylist() == alone
    assert alone[4:] == alone[:2]
    assert run_sweep(points, inputs, tmp_path / "sweep", workers=1).computed == 0


def test_the_identity_of_earlier_settings_is_unchanged():
    """None of the settings of books is described unless it is used."""
    described = describe(BacktestConfig())
    assert described["format"] == 1
    assert not {"short", "groups", "group_neutral", "max_weight", "margin", "volume_sessions"} & described.keys()
    assert describe(BacktestConfig(max_weight=0.5))["format"] == 4
