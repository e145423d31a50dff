"""The devices of torch: choice, half precision, memory, and equal devices of one machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from encash.errors import InputError, reason

ACCELERATORS = ("cuda", "xpu", "mps")
"""Kinds of devices that ``auto`` takes."""
MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory")
BFLOAT16_SINCE = (8, 0)
"""The first compute capability of CUDA with matrix products in bfloat16."""


def choose_device(device: str) -> torch.device:
    """Return the device of a name; ``auto`` is the accelerator of this machine if there is one.

    Raises:
        InputError: torch has no such device here.
    """
    if device == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return torch.device(found.type if found is not None and found.type in ACCELERATORS else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {device!r} is not usable here{reason(error)}; give cpu, or auto") from None
    return chosen


def device_names() -> list[str]:
    """Return each device of this machine with its name and its memory; the first is the one that ``auto`` takes.

    >>> device_names()[-1].startswith("cpu, ")
    True
    """
    chosen = choose_device("auto")
    names = [f"cpu, threads of torch: {torch.get_num_threads()}"]
    if chosen.type in ("cuda", "xpu"):
        cards = [_library(chosen).get_device_properties(number) for number in range(_library(chosen).device_count())]
        names = [
            f"{chosen.type}:{n}, {card.name}, {card.total_memory / 2**30:.1f} GiB" for n, card in enumerate(cards)
        ] + names
    elif chosen.type != "cpu":
        names = [chosen.type, *names]
    return names


def half_dtype(device: torch.device) -> torch.dtype:
    """Return the 16-bit type in which a device multiplies fast: float16 on CUDA below 8.0, else bfloat16."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < BFLOAT16_SINCE:
        return torch.float16
    return torch.bfloat16


def equal_devices(device: torch.device) -> tuple[torch.device, ...]:
    """Return the other devices of this machine with the same name, if the device was named without a number.

    Different cards round differently, so only cards of the same kind share the work of one cache.
    """
    if device.index is not None or device.type not in ("cuda", "xpu"):
        return ()
    library = _library(device)
    names = [library.get_device_properties(number).name for number in range(library.device_count())]
    first = library.current_device()
    same = [number for number, name in enumerate(names) if name == names[first] and number != first]
    return tuple(torch.device(device.type, number) for number in same)


def free_memory(device: torch.device) -> int | None:
    """Return the bytes of a device that a new tensor can take; None if the device does not say."""
    if device.type not in ("cuda", "xpu"):
        return None
    library = _library(device)
    kept = library.memory_reserved(device) - library.memory_allocated(device)
    return int(library.mem_get_info(device)[0] + kept)


def release_memory(device: torch.device) -> None:
    """Return to the system the memory that torch keeps for later tensors."""
    if device.type in ACCELERATORS:
        _library(device).empty_cache()


def synchronize(device: torch.device) -> None:
    """Wait until all work of a device is done."""
    if device.type in ACCELERATORS:
        _library(device).synchronize()


def is_memory_error(error: RuntimeError) -> bool:
    """Return whether an error of torch says that memory ran out; on a CPU there is no type for it."""
    return any(words in str(error) for words in MEMORY_WORDS)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise MemoryError within a block in place of torch's errors that say so."""
    try:
        yield
    except RuntimeError as error:
        if not is_memory_error(error):
            raise
        raise MemoryError(str(error)) from None


def _library(device: torch.device) -> Any:
    """Return torch's module of a kind of device."""
    return getattr(torch, device.type)
