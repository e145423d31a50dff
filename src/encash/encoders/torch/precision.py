"""The precisions in which torch runs the transformer. Knows the model; no file, no measurement.

float32    as it is
medium     float32 in and out; the processor may multiply in bfloat16 inside a matrix product
bfloat16   weights and states of the transformer in bfloat16; projection, positions, pooling and heads in float32
int8       products of the transformer in 8-bit integers, on a CPU; all else in float32
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from encash.encoders.torch.int8 import Int8Transformer, products_are_exact
from encash.encoders.torch.model import ReferenceTransformer
from encash.errors import InputError

PRECISIONS: Final = ("float32", "medium", "bfloat16", "int8")
"""From the nearest to float32 on."""


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


def offered(device: str) -> tuple[str, ...]:
    """The precisions that a device has: integers on a CPU whose products of them are exact."""
    return PRECISIONS if device == "cpu" and products_are_exact() else PRECISIONS[:-1]


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
