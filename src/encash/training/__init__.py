"""Training of the reference transformer, split by date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from encash.training.config import PRESETS, Preset, TrainConfig

if TYPE_CHECKING:
    from encash.training.fit import TrainReport, train

__all__ = ["PRESETS", "Preset", "TrainConfig", "TrainReport", "train"]


def __getattr__(name: str) -> Any:
    """Load what needs torch when it is asked for."""
    if name not in ("TrainReport", "train"):
        raise AttributeError(f"encash.training has no {name!r}; it has {', '.join(__all__)}")
    from encash.encoders.optional_import import import_optional  # noqa: PLC0415  # only here is it needed

    return getattr(import_optional("encash.training.fit", package="torch", extra="torch"), name)
