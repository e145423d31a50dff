"""Each flag of the guide's commands against a reimplementation of what the guide says, which shares no code with ours.

The reimplementation reads the files of the guide and the arrays of the cluster model, and runs the model of the tests.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from encash.guide import analyze_clusters, backtest_simulation, cache_embeddings, create_clusters

from .conftest import LOOKBACK, Files, SeedModel, write_data, write_model

HORIZONS = (1, 5, 10, 20)


@dataclass(frozen=True)
class Stock:
    """One candidate of one day in the reimplementation."""

    ticker: str
    embedding: np.ndarray
    expected_return: float
    confidence: float


class Guide:
    """The guide's simulator, written from its documentation: no code of ours."""

    def __init__(self, data: Path, prices: Path, model: Path, midpoints: np.ndarray | None = None):
        self.prices: dict[str, dict[str, float]] = {}
        with h5py.File(prices, "r") as file:
            for ticker, group in file.items():
                self.prices[ticker] = dict(zip(group["dates"][:].astype(str), group["prices"][:].tolist(), strict=True))
        self.days = sorted({day for own in self.prices.values() for day in own})
        with h5py.File(data, "r") as file:
            self.rows = {ticker: (g["dates"][:].astype(str).tolist(), g["features"][:]) for ticker, g in file.items()}
        self.midpoints = midpoints
        self.known: dict[tuple[str, str], tuple[np.ndarray, np.ndarray, list[float]]] = {}
        self.model = SeedModel(4 if midpoints is None else 400).eval()
        self.model.load_state_dict(torch.load(model, weights_only=True)["model_state_dict"])

    def stock(self, ticker: str, day: str, horizon: int) -> Stock | None:
        """A candidate, or None without a price or a full window of finite rows."""
        dates, features = self.rows[ticker]
        if day not in self.prices[ticker] or day not in dates or dates.index(day) + 1 < LOOKBACK:
            return None
        end = dates.index(day) + 1
        window = features[end - LOOKBACK : end]
        if not np.isfinite(window).all():
            return None
        if (ticker, day) not in self.known:
            with torch.inference_mode():
                model, batch = self.model, torch.from_numpy(window)[None]
                mean = model.transformer(model.input_proj(batch) + model.pos_encoding[:, :LOOKBACK]).mean(dim=1)
                confidence = torch.sigmoid(model.confidence_head(mean))[0].tolist()
                self.known[ticker, day] = mean[0].numpy(), model.pred_head(mean)[0].numpy(), confidence
        embedding, outputs, confidence = self.known[ticker, day]
        at = HORIZONS.index(horizon)
        if self.midpoints is None:
            expected = float(outputs[at])
        else:
            logits = outputs.reshape(100, 4)[:, at].astype(float)
            chances = np.exp(logits - logits.max())
            expected = float(chances @ self.midpoints / chances.sum())
        return Stock(ticker, embedding, expected, confidence[at])

    def sold(self, ticker: str, bought: int, horizon: int) -> float:
        """The price `horizon` sessions later, else the next one, else the last one."""
        own = self.prices[ticker]
        later = [day for day in self.days[bought + horizon :] if day in own]
        return own[later[0]] if later else own[max(own)]

    def run(
        self,
        *,
        months: int = 4,
        horizon: int = 1,
        percentile: float = 0.03,
        top_k: int = 5,
        num_stocks: int = 2000,
        nearest: tuple[Path, str, float] | None = None,
    ) -> dict:
        """Every `horizon` sessions all capital goes in equal parts into the top k; 0.1% of the proceeds is lost."""
        first = max(0, len(self.days) - 21 * months)
        tickers = sorted(set(self.prices) & set(self.rows))[-num_stocks:]
        capital, trades = 100_000.0, []
        for row in range(first, len(self.days) - horizon, horizon):
            day = self.days[row]
            stocks = [one for ticker in tickers if (one := self.stock(ticker, day, horizon))]
            if nearest is not None:
                stocks = nearest_stocks(stocks, *nearest)
            if not stocks:
                continue
            threshold = sorted(one.confidence for one in stocks)[int(len(stocks) * percentile)]
            stocks = [one for one in stocks if one.confidence >= threshold]
            stocks.sort(key=lambda one: -one.expected_return * one.confidence)
            parts = []
            for one in stocks[:top_k]:
                growth = self.sold(one.ticker, row, horizon) / self.prices[one.ticker][day]
                parts.append((one.ticker, growth))
            invested, capital = capital, capital / len(parts) * sum(growth for _, growth in parts) * (1 - 0.001)
            trades.append((day, parts, (capital / invested - 1) * 100, capital))
        return {"final_capital": capital, "trades": trades}


def nearest_stocks(stocks: list[Stock], folder: Path, best: str, share: float) -> list[Stock]:
    """The share of the stocks nearest to any best centroid, rounded down, but at least one."""
    model = np.load(folder / "clusters.npz")
    ids = [int(line) for line in (folder / best).read_text().splitlines() if line and not line.startswith("#")]
    centroids = model["centroids"][ids].astype(float)

    def distance(one: Stock) -> float:
        standard = (one.embedding.astype(float) - model["mean"]) / model["scale"]
        return float(np.sqrt(np.square(standard - centroids).sum(axis=1)).min())

    return sorted(stocks, key=distance)[: max(1, int(len(stocks) * share))]


@pytest.fixture(scope="module")
def guide(files: Files) -> Guide:
    return Guide(files.data, files.prices, files.model)


def simulate(files: Files, *flags: str) -> int:
    where = ["--data", str(files.data), "--prices", str(files.prices), "--model", str(files.model)]
    return backtest_simulation.main([*where, *flags])


def result_of(path: Path) -> dict:
    found = torch.load(path, weights_only=True)
    assert type(found) is dict
    return found


def check(found: dict, expected: dict) -> None:
    """Same days, stocks, returns and capital."""
    trades = found["trade_history"]
    assert [trade["date"] for trade in trades] == [day for day, *_ in expected["trades"]]
    for trade, (_, parts, percent, capital) in zip(trades, expected["trades"], strict=True):
        assert [stock["ticker"] for stock in trade["stocks"]] == [ticker for ticker, _ in parts]
        assert [stock["actual_return"] for stock in trade["stocks"]] == pytest.approx([growth for _, growth in parts])
        assert trade["return_pct"] == pytest.approx(percent, abs=1e-9)
        assert trade["capital_returned"] == pytest.approx(capital)
    assert found["final_capital"] == pytest.approx(expected["final_capital"])


CASES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "all defaults": ([], {}),
    "0.6 keeps the top 40%": (["--confidence-percentile", "0.6"], {"percentile": 0.6}),
    "the threshold is that of place int(n p)": (["--confidence-percentile", "0.29"], {"percentile": 0.29}),
    "five sessions": (["--horizon-idx", "1"], {"horizon": 5}),
    "twenty sessions, six months": (["--horizon-idx", "3", "--test-months", "6"], {"horizon": 20, "months": 6}),
    "the last stocks by name": (["--num-test-stocks", "5", "--top-k", "2"], {"num_stocks": 5, "top_k": 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_flags_without_a_cluster_folder(case, files, guide, tmp_path, monkeypatch, capsys):
    """Defaults, fraction of confidence, horizon, months and universe: the trades of the reimplementation, and one line
    that there is no filter."""
    monkeypatch.chdir(tmp_path)
    flags, meant = CASES[case]
    assert simulate(files, *flags, "--output", "backtest_results.pt") == 0
    assert "there is no folder cluster_results: without a cluster filter" in capsys.readouterr().err
    check(result_of(Path("backtest_results.pt")), guide.run(**meant))


NEAREST = {
    "the defaults filter": ([], 0.03, 0.03),
    "half": (["--cluster-top-k-percent", "0.5"], 0.5, 0.03),
    "rounded down": (["--cluster-top-k-percent", "0.4"], 0.4, 0.03),
    "confidence of the kept": (["--cluster-top-k-percent", "0.7", "--confidence-percentile", "0.5"], 0.7, 0.5),
}


@pytest.mark.parametrize("case", NEAREST)
def test_the_nearest_filter_of_the_default_folder(case, files, guide, tmp_path, monkeypatch):
    """cluster_results and its best clusters of one session are used without a flag; max(1, floor(share n)) are kept."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(files.clusters, "cluster_results")
    flags, share, percentile = NEAREST[case]
    assert simulate(files, *flags, "--output", "out.pt") == 0
    found, best = result_of(Path("out.pt")), "best_clusters_1d.txt"
    check(found, guide.run(percentile=percentile, nearest=(Path("cluster_results"), best, share)))
    if share == 0.03:
        assert {trade["num_stocks"] for trade in found["trade_history"]} == {1}


def test_the_best_clusters_of_another_horizon_are_used_and_announced(files, guide, tmp_path, capsys):
    """The guide's line names those of 5 sessions and holds for 1: it runs, and says so; the default file stays that of
    one session whatever the horizon."""
    out, named = tmp_path / "out.pt", ["--cluster-dir", str(files.clusters), "--cluster-top-k-percent", "0.5"]
    assert simulate(files, *named, "--best-clusters-file", str(files.best), "--output", str(out)) == 0
    assert "are those of horizon 5, this run has horizon 1" in capsys.readouterr().err
    check(result_of(out), guide.run(nearest=(files.clusters, "best_clusters_5d.txt", 0.5)))
    assert simulate(files, *named, "--horizon-idx", "1", "--output", str(out)) == 0
    assert "are those of horizon 1, this run has horizon 5" in capsys.readouterr().err
    check(result_of(out), guide.run(horizon=5, nearest=(files.clusters, "best_clusters_1d.txt", 0.5)))


@pytest.mark.parametrize("horizon_idx", [0, 1])
def test_more_months_than_the_data_use_all_of_it_and_say_so(horizon_idx, tmp_path, capsys):
    """Nine months of 130 sessions: the trades of a run over all sessions, those before the first window left out."""
    write_data(tmp_path, num_days=130)
    files = Files(tmp_path)
    write_model(files.model)
    with h5py.File(files.data, "a") as data, h5py.File(files.prices, "a") as prices:
        for ticker in ("S01", "S04"):  # listed too late for a window, and with a NaN
            del data[ticker], prices[ticker]
    out = tmp_path / "out.pt"
    flags = ["--filter", "none", "--test-months", "9", "--horizon-idx", str(horizon_idx), "--output", str(out)]
    assert simulate(files, *flags) == 0
    assert "9 months are 189 sessions; the prices have 130" in capsys.readouterr().err
    horizon = HORIZONS[horizon_idx]
    expected = Guide(files.data, files.prices, files.model).run(months=9, horizon=horizon)
    assert len(expected["trades"]) == (129 - 60) // horizon + (horizon == 1)
    check(result_of(out), expected)


@pytest.mark.parametrize(("value", "fraction"), [("60", "0.6"), ("1", "0.6"), ("3", "0.6"), ("-0.1", "0.6")])
def test_a_percentage_of_confidence_is_refused_with_the_unit(value, fraction, files, capsys):
    """`encash backtest` and the guide's command take a fraction, and say so."""
    from encash.cli import main

    command = ["backtest", "--data", str(files.data), "--prices", str(files.prices), "--model", str(files.model)]
    for run in (lambda flag: simulate(files, flag), lambda flag: main([*command, flag])):
        assert run(f"--confidence-percentile={value}") == 2
        error = capsys.readouterr().err
        assert "a fraction in [0, 1)" in error
        assert f"60 percent is {fraction}" in error


def test_a_percentage_of_the_nearest_is_refused_with_the_unit(files, capsys):
    """3 may be 3% or an error: neither is guessed."""
    for value in ("3", "0", "-0.1"):
        assert simulate(files, f"--cluster-top-k-percent={value}", "--cluster-dir", str(files.clusters)) == 2
        assert "3 percent is 0.03" in capsys.readouterr().err


@pytest.mark.parametrize(("clean", "plain"), [(True, True), (False, True)])
def test_the_default_prices_are_the_clean_ones_else_the_others(clean, plain, files, tmp_path, monkeypatch, capsys):
    """actual_prices_clean.h5, and one line if actual_prices.h5 takes its place."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    shutil.copy(files.prices, f"data/actual_prices{'_clean' * clean}.h5")
    if clean:
        Path("data/actual_prices.h5").write_text("not read")
    where = ["--data", str(files.data), "--model", str(files.model), "--output", "out"]
    assert backtest_simulation.main(where) == 0
    assert ("prices are those of data/actual_prices.h5" in capsys.readouterr().err) != clean


def test_the_result_file_has_the_keys_and_units_of_the_guide(files, tmp_path, capsys):
    """Every figure follows from the trades by the guide's formulas, and the run folder is beside the file."""
    out = tmp_path / "backtest_results.pt"
    flags = ["--filter", "none", "--horizon-idx", "1", "--output", str(out), "--json"]
    assert simulate(files, *flags) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["output"] == str(out)
    assert told["run_dir"] == str(tmp_path / "backtest_results")
    assert (tmp_path / "backtest_results" / "ledger.csv").is_file()
    found = result_of(out)
    history, returns = found["capital_history"], np.array(found["daily_returns"])
    assert history[0] == found["initial_capital"] == 100_000.0
    assert history[-1] == pytest.approx(found["final_capital"])
    assert found["final_capital"] == told["final_capital"]
    assert returns == pytest.approx(np.array([later / before - 1 for before, later in pairwise(history)]) * 100)
    assert found["num_trades"] == len(found["trade_history"]) == len(returns)
    assert found["total_return_pct"] == pytest.approx((history[-1] / history[0] - 1) * 100)
    assert found["win_rate"] == pytest.approx((returns > 0).mean() * 100)
    assert (found["avg_return_pct"], found["std_return_pct"]) == pytest.approx((returns.mean(), returns.std()))
    assert found["sharpe_ratio"] == pytest.approx(returns.mean() / returns.std() * np.sqrt(252 / 5))
    deepest = max((max(history[: at + 1]) - value) / max(history[: at + 1]) for at, value in enumerate(history))
    assert found["max_drawdown_pct"] == pytest.approx(deepest * 100)


def test_torch_is_imported_only_for_a_torch_file_and_a_folder_in_its_place_is_refused(cache, files, tmp_path, capsys):
    """A cached run with --output x.json imports no torch; a folder x.pt is not overwritten."""
    script = (
        "import sys; from inference.backtest_simulation import main\n"
        "code = main(sys.argv[1:]); sys.exit(code or ('torch' in sys.modules) * 9)"
    )
    command = files.backtest_command(cache)[:-2]
    flags = [*command, "--test-months", "2", "--output", str(tmp_path / "x.json"), "--quiet"]
    done = subprocess.run([sys.executable, "-c", script, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "x.json").read_text())["hits"] > 0
    (tmp_path / "old.pt").mkdir()
    assert backtest_simulation.main([*command, "--output", str(tmp_path / "old.pt")]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_an_ensemble_replaces_the_model(files, tmp_path, capsys):
    """--ensemble-models A B is the mean of A and B, without --model, as in the guide."""
    other = write_model(tmp_path / "other.pt", seed=5)
    out = tmp_path / "out.pt"
    flags = ["--filter", "none", "--test-months", "2", "--output", str(out), "--top-k", "12"]
    assert simulate(files, *flags, "--ensemble-models", str(files.model), str(other)) == 0
    assert f"the ensemble is {files.model}, {other}" in capsys.readouterr().err
    members = [Guide(files.data, files.prices, model) for model in (files.model, other)]
    for trade in result_of(out)["trade_history"]:
        for stock in trade["stocks"]:
            ones = [one for member in members if (one := member.stock(stock["ticker"], trade["date"], 1))]
            assert stock["expected_return"] == pytest.approx(np.mean([one.expected_return for one in ones]), abs=1e-5)
            assert stock["confidence"] == pytest.approx(np.mean([one.confidence for one in ones]), abs=1e-5)


def test_flags_without_effect_are_named(files, tmp_path, capsys):
    """They decide no result, and are not accepted in silence."""
    out = str(tmp_path / "out")
    assert simulate(files, "--filter", "none", "--compile", "--no-preload", "--test-months", "1", "--output", out) == 0
    assert "without effect here: --compile, --no-preload" in capsys.readouterr().err


RETURNS = np.linspace(-0.2, 0.3, 101)
EDGES = {"return": RETURNS, "ratio": 1 + RETURNS, "percent": 100 * RETURNS}


@pytest.mark.parametrize("unit", EDGES)
@pytest.mark.parametrize("place", ["flag", "checkpoint", "beside the model", "beside the data"])
def test_bin_edges_in_every_unit_forecast_the_same_returns(unit, place, files, tmp_path, capsys):
    """Wherever the edges come from: ratios and returns are told apart, percentages are refused without their unit, and
    the forecast is the return of the reimplementation; a cache built with a unit serves runs without the flag."""
    model = write_model(tmp_path / "model.pt", mode="classification")
    edges, flags = torch.from_numpy(EDGES[unit]), []
    data = shutil.copy(files.data, tmp_path / "data" if place == "beside the data" else tmp_path / "data.h5")
    if place == "beside the data":
        (folder := tmp_path / "there").mkdir()
        data = shutil.move(data, folder / "data.h5")
        torch.save(edges, folder / "adaptive_bin_edges.pt")
    elif place == "checkpoint":
        torch.save({**torch.load(model, weights_only=True), "bin_edges": edges}, model)
    else:
        torch.save(edges, path := tmp_path / ("edges.pt" if place == "flag" else "adaptive_bin_edges.pt"))
        flags = ["--bin-edges", str(path)] if place == "flag" else []
    cache, out = str(tmp_path / "cache.h5"), tmp_path / "out.pt"
    build = [
        "--model-path",
        str(model),
        "--dataset-path",
        str(data),
        "--output-path",
        cache,
        "--num-months",
        "2",
        *flags,
    ]
    if unit == "percent":
        assert cache_embeddings.main(build) == 2
        assert "--bin-unit percent" in capsys.readouterr().err
        flags = [*flags, "--bin-unit", "percent"]
        build += ["--bin-unit", "percent"]
    assert cache_embeddings.main(build) == 0
    run = ["--data", str(data), "--prices", str(files.prices), "--model", str(model), "--filter", "none"]
    run += [
        "--test-months",
        "3",
        "--top-k",
        "12",
        "--output",
        str(out),
    ]  # a month more than the cache: some are encoded
    for more in (["--embeddings-cache", cache], flags):
        capsys.readouterr()
        assert backtest_simulation.main([*run, *(flags if place == "flag" else []), *more]) == 0
        assert f"bin edges are read as {unit}s; forecasts are returns" in capsys.readouterr().err
        guide = Guide(files.data, files.prices, model, (RETURNS[1:] + RETURNS[:-1]) / 2)
        trades = result_of(out)["trade_history"]
        assert len(trades) == 62
        for trade in trades[::6]:
            for stock in trade["stocks"]:
                one = guide.stock(stock["ticker"], trade["date"], 1)
                assert one is not None
                assert stock["expected_return"] == pytest.approx(one.expected_return, abs=1e-6)


def test_a_unit_that_contradicts_the_edges_is_refused(files, tmp_path, capsys):
    """Percentages named returns are a loss of more than everything: the flag does not let them pass either."""
    model = write_model(tmp_path / "model.pt", mode="classification")
    torch.save(torch.from_numpy(EDGES["percent"]), edges := tmp_path / "edges.pt")
    command = ["--data", str(files.data), "--prices", str(files.prices), "--model", str(model), "--filter", "none"]
    assert backtest_simulation.main([*command, "--bin-edges", str(edges), "--bin-unit", "return"]) == 2
    assert "cannot be in the unit 'return'" in capsys.readouterr().err


def test_clusters_are_standardized_with_and_without_the_flag(files, tmp_path):
    """The model of the guide's command scales each dimension to deviation 1 over the fitted entries; only the new
    --no-standardize does not."""
    where = ["--model-path", str(files.model), "--dataset-path", str(files.data), "--n-clusters", "3", "--quiet"]
    found = {}
    for flag in ("", "--standardize", "--no-standardize"):
        folder = tmp_path / (flag or "none")
        assert create_clusters.main([*where, "--output-dir", str(folder), *([flag] if flag else [])]) == 0
        found[flag] = {name: array.copy() for name, array in np.load(folder / "clusters.npz").items()}
    assert all((found[""][name] == found["--standardize"][name]).all() for name in found[""])
    assert (found["--no-standardize"]["scale"] == 1).all()
    guide = Guide(files.data, files.prices, files.model)
    assignments = tmp_path / "none" / "assignments" / "sample"
    days, cluster = np.load(assignments / "days.npy"), np.load(assignments / "cluster.npy")
    tickers = np.load(assignments / "tickers.npy").astype(str).tolist()
    vectors = [
        one.embedding
        for row, column in zip(*np.nonzero(cluster >= 0), strict=True)
        if (one := guide.stock(tickers[column], str(days[row].astype("M8[D]")), 1))
    ]
    assert len(vectors) == (cluster >= 0).sum()
    np.testing.assert_allclose(found[""]["scale"], np.std(vectors, axis=0), rtol=1e-4)


def ranked(folder: Path, horizon: int = 1) -> tuple[list[int], list[int]]:
    """The order of the clusters in the table, and the best ones."""
    table = (folder / f"cluster_ranking_{horizon}d.csv").read_text().splitlines()[1:]
    best = (folder / f"best_clusters_{horizon}d.txt").read_text().splitlines()
    return [int(line.split(",")[0]) for line in table], [int(line) for line in best if not line.startswith("#")]


def test_coverage_counts_distinct_tickers(files, tmp_path, capsys):
    """Best clusters first, until they hold an entry of the fraction of all tickers; each ticker counts once."""
    command = ["--cluster-dir", str(files.clusters), "--prices-path", str(files.prices), "--horizons", "1"]
    sample = files.clusters / "assignments" / "sample"
    cluster = np.load(sample / "cluster.npy")
    for coverage in (None, 0.05, 0.5, 0.92, 1.0):
        folder = tmp_path / str(coverage)
        flags = [] if coverage is None else ["--top-k-percent-coverage", str(coverage)]
        assert analyze_clusters.main([*command, "--output-dir", str(folder), *flags]) == 0
        order, best = ranked(folder)
        tickers: set[int] = set()
        expected: list[int] = []
        for one in order:
            if len(tickers) >= (0.1 if coverage is None else coverage) * cluster.shape[1]:
                break
            tickers |= set(np.flatnonzero((cluster == one).any(axis=0)).tolist())
            expected.append(one)
        assert best == expected
    assert analyze_clusters.main([*command, "--top-k-percent-coverage", "10"]) == 2
    assert "10 percent is 0.1" in capsys.readouterr().err


def test_rules_beside_the_coverage_hold_and_are_announced(files, tmp_path, capsys):
    """The guide ignores --top-k and --min-… beside a coverage; here they hold, in one line at run time."""
    command = ["--cluster-dir", str(files.clusters), "--prices-path", str(files.prices), "--horizons", "1"]
    command += ["--output-dir", str(tmp_path)]
    assert analyze_clusters.main([*command, "--top-k", "3"]) == 0
    assert "--top-k must hold without a coverage; in the guide's version" in capsys.readouterr().err
    order, best = ranked(tmp_path)
    assert best == order[:3]
    table = [line.split(",") for line in (tmp_path / "cluster_ranking_1d.csv").read_text().splitlines()]
    rates = {int(row[0]): float(row[table[0].index("win_rate")]) for row in table[1:]}
    least = sorted(rates.values())[-2]
    assert analyze_clusters.main([*command, "--min-win-rate", str(least), "--top-k-percent-coverage", "1"]) == 0
    assert "--min-win-rate must hold in addition to the coverage of 1;" in capsys.readouterr().err
    assert ranked(tmp_path)[1] == [one for one in order if rates[one] >= least]


def test_what_differs_on_purpose_is_announced_and_in_the_json(files, tmp_path, capsys):
    """Each command says in a line what the guide's version does otherwise, on stderr and under `warnings`."""
    where = ["--model-path", str(files.model), "--dataset-path", str(files.data)]
    made = ["--n-clusters", "3", "--output-dir", str(tmp_path / "c"), "--json"]
    assert create_clusters.main([*where, *made]) == 0
    output = capsys.readouterr()
    assert "held out for the backtest (--holdout-months)" in output.err
    assert any("held out" in line for line in json.loads(output.out)["warnings"])
    ranking = ["--cluster-dir", str(tmp_path / "c"), "--prices-path", str(files.prices), "--json"]
    assert analyze_clusters.main(ranking) == 0
    output = capsys.readouterr()
    assert "returns that ended before the last 6 months" in output.err
    assert json.loads(output.out)["warnings"]
    assert simulate(files, "--cluster-dir", str(tmp_path / "c"), "--output", str(tmp_path / "r"), "--json") == 0
    output = capsys.readouterr()
    assert "the score is expected return × confidence" in output.err
    assert "filter: the 0.03 of the day's candidates nearest to the best clusters" in output.err
    assert len(json.loads(output.out)["warnings"]) >= 2


def test_the_hard_filter_is_a_name_away(files, guide, tmp_path):
    """--filter hard keeps the stocks in the best clusters, as the guide's version without a share does."""
    out = tmp_path / "out.pt"
    flags = ["--cluster-dir", str(files.clusters), "--filter", "hard", "--top-k", "12", "--confidence-percentile", "0"]
    assert simulate(files, *flags, "--output", str(out)) == 0
    model = np.load(files.clusters / "clusters.npz")
    best = set(ranked(files.clusters)[1])
    found = {trade["date"]: {stock["ticker"] for stock in trade["stocks"]} for trade in result_of(out)["trade_history"]}
    for day in guide.days[-84:-1]:
        expected = set()
        for ticker in guide.rows:
            if (one := guide.stock(ticker, day, 1)) is not None:
                standard = (one.embedding - model["mean"]) / model["scale"]
                nearest = int(np.square(standard - model["centroids"]).sum(axis=1).argmin())
                expected |= {ticker} if nearest in best else set()
        assert found.get(day, set()) == expected


def test_default_clusters_of_another_model_are_left_out_and_asked_ones_refused(files, tmp_path, monkeypatch, capsys):
    """The guide's lines of a second model run beside the clusters of the first, and say that they are not used."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(files.clusters, "cluster_results")
    where = [
        "--data",
        str(files.data),
        "--prices",
        str(files.prices),
        "--model",
        str(write_model(Path("v1.pt"), seed=4)),
    ]
    assert backtest_simulation.main([*where, "--output", "out.pt"]) == 0
    assert "of a different model: without a cluster filter" in capsys.readouterr().err
    check(result_of(Path("out.pt")), Guide(files.data, files.prices, Path("v1.pt")).run())
    assert backtest_simulation.main([*where, "--cluster-dir", "cluster_results"]) == 2
    assert "different encoder" in capsys.readouterr().err


def test_unranked_clusters_name_the_command_that_ranks_them(files, tmp_path, capsys):
    """The guide's own command, not ours."""
    folder = tmp_path / "c"
    shutil.copytree(files.clusters, folder)
    (folder / "best_clusters_1d.txt").unlink()
    assert simulate(files, "--cluster-dir", str(folder)) == 2
    assert "python -m cluster.analyze_clusters" in capsys.readouterr().err


def test_best_clusters_are_dated_by_their_own_ranking(files, tmp_path, capsys):
    """Best clusters ranked for 20 sessions up to today are refused in a run over 1 session, whose own ranking ended
    earlier."""
    folder = tmp_path / "c"
    shutil.copytree(files.clusters, folder)
    late = [
        "--cluster-dir",
        str(folder),
        "--prices-path",
        str(files.prices),
        "--horizons",
        "20",
        "--holdout-months",
        "1",
    ]
    assert analyze_clusters.main(late) == 0
    best = ["--best-clusters-file", str(folder / "best_clusters_20d.txt")]
    assert simulate(files, "--cluster-dir", str(folder), *best) == 2
    assert "with an embargo of 20 sessions" in capsys.readouterr().err
