"""Run folders as a backtest writes them, made of a few drawn numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encash import metrics
from encash.backtest.evaluation.random_filter_test import Contrast, FilterTest, Performance

WriteRun = Callable[..., Path]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Writes a run folder: ``write_run(name, sessions=…, drift=…, **keys of result.json)``."""

    def write(name: str = "run", **options: Any) -> Path:
        return write_run_folder(tmp_path / name, **options)

    return write


def write_run_folder(
    folder: Path,
    *,
    seed: int = 0,
    sessions: int = 300,
    drift: float = 0.0012,
    tickers: tuple[str, ...] = ("AAA", "BBB", "CCC", "DDD"),
    clusters: int = 3,
    configuration: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A folder with the four files; keyword arguments replace keys of result.json, None removes one."""
    draw = np.random.default_rng(seed)
    days = np.busday_offset("2016-02-01", np.arange(sessions), roll="forward")
    market = draw.normal(0.0003, 0.009, sessions)
    benchmark = 100_000.0 * np.exp(np.cumsum(market) - market[0])
    own = market + draw.normal(drift - 0.0003, 0.004, sessions)
    gross = 100_000.0 * np.exp(np.cumsum(own) - own[0])
    net = gross * (1 - 0.00004 * np.arange(1, sessions + 1))
    folder.mkdir(parents=True)
    write_table(folder / "equity.parquet", date=days, gross=gross, net=net, benchmark=benchmark)
    write_picks(folder / "picks.parquet", days[:-5:5], tickers, clusters, draw)
    (folder / "ledger.csv").write_text(
        f"date,ticker,side,shares,price,fee\n{days[0]},{tickers[0]},buy,1.0,100.0,0.05\n"
    )
    path = np.concatenate([[100_000.0], net[1:]])
    result = {
        "final_capital": net[-1],
        "total_return": path[-1] / path[0] - 1,
        "cagr": metrics.cagr(path),
        "sharpe": metrics.sharpe(metrics.simple_returns(path)),
        "max_drawdown": metrics.max_drawdown(path),
        "turnover": 48.2,
        "trades": 2 * 5 * len(days[:-5:5]),
        "win_rate": 0.524,
        "rebalances": len(days[:-5:5]),
        "idle_rebalances": 0,
        "delistings": 0,
        "keep_rate": 0.4,
        "hits": len(days[:-5:5]) * len(tickers),
        "misses": 0,
        "stale": 0,
        "computed": 0,
        "unavailable": 0,
        "missing_share": 0.0,
        "model_loaded": False,
        "lookahead": False,
        "training_period": "2010-12-31",
        "filter": "hard",
        "fingerprints": {"configuration": "ab" * 32, "prices": "cd" * 32, "encoder": "ef" * 32, "filter": "01" * 32},
        "versions": {"encash": "0.1.0", "numpy": "2.4.6"},
        "seconds": 0.213,
        "stages": {"prices": 0.021, "signals": 0.143, "simulate": 0.028, "figures": 0.021},
        "final_capital_by_delisting": {"last": net[-1], "-30%": net[-1], "zero": net[-1], "flat": net[-1]},
        "seed": 42,
        "configuration": {"start": str(days[0]), "horizon": 5, "top_k": 5, "lag": 0, "phase": 0, "tranches": False}
        | {"initial_capital": 100_000.0, "buy_fee": 0.0005, "sell_fee": 0.0005, "seed": 42, "delisting": "last"}
        | (configuration or {}),
    } | changes
    kept = {key: value for key, value in result.items() if value is not None}
    (folder / "result.json").write_text(json.dumps(kept))
    return folder


def write_picks(
    path: Path, days: np.ndarray, tickers: tuple[str, ...], clusters: int, draw: np.random.Generator
) -> None:
    """Every candidate of every rebalance; clusters below a half of all are kept."""
    rows = len(days) * len(tickers)
    cluster = (draw.beta(1.2, 2.0, rows) * clusters).astype(np.int32)
    write_table(
        path,
        date=np.repeat(days, len(tickers)),
        ticker=np.tile(np.array(tickers), len(days)),
        cluster=cluster,
        distance=draw.random(rows, dtype=np.float32),
        kept=cluster < clusters / 2,
        forecast=draw.normal(0, 0.01, rows).astype(np.float32),
        confidence=draw.random(rows, dtype=np.float32),
        score=draw.normal(0, 0.01, rows),
        picked=(cluster < clusters / 2) & (draw.random(rows) < 0.3),
        weight=np.zeros(rows),
    )


def write_table(path: Path, **columns: np.ndarray) -> None:
    """A Parquet file."""
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path)


def make_test(**changes: Any) -> FilterTest:
    """A test of a filter against 200 random ones; p is 0.5 unless it is given."""
    difference = Contrast(excess=0.02, excess_interval=(-0.01, 0.05), alpha=0.01, alpha_t=0.4, beta=0.1)
    values: dict[str, Any] = {
        "subject": "filter",
        "draws": 200,
        "p_better": 0.5,
        "p_worse": 0.5,
        "run": difference,
        "selection": difference,
        "percentiles": {"total_return": 72.0, "sharpe": 34.0, "max_drawdown": 99.9},
        "performance": {
            "this run": Performance(cagr=0.06, sharpe=0.5, max_drawdown=-0.4),
            "no filter": Performance(cagr=0.05, sharpe=0.6, max_drawdown=-0.3),
            "all candidates": Performance(cagr=0.11, sharpe=0.8, max_drawdown=-0.3),
        },
        "lookahead": False,
    }
    return FilterTest(**(values | changes))
