"""How the states of a window become one vector. Knows neither numpy nor torch: works on whatever has their axes."""

from __future__ import annotations

from typing import Any, Final

from encash.errors import InputError

POOLINGS: Final = ("mean", "last", "cls")


def check_pooling(pooling: str) -> str:
    """The pooling, if there is one of that name.

    Raises:
        InputError: an unknown name.
    """
    if pooling not in POOLINGS:
        raise InputError(f"pooling {pooling!r} came; expected one of {', '.join(POOLINGS)}")
    return pooling


def pool(states: Any, pooling: str) -> Any:
    """The mean over the window, its last state, or its first (where a model puts a class token).

    Args:
        states: an array or tensor of shape (n, L, D).
        pooling: mean, last or cls.

    Returns:
        shape (n, D), of the type that came.

    >>> import numpy as np
    >>> pool(np.array([[[1.0], [2.0], [6.0]]]), "mean")
    array([[3.]])
    """
    check_pooling(pooling)
    if pooling == "mean":
        return states.mean(1)
    return states[:, -1] if pooling == "last" else states[:, 0]
