"""``python -m benchmarks.agreement``: our figures beside those of other libraries → benchmarks/AGREEMENT.md.

A library that is not installed is left out, and named. quantstats brings clients of web services, so it is in no extra;
a test pins its figures.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from encash import metrics
from encash.backtest.evaluation.overfitting import judge
from encash.significance import regress

RESULTS = Path(__file__).with_name("AGREEMENT.md")
Row = tuple[str, float, float]
"""Figure with its conversion, our value, their value."""
PLACE = np.arange(500.0)
BENCHMARK = 0.0004 + 0.009 * np.sin(1.7 * PLACE) + 0.006 * np.cos(0.31 * PLACE**2)
RETURNS = 0.0002 + 0.7 * BENCHMARK + 0.008 * np.sin(2.9 * PLACE + 0.01 * PLACE**2)
EQUITY = 100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + RETURNS]))


def empyrical(library: Any) -> Iterator[Row]:
    """Compare figures of daily returns."""
    line = metrics.alpha_beta(RETURNS, BENCHMARK)
    yield "total return", metrics.total_return(EQUITY), library.cum_returns_final(RETURNS)
    yield "CAGR", metrics.cagr(EQUITY), library.annual_return(RETURNS)
    yield "volatility", metrics.volatility(RETURNS), library.annual_volatility(RETURNS)
    yield "Sharpe ratio", metrics.sharpe(RETURNS), library.sharpe_ratio(RETURNS)
    yield "Sortino ratio", metrics.sortino(RETURNS), library.sortino_ratio(RETURNS)
    yield "max drawdown", metrics.max_drawdown(EQUITY), library.max_drawdown(RETURNS)
    yield "beta", line.beta[0], library.beta(RETURNS, BENCHMARK)
    yield "alpha, ours compounded", (1 + line.alpha.value / 252) ** 252 - 1, library.alpha(RETURNS, BENCHMARK)


def quantstats(library: Any) -> Iterator[Row]:
    """Compare figures of daily returns."""
    pandas = importlib.import_module("pandas")
    days = pandas.bdate_range("2020-01-01", periods=len(RETURNS))
    returns, benchmark, stats = pandas.Series(RETURNS, days), pandas.Series(BENCHMARK, days), library.stats
    greeks, line = stats.greeks(returns, benchmark), metrics.alpha_beta(RETURNS, BENCHMARK)
    yield "total return", metrics.total_return(EQUITY), stats.comp(returns)
    yield "volatility", metrics.volatility(RETURNS), stats.volatility(returns)
    yield "Sharpe ratio", metrics.sharpe(RETURNS), stats.sharpe(returns)
    yield "Sortino ratio", metrics.sortino(RETURNS), stats.sortino(returns)
    yield "max drawdown", metrics.max_drawdown(EQUITY), stats.max_drawdown(returns)
    ours = metrics.information_ratio(RETURNS, BENCHMARK) / np.sqrt(252)
    yield "information ratio, ours per session", ours, stats.information_ratio(returns, benchmark)
    yield "beta", line.beta[0], greeks["beta"]
    yield "alpha", line.alpha.value, greeks["alpha"]
    yield "win rate", metrics.win_rate(RETURNS), stats.win_rate(returns)
    ours = metrics.ulcer_index(EQUITY) * np.sqrt(501 / 499)
    yield "ulcer index, ours × √(501 / 499)", ours, stats.ulcer_index(returns)


def statsmodels(library: Any) -> Iterator[Row]:
    """Compare regressions and Newey and West's t."""
    api = importlib.import_module("statsmodels.api")
    theirs, ours = api.OLS(RETURNS, api.add_constant(BENCHMARK)).fit(), regress(RETURNS, BENCHMARK)
    yield "intercept", ours.alpha.value, theirs.params[0]
    yield "slope", ours.beta[0], theirs.params[1]
    for lags in (0, 8, 38):
        settings = {"maxlags": lags, "use_correction": False}
        fitted = api.OLS(RETURNS, np.ones(len(RETURNS))).fit(cov_type="HAC", cov_kwds=settings)
        yield f"Newey–West t, {lags} lags", metrics.newey_west_t(RETURNS, lags), fitted.tvalues[0]


def purgedcv(library: Any) -> Iterator[Row]:
    """Compare the deflated Sharpe ratio of the best of 20 runs; the probability of overfitting is theirs."""
    runs = np.random.default_rng(2).normal(0.0005, 0.01, (20, 300))
    ratios = runs.mean(axis=1) / runs.std(axis=1, ddof=1)
    spread = float(ratios.var(ddof=1))
    theirs, ours = (
        library.deflated_sharpe_ratio_full(runs[ratios.argmax()], n_trials=40, var_sharpe=spread),
        judge(runs, trials=40),
    )
    yield "deflated Sharpe ratio", ours.deflated_sharpe, theirs.dsr
    yield "expected best Sharpe ratio", ours.expected_best, theirs.sr_star * np.sqrt(252)


LIBRARIES: dict[str, Callable[[Any], Iterator[Row]]] = {
    "empyrical": empyrical,
    "quantstats": quantstats,
    "statsmodels": statsmodels,
    "purgedcv": purgedcv,
}


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments, rows, absent = parser.parse_args(), list[str](), list[str]()
    for name, compare in LIBRARIES.items():
        try:
            library = importlib.import_module(name)
        except ImportError:
            absent.append(name)
            continue
        version = getattr(library, "__version__", "")
        for figure, ours, theirs in compare(library):
            difference = abs(ours - float(theirs))
            rows.append(f"| {name} {version} | {figure} | {ours:.12g} | {float(theirs):.12g} | {difference:.1e} |")
    lines = [
        "# Agreement with other libraries",
        "",
        "`python -m benchmarks.agreement` writes this from 500 synthetic returns; a year has 252 sessions.",
        f"Not installed, compared in tests/test_metrics.py: {', '.join(absent)}." if absent else "All were installed.",
        "",
        "| library | figure | ours | theirs | difference |",
        "|---|---|---|---|---|",
        *rows,
    ]
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
