"""The precisions in which torch runs the transformer.

float32    the precision of the weights
medium     float32 in and out; the processor may multiply in bfloat16 within a matrix product
bfloat16   weights and states of the transformer in bfloat16; projection, positions, pooling and heads in float32
int8       products of the transformer in 8-bit integers, on a CPU; everything else in float32
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
"""In order of their deviation from float32."""


def check_precision(precision: str, device: str) -> str:
    """Return the name of a precision, or refuse it.

    Raises:
        InputError: an unknown name, or a precision that the device does not have.
    """
    if precision not in PRECISIONS:
        raise InputError(f"invalid precision {precision!r}: expected auto or one of {', '.join(PRECISIONS)}")
    if precision not in (names := offered(device)):
        raise InputError(f"precision {precision!r} is not available on {device} here; give auto or {', '.join(names)}")
    return precision


def offered(device: str) -> tuple[str, ...]:
    """Return the precisions of a device: int8 only on a CPU whose integer products are exact."""
    return PRECISIONS if device == "cpu" and products_are_exact() else PRECISIONS[:-1]


def states_function(model: ReferenceTransformer, precision: str) -> Callable[[Tensor], Tensor]:
    """Return a function from windows (n, L, F) to float32 states (n, L, hidden) in a precision.

    For medium, the caller sets the precision of matrix products around the call.
    """
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
