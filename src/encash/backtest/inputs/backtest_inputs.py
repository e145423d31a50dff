"""The data of a backtest as one value, opened once and passed on."""

from __future__ import annotations

from dataclasses import dataclass

from encash.backtest.inputs.groups import Groups
from encash.backtest.inputs.universe import Candidates
from encash.cache.signal_reader import SignalReader
from encash.clusters.filters.base import CandidateFilter
from encash.panel.panel import PriceTable


@dataclass(frozen=True, kw_only=True, eq=False)
class BacktestInputs:
    """Data that a run, a comparison, trials, a sweep and the picks of a day are made from."""

    prices: PriceTable
    """Nothing after the last session of a run is read."""
    lookup: SignalReader
    """Forecasts and embeddings: hits come from its cache, misses from its encoder."""
    filter: CandidateFilter | None = None
    """Candidate filter; None keeps every candidate. A sweep does not use it: each point names its own."""
    candidates: Candidates = None
    """List of tickers, or their membership by day; None for all tickers with prices."""
    tickers_without_features: tuple[str, ...] = ()
    """Tickers with prices and without features, as far as the features are known; a result counts those of its run."""
    groups: Groups | None = None
    """Group of each ticker, for `group_neutral` and `max_per_group`; every ticker of a run needs one."""
