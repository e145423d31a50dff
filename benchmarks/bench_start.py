"""P13: how long ``encash --version`` and ``--help`` take, and a backtest before it reads its first array."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

COMMAND = "from encash.cli import main; main({words!r}.split())"
START = (
    "import sys\n"
    "from encash.cli.main import parser\n"
    "parser('backtest')\n"
    "from encash import pipeline\n"
    "import encash.pipeline.trading, encash.backtest.run, encash.backtest.result, encash.cache.lookup\n"
    "import encash.store.lance, encash.panel.load, encash.clusters.model\n"
    "assert 'torch' not in sys.modules\n"
    "import os; os._exit(0)"  # a command too ends without taking the interpreter apart
)
NO_PANDAS = (
    "import sys\n"
    "from importlib.machinery import PathFinder\n"
    "class NoPandas(PathFinder):\n"
    "    @classmethod\n"
    "    def find_spec(cls, name, path=None, target=None):\n"
    "        return None if name == 'pandas' else super().find_spec(name, path, target)\n"
    "sys.meta_path = [NoPandas if finder is PathFinder else finder for finder in sys.meta_path]\n"
)
"""As in an environment without pandas: pyarrow.dataset, which Lance imports, imports pandas if it is installed."""
CASES = (
    ("encash --version", COMMAND.format(words="--version"), 0.15),
    ("encash --help", COMMAND.format(words="--help"), 0.15),
    ("encash backtest --help", COMMAND.format(words="backtest --help"), 0.15),
    ("encash backtest, before it reads", START, 0.3),
    ("encash backtest, before it reads, without pandas", NO_PANDAS + START, 0.3),
)


def run(scale: float = 1.0) -> list[dict[str, Any]]:
    """One row per case; the baseline is a Python that imports numpy."""
    del scale
    bare = _seconds("import numpy")
    rows = []
    for what, code, goal in CASES:
        seconds = _seconds(code)
        rows.append(
            {
                "id": "P13",
                "what": what,
                "figure": seconds,
                "unit": "s",
                "baseline": bare,
                "ratio_baseline": seconds / bare,
                "goal": f"≤ {goal} s",
                "met": seconds <= goal,
            }
        )
    return rows


def _seconds(code: str, times: int = 7) -> float:
    """Median wall-clock time of a new process, which must succeed."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
