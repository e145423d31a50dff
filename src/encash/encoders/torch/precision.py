"""The precisions in which the transformer runs, and which of them pays on this machine. Knows the model; no file.

float32    as it is
medium     float32 in and out; the processor may multiply in bfloat16 inside a matrix product
bfloat16   weights and states of the transformer in bfloat16; projection, positions, pooling and heads in float32
int8       products of the transformer in 8-bit integers, on a CPU; all else in float32
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor

from encash.arrays import Float32
from encash.encoders.agreement import Agreement, agreement
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.encoders.batches import BatchedEncoder
from encash.encoders.torch.int8 import Int8Transformer, products_are_exact
from encash.encoders.torch.model import ReferenceTransformer
from encash.errors import InputError

E = TypeVar("E", bound=BatchedEncoder)

PRECISIONS: Final = ("float32", "medium", "bfloat16", "int8")
"""From the nearest to float32 on."""
PAYS = 1.3
"""Times float32's speed from which a faster precision is taken."""
SMALLEST_DIM = 128
"""Below this a model spends too little in matrix products for a precision to matter."""
MEASURED_SECONDS = 0.5
MOST_WINDOWS = 16
FEWEST_WINDOWS = 12
HALF_PAYS = 1.05
"""Times a batch's speed from which half of it is taken."""
Sample = Callable[[int], Float32]
"""Gives windows of the user's data, shape (n, L, F), for a lookback L."""


def check_precision(precision: str, device: str) -> str:
    """The precision, if there is one of that name on that device.

    Raises:
        InputError: an unknown name, or one that the device does not have.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} came; expected auto or one of {', '.join(PRECISIONS)}")
    if precision not in (names := offered(device)):
        raise InputError(f"precision {precision!r} cannot be had on {device} here; give auto or {', '.join(names)}")
    return precision


def states_function(model: ReferenceTransformer, precision: str) -> Callable[[Tensor], Tensor]:
    """Windows (n, L, F) → float32 states (n, L, hidden), in a precision. Inside the products of medium the processor's
    precision is set around the call."""
    if precision == "bfloat16":
        transformer = copy.deepcopy(model.transformer).to(torch.bfloat16)

        def in_bfloat16(windows: Tensor) -> Tensor:
            states: Tensor = transformer(model.projected(windows).to(torch.bfloat16))
            return states.to(torch.float32)

        return in_bfloat16
    if precision == "int8":
        integers = Int8Transformer(model.transformer)
        return lambda windows: integers(model.projected(windows))
    return model.states


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One precision, tried."""

    precision: str
    entries_per_second: float
    agreement: Agreement

    @property
    def line(self) -> str:
        """Its speed, and its fault where it has one."""
        fault = "" if self.agreement.enough else f" (disagrees: cosine {self.agreement.cosine:.4f})"
        return f"{self.precision} {self.entries_per_second:.3g}{fault}"


def fastest(make: Callable[[str], E], sample: Sample | None = None, *, fixed_batch: bool = False) -> E:
    """The encoder in the fastest precision that says what float32 says, in the batch that was the faster of two.

    Each precision encodes the same windows for about half a second. One is taken only if it agrees with float32
    (`Agreement.enough`) and is 1.3 times as fast as what was taken of those nearer to float32. The line of `choice`
    says what was found.

    Args:
        make: the encoder in a precision.
        sample: gives windows of the data, for a lookback; None takes random ones.
        fixed_batch: the batch stays as it was made.
    """
    plain = make("float32")
    if plain.spec.dim < SMALLEST_DIM:
        plain.choice = f"float32, {described(plain)}: a model too small for another to pay"
        return plain
    windows = _windows(plain.spec, sample)
    encoders = {"float32": plain} | {name: make(name) for name in offered(_device(plain))[1:]}
    trials = try_precisions(encoders, windows)
    best = choose(trials)
    chosen = encoders[best.precision]
    chosen.entries_per_second = best.entries_per_second if fixed_batch else settle_batch(chosen, windows)
    others = ", ".join(trial.line for trial in trials if trial is not best)
    chosen.choice = (
        f"{best.precision}, {described(chosen)}: {chosen.entries_per_second:.3g} entries/s; {others}; "
        f"cosine to float32 {best.agreement.cosine:.5f}"
    )
    return chosen


def offered(device: str) -> tuple[str, ...]:
    """The precisions that a device has: integers on a CPU whose products of them are exact."""
    return PRECISIONS if device == "cpu" and products_are_exact() else PRECISIONS[:-1]


def try_precisions(encoders: Mapping[str, BatchedEncoder], windows: Float32) -> list[Trial]:
    """Speed and agreement of each precision on the same windows (n ≥ 3, L, F); float32 is the first."""
    encoders["float32"].encode(windows[:1])
    _, seconds = _timed(encoders["float32"], windows[:1])
    count = int(np.clip(MEASURED_SECONDS / seconds, FEWEST_WINDOWS, MOST_WINDOWS))
    trials: list[Trial] = []
    reference: Float32 | None = None
    for name, encoder in encoders.items():
        encoder.encode(windows[:1])  # the first call lays out weights and threads
        many = np.resize(windows[:count], (max(count, encoder.busy_call), *windows.shape[1:]))
        result, seconds = _timed(encoder, many)
        embedding = result.embedding[: min(count, len(windows))]
        reference = embedding if reference is None else reference
        found = agreement(reference, embedding)
        rate = len(many) / seconds
        trials.append(Trial(precision=name, entries_per_second=rate, agreement=found))
    return trials


def choose(trials: list[Trial]) -> Trial:
    """The last trial that agrees with float32 and pays over the one taken before it; the first is float32 itself."""
    best = trials[0]
    for trial in trials[1:]:
        if trial.agreement.enough and trial.entries_per_second >= PAYS * best.entries_per_second:
            best = trial
    return best


def settle_batch(encoder: Encoder, windows: Float32) -> float:
    """Halve the encoder's batch where that is faster; gives its entries a second."""
    whole, half = encoder.batch_size, max(1, encoder.batch_size // 2)
    many = np.resize(windows, (whole, *windows.shape[1:]))
    rates = {}
    for size in (whole, half):
        encoder.batch_size = size
        rates[size] = whole / _timed(encoder, many)[1]
    encoder.batch_size = half if rates[half] >= HALF_PAYS * rates[whole] else whole
    return rates[encoder.batch_size]


def described(encoder: Encoder) -> str:
    """Engine, device where it is no CPU, and batch."""
    device = _device(encoder)
    return f"{encoder.spec.engine}, {'' if device == 'cpu' else device + ', '}batch {encoder.batch_size}"


def _device(encoder: Encoder) -> str:
    return str(getattr(encoder, "device", "cpu"))


def _windows(spec: EncoderSpec, sample: Sample | None) -> Float32:
    """Windows to measure on: some of the data, or random ones where there are none."""
    found = np.empty((0, 0, 0), dtype=np.float32) if sample is None else sample(spec.lookback)[:MOST_WINDOWS]
    if len(found) >= FEWEST_WINDOWS:
        spec.check_features(found.shape[2], None)
        return found
    shape = MOST_WINDOWS, spec.lookback, spec.num_features
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _timed(encoder: Encoder, windows: Float32) -> tuple[Encoded, float]:
    started = time.perf_counter()
    result = encoder.encode(windows)
    return result, time.perf_counter() - started
