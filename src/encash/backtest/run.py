"""One backtest from the data to the result: read the signals once, then evaluate. Knows the lookup, the filter and the
prices by their seams; nothing of files' formats or of models."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.lookahead import TRAINING_UNKNOWN, check_lookahead, check_missing
from encash.backtest.inputs.run_setup import Frame, Sessions, all_candidates, make_frame, open_sessions
from encash.backtest.inputs.signals import SignalGrid, read_signals
from encash.backtest.inputs.universe import Candidates
from encash.backtest.outcome import evaluate
from encash.backtest.result import BacktestResult, Series
from encash.cache.lookup import Lookup
from encash.cache.lookup_stats import Tally
from encash.clusters.filter import FilterModel
from encash.encoders.base import EncoderSpec
from encash.fingerprint import fingerprint
from encash.panel.panel import PriceTable
from encash.progress import Progress

_LIBRARIES = ("encash", "numpy", "pyarrow", "pylance", "h5py", "torch")


@dataclass
class Stopwatch:
    """Seconds by stage."""

    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens inside."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - begun


def run_backtest(
    config: BacktestConfig,
    *,
    prices: PriceTable,
    lookup: Lookup,
    filter: FilterModel | None = None,
    candidates: Candidates = None,
    reference: Series | None = None,
    progress: Progress | None = None,
) -> BacktestResult:
    """Run one backtest.

    Args:
        config: everything that decides it beside its data.
        prices: nothing after the last session of the run is looked at.
        lookup: hits come from its cache, misses from its encoder.
        filter: who goes on; None for everybody.
        candidates: a list of tickers or their membership by day; None for all with prices.
        reference: a series to compare with, such as an index.
        progress: called with cells read and cells in all.

    Returns:
        Figures, equity, ledger and picks; `write_run` puts them into a folder.

    Raises:
        InputError: no session, no candidate, a price that is none, a horizon beyond the data or without forecasts, a
            reference that does not overlap, too many candidates without an entry.
        LookaheadError: the filter or the model knows days of the run.
        MismatchError: clusters of another encoder.
    """
    watch = Stopwatch()
    with watch.stage("prices"):
        sessions = open_sessions(config, prices, candidates)
        frame = make_frame(config, sessions)
        if reference is not None:
            reference.on(sessions.days, config.initial_capital)
        spec = lookup.encoder_spec
        lookahead = check_lookahead(config, frame.signal_days[0], filter=filter, spec=spec)
    before = _counts(lookup.tally)
    with watch.stage("signals"):
        horizons = (config.signal_horizon,)
        (signals,) = prepare([frame], lookup, horizons=horizons, filters=(filter,), progress=progress)
        missing = check_missing(config, frame, signals)
    with watch.stage("simulate"):
        outcome = evaluate(config, frame, signals, filter)
    with watch.stage("figures"):
        facts = {
            **_tally_since(before, lookup.tally),
            "missing_share": missing,
            "lookahead": lookahead,
            "training_period": TRAINING_UNKNOWN if spec is None else spec.train_end or TRAINING_UNKNOWN,
            "filter": "none" if filter is None else filter.name,
            "fingerprints": _fingerprints(config, sessions, filter, spec),
            "versions": _versions(),
        }
    return BacktestResult(outcome=outcome, facts=facts, stages=watch.stages, reference=reference)


def prepare(
    frames: Sequence[Frame],
    lookup: Lookup,
    *,
    horizons: tuple[int, ...],
    filters: Sequence[FilterModel | None] = (None,),
    progress: Progress | None = None,
) -> tuple[SignalGrid, ...]:
    """The signals of all candidates of some frames of one universe, read in one pass; the frames then share them.

    Args:
        frames: rebalances and candidates, all of the same sessions.
        lookup: where signals come from.
        horizons: of the forecasts.
        filters: whose clusters are assigned while the embeddings pass by.
        progress: called with cells done and cells in all.

    Returns:
        One grid for each filter; they share their forecasts.
    """
    days, asked = all_candidates(frames)
    tickers = frames[0].sessions.tickers
    return read_signals(lookup, days, tickers, asked, horizons=horizons, filters=filters, progress=progress)


_COUNTS = ("hits", "misses", "stale", "computed", "forecasts_computed", "unavailable", "unserved", "unchecked")


def _counts(tally: Tally) -> dict[str, int]:
    """The counts of a tally as they stand."""
    return {name: getattr(tally, name) or 0 for name in _COUNTS}


def _tally_since(before: dict[str, int], tally: Tally) -> dict[str, Any]:
    """What this run has counted; stale is None where nothing was compared."""
    counts: dict[str, Any] = {name: value - before[name] for name, value in _counts(tally).items()}
    if tally.stale is None:
        counts["stale"] = None
    return {**counts, "model_loaded": tally.model_loaded, "verified": tally.verified}


def _fingerprints(
    config: BacktestConfig, sessions: Sessions, filter: FilterModel | None, spec: EncoderSpec | None
) -> dict[str, str]:
    """What the result depends on, as hashes; empty where nobody knows."""
    return {
        "configuration": fingerprint(config.describe()),
        "prices": fingerprint([sessions.days.astype(np.int64), "\n".join(sessions.tickers), sessions.close]),
        "encoder": "" if spec is None else spec.fingerprint,
        "forecast": "" if spec is None else spec.forecast_fingerprint,
        "filter": "" if filter is None else filter.fingerprint,
        "clusters": "" if filter is None else filter.clusters,
    }


def _versions() -> dict[str, str]:
    """The versions of the libraries that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
