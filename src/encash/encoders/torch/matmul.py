"""Precision of float32 matrix products, which torch keeps in settings of the process, old and new ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

MEANINGS = (("ieee", "ieee"), ("tf32", "tf32"), ("tf32", "bf16"), ("tf32", "ieee"))
"""Settings of CUDA and of the CPU that fit one of the names highest, high and medium."""


def save_products() -> Callable[[], None]:
    """Return a function that restores the precision of float32 products as it is now.

    ``torch.get_float32_matmul_precision`` raises an error if a program used ``torch.backends.*.fp32_precision``, and
    ``torch.set_float32_matmul_precision`` overwrites those.
    """
    backends = [backend for backend in _backends() if hasattr(backend, "fp32_precision")]
    values = [backend.fp32_precision for backend in backends]
    name = _name(backends)

    def restore() -> None:
        torch.set_float32_matmul_precision(name)
        for backend, value in zip(backends, values, strict=True):
            backend.fp32_precision = "none"  # takes the value of the setting above it
            if backend.fp32_precision != value:
                backend.fp32_precision = value

    return restore


@cache
def multiplies_in_bfloat16() -> bool:
    """Return whether this CPU computes products of precision ``medium`` in bfloat16; others ignore the setting."""
    restore, rows = save_products(), torch.full((64, 64), 1 + 2.0**-10)
    torch.set_float32_matmul_precision("medium")
    try:
        return bool((rows @ torch.eye(64) == 1).all())
    finally:
        restore()


class Bfloat16Products(TorchFunctionMode):
    """Within a block, the factors of matrix products are rounded to bfloat16; sums stay in float32.

    This is what ``medium`` means on a CPU that multiplies in bfloat16.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch."""
        if func in (torch.nn.functional.linear, torch.matmul):
            args = *(factor.to(torch.bfloat16).to(torch.float32) for factor in args[:2]), *args[2:]
        return func(*args, **(kwargs or {}))


def _backends() -> tuple[Any, ...]:
    backends: Any = torch.backends
    return tuple(getattr(backend, "matmul", None) for backend in (backends.cuda, backends.mkldnn))


def _name(backends: list[Any]) -> str:
    """Return the name that ``torch.set_float32_matmul_precision`` was last called with."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # a backend has a setting that does not fit the name
        for values in MEANINGS:
            for backend, value in zip(backends, values, strict=True):
                backend.fp32_precision = value
            try:
                return torch.get_float32_matmul_precision()
            except RuntimeError:
                continue
        raise
