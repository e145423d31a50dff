"""Contract tests and fakes for those who implement a seam."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encash.lazy import lazy_names

if TYPE_CHECKING:
    from encash.testing.checkpoints import write_checkpoint
    from encash.testing.encoder_contract import EncoderContract
    from encash.testing.encoders import BrokenEncoder, MeanEncoder
    from encash.testing.executor_contract import ExecutorContract, RaiseIfRun
    from encash.testing.filter_contract import FilterContract
    from encash.testing.memory_store import MemoryStore
    from encash.testing.store_contract import StoreContract, StoreReadContract

__all__ = [
    "BrokenEncoder",
    "EncoderContract",
    "ExecutorContract",
    "FilterContract",
    "MeanEncoder",
    "MemoryStore",
    "RaiseIfRun",
    "StoreContract",
    "StoreReadContract",
    "write_checkpoint",
]

_HOMES = {
    "MemoryStore": "memory_store",
    "StoreContract": "store_contract",
    "StoreReadContract": "store_contract",
    "BrokenEncoder": "encoders",
    "ExecutorContract": "executor_contract",
    "FilterContract": "filter_contract",
    "RaiseIfRun": "executor_contract",
    "EncoderContract": "encoder_contract",
    "MeanEncoder": "encoders",
    "write_checkpoint": "checkpoints",
}
"""Where each name lives; loaded when it is first asked for, so that a test of one room imports that room alone."""

__getattr__ = lazy_names(__name__, _HOMES)
