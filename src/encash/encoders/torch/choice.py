"""Which way to run a model pays on this machine: a short measurement of engines, precisions and batches. Knows
encoders; no file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import Float32
from encash.encoders.agreement import Agreement, agreement
from encash.encoders.base import Encoder, EncoderSpec
from encash.encoders.batches import BatchedEncoder
from encash.progress import Progress, rate_text

PAYS = 1.3
"""Times the speed of what was taken before it from which another way is taken."""
SMALLEST_DIM = 128
"""Below this a model spends too little in matrix products for another way to matter."""
MEASURED_SECONDS = 0.1
"""A way is timed for so long, and for one pass at least."""
MOST_WINDOWS = 16
FEWEST_WINDOWS = 12
"""Windows on which agreement is measured."""
SLOW_WINDOWS = 8
"""Windows in a pass of a model that takes longer than that for them."""
HALF_PAYS = 1.05
"""Times a batch's speed from which half of it is taken."""
Sample = Callable[[int], Float32]
"""Gives windows of the user's data, shape (n, L, F), for a lookback L."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to run a model, not yet made."""

    make: Callable[[], BatchedEncoder]
    engine: str = "torch"
    precision: str = "float32"
    limit: Callable[[], float] = lambda: math.inf
    """Entries a second that it cannot pass, where that is known for less than making it costs."""
    steps: int = 1
    """Steps of progress that making and timing it takes."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way, tried."""

    entries_per_second: float
    engine: str = "torch"
    precision: str = "float32"
    agreement: Agreement | None = None
    """With float32; None where it was too slow for that to matter."""
    made: bool = True
    """False where its limit was too slow already: that is its speed then."""

    def line(self, chosen: str) -> str:
        """Its speed, its fault where it has one, and its engine where that is not the chosen one."""
        engine = "" if self.engine == chosen else f" ({self.engine})"
        most = "" if self.made else " at most"
        bad = self.agreement is not None and not self.agreement.enough
        fault = f" (disagrees: cosine {self.agreement.cosine:.4f})" if self.agreement and bad else ""
        return f"{self.precision}{engine}{most} {rate_text(self.entries_per_second)}{fault}"


class Steps:
    """Tells how far the loading of a checkpoint is. The first step, behind already, is the reading of its file; others
    come as it is known that they must be taken."""

    def __init__(self, progress: Progress | None = None):
        self._progress, self._done, self._total = progress, 1, 1

    def ahead(self, count: int) -> None:
        """So many more are to be taken."""
        self._tell(0, count)

    def passed(self, count: int = 1) -> None:
        """So many are behind."""
        self._tell(count, 0)

    def _tell(self, passed: int, ahead: int) -> None:
        self._done, self._total = self._done + passed, self._total + ahead
        if self._progress is not None:
            self._progress(self._done, self._total)


def fastest(
    plain: BatchedEncoder,
    others: Sequence[Way],
    sample: Sample | None = None,
    *,
    fixed_batch: bool = False,
    steps: Steps | None = None,
) -> BatchedEncoder:
    """The encoder in the fastest way that says what float32 says, in the batch that was the faster of two.

    A way is taken only if it is 1.3 times as fast as what was taken before it and agrees with float32
    (`Agreement.enough`). The line of `choice` says what was found.

    Args:
        plain: the encoder in torch and float32.
        others: other ways, in the order in which they are preferred.
        sample: gives windows of the data, for a lookback; None takes random ones.
        fixed_batch: the batch stays as it was made.
        steps: told of float32, each other way, and the batch; of nothing where nothing is measured.
    """
    if plain.spec.dim < SMALLEST_DIM:
        plain.choice = f"float32, {described(plain)}: a model too small for another to pay"
        return plain
    steps = steps or Steps()
    steps.ahead(1 + len(others) + (0 if fixed_batch else 1))
    windows = _windows(plain.spec, sample)
    chosen, trials = try_ways(plain, others, windows, steps)
    best = choose(trials)
    chosen.entries_per_second = best.entries_per_second
    if not fixed_batch:
        chosen.entries_per_second = settle_batch(chosen, windows)
        steps.passed()
    tried = ", ".join(trial.line(best.engine) for trial in trials if trial is not best)
    cosine = 1.0 if best.agreement is None else best.agreement.cosine
    chosen.choice = (
        f"{best.precision}, {described(chosen)}: {rate_text(chosen.entries_per_second)} entries/s; {tried}; "
        f"cosine to float32 {cosine:.5f}"
    )
    return chosen


def try_ways(
    plain: BatchedEncoder, others: Sequence[Way], windows: Float32, steps: Steps
) -> tuple[BatchedEncoder, list[Trial]]:
    """The encoder to take, and speed and agreement of every way on the same windows (n ≥ 12, L, F).

    The first trial is `plain` itself. What does not pay is not compared, and what cannot pay is not made.
    """
    count = SLOW_WINDOWS
    rate, embedding = _speed(plain, windows, count)
    if count / rate < MEASURED_SECONDS:
        count = len(windows)
        rate, embedding = _speed(plain, windows, count)
    reference = _completed(plain, embedding, windows)
    chosen, trials = plain, [Trial(entries_per_second=rate)]
    steps.passed()
    for way in others:
        best = choose(trials)
        if not _pays(limit := way.limit(), best):
            trials.append(Trial(engine=way.engine, precision=way.precision, entries_per_second=limit, made=False))
            steps.passed()
            continue
        steps.ahead(way.steps - 1)
        encoder = way.make()
        rate, embedding = _speed(encoder, windows, count)
        found = _agreement(reference, _completed(encoder, embedding, windows)) if _pays(rate, best) else None
        trials.append(Trial(engine=way.engine, precision=way.precision, entries_per_second=rate, agreement=found))
        chosen = encoder if choose(trials) is trials[-1] else chosen
        steps.passed(way.steps)
    return chosen, trials


def choose(trials: list[Trial]) -> Trial:
    """The last trial that agrees with float32 and pays over the one taken before it; the first is float32 itself."""
    best = trials[0]
    for trial in trials[1:]:
        if _pays(trial.entries_per_second, best) and trial.agreement is not None and trial.agreement.enough:
            best = trial
    return best


def settle_batch(encoder: Encoder, windows: Float32) -> float:
    """Halve the encoder's batch where that is faster; gives its entries a second."""
    whole, half = encoder.batch_size, max(1, encoder.batch_size // 2)
    many = np.resize(windows, (whole, *windows.shape[1:]))
    rates = {}
    for size in (whole, half):
        encoder.batch_size = size
        rates[size] = whole / seconds_of(lambda: encoder.encode(many))
    encoder.batch_size = half if rates[half] >= HALF_PAYS * rates[whole] else whole
    return rates[encoder.batch_size]


def seconds_of(call: Callable[[], object]) -> float:
    """The shortest time of a call, of as many as fit into the time of a measurement: a busy moment hits them all."""
    best, spent = math.inf, 0.0
    while spent < MEASURED_SECONDS:
        started = time.perf_counter()
        call()
        best = min(best, seconds := time.perf_counter() - started)
        spent += seconds
    return best


def described(encoder: Encoder) -> str:
    """Engine, device where it is no CPU, and batch."""
    device = str(getattr(encoder, "device", "cpu"))
    return f"{encoder.spec.engine}, {'' if device == 'cpu' else device + ', '}batch {encoder.batch_size}"


def _pays(rate: float, best: Trial) -> bool:
    return rate >= PAYS * best.entries_per_second


def _speed(encoder: BatchedEncoder, windows: Float32, count: int) -> tuple[float, Float32]:
    """Entries a second in passes of so many windows or more, and the embeddings of one pass."""
    size = max(count, encoder.busy_call)
    many, found = np.resize(windows, (size, *windows.shape[1:])), []
    seconds = seconds_of(lambda: found.append(encoder.encode(many).embedding))
    return size / seconds, found[0][: len(windows)]


def _completed(encoder: Encoder, embedding: Float32, windows: Float32) -> Float32:
    """The embeddings of the windows on which agreement is measured, of which the first may be there already."""
    rest = windows[len(embedding) : FEWEST_WINDOWS]
    return np.concatenate([embedding, encoder.encode(rest).embedding]) if len(rest) else embedding


def _agreement(reference: Float32, other: Float32) -> Agreement:
    """Agreement on the windows that both have encoded."""
    count = min(len(reference), len(other))
    return agreement(reference[:count], other[:count])


def _windows(spec: EncoderSpec, sample: Sample | None) -> Float32:
    """Windows to measure on: some of the data, or random ones where there are none."""
    found = np.empty((0, 0, 0), dtype=np.float32) if sample is None else sample(spec.lookback)[:MOST_WINDOWS]
    if len(found) >= FEWEST_WINDOWS:
        spec.check_features(found.shape[2], None)
        return found
    shape = MOST_WINDOWS, spec.lookback, spec.num_features
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
