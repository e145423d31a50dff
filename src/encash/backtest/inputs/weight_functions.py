"""Weights by a user's function: its identity, the call, and the checks of its result."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Float64, Int64, day_text
from encash.errors import InputError, MismatchError, shown
from encash.panel.panel import PriceTable
from encash.plugins import find_plugin, is_attribute

_DIGITS = 12
_IMPORTED: dict[str, tuple[Any, bytes]] = {}
"""Of each source file of a function: the spec of its module, which a reload replaces, and its content."""
_ROUNDING = 1e-6
"""Weights below 0 or above 1 in sum by no more than this are rounding of an optimizer: they become 0, or sum to 1."""

WeightFunction = Callable[[tuple[str, ...], Float64], Any]
"""Maps n tickers, best first, and their past returns, shape (sessions, n), to n weights of 0 or more."""


@dataclass(frozen=True, kw_only=True)
class PastPrices:
    """Prices, and the session of each of R signals in them."""

    table: PriceTable
    """From the beginning of the file to the last session of the run."""
    rows: Int64
    """shape (R,)."""


def identified(text: str) -> str:
    """Return ``module:attribute@hash``, with the hash of the source file of the module.

    Args:
        text: with a hash, or without one.

    Raises:
        InputError: not the name of a function, or a module without a source file.
        MismatchError: the source has changed since the hash was taken.
    """
    name, _, known = text.partition("@")
    found = f"{name}@{_source_hash(name, weight_function(name))}"
    if known and found != text:
        raise MismatchError(
            f"the weights are {text}, and the source of {name.partition(':')[0]} is now {found.partition('@')[2]}; "
            "restore it, or give the name without a hash"
        )
    return found


def weight_function(text: str) -> WeightFunction:
    """Import the function that ``module:attribute`` names; a hash after ``@`` is ignored.

    Raises:
        InputError: the text has a different form, the module cannot be imported, or the attribute cannot be called.
    """
    name = text.partition("@")[0]
    found = find_plugin(name, "") if is_attribute(name) else None
    if not callable(found):
        raise InputError(
            f"weights is {name!r}; expected equal, forecast, inverse_vol, or module:function of (picks, past returns)"
        )
    function: WeightFunction = found
    return function


def function_weights(
    text: str,
    past: PastPrices,
    column: Int64,
    *,
    sessions: int,
    short: bool = False,
) -> Float64:
    """Return the weights of a function for each rebalance, shape (R, k).

    The function receives copies of what is known at the close of the signal: the picked tickers, and the
    daily returns of the sessions up to the signal, NaN where a ticker has no price.

    Args:
        text: ``module:attribute``.
        past: prices of N tickers up to each of R signals.
        column: picks, −1 for none; shape (R, k).
        sessions: maximum number of returns to pass.
        short: pass the negative returns, which are those of short positions.

    Raises:
        InputError: the function fails, or returns something other than one finite weight per pick, 0 or more and at
            most 1 in sum.
    """
    function, weights = weight_function(text), np.zeros(column.shape)
    for number, row in enumerate(past.rows.tolist()):
        held = column[number] >= 0
        if not held.any():
            continue
        picked = column[number][held]
        window = past.table.close[max(row - sessions, 0) : row + 1, picked]
        names, returns = tuple(past.table.tickers[place] for place in picked), window[1:] / window[:-1] - 1.0
        returns = -returns if short else returns
        day, size = day_text(past.table.days[row]), f"{len(names)} picks and {len(returns)} returns"
        where = f"{text.partition('@')[0]} on {day} with {size}"
        weights[number][held] = _checked(_call(function, names, returns, where), names, where)
    return weights


def _call(function: WeightFunction, names: tuple[str, ...], returns: Float64, where: str) -> Any:
    try:
        return function(names, returns)
    except Exception as error:
        raise InputError(f"{where} raised {type(error).__name__}: {error}; correct the function") from error


def _checked(found: Any, names: tuple[str, ...], where: str) -> Float64:
    """Return what a function returned as weights."""
    try:
        weights = np.asarray(found)
    except ValueError:
        weights = np.zeros(0)
    if weights.shape != (len(names),) or weights.dtype.kind not in "fiu":
        raise InputError(f"{where} returned {shown(found)}; expected one real number per pick")
    labels = getattr(found, "index", None)  # of a table; that of a list is a method
    if labels is not None and not callable(labels) and {*labels} == {*names} and tuple(labels) != names:
        raise InputError(f"{where} returned weights of {shown(list(labels))}; expected the order {shown(list(names))}")
    weights = np.array(weights, dtype=np.float64)
    if not (np.isfinite(weights).all() and (weights >= -_ROUNDING).all() and weights.sum() <= 1.0 + _ROUNDING):
        raise InputError(f"{where} returned {shown(found)}; expected finite weights, 0 or more, at most 1 in sum")
    weights = np.maximum(weights, 0.0)
    scaled: Float64 = weights / max(1.0, float(weights.sum()))
    return scaled


def _source_hash(name: str, function: WeightFunction) -> str:
    """Return the first digits of the SHA-256 of the file that defines a function, or the class of a callable object.

    Raises:
        InputError: there is no such file.
        MismatchError: it has changed since this process first read it, so that the old function would run.
    """
    defined = function if inspect.isroutine(function) or isinstance(function, type) else type(function)
    names = (getattr(inspect.unwrap(defined), "__module__", None), name.partition(":")[0])
    modules = [sys.modules[module] for module in names if module in sys.modules]
    sources = {
        file: module for module in modules if (file := getattr(module, "__file__", None)) and Path(file).is_file()
    }
    if not sources:
        raise InputError(f"{name} has no source file, so that its identity is unknown; write it into a module")
    contents = []
    for file, module in sorted(sources.items()):
        contents.append(Path(file).read_bytes())
        spec, known = _IMPORTED.get(file, (None, b""))
        if spec is None or spec is not module.__spec__:  # another one after a reload
            _IMPORTED[file] = module.__spec__, contents[-1]
        elif known != contents[-1]:
            raise MismatchError(
                f"{file} has changed since Python imported it, and the old {name} would run; start Python again, or "
                "reload the module (importlib.reload)"
            )
    return hashlib.sha256(b"".join(contents)).hexdigest()[:_DIGITS]
