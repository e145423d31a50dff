"""The fastest engine, precision and batch of a model on this machine, by a short measurement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import Float32
from encash.encoders.agreement import EncodingAgreement, compare_embeddings
from encash.encoders.base import Encoder, EncoderSpec
from encash.encoders.batches import BatchedEncoder
from encash.encoders.options import Sample
from encash.progress import Progress, rate_text

LEAST_SPEEDUP = 1.3
"""A candidate replaces the fastest one so far only if it is at least this many times as fast."""
SMALLEST_DIM = 128
"""A smaller model spends too little time in matrix products for the choice to matter."""
MEASURED_SECONDS = 0.1
"""The time for which a candidate is measured, or one pass if that takes longer."""
MOST_WINDOWS = 16
FEWEST_WINDOWS = 12
"""Windows on which agreement is measured."""
SLOW_WINDOWS = 8
"""Windows per pass of a model for which these take longer than `MEASURED_SECONDS`."""
LEAST_SPEEDUP_OF_HALF = 1.05
"""A batch is halved only if that is at least this many times as fast."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An engine and a precision in which a model could run."""

    make: Callable[[], BatchedEncoder]
    engine: str = "torch"
    precision: str = "float32"
    speed_limit: Callable[[], float] = lambda: math.inf
    """An upper bound of its entries per second that takes less time to find than the candidate takes to make."""
    steps: int = 1
    """Steps of progress for making and measuring it."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Measurement of a candidate."""

    entries_per_second: float
    engine: str = "torch"
    precision: str = "float32"
    agreement: EncodingAgreement | None = None
    """With float32; None if the candidate was too slow for it to matter."""
    made: bool = True
    """False if its speed limit was too slow already; `entries_per_second` is that limit then."""

    def line(self, chosen: str) -> str:
        """Return its speed, its disagreement if there is any, and its engine if that is not the chosen one."""
        engine = "" if self.engine == chosen else f" ({self.engine})"
        most = "" if self.made else " at most"
        bad = self.agreement is not None and not self.agreement.sufficient
        fault = f" (disagrees: cosine {self.agreement.cosine:.4f})" if self.agreement and bad else ""
        return f"{self.precision}{engine}{most} {rate_text(self.entries_per_second)}{fault}"


class LoadProgress:
    """Progress of loading a checkpoint. The first step, reading its file, is complete; others are added when known."""

    def __init__(self, progress: Progress | None = None):
        self._progress, self._done, self._total = progress, 1, 1

    def add(self, count: int) -> None:
        """Add steps that remain to be done."""
        self._report(done=0, added=count)

    def complete(self, count: int = 1) -> None:
        """Count steps as done."""
        self._report(done=count, added=0)

    def _report(self, *, done: int, added: int) -> None:
        self._done, self._total = self._done + done, self._total + added
        if self._progress is not None:
            self._progress(self._done, self._total)


def fastest(
    plain: BatchedEncoder,
    others: Sequence[Candidate],
    sample: Sample | None = None,
    *,
    fixed_batch: bool = False,
    progress: LoadProgress | None = None,
) -> BatchedEncoder:
    """Return the fastest encoder whose embeddings agree with float32, with the faster of two batches.

    A candidate is chosen only if it is 1.3 times as fast as the one chosen before it and agrees with float32
    (`EncodingAgreement.sufficient`). `Encoder.choice` records the measurements.

    Args:
        plain: the encoder in torch and float32.
        others: other candidates, in order of preference.
        sample: returns windows of the data for a lookback; None uses random ones.
        fixed_batch: keep the batch.
        progress: counts float32, each candidate and the batch; nothing if nothing is measured.
    """
    if plain.spec.dim < SMALLEST_DIM:
        plain.choice = f"float32, {run_text(plain)}: too small a model for a different precision to be faster"
        return plain
    progress = progress or LoadProgress()
    progress.add(1 + len(others) + (0 if fixed_batch else 1))
    windows = _windows(plain.spec, sample)
    chosen, trials = try_candidates(plain, others, windows, progress)
    best = choose(trials)
    chosen.entries_per_second = best.entries_per_second
    if not fixed_batch:
        chosen.entries_per_second = settle_batch(chosen, windows)
        progress.complete()
    tried = ", ".join(trial.line(best.engine) for trial in trials if trial is not best)
    cosine = 1.0 if best.agreement is None else best.agreement.cosine
    chosen.choice = (
        f"{best.precision}, {run_text(chosen)}: {rate_text(chosen.entries_per_second)} entries/s; {tried}; "
        f"cosine to float32 {cosine:.5f}"
    )
    return chosen


def try_candidates(
    plain: BatchedEncoder, others: Sequence[Candidate], windows: Float32, progress: LoadProgress
) -> tuple[BatchedEncoder, list[Trial]]:
    """Return the best encoder, and speed and agreement of every candidate on the same windows (n ≥ 12, L, F).

    The first trial is `plain`. A candidate that is too slow is not compared, one that must be too slow is not made.
    """
    count = SLOW_WINDOWS
    rate, embedding = _speed(plain, windows, count)
    if count / rate < MEASURED_SECONDS:
        count = len(windows)
        rate, embedding = _speed(plain, windows, count)
    reference = _completed(plain, embedding, windows)
    chosen, trials = plain, [Trial(entries_per_second=rate)]
    progress.complete()
    for one in others:
        best = choose(trials)
        if not _is_faster(limit := one.speed_limit(), best):
            trials.append(Trial(engine=one.engine, precision=one.precision, entries_per_second=limit, made=False))
            progress.complete()
            continue
        progress.add(one.steps - 1)
        encoder = one.make()
        rate, embedding = _speed(encoder, windows, count)
        found = None
        if _is_faster(rate, best):
            other = _completed(encoder, embedding, windows)
            both = min(len(reference), len(other))
            found = compare_embeddings(reference[:both], other[:both])
        trials.append(Trial(engine=one.engine, precision=one.precision, entries_per_second=rate, agreement=found))
        chosen = encoder if choose(trials) is trials[-1] else chosen
        progress.complete(one.steps)
    return chosen, trials


def choose(trials: list[Trial]) -> Trial:
    """Return the last trial that agrees with float32, the first one, and is faster than the one chosen before it."""
    best = trials[0]
    for trial in trials[1:]:
        if _is_faster(trial.entries_per_second, best) and trial.agreement is not None and trial.agreement.sufficient:
            best = trial
    return best


def settle_batch(encoder: Encoder, windows: Float32) -> float:
    """Halve the encoder's batch if that is faster; return its entries per second."""
    whole, half = encoder.batch_size, max(1, encoder.batch_size // 2)
    many = np.resize(windows, (whole, *windows.shape[1:]))
    rates = {}
    for size in (whole, half):
        encoder.batch_size = size
        rates[size] = whole / seconds_of(lambda: encoder.encode(many))
    encoder.batch_size = half if rates[half] >= LEAST_SPEEDUP_OF_HALF * rates[whole] else whole
    return rates[encoder.batch_size]


def seconds_of(call: Callable[[], object]) -> float:
    """Return the shortest time of as many calls as fit into `MEASURED_SECONDS`; a mean would include other programs."""
    best, spent = math.inf, 0.0
    while spent < MEASURED_SECONDS:
        started = time.perf_counter()
        call()
        best = min(best, seconds := time.perf_counter() - started)
        spent += seconds
    return best


def run_text(encoder: Encoder) -> str:
    """Return engine, device unless it is the CPU, and batch."""
    device = str(getattr(encoder, "device", "cpu"))
    return f"{encoder.spec.engine}, {'' if device == 'cpu' else device + ', '}batch {encoder.batch_size}"


def _is_faster(rate: float, best: Trial) -> bool:
    return rate >= LEAST_SPEEDUP * best.entries_per_second


def _speed(encoder: BatchedEncoder, windows: Float32, count: int) -> tuple[float, Float32]:
    """Return the entries per second in passes of at least `count` windows, and the embeddings of one pass."""
    size = max(count, encoder.busy_call)
    many, found = np.resize(windows, (size, *windows.shape[1:])), []
    seconds = seconds_of(lambda: found.append(encoder.encode(many).embedding))
    return size / seconds, found[0][: len(windows)]


def _completed(encoder: Encoder, embedding: Float32, windows: Float32) -> Float32:
    """Return the embeddings of the windows on which agreement is measured, given those of the first ones."""
    rest = windows[len(embedding) : FEWEST_WINDOWS]
    return np.concatenate([embedding, encoder.encode(rest).embedding]) if len(rest) else embedding


def _windows(spec: EncoderSpec, sample: Sample | None) -> Float32:
    """Return windows to measure on: some of the data, or random ones if there are too few."""
    found = np.empty((0, 0, 0), dtype=np.float32) if sample is None else sample(spec.lookback)[:MOST_WINDOWS]
    if len(found) >= FEWEST_WINDOWS:
        spec.check_features(found.shape[2], None)
        return found
    shape = MOST_WINDOWS, spec.lookback, spec.num_features
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
