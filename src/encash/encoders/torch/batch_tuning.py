"""The batch size of an accelerator, from 256 to 4,096 windows, by a measurement.

The rounding of a matrix product may depend on its number of rows. A batch size is therefore chosen only if its outputs
are bit-identical to those of 256 windows at a time, so that results do not depend on it, and cards of one kind with
different amounts of memory agree.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from encash.encoders.base import Encoded
from encash.encoders.batches import BatchedEncoder

SMALLEST_TUNED = 256
LARGEST_TUNED = 4096
LEAST_GAIN = 1.03
"""A batch replaces half of it only if it is at least this many times as fast."""
MEMORY_SHARE = 0.8
"""Maximum fraction of the free memory that a batch may take."""
WARM_UPS, MEASURED = 2, 5
"""Calls before the measured ones, which choose kernels and allocate memory; and calls of which the fastest counts."""
LONGEST_CALL = 1.0
"""Seconds of a call after which no larger batch is tried."""


@dataclass(frozen=True, kw_only=True)
class BatchTrial:
    """Measurement of one batch."""

    batch: int
    entries_per_second: float
    same_bits: bool
    """The outputs are those of the smallest batch, bit for bit."""


def tune_batch(
    encoder: BatchedEncoder,
    least_free: Callable[[], int | None],
    clock: Callable[[], float] = time.perf_counter,
) -> list[BatchTrial]:
    """Set the batch, the smallest call and the rate of an encoder whose batch is fixed; return the measurements.

    Doubles the batch while that is 3% faster, gives the same bits and fits the free memory, extrapolated from that of
    the previous batch.

    Args:
        encoder: on an accelerator; it returns results when they are on the host, so that every time is synchronized.
        least_free: returns the least free bytes of the device since its last call, None if unknown. (Between calls of
            the encoder its memory is free again.)
        clock: seconds.
    """
    trials: list[BatchTrial] = []
    expected: Encoded | None = None
    size, before = SMALLEST_TUNED, least_free()
    while size <= LARGEST_TUNED:
        encoder.batch_size = encoder.smallest_call = encoder.busy_call = size
        seconds, found = measure_call(encoder, clock)
        if encoder.batch_size < size:  # memory ran out
            break
        expected = expected or found
        trial = BatchTrial(batch=size, entries_per_second=size / seconds, same_bits=same_bits(found, expected))
        trials.append(trial)
        if trial is not _best(trials) or seconds > LONGEST_CALL or not _fits_twice(before, least_free()):
            break
        size *= 2
    if trials:
        best = _best(trials)
        encoder.batch_size = encoder.busy_call = best.batch
        encoder.smallest_call = SMALLEST_TUNED
        encoder.entries_per_second = best.entries_per_second
    return trials


def measure_call(encoder: BatchedEncoder, clock: Callable[[], float] = time.perf_counter) -> tuple[float, Encoded]:
    """Return the seconds of a warm call of one batch, and its outputs; it repeats 256 windows of random numbers."""
    length, count = encoder.spec.lookback, SMALLEST_TUNED
    rows = np.random.default_rng(0).standard_normal((count + length - 1, encoder.spec.num_features), dtype=np.float32)
    starts = np.arange(encoder.batch_size) % count
    best, parts = math.inf, list[Encoded]()
    for number in range(WARM_UPS + MEASURED):
        began = clock()
        parts = list(encoder.encode_rows(rows, starts))
        if number >= WARM_UPS:
            best = min(best, clock() - began)
    return best, Encoded.join(parts)


def same_bits(found: Encoded, expected: Encoded) -> bool:
    """Return whether outputs are those expected, repeated to their number."""
    pairs = ((getattr(found, field.name), getattr(expected, field.name)) for field in fields(Encoded))
    return all(np.array_equal(ours, np.resize(theirs, ours.shape), equal_nan=True) for ours, theirs in pairs)


def _best(trials: list[BatchTrial]) -> BatchTrial:
    """Return the largest batch of which each half was worth doubling."""
    best = trials[0]
    for trial in trials[1:]:
        if not trial.same_bits or trial.entries_per_second < LEAST_GAIN * best.entries_per_second:
            break
        best = trial
    return best


def _fits_twice(before: int | None, now: int | None) -> bool:
    """Return whether a batch twice as large fits, by the free memory before the first batch and during the last."""
    if before is None or now is None:
        return True
    return 2 * (before - now) <= MEMORY_SHARE * before
