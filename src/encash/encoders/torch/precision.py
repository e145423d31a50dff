"""The precisions in which the transformer runs, and which of them pays on this machine. Knows the model; no file.

float32    as it is
medium     float32 in and out; the processor may multiply in bfloat16 inside a matrix product
bfloat16   weights and states of the transformer in bfloat16; projection, positions, pooling and heads in float32
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor

from encash.arrays import Float32
from encash.encoders.agreement import Agreement, agreement
from encash.encoders.base import Encoded, Encoder
from encash.encoders.torch.model import ReferenceTransformer
from encash.errors import InputError

E = TypeVar("E", bound=Encoder)

PRECISIONS: Final = ("float32", "medium", "bfloat16")
PAYS = 1.3
"""Times float32's speed from which a faster precision is taken."""
SMALLEST_DIM = 128
"""Below this a model spends too little in matrix products for a precision to matter."""
MEASURED_SECONDS = 0.5
MOST_WINDOWS = 16
FEWEST_WINDOWS = 4


def check_precision(precision: str) -> str:
    """The precision, if there is one of that name.

    Raises:
        InputError: an unknown name.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} came; expected auto or one of {', '.join(PRECISIONS)}")
    return precision


def states_function(model: ReferenceTransformer, precision: str) -> Callable[[Tensor], Tensor]:
    """Windows (n, L, F) → float32 states (n, L, hidden), in a precision."""
    if precision == "bfloat16":
        transformer = copy.deepcopy(model.transformer).to(torch.bfloat16)

        def in_bfloat16(windows: Tensor) -> Tensor:
            states: Tensor = transformer(model.projected(windows).to(torch.bfloat16))
            return states.to(torch.float32)

        return in_bfloat16

    def in_float32(windows: Tensor) -> Tensor:
        with _matmul_precision("medium" if precision == "medium" else "highest"):
            return model.states(windows)

    return in_float32


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


def fastest(make: Callable[[str], E]) -> E:
    """The encoder in the fastest precision that says what float32 says.

    Each precision encodes the same random windows for about half a second. A faster one is taken only if it is 1.3
    times as fast as float32 and agrees with it (`Agreement.enough`). The line of `choice` says what was found.

    Args:
        make: the encoder in a precision.
    """
    plain = make("float32")
    if plain.spec.dim < SMALLEST_DIM:
        plain.choice = f"float32, {described(plain)}: a model too small for another to pay"
        return plain
    encoders = {"float32": plain} | {name: make(name) for name in PRECISIONS[1:]}
    trials = try_precisions(encoders)
    best = choose(trials)
    chosen = encoders[best.precision]
    others = ", ".join(trial.line for trial in trials if trial is not best)
    chosen.choice = (
        f"{best.precision}, {described(chosen)}: {best.entries_per_second:.3g} entries/s; {others}; "
        f"cosine to float32 {best.agreement.cosine:.5f}"
    )
    return chosen


def try_precisions(encoders: Mapping[str, Encoder]) -> list[Trial]:
    """Speed and agreement of each precision on the same windows; float32 is the first."""
    spec = encoders["float32"].spec
    random = np.random.default_rng(0)
    windows = random.standard_normal((MOST_WINDOWS, spec.lookback, spec.num_features)).astype(np.float32)
    encoders["float32"].encode(windows[:1])
    _, seconds = _timed(encoders["float32"], windows[:1])
    count = int(np.clip(MEASURED_SECONDS / seconds, FEWEST_WINDOWS, MOST_WINDOWS))
    trials: list[Trial] = []
    reference: Float32 | None = None
    for name, encoder in encoders.items():
        encoder.encode(windows[:1])  # the first call lays out weights and threads
        result, seconds = _timed(encoder, windows[:count])
        reference = result.embedding if reference is None else reference
        found = agreement(reference, result.embedding)
        trials.append(Trial(precision=name, entries_per_second=count / seconds, agreement=found))
    return trials


def choose(trials: list[Trial]) -> Trial:
    """The fastest trial that agrees with float32 and pays, else float32 itself, which is the first."""
    plain = trials[0]
    worth = [
        trial
        for trial in trials[1:]
        if trial.agreement.enough and trial.entries_per_second >= PAYS * plain.entries_per_second
    ]
    return max(worth, key=lambda trial: trial.entries_per_second, default=plain)


def described(encoder: Encoder) -> str:
    """Engine, device where it is no CPU, and batch."""
    device = str(getattr(encoder, "device", "cpu"))
    return f"{encoder.spec.engine}, {'' if device == 'cpu' else device + ', '}batch {encoder.batch_size}"


def _timed(encoder: Encoder, windows: Float32) -> tuple[Encoded, float]:
    started = time.perf_counter()
    result = encoder.encode(windows)
    return result, time.perf_counter() - started


@contextmanager
def _matmul_precision(precision: str) -> Iterator[None]:
    """Torch's own switch, which is one for the whole process: set for one call, then as it was."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
