"""One backtest from the data to the result: read the signals once, then evaluate. Knows the lookup, the filter and the
prices by their seams; nothing of files' formats or of models."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.lookahead import TRAINING_UNKNOWN, check_lookahead, check_missing
from encash.backtest.inputs.run_setup import Sessions, make_frame, open_sessions
from encash.backtest.inputs.signals import read_signals
from encash.backtest.outcome import evaluate
from encash.backtest.result import BacktestResult, Series
from encash.cache.lookup_stats import Tally
from encash.clusters.filters.base import CandidateFilter
from encash.encoders.base import EncoderSpec
from encash.fingerprint import fingerprint
from encash.progress import Progress
from encash.serialization import identity

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
    inputs: BacktestInputs,
    *,
    reference: Series | None = None,
    progress: Progress | None = None,
) -> BacktestResult:
    """Run one backtest.

    Args:
        config: everything that decides it beside its data.
        inputs: prices, lookup, filter and candidates.
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
    lookup, filter, watch = inputs.lookup, inputs.filter, Stopwatch()
    with watch.stage("prices"):
        sessions = open_sessions(config, inputs.prices, inputs.candidates)
        frame = make_frame(config, sessions)
        if reference is not None:
            reference.on(sessions.days, config.initial_capital)
        spec = lookup.encoder_spec
        lookahead = check_lookahead(config, inputs, frame.signal_days[0])
    before = _counts(lookup.tally)
    with watch.stage("signals"):
        horizons = (config.signal_horizon,)
        (signals,) = read_signals([frame], lookup, horizons=horizons, filters=(filter,), progress=progress)
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
            "tickers_without_features": inputs.tickers_without_features,
        }
    return BacktestResult(outcome=outcome, facts=facts, stages=watch.stages, reference=reference)


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
    config: BacktestConfig, sessions: Sessions, filter: CandidateFilter | None, spec: EncoderSpec | None
) -> dict[str, str]:
    """What the result depends on, as hashes; empty where nobody knows."""
    return {
        "configuration": fingerprint(identity(config)),
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
