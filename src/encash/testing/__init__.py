"""Contract tests and fakes for those who implement a seam."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "MemoryStore": "encash.testing.memory_store",
    "StoreContract": "encash.testing.store_contract",
    "StoreReadContract": "encash.testing.store_contract",
    "BrokenEncoder": "encash.testing.encoders",
    "ExecutorContract": "encash.testing.executor_contract",
    "RaiseIfRun": "encash.testing.executor_contract",
    "EncoderContract": "encash.testing.encoder_contract",
    "MeanEncoder": "encash.testing.encoders",
    "write_checkpoint": "encash.testing.checkpoints",
}
"""Where each name lives; loaded when it is first asked for, so that a test of one room imports that room alone."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"encash.testing has no {name!r}; it has {', '.join(sorted(_HOMES))}")
    return getattr(import_module(_HOMES[name]), name)
