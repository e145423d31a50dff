"""Contract tests and fakes for those who implement a seam."""

from __future__ import annotations

from encash.lazy import lazy_names

_HOMES = {
    "MemoryStore": "memory_store",
    "StoreContract": "store_contract",
    "StoreReadContract": "store_contract",
    "BrokenEncoder": "encoders",
    "ExecutorContract": "executor_contract",
    "RaiseIfRun": "executor_contract",
    "EncoderContract": "encoder_contract",
    "MeanEncoder": "encoders",
    "write_checkpoint": "checkpoints",
}
"""Where each name lives; loaded when it is first asked for, so that a test of one room imports that room alone."""

__all__ = list(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES)
