"""One backtest from the data to the result: read the signals once, then evaluate. Knows the lookup, the filter and the
prices by their seams; nothing of files' formats or of models."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np

from encash.backtest.config import BacktestConfig
from encash.backtest.frame import Frame, Sessions, make_frame, open_sessions
from encash.backtest.honesty import TRAINING_UNKNOWN, check_lookahead, check_missing
from encash.backtest.outcome import evaluate
from encash.backtest.result import BacktestResult, Series
from encash.backtest.signals import Progress, Reader, SignalGrid, read_signals
from encash.backtest.universe import Candidates
from encash.clusters.filter import FilterModel
from encash.fingerprint import fingerprint
from encash.panel.panel import PriceTable

_LIBRARIES = ("encash", "numpy", "pyarrow", "pylance", "h5py", "torch")


class Tally(Protocol):
    """What a lookup counts while it is read (`encash.cache.lookup.Tally`)."""

    hits: int
    misses: int
    stale: int | None
    computed: int
    unavailable: int
    model_loaded: bool


class Lookup(Reader, Protocol):
    """Where signals come from, with its count (`encash.cache.lookup.Lookup`)."""

    @property
    def tally(self) -> Tally:
        """Counts since it was made."""


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
    """
    watch = Stopwatch()
    with watch.stage("prices"):
        sessions = open_sessions(config, prices, candidates)
        frame = make_frame(config, sessions)
        if reference is not None:
            reference.on(sessions.days, config.initial_capital)
        train_end = _train_end(lookup)
        lookahead = check_lookahead(config, frame.signal_days[0], filter=filter, train_end=train_end)
    before = _counts(lookup.tally)
    with watch.stage("signals"):
        signals = prepare(config, frame, lookup, filter, progress)
        missing = check_missing(config, frame, signals)
    with watch.stage("simulate"):
        outcome = evaluate(config, frame, signals, filter)
    with watch.stage("figures"):
        facts = {
            **_tally_since(before, lookup.tally),
            "missing_share": missing,
            "lookahead": lookahead,
            "training_period": train_end or TRAINING_UNKNOWN,
            "filter": "none" if filter is None else filter.kind,
            "fingerprints": {**_fingerprints(config, sessions, lookup), "filter": filter.fingerprint if filter else ""},
            "versions": _versions(),
        }
    return BacktestResult(outcome=outcome, facts=facts, stages=watch.stages, reference=reference)


def prepare(
    config: BacktestConfig,
    frame: Frame,
    lookup: Reader,
    filter: FilterModel | None = None,
    progress: Progress | None = None,
) -> SignalGrid:
    """The signals of all candidates of a frame, read in one pass; many configurations may share them."""
    (signals,) = read_signals(
        lookup,
        frame.signal_days,
        frame.sessions.tickers,
        frame.asked,
        horizons=(config.signal_horizon,),
        filters=(filter,),
        progress=progress,
    )
    return signals


def _train_end(lookup: Reader) -> str | None:
    """The last day that the model's training has seen, where the lookup knows it."""
    day: str | None = getattr(lookup, "train_end", None)
    return day


def _counts(tally: Tally) -> dict[str, int]:
    """The counts of a tally as they stand."""
    return {name: getattr(tally, name) or 0 for name in ("hits", "misses", "stale", "computed", "unavailable")}


def _tally_since(before: dict[str, int], tally: Tally) -> dict[str, Any]:
    """What this run has counted; stale is None where nothing was compared."""
    counts: dict[str, Any] = {name: value - before[name] for name, value in _counts(tally).items()}
    if tally.stale is None:
        counts["stale"] = None
    return {**counts, "model_loaded": tally.model_loaded}


def _fingerprints(config: BacktestConfig, sessions: Sessions, lookup: Reader) -> dict[str, str]:
    """What the result depends on, as hashes: configuration, prices and encoder."""
    encoder: str = getattr(lookup, "fingerprint", "")
    prices = fingerprint([sessions.days.astype(np.int64), sessions.tickers, sessions.close])
    return {"configuration": fingerprint(config.describe()), "prices": prices, "encoder": encoder}


def _versions() -> dict[str, str]:
    """The versions of the libraries that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
