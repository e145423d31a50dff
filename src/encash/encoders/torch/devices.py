"""The devices of torch: choice, half precision, memory, and equal devices of one machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from encash.encoders.options import GPU_SHARE
from encash.errors import InputError, reason, shown

ACCELERATORS = ("cuda", "xpu", "mps")
"""Kinds of devices that ``auto`` takes."""
MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed", "out_of_device_memory")
"""In errors of torch's allocators, of CUDA's libraries (``CUBLAS_STATUS_ALLOC_FAILED``) and of Intel's driver."""
BFLOAT16_SINCE = (8, 0)
"""The first compute capability of CUDA with matrix products in bfloat16."""


def choose_device(device: str) -> torch.device:
    """Return the device of a name; ``auto`` is the accelerator of this machine if it has one that computes.

    Torch also lists cards that its build has no kernels for, which are most NVIDIA cards of before 2018; it warns about
    them.

    Raises:
        InputError: torch has no such device here, or the device does not compute; or, for ``auto``, other programs use
            all memory of the accelerator.
    """
    if device != "auto":
        try:
            return _computing(device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise InputError(f"device {device!r} is not usable here{reason(error)}; give cpu, or auto") from None
    if (kind := _accelerator()) is None:
        return torch.device("cpu")
    try:
        return _computing(kind)
    except RuntimeError as error:
        if is_memory_error(error):
            raise InputError(f"{kind} is not usable now{reason(error)}; give cpu, or a free device") from None
        return torch.device("cpu")


def device_names() -> list[str]:
    """Return each device of this machine with its name and its memory; the first is the one that ``auto`` takes, and an
    accelerator that does not compute comes last, with the reason.

    >>> device_names()[-1].startswith("cpu, ")
    True
    """
    cpu = f"cpu, threads of torch: {torch.get_num_threads()}"
    if (kind := _accelerator()) is None:
        return [cpu]
    names, library = [kind], _library(torch.device(kind))
    if kind != "mps":
        cards = [library.get_device_properties(number) for number in range(library.device_count())]
        names = [f"{kind}:{n}, {card.name}, {card.total_memory / 2**30:.1f} GiB" for n, card in enumerate(cards)]
    try:
        _computing(kind)
    except RuntimeError as error:
        return [cpu, *(f"{name}: does not compute{reason(error)}" for name in names)]
    return [*names, cpu]


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
    try:
        free, total = library.mem_get_info(device)
    except RuntimeError:  # a GPU that is part of an Intel processor
        return None
    kept, used = library.memory_reserved(device), library.memory_allocated(device)
    return int(min(free + kept, _share() * total) - used)


def least_free_memory(device: torch.device) -> int | None:
    """Return the least free memory since the last call, without what calls took and gave back before that."""
    if (free := free_memory(device)) is None:
        return None
    library = _library(device)
    taken = library.max_memory_allocated(device) - library.memory_allocated(device)
    library.reset_peak_memory_stats(device)
    return int(free - taken)


def release_memory(device: torch.device) -> None:
    """Return to the system the memory that torch keeps for later tensors."""
    if device.type in ACCELERATORS:
        _library(device).empty_cache()


def synchronize(device: torch.device) -> None:
    """Wait until all work of a device is done."""
    if device.type == "mps":
        torch.mps.synchronize()
    elif device.type in ACCELERATORS:
        _library(device).synchronize(device)  # without it, the current device


def is_memory_error(error: RuntimeError) -> bool:
    """Return whether an error of torch says that memory ran out; only some devices have a type for it."""
    return any(words in str(error).lower() for words in MEMORY_WORDS)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise MemoryError within a block in place of torch's errors that say so."""
    try:
        yield
    except RuntimeError as error:
        if not is_memory_error(error):
            raise
        raise MemoryError(str(error)) from None


def _accelerator() -> str | None:
    """Return the kind of accelerator that torch finds on this machine."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found.type if found is not None and found.type in ACCELERATORS else None


def _computing(name: str) -> torch.device:
    """Return a device that has run a kernel, limited to the share of this process."""
    device = torch.device(name)
    torch.ones(1, device=device).item()
    if device.type in ("cuda", "xpu") and _share() < 1.0:
        _library(device).set_per_process_memory_fraction(_share(), device)
    return device


def _share() -> float:
    """Return the fraction of a GPU's memory that this process may use.

    Raises:
        InputError: the environment variable is not a fraction.
    """
    text = os.environ.get(GPU_SHARE, "1")
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0.0 < share <= 1.0:
        raise InputError(f"{GPU_SHARE} is {shown(text)}; expected a fraction above 0 and up to 1, or unset it")
    return share


def _library(device: torch.device) -> Any:
    """Return torch's module of a kind of device."""
    return getattr(torch, device.type)
