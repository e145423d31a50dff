"""The registered kinds of heads; importing this file imports none of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from encash.arrays import Float32, Float64
from encash.errors import InputError
from encash.heads.config import HeadConfig
from encash.heads.samples import EntryReader, Targets
from encash.heads.skill import HeldOut

KINDS = {
    "ridge": ("encash.heads.ridge", "fit_ridge", "Ridge"),
    "boosted": ("encash.heads.boosted", "fit_boosted", "Boosted"),
}
"""Add your kind here: its module, the function that fits it, and the class of what that returns."""


class Predictor(Protocol):
    """A fitted forecast of excess returns over H horizons."""

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""

    def predict(self, vectors: Float32) -> Float64:
        """Return forecasts of shape (n, H), before calibration, for vectors of shape (n, d)."""

    def arrays(self) -> dict[str, Any]:
        """Return its complete state as plain arrays."""


class Fit(Protocol):
    """A function that fits a predictor."""

    def __call__(self, read: EntryReader, targets: Targets, config: HeadConfig) -> tuple[Predictor, list[HeldOut]]:
        """Return the fit on all entries, and forecasts of entries by fits without them."""


def fit_function(kind: str) -> Fit:
    """Return the function that fits a kind of head.

    Raises:
        InputError: an unknown kind.
        MissingExtraError: its library is not installed.
    """
    found: Fit = _attribute(kind, 1)
    return found


def predictor_of(kind: str, arrays: dict[str, Any]) -> Predictor:
    """Return the predictor that some arrays describe; errors as `fit_function`."""
    found: Predictor = _attribute(kind, 2).from_arrays(arrays)
    return found


def _attribute(kind: str, place: int) -> Any:
    if kind not in KINDS:
        raise InputError(f"unknown kind of head {kind!r}: expected one of {', '.join(KINDS)}")
    return getattr(import_module(KINDS[kind][0]), KINDS[kind][place])
