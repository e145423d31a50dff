"""Defaults of the guide's commands that are more than one value of a flag, and the type of their announcements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Announce = Callable[[str], None]
"""Receives one line about what a command does differently from the guide's version, or chose by itself."""

MODEL = "checkpoints/best_model_100m_1.18.pt"
DATA = Path("data/all_complete_dataset.h5")
PRICES = Path("data/actual_prices.h5")
CLEAN_PRICES = Path("data/actual_prices_clean.h5")
"""Prices of the backtest; `PRICES` if there is no such file."""
CACHE = "data/embeddings_cache.h5"
CLUSTERS = Path("cluster_results")
"""Default files of the guide's commands."""
SESSIONS_PER_MONTH = 21
SESSIONS_PER_YEAR = 252
SEQ_LEN = 60
"""Sessions in a window if neither the flag nor the checkpoint defines it."""
HORIZONS = (1, 5, 10, 20)
HOLDOUT_MONTHS = 6
"""Months at the end of the data that clusters and rankings do not use, because the backtest trades in them."""
COVERAGE = 0.1
"""Fraction of the distinct tickers that the best clusters cover."""
NEAREST_SHARE = 0.03
"""Fraction of the day's candidates that the nearest filter keeps."""
SELL_FEE = 0.001
"""0.1% of the proceeds; buying is free."""
