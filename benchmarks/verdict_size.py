"""``python -m benchmarks.verdict_size``: how often verdict and standard errors are wrong → benchmarks/VERDICT.md.

Null worlds have no skill, so a 5% test should reject in 5% of the seeds. The functions are those of the package, on
arrays: 200 stocks, 1,500 sessions, a rebalance of the 5 highest of random forecasts every 5 sessions, a filter that
keeps one of 8 clusters, 59 random filters per seed. Same seeds, same file; some minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import NormalDist

import numpy as np

from encash import metrics
from encash.arrays import Bool, Float64
from encash.backtest.evaluation.persistent_draws import persistent_filters, volatility_strata
from encash.backtest.evaluation.random_filter_test import LEVEL, alpha_statistics, permutation_p
from encash.backtest.evaluation.selection import equal
from encash.significance import CRITICAL, mean_of, sharpe_of

RESULTS = Path(__file__).with_name("VERDICT.md")
HORIZON, CLUSTERS, TOP_K, DRAWS = 5, 8, 5, 59
WORLDS = {
    "iid": "each stock is in a different cluster at each rebalance",
    "persistent": "a stock changes its cluster with probability 2% per rebalance",
    "sector": "clusters are sectors with returns of their own (1% a session)",
    "volatility": "clusters sorted by volatility (0.8% to 4% a session); the highest is kept",
    "beta": "clusters sorted by beta (0.5 to 1.5), market at +20% a year; the highest is kept",
    "drift": "persistent clusters; each stock has a drift of its own (deviation 3% a year)",
}

LOG_WORLDS = ("iid", "persistent", "volatility", "beta")
"""Worlds whose stocks may have mean returns that differ by their volatility if log returns are symmetric."""


@dataclass(frozen=True, kw_only=True)
class World:
    returns: Float64
    """shape (S, N)."""
    kept: Bool
    """shape (R, N)."""
    forecast: Float64
    """shape (R, N)."""


def make_world(name: str, seed: int, *, edge: float = 0.0, log: bool = False, stocks=200, sessions=1500) -> World:
    """Draw one world; `edge` is added to each return of a kept stock, `log` makes log returns symmetric."""
    rng = np.random.default_rng([seed, *name.encode()])
    rebalances, order = sessions // HORIZON, np.arange(stocks)
    beta = np.linspace(0.5, 1.5, stocks) if name == "beta" else np.ones(stocks)
    volatility = np.geomspace(0.008, 0.04, stocks) if name == "volatility" else np.full(stocks, 0.02)
    market = rng.normal(0.2 / 252 if name == "beta" else 0.0, 0.01, (sessions, 1))
    returns = beta * market + volatility * rng.standard_normal((sessions, stocks))
    cluster = np.tile(order * CLUSTERS // stocks, (rebalances, 1))
    if name == "sector":
        returns += rng.normal(0.0, 0.01, (sessions, CLUSTERS))[:, cluster[0]]
    elif name == "iid":
        cluster = rng.integers(0, CLUSTERS, cluster.shape)
    elif name in ("persistent", "drift"):
        cluster[0] = rng.permutation(cluster[0])
        for row in range(1, rebalances):
            moves = rng.random(stocks) < 0.02
            cluster[row] = np.where(moves, rng.integers(0, CLUSTERS, stocks), cluster[row - 1])
    if name == "drift":
        returns += rng.normal(0.0, 0.03 / 252, stocks)
    kept = cluster == CLUSTERS - 1
    returns = np.expm1(returns) if log else returns
    returns += edge * np.repeat(kept, HORIZON, axis=0)
    return World(returns=returns, kept=kept, forecast=rng.standard_normal(cluster.shape))


def measure_world(world: World, *, draws: int = DRAWS, seed: int = 0) -> dict[str, float]:
    """Return the p of each test of one world."""
    benchmark = world.returns.mean(axis=1)
    in_order = np.argsort(-world.forecast, axis=1)  # of each rebalance, the best forecast first
    by_rebalance = world.returns.reshape(len(in_order), HORIZON, -1)
    returns = np.take_along_axis(by_rebalance, in_order[:, None, :], axis=2)
    masks = persistent_filters(
        world.kept, np.ones_like(world.kept), volatility_strata(world.returns), draws=draws, seed=seed
    )
    runs, kept = np.empty((2, draws + 1, len(benchmark)))
    for number, mask in enumerate(chain([world.kept], masks)):
        ranked = np.take_along_axis(mask, in_order, axis=1)
        picked = ranked & (np.cumsum(ranked, axis=1, dtype=np.int16) <= TOP_K)
        for held, into in ((picked, runs), (ranked, kept)):
            into[number] = np.matmul(returns, equal(held)[:, :, None]).ravel()
    statistics = np.column_stack(
        [alpha_statistics(series, benchmark) for series in (runs - runs.mean(axis=0), kept - benchmark)]
    )
    redrawn = np.concatenate([runs[:1], _redrawn(by_rebalance, draws, seed)])
    return {
        "capital, redrawn": permutation_p(np.log1p(redrawn).sum(axis=1)[:, None])[0],
        "capital, permuted": permutation_p(np.log1p(runs).sum(axis=1)[:, None])[0],
        "t of the run": 1.0 - NormalDist().cdf(float(statistics[0, 0])),
        "run": permutation_p(statistics[:, :1])[0],
        "kept": permutation_p(statistics[:, 1:])[0],
        "**printed p**": permutation_p(statistics)[0],
    }


def _redrawn(by_rebalance: Float64, draws: int, seed: int) -> Float64:
    """Return the runs of filters drawn anew at each rebalance, the null of earlier versions; shape (draws, S).

    The best forecasts among stocks drawn at random are stocks drawn at random.
    """
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, by_rebalance.shape[2], (draws, len(by_rebalance), TOP_K))
    rebalance, session = np.arange(len(by_rebalance))[:, None, None], np.arange(HORIZON)[None, :, None]
    return np.array([by_rebalance[rebalance, session, one[:, None, :]].mean(axis=2).ravel() for one in picks])


def rejections(name: str, seeds: int, *, first: int = 0, draws: int = DRAWS, **options) -> dict[str, float]:
    """Return the share of the seeds in which each test rejects at 5%; options are those of `make_world`."""
    every = range(first, first + seeds)
    found = [measure_world(make_world(name, seed, **options), draws=draws, seed=seed) for seed in every]
    return {test: float(np.mean([one[test] <= LEVEL for one in found])) for test in found[0]}


def mean_rejections(sessions: int, horizon: int, seeds: int) -> dict[str, float]:
    """Return how often two-sided 5% tests of the mean of overlapping sums of noise reject: 100% − coverage."""
    rng = np.random.default_rng([sessions, horizon])
    tests: dict[str, Callable[[Float64], float]] = {
        "Newey–West": lambda series: metrics.newey_west_t(series, 2 * (horizon - 1)),
        "Hansen–Hodrick": lambda series: hansen_hodrick_t(series, horizon - 1),
        "Ibragimov–Müller": lambda series: ibragimov_mueller_t(series, 8),
        "**ours**": lambda series: mean_of(series, horizon).t,
    }
    count, block = dict.fromkeys([*tests, "block bootstrap"], 0), max(2 * horizon, round(sessions ** (1 / 3)))
    for seed in range(seeds):
        series = np.convolve(rng.standard_normal(sessions + horizon - 1), np.ones(horizon), mode="valid")
        for name, test in tests.items():
            count[name] += abs(test(series)) > CRITICAL
        low, high = metrics.block_bootstrap(series, _mean_of_rows, block=block, draws=200, seed=seed)
        count["block bootstrap"] += not low <= 0.0 <= high
    return {name: hits / seeds for name, hits in count.items()}


def sharpe_coverage(sessions: int, seeds: int) -> dict[str, float]:
    """Return how often 95% intervals hold the Sharpe ratio of fat-tailed returns (Student's t of 5 degrees)."""
    rng, true = np.random.default_rng(sessions), 0.05
    inside = {"**ours**": 0, "block bootstrap": 0}
    for seed in range(seeds):
        returns = 0.01 * (true + rng.standard_t(5, sessions) / np.sqrt(5 / 3))
        low, high = sharpe_of(returns).interval()
        inside["**ours**"] += low <= true <= high
        low, high = metrics.block_bootstrap(returns, _sharpe_of_rows, block=10, draws=200, seed=seed)
        inside["block bootstrap"] += low <= true <= high
    return {name: hits / seeds for name, hits in inside.items()}


def _mean_of_rows(rows: Float64) -> Float64:
    return rows.mean(axis=1)


def _sharpe_of_rows(rows: Float64) -> Float64:
    return rows.mean(axis=1) / rows.std(axis=1, ddof=1)


def hansen_hodrick_t(series: Float64, lags: int) -> float:
    """Return the t of Hansen and Hodrick (1980), equal weights of all lags; 0 if the variance is negative."""
    centered = series - series.mean()
    variance = centered @ centered + 2.0 * sum(centered[lag:] @ centered[:-lag] for lag in range(1, lags + 1))
    return float(series.mean() * len(series) / np.sqrt(variance)) if variance > 0 else 0.0


def ibragimov_mueller_t(series: Float64, blocks: int) -> float:
    """Return the t of the means of some blocks (Ibragimov and Müller 2010), scaled as `Estimate.t`."""
    means = np.array([part.mean() for part in np.array_split(series, blocks)])
    return float(means.mean() / means.std(ddof=1) * np.sqrt(blocks) * CRITICAL / 2.365)  # t of 7 degrees


def table(head: str, rows: dict[str, dict[str, float]]) -> str:
    """Return shares as a Markdown table in percent."""
    columns = list(next(iter(rows.values())))
    lines = [f"| {head} | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    lines += [f"| {name} | {' | '.join(f'{100 * row[key]:.1f}' for key in columns)} |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"


def _by_luck(seeds: int) -> str:
    """Format the 95% interval of the share of seeds in which a test that holds its size rejects."""
    spread = CRITICAL * (LEVEL * (1 - LEVEL) / seeds) ** 0.5
    return f"{100 * (LEVEL - spread):.1f} and {100 * (LEVEL + spread):.1f}"


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdict_size")
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments, start = parser.parse_args(), time.perf_counter()
    seeds = arguments.seeds
    lengths = {126: "half a year", 252: "1 year", 756: "3 years", 1512: "6 years"}
    parts = [
        "# Size and power of the verdict",
        f"`python -m benchmarks.verdict_size --seeds {seeds}` writes this in one run, in percent: power and "
        f"log returns with {seeds // 3} seeds, the series below with {4 * seeds // 3}. By luck, 5% is between "
        f"{_by_luck(seeds)} in {seeds} seeds (95%), between {_by_luck(seeds // 3)} in {seeds // 3}, and between "
        f"{_by_luck(4 * seeds // 3)} in {4 * seeds // 3}. Worlds:",
        "\n".join(f"- {name}: {meaning}" for name, meaning in WORLDS.items()),
        "## Rejections of a 5% test without skill, simple returns",
    ]

    def add(*texts: str) -> None:
        parts.extend(texts)
        arguments.out.write_text("\n\n".join(part.rstrip("\n") for part in parts) + "\n", encoding="utf-8")
        print(f"{time.perf_counter() - start:.0f} s\n{texts[-1]}", flush=True)

    add(table("world", {name: rejections(name, seeds) for name in WORLDS}))
    small = rejections("persistent", 2 * seeds, draws=39, first=2000, stocks=80, sessions=500)
    add(table("80 stocks × 500 sessions, 39 random filters", {f"persistent, {2 * seeds} seeds": small}))
    sizes = {
        f"{text}, horizon {horizon}": mean_rejections(sessions, horizon, 4 * seeds // 3)
        for sessions, text in lengths.items()
        for horizon in (1, 5, 10, 20)
    }
    add("## Rejections of a true mean of overlapping returns at 5%", table("series", sizes))
    covered = {text: sharpe_coverage(sessions, 4 * seeds // 3) for sessions, text in lengths.items()}
    add("## Coverage of 95% intervals of the Sharpe ratio, fat tails", table("length", covered))
    power = {f"{edge} bp": rejections("persistent", seeds // 3, edge=edge / 1e4) for edge in (2, 5, 10, 20)}
    add("## Power: an edge per session of the kept stocks, persistent clusters", table("edge", power))
    add(
        "## Rejections without skill, symmetric log returns",
        table("world", {name: rejections(name, seeds // 3, log=True) for name in LOG_WORLDS}),
    )


if __name__ == "__main__":
    main()
