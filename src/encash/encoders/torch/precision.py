"""The precisions in which torch runs the transformer.

float32    the precision of the weights
medium     float32 in and out; the factors of matrix products are rounded to bfloat16, on a CPU
float16    weights and states of the transformer in float16, on an accelerator; the rest as for bfloat16
bfloat16   weights and states of the transformer in bfloat16; projection, positions, pooling and heads in float32
int8       products of the transformer in 8-bit integers, on a CPU that has them; everything else in float32
int7       the same with weights of 7 bits, whose products are exact on any x86 CPU

A name means the same on every device that has it, because it is part of the identity of a cache.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from encash.encoders.torch.devices import half_dtype
from encash.encoders.torch.int8 import LARGEST_WEIGHT, Int8Transformer, products_are_exact
from encash.encoders.torch.matmul import Bfloat16Products, multiplies_in_bfloat16
from encash.encoders.torch.model import ReferenceTransformer
from encash.errors import InputError, meant

PRECISIONS: Final = ("float32", "medium", "float16", "bfloat16", "int8", "int7")
"""In order of their deviation from float32."""
CPU_ONLY: Final = ("medium", *LARGEST_WEIGHT)
HALF: Final = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def check_precision(precision: str, device: str) -> str:
    """Return the name of a precision, or refuse it.

    Raises:
        InputError: an unknown name, or a precision that the device does not have.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f"invalid precision {precision!r}: expected auto or one of {', '.join(PRECISIONS)}"
            f"{meant(precision, PRECISIONS)}"
        )
    if precision not in (names := offered(device)):
        raise InputError(
            f"precision {precision!r} is not available on {device} here; give auto or {', '.join(names)}, or a "
            "different device"
        )
    return precision


def offered(device: str) -> tuple[str, ...]:
    """Return the precisions of a kind of device: integers only on a CPU whose products of them are exact."""
    if device != "cpu":
        return "float32", *HALF
    exact = [name for name in LARGEST_WEIGHT if products_are_exact(name)]
    return "float32", "medium", "bfloat16", *exact


def worth_measuring(device: torch.device) -> tuple[str, ...]:
    """Return the precisions that may be faster than float32.

    On CUDA this is bfloat16 if its products are fast (compute capability 8.0 and above), else float16, whose range
    is narrow. On a CPU, int7 is included only without int8.
    """
    if device.type == "cuda":
        return (str(half_dtype(device)).removeprefix("torch."),)
    names = offered(device.type)
    slower = {"float32"}
    if device.type == "cpu" and not multiplies_in_bfloat16():
        slower.add("medium")
    if "int8" in names:
        slower.add("int7")
    return tuple(name for name in names if name not in slower)


def states_function(model: ReferenceTransformer, precision: str) -> Callable[[Tensor], Tensor]:
    """Return a function from windows (n, L, F) to float32 states (n, L, hidden) in a precision.

    For medium, the caller sets the precision of matrix products around the call.
    """
    if precision in HALF:
        half = HALF[precision]
        transformer = copy.deepcopy(model.transformer).to(half)

        def in_half(windows: Tensor) -> Tensor:
            states: Tensor = transformer(model.projected(windows).to(half))
            return states.to(torch.float32)

        return in_half
    if precision == "medium" and not multiplies_in_bfloat16():

        def in_rounded_products(windows: Tensor) -> Tensor:
            with Bfloat16Products():
                return model.states(windows)

        return in_rounded_products
    if precision in LARGEST_WEIGHT:
        integers = Int8Transformer(model.transformer, precision)
        return lambda windows: integers(model.projected(windows))
    return model.states
