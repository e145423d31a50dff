"""A small panel with irregular tickers, an encoder that counts windows, and functions that restate data."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from encash.cache import Cache, open_cache
from encash.panel.load import ArraySource
from encash.panel.panel import Panel
from encash.panel.toy import toy_panel
from encash.testing import MeanEncoder

LOOKBACK = 8
Rows = dict[str, tuple[np.ndarray, np.ndarray]]


def rows_of(panel: Panel) -> Rows:
    """Return copies of each ticker's days and feature rows."""
    parts = {name: panel.rows((name,)) for name in panel.tickers}
    return {name: (part.days.copy(), part.values.copy()) for name, part in parts.items()}


def panel_of(rows: Rows, like: Panel) -> Panel:
    return Panel(ArraySource(rows, like.feature_names), like.prices)


def restated(panel: Panel, edits: Mapping[str, Mapping[int, float]]) -> Panel:
    """Return the panel with single rows changed: ticker → {own row number: new value of feature 0}."""
    rows = rows_of(panel)
    for ticker, changes in edits.items():
        for row, value in changes.items():
            rows[ticker][1][row, 0] = value
    return panel_of(rows, panel)


def naive_windows(panel: Panel, lookback: int) -> dict[tuple[str, str], bytes]:
    """Return (day, ticker) → the bytes of its window, by a slow and simple algorithm."""
    windows = {}
    sessions = set(panel.sessions.tolist())
    for ticker, (days, values) in rows_of(panel).items():
        for row in range(lookback - 1, len(days)):
            window = values[row - lookback + 1 : row + 1]
            if days[row].item() in sessions and np.isfinite(window).all():
                windows[str(days[row]), ticker] = window.tobytes()
    return windows


@pytest.fixture(scope="session")
def panel() -> Panel:
    """8 tickers × 120 sessions; one listed late, one ending early, one with a gap, one with NaN."""
    return toy_panel(seed=1, num_tickers=8, num_sessions=120, odd=True)


@pytest.fixture
def encoder(panel: Panel) -> MeanEncoder:
    return MeanEncoder(panel.num_features, lookback=LOOKBACK, dim=6, batch_size=32)


@pytest.fixture
def make_encoder(panel: Panel) -> Callable[..., MeanEncoder]:
    return partial(MeanEncoder, panel.num_features, lookback=LOOKBACK, dim=6, batch_size=32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "emb ÆTHER.lance"


@pytest.fixture
def cache(path: Path, panel: Panel, encoder: MeanEncoder) -> Cache:
    """A cache of the whole panel."""
    cache = open_cache(path)
    cache.build(panel, encoder)
    encoder.windows_encoded = 0
    return cache


@pytest.fixture
def restate(panel: Panel) -> Callable[[Mapping[str, Mapping[int, float]]], Panel]:
    """A function that returns the panel with single rows changed; see `restated`."""
    return lambda edits: restated(panel, edits)


@pytest.fixture(scope="session")
def windows(panel: Panel) -> dict[tuple[str, str], bytes]:
    """Every window of the panel, by a slow and simple algorithm."""
    return naive_windows(panel, LOOKBACK)
