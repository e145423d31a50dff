"""One backtest from its inputs to its result: open the sessions, read the signals once, simulate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.lookahead import TRAINING_UNKNOWN, check_lookahead, check_missing, ranking_prices_of
from encash.backtest.inputs.run_setup import Sessions, open_sessions, set_up_run
from encash.backtest.inputs.signals import read_signals
from encash.backtest.outcome import run_strategy
from encash.backtest.result import BacktestResult, Series
from encash.cache.lookup_stats import LookupStats, staleness
from encash.cache.signal_reader import SignalReader
from encash.fingerprint import fingerprint
from encash.panel import health
from encash.progress import Progress
from encash.serialization import identity

_LIBRARIES = ("encash", "numpy", "pyarrow", "pylance", "h5py", "torch")


@dataclass
class Stopwatch:
    """Seconds by stage."""

    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the seconds of a block."""
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
        config: the settings.
        inputs: prices, lookup, filter and candidates.
        reference: a series to compare with, such as an index.
        progress: called with (done, total) cells.

    Returns:
        Figures, equity, ledger and picks; `write_run` writes them into a folder.

    Raises:
        InputError: no session, no candidate, an invalid price, a horizon beyond the data or without forecasts, a
            reference that does not overlap, or too many candidates without an entry.
        LookaheadError: the filter or the encoder was fitted on days of the run.
        MismatchError: clusters of a different encoder.
    """
    lookup, filter, watch = inputs.lookup, inputs.filter, Stopwatch()
    with watch.stage("prices"):
        sessions = open_sessions(config, inputs.prices, inputs.candidates, inputs.groups)
        setup = set_up_run(config, sessions)
        if reference is not None:
            reference.on(sessions.days, config.initial_capital)
        lookahead = check_lookahead(config, inputs, setup.signal_days[0])
    before = replace(lookup.stats)
    with watch.stage("signals"):
        horizons = (config.signal_horizon,)
        (signals,) = read_signals([setup], lookup, horizons=horizons, filters=(filter,), progress=progress)
        missing = check_missing(config, setup, signals)
    with watch.stage("simulate"):
        outcome = run_strategy(config, setup, signals, filter)
    with watch.stage("figures"):
        facts = {
            **_tally_since(before, lookup.stats),
            "staleness": staleness(lookup.stats),
            "missing_share": missing,
            "lookahead": lookahead,
            "training_period": lookup.training_period or TRAINING_UNKNOWN,
            "filter": "none" if filter is None else filter.name,
            **_describe_forecasts(lookup, sessions),
            "ranking_prices": ranking_prices_of(inputs),
            "fingerprints": _fingerprints(config, sessions, inputs),
            "versions": _versions(),
            "tickers_without_features": len(set(inputs.tickers_without_features) & set(sessions.tickers)),
            "health": _health(sessions, inputs),
        }
    return BacktestResult(outcome=outcome, facts=facts, stages=watch.stages, reference=reference)


_COUNTS = ("hits", "misses", "stale", "computed", "forecasts_computed", "unavailable", "unserved", "unchecked")


def _tally_since(before: LookupStats, tally: LookupStats) -> dict[str, Any]:
    """Return the counts of this run; stale is None if nothing was compared."""
    counts: dict[str, Any] = {name: (getattr(tally, name) or 0) - (getattr(before, name) or 0) for name in _COUNTS}
    if tally.stale is None:
        counts["stale"] = None
    return {**counts, "model_loaded": tally.model_loaded, "verified": tally.verified}


def _describe_forecasts(lookup: SignalReader, sessions: Sessions) -> dict[str, Any]:
    """Return the source of the forecasts, with its description if it is not the encoder."""
    if (source := lookup.forecasts) is None:
        return {"forecast_source": "encoder"}
    return {"forecast_source": source.source, source.source: source.describe(sessions.days, sessions.tickers)}


def _health(sessions: Sessions, inputs: BacktestInputs) -> dict[str, Any] | None:
    """Return what is suspicious in the prices file, and what of it the windows and the sessions of a run can touch."""
    if (summary := inputs.prices.health) is None:
        return None
    spec = inputs.lookup.encoder_spec
    before = (0 if spec is None else spec.lookback - 1) + health.REVERTS_WITHIN  # a spike before may end in the window
    first = sessions.history.days[max(0, sessions.first - before)]
    return health.within(summary, sessions.tickers, first, sessions.days[-1])


def _fingerprints(config: BacktestConfig, sessions: Sessions, inputs: BacktestInputs) -> dict[str, str]:
    """Return the fingerprints of the inputs, empty if unknown."""
    filter, book = inputs.filter, dict[str, str]()
    if config.needs_groups and inputs.groups is not None:
        book["groups"] = inputs.groups.fingerprint
    if config.needs_dollars and (dollars := sessions.history.dollars) is not None:
        book["dollars"] = fingerprint([dollars])
    return {
        "configuration": fingerprint(identity(config)),
        "prices": fingerprint([sessions.days.astype(np.int64), "\n".join(sessions.tickers), sessions.close]),
        "encoder": inputs.lookup.encoder_fingerprint,
        "forecast": inputs.lookup.forecast_fingerprint,
        "filter": "" if filter is None else filter.fingerprint,
        "clusters": "" if filter is None else filter.clusters,
        **book,
    }


def _versions() -> dict[str, str]:
    """Return the versions of the installed libraries."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
