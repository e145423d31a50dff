"""P16: ``encash prepare`` of a table of daily bars, beside pyarrow reading the same file. Prices are compared with the
table, and features with those of one ticker computed from arrays."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from encash.panel import Bars, FeatureConfig, open_panel
from encash.panel.features import feature_names, panel_features

TICKERS, SESSIONS = 403, 6_430
COLUMNS = ("open", "high", "low", "close", "volume")
# VmHWM, because ru_maxrss of a new process begins with that of the process that started it.
MEASURED = (
    "import json, re, time\n"
    "{imports}\n"
    "began = time.perf_counter()\n"
    "{work}\n"
    "seconds = time.perf_counter() - began\n"
    "peak = int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024\n"
    "print(json.dumps([seconds, peak]))\n"
)
READ = ("import pyarrow.parquet as pq", "table = pq.read_table({table!r})")
PREPARE = (
    "from encash.panel import prepare\nimport encash.panel.tables, encash.panel.write",
    "prepare({table!r}, features_out={folder!r} + '/f.h5', prices_out={folder!r} + '/p.h5')",
)


def run(scale: float = 1.0) -> list[dict[str, Any]]:
    """Seconds and peak memory; `scale` 1 is 403 tickers × 6,430 sessions."""
    num_tickers = max(20, int(TICKERS * scale))
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        bars = _bars(num_tickers)
        _write(folder / "t.parquet", bars)
        values = {"table": str(folder / "t.parquet"), "folder": where}
        read_seconds, read_peak = _measure(READ, values)
        seconds, peak = _measure(PREPARE, values)
        _check(folder, bars)
        limit = read_seconds + _raw_write(folder)
    what = f"{num_tickers} tickers × {SESSIONS:,} sessions of open, high, low, close and volume"
    return [
        {
            "id": "P16",
            "what": f"prepare of {what}; baseline: pyarrow reads it; limit: and its outputs' bytes are written, fsync",
            "figure": seconds,
            "unit": "s",
            "baseline": read_seconds,
            "limit": limit,
            "ratio_baseline": seconds / read_seconds,
            "ratio_limit": seconds / limit,
        },
        {
            "id": "P16b",
            "what": "its peak memory; baseline: pyarrow reads it",
            "figure": peak,
            "unit": "MiB",
            "baseline": read_peak,
            "ratio_baseline": peak / read_peak,
        },
    ]


def _bars(num_tickers: int) -> dict[str, Bars]:
    """Random walks; after the first month, a hundredth of the bars have a volume of zero."""
    random = np.random.default_rng(0)
    days = np.busday_offset("1985-01-02", np.arange(SESSIONS), roll="forward").astype("datetime64[D]")
    bars = {}
    for number in range(num_tickers):
        steps = random.normal(0, 0.02, (2, SESSIONS)) * [[1.0], [0.2]]
        close = 50 * np.exp(np.cumsum(steps[0]))
        opened = close * np.exp(steps[1])
        volume = np.round(1e6 * np.exp(random.normal(size=SESSIONS)))
        volume[30:] *= random.random(SESSIONS - 30) > 0.01
        high, low = 1.01 * np.maximum(opened, close), 0.99 * np.minimum(opened, close)
        columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
        rounded = {name: column.astype(np.float32).astype(np.float64) for name, column in columns.items()}
        bars[f"T{number:04d}"] = Bars(days=days, **rounded)
    return bars


def _write(path: Path, bars: dict[str, Bars]) -> None:
    """One row per ticker and day, in float32."""
    names = np.repeat(list(bars), [len(own.days) for own in bars.values()])
    columns = {name: np.concatenate([getattr(own, name) for own in bars.values()]) for name in COLUMNS}
    days = np.concatenate([own.days for own in bars.values()])
    prices = {name: pa.array(column.astype(np.float32)) for name, column in columns.items()}
    pq.write_table(pa.table({"date": pa.array(days), "ticker": pa.array(names), **prices}), path)


def _measure(case: tuple[str, str], values: dict[str, str], times: int = 3) -> tuple[float, float]:
    """Median seconds without imports, and MiB at the most, of a new process."""
    imports, work = case
    code = MEASURED.format(imports=imports, work=work.format(**values))
    results = []
    for _ in range(times):
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    seconds, peaks = zip(*results, strict=True)
    return statistics.median(seconds), max(peaks)


def _check(folder: Path, bars: dict[str, Bars]) -> None:
    """Prices are the table's on days with volume and absent on others; features are those of the same arrays."""
    panel = open_panel(folder / "f.h5", folder / "p.h5")
    assert panel.prices is not None
    assert panel.tickers == tuple(bars)
    for column, own in enumerate(bars.values()):
        assert own.volume is not None
        close = np.where(own.volume > 0, own.close, np.nan)
        assert np.array_equal(panel.prices.close[:, column], close, equal_nan=True)
    ticker, own = next(iter(bars.items()))
    assert own.volume is not None
    traded = own.volume > 0
    kept = Bars(days=own.days[traded], **{name: getattr(own, name)[traded] for name in COLUMNS})
    ((_, days, values),) = panel_features({ticker: kept}, FeatureConfig())
    rows = panel.rows((ticker,))
    assert np.array_equal(rows.days, days)
    assert panel.feature_names == feature_names(kept, FeatureConfig())
    assert np.array_equal(rows.values, values)


def _raw_write(folder: Path) -> float:
    """Seconds that writing the bytes of both outputs takes."""
    content = bytes(sum((folder / name).stat().st_size for name in ("f.h5", "p.h5")))
    began = time.perf_counter()
    with open(folder / "raw", "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - began
