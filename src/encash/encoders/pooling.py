"""Pooling of the states of a window into one vector, for numpy arrays and torch tensors alike."""

from __future__ import annotations

from typing import Any, Final

from encash.errors import InputError

POOLINGS: Final = ("mean", "last", "cls")


def check_pooling(pooling: str) -> str:
    """Return the name of a pooling, or refuse it.

    Raises:
        InputError: an unknown name.
    """
    if pooling not in POOLINGS:
        raise InputError(f"invalid pooling {pooling!r}: expected one of {', '.join(POOLINGS)}")
    return pooling


def pool(states: Any, pooling: str) -> Any:
    """Return the mean over the window, its last state, or its first (the position of a class token).

    Args:
        states: an array or tensor of shape (n, L, D).
        pooling: mean, last or cls.

    Returns:
        shape (n, D), of the same type.

    >>> import numpy as np
    >>> pool(np.array([[[1.0], [2.0], [6.0]]]), "mean")
    array([[3.]])
    """
    check_pooling(pooling)
    if pooling == "mean":
        return states.mean(1)
    return states[:, -1] if pooling == "last" else states[:, 0]
