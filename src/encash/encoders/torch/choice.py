"""The fastest engine, precision and batch of a model on this machine, by a short measurement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from encash.arrays import Float32
from encash.encoders.agreement import EncodingAgreement, compare_encodings
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.encoders.batches import BatchedEncoder
from encash.encoders.options import Sample
from encash.errors import InputError
from encash.progress import Progress, rate_text

LEAST_SPEEDUP = 1.3
"""A candidate replaces the fastest one so far only if it is at least this many times as fast."""
SMALLEST_DIM = 128
"""A smaller model spends too little time in matrix products for the choice to matter."""
WARM_UPS, ROUNDS = 2, 5
"""Calls before a measurement, and calls of which the fastest counts: a first call allocates memory, loads code and
chooses kernels, which takes a GPU 0.1 s and more."""
LONG_CALL = 0.5
"""Seconds of a call that is warm after one call, and measured by one: the overhead of a first call hardly matters."""
STILL_COLD = 1.5
"""A call after one that took at least this many times as long is not yet warm: code may be loaded in several calls."""
SHORT_CALL = 0.05
"""Seconds below which a call is too short to measure: it gets more windows."""
FEW_WINDOWS, MANY_WINDOWS = 8, 64
"""Minimum number of windows in a measured call, and the number if a call would be too short."""
GATE_SECONDS = 3.0
"""Time in which float32 encodes the windows on which agreement is measured."""
FEWEST_WINDOWS, MOST_WINDOWS = 12, 2048
"""Windows on which agreement is measured."""
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
    """Agreement with float32; None if the candidate was too slow to be compared."""
    made: bool = True
    """False if its upper bound was already too slow; `entries_per_second` is that bound then."""
    fault: str = ""
    """Error of the device that rejected it; `entries_per_second` is 0 then."""

    def line(self, chosen: str) -> str:
        """Return its speed, its disagreement if there is any, and its engine if that is not the chosen one."""
        engine = "" if self.engine == chosen else f" ({self.engine})"
        if self.fault:
            return f"{self.precision}{engine} not available ({self.fault})"
        most = "" if self.made else " at most"
        bad = self.agreement is not None and not self.agreement.sufficient
        fault = f" (disagrees: {self.agreement.line()})" if self.agreement and bad else ""
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

    A candidate is chosen only if it is 1.3 times as fast as the one chosen before it, in two measurements, and agrees
    with float32 (`EncodingAgreement.sufficient`). One that the device does not have is left out. `Encoder.choice`
    records the measurements.

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
    agreed = "cosine to float32 1.00000" if best.agreement is None else best.agreement.line()
    rate = rate_text(chosen.entries_per_second)
    chosen.choice = f"{best.precision}, {run_text(chosen)}: {rate} entries/s; {tried}; {agreed}"
    return chosen


def try_candidates(
    plain: BatchedEncoder, others: Sequence[Candidate], windows: Float32, progress: LoadProgress
) -> tuple[BatchedEncoder, list[Trial]]:
    """Return the best encoder, and speed and agreement of every candidate on the same windows (n ≥ 12, L, F).

    The first trial is `plain`. A candidate that is too slow is not compared, and one with too low a bound is not made.
    """
    measured = _Measured(plain, windows)
    chosen, trials = plain, [Trial(entries_per_second=measured.first_rate())]
    progress.complete()
    for one in others:
        best = choose(trials)
        if not _is_faster(limit := one.speed_limit(), best):
            trials.append(Trial(engine=one.engine, precision=one.precision, entries_per_second=limit, made=False))
            progress.complete()
            continue
        progress.add(one.steps - 1)
        encoder, trial = _try(one, chosen, best, measured)
        trials.append(trial)
        chosen = encoder if encoder is not None and choose(trials) is trial else chosen
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
        rates[size] = whole / seconds_of(lambda: encoder.encode(many), warm=True)
    encoder.batch_size = half if rates[half] >= LEAST_SPEEDUP_OF_HALF * rates[whole] else whole
    return rates[encoder.batch_size]


def seconds_of(call: Callable[[], object], at_most: float = math.inf, *, warm: bool = False) -> float:
    """Return the shortest time of five calls after two that do not count; a mean would include other programs.

    Args:
        call: returns when its work is done, on any device.
        at_most: seconds above which the exact time does not matter: a warm call of twice that is not repeated.
        warm: such calls were made before.
    """
    before = 0.0
    for _ in range(0 if warm else WARM_UPS):
        if (before := _seconds(call)) > LONG_CALL:
            break
    best = _seconds(call)
    for _ in range(ROUNDS - 1):
        if min(2 * at_most, LONG_CALL) < best and before < STILL_COLD * best:
            break
        before, best = best, min(best, _seconds(call))
    return best


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def run_text(encoder: Encoder) -> str:
    """Return engine, device unless it is the CPU, and batch."""
    device = str(getattr(encoder, "device", "cpu"))
    return f"{encoder.spec.engine}, {'' if device == 'cpu' else device + ', '}batch {encoder.batch_size}"


def _is_faster(rate: float, best: Trial) -> bool:
    return rate >= LEAST_SPEEDUP * best.entries_per_second


class _Measured:
    """Measurements of several encoders on the same windows, beside an encoder in float32."""

    def __init__(self, plain: BatchedEncoder, windows: Float32):
        self._plain, self._windows = plain, windows
        self._count = max(FEW_WINDOWS, plain.busy_call)
        self._encoded: Encoded | None = None
        self._seconds = math.inf

    def first_rate(self) -> float:
        """Return the entries per second in float32, which decide how many windows are encoded from then on."""
        rate = self.rate(self._plain)
        if self._count / rate < SHORT_CALL:
            self._count = max(self._count, MANY_WINDOWS)
            rate = self.rate(self._plain)
        self._seconds = 1 / rate
        return rate

    def rate(self, encoder: BatchedEncoder, at_least: float = 0.0, *, warm: bool = False) -> float:
        """Return the entries per second of an encoder; they are rough if they are far below `at_least`."""
        size = max(self._count, encoder.busy_call)
        many = np.resize(self._windows, (size, *self._windows.shape[1:]))
        at_most = size / at_least if at_least else math.inf
        return size / seconds_of(lambda: encoder.encode(many), at_most, warm=warm)

    def agreement(self, encoder: BatchedEncoder) -> EncodingAgreement:
        """Compare the output of an encoder with that in float32, on up to 2,048 windows."""
        if self._encoded is None:
            count = min(max(FEWEST_WINDOWS, int(GATE_SECONDS / self._seconds)), len(self._windows))
            self._windows = self._windows[:count]
            self._encoded = self._plain.encode(self._windows)
        return compare_encodings(self._encoded, encoder.encode(self._windows))


def _try(
    one: Candidate, chosen: BatchedEncoder, best: Trial, measured: _Measured
) -> tuple[BatchedEncoder | None, Trial]:
    """Make and measure a candidate; return None with the reason if the device refuses it.

    A candidate that seems fast enough is measured again, after the one that it would replace.
    """
    trial = Trial(engine=one.engine, precision=one.precision, entries_per_second=0.0)
    try:
        encoder = one.make()
        rate = measured.rate(encoder, at_least=LEAST_SPEEDUP * best.entries_per_second)
        trial = replace(trial, entries_per_second=rate)
        if not _is_faster(rate, best):
            return encoder, trial
        before = max(best.entries_per_second, measured.rate(chosen, warm=True))
        again = measured.rate(encoder, at_least=LEAST_SPEEDUP * before, warm=True)
        if again < LEAST_SPEEDUP * before:
            return encoder, replace(trial, entries_per_second=min(again, LEAST_SPEEDUP * best.entries_per_second))
        return encoder, replace(trial, agreement=measured.agreement(encoder))
    except (RuntimeError, InputError) as error:  # also NotImplementedError, and an encoder that ran out of memory
        return None, replace(trial, entries_per_second=0.0, fault=str(error).strip().split("\n")[0][:80])


def _windows(spec: EncoderSpec, sample: Sample | None) -> Float32:
    """Return windows to measure on: some of the data, or random ones if there are too few."""
    found = np.empty((0, 0, 0), dtype=np.float32) if sample is None else sample(spec.lookback)[:MOST_WINDOWS]
    if len(found) >= FEWEST_WINDOWS:
        spec.check_features(found.shape[2], None)
        return found
    shape = MANY_WINDOWS, spec.lookback, spec.num_features
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
