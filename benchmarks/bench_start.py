"""P13: how long ``encash --help`` takes, and a backtest before it reads its first array."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

HELP = "import sys; from encash.cli import main; sys.argv = ['encash', '--help']; main(['--help'])"
START = (
    "import sys\n"
    "from encash.cli import main\n"
    "from encash import pipeline\n"
    "import encash.backtest.run, encash.backtest.result, encash.cache.lookup, encash.store.lance, encash.panel.load\n"
    "import encash.clusters\n"
    "assert 'torch' not in sys.modules"
)


def run(scale: float = 1.0) -> list[dict[str, Any]]:
    """Two rows; the baseline is a Python that imports numpy."""
    del scale
    bare = _seconds("import numpy")
    rows = []
    for what, code, goal in (("encash --help", HELP, 0.3), ("encash backtest, before it reads", START, 0.8)):
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
    """Median wall clock of a fresh process; it must end well."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
