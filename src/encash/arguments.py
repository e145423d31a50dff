"""Arguments of functions, read by their annotations: one place decides what is taken and how the rest is refused.

Numbers, days, names and paths may come as numpy, pandas or `pathlib` have them. Text is never a number, a number never
a switch, and a switch never a number.
"""

from __future__ import annotations

import datetime as dt
import inspect
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from encash.arrays import to_day
from encash.errors import InputError, shown

P = ParamSpec("P")
R = TypeVar("R")


def typed(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function receive its arguments as `read` returns them for their annotations.

    >>> @typed
    ... def half(count: int) -> float:
    ...     return count / 2
    >>> half(np.int64(3))
    1.5
    >>> half("3")
    Traceback (most recent call last):
    encash.errors.InputError: count is '3'; expected a whole number
    """
    signature = inspect.signature(function)

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # which says it better
        for name, hint in _hints(function).items():
            if name in given.arguments:
                given.arguments[name] = read(name, given.arguments[name], hint)
        return function(*given.args, **given.kwargs)

    return called


def read(name: str, value: Any, hint: Any) -> Any:
    """Return a value as an annotation has it.

    Numbers and text become Python's own, several of them a tuple, and a day a ``datetime64[D]``. An integer stays one
    if a number is expected.

    Args:
        name: of the argument, for the message.
        value: what was given.
        hint: its type: ``int``, ``float``, ``bool``, ``str``, a path, a `encash.arrays.DayLike`, a class, choices,
            sequences of these, or a union.

    Raises:
        InputError: anything else; NaN and infinity, and a path without characters, too.

    >>> read("top", np.float64(0.5), float | None), read("k", range(3, 5), int | Sequence[int])
    (0.5, (3, 4))
    """
    kinds = _kinds(hint)
    try:
        return _take(value, kinds)
    except _Refused as error:
        reason = f": {error}" if str(error) else f" is {shown(value)}; expected {_joined([one.one for one in kinds])}"
        raise InputError(f"{name}{reason}") from None


def plain(value: Any) -> Any:
    """Return a number, a switch or text of numpy as Python's own; anything else as it is.

    >>> plain(np.int64(3)), plain(np.array(0.5)), plain(np.bool_(True))
    (3, 0.5, True)
    """
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 and value.dtype.kind in "biufUS":
        return value.item()
    return value


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of the named parameters of a function."""
    hints = get_type_hints(function)
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = [one.name for one in inspect.signature(function).parameters.values() if one.kind not in variable]
    return {name: hints[name] for name in named if name in hints}


class _Refused(Exception):
    """A value that is not of a kind; its text, if any, says more than what was expected."""


@dataclass(frozen=True)
class _Kind:
    """One of the types that an argument may have."""

    one: str
    """In words, as expected by an error."""
    several: str
    take: Callable[[Any], Any]
    """Return the value as the function needs it, or raise `_Refused`."""

    @classmethod
    def where(cls, one: str, several: str, holds: Callable[[Any], bool]) -> _Kind:
        """Return the kind of the values for which a condition holds."""

        def take(value: Any) -> Any:
            if not holds(value):
                raise _Refused
            return value

        return cls(one, several, take)


@cache
def _kinds(hint: Any) -> tuple[_Kind, ...]:
    """Return the kinds of an annotation. Text is not one of its own where it may be a day or a path."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    days, paths = np.datetime64 in parts, any(_is_path(part) for part in parts)
    left_out = (str, dt.date, np.datetime64) if days else (str,) if paths else ()
    kinds = [_kind(part) for part in parts if part not in left_out]
    if days:
        kinds.insert(0, _DAY)
    return tuple(dict.fromkeys(kinds))


def _kind(part: Any) -> _Kind:
    """Return the kind of one type."""
    origin, inner = get_origin(part) or part, get_args(part)
    if part in _PLAIN:
        return _PLAIN[part]
    if origin is Literal:
        words = " or ".join(map(repr, inner)) if len(inner) < 3 else f"one of {', '.join(map(repr, inner))}"
        return _Kind.where(words, words, lambda value: isinstance(value, str) and value in inner)
    if _is_path(part):
        return _PATH
    if origin in _SEVERAL:
        length = len(inner) if origin is tuple and Ellipsis not in inner else None
        return _several(_kinds(inner[0]), length)
    if origin is _FUNCTION:
        return _Kind.where("a function", "functions", callable)
    name = "array" if origin is np.ndarray else origin.__name__
    return _Kind.where(
        f"{'an' if name[0] in 'AEIOUa' else 'a'} {name}", f"{name}s", lambda value: isinstance(value, origin)
    )


def _several(kinds: tuple[_Kind, ...], length: int | None) -> _Kind:
    """Return the kind of a list of any or a fixed length, whose items have one of some kinds."""

    def take(value: Any) -> tuple[Any, ...]:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) > 1:
            raise _Refused
        found = tuple(_take(one, kinds) for one in value)
        if length not in (None, len(found)):
            raise _Refused
        return found

    items = _joined([one.several for one in kinds])
    return _Kind(f"a list of {items}" if length is None else f"{length} {items}", "lists", take)


def _take(value: Any, kinds: tuple[_Kind, ...]) -> Any:
    """Return a value as the first kind that takes it."""
    refused = _Refused()
    value = plain(value)
    for kind in kinds:
        try:
            return kind.take(value)
        except _Refused as error:
            refused = error if str(error) else refused
    raise refused


def _day(value: Any) -> np.datetime64:
    try:
        return to_day(value)
    except InputError as error:
        raise _Refused("" if "is not a day" in str(error) else str(error)) from None


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _is_path(part: Any) -> bool:
    origin = get_origin(part) or part
    return isinstance(origin, type) and issubclass(origin, os.PathLike)


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


_PLAIN = {
    int: _Kind.where("a whole number", "whole numbers", lambda value: isinstance(value, int) and _is_number(value)),
    float: _Kind.where("a number", "numbers", _is_number),
    bool: _Kind.where("True or False", "switches", lambda value: isinstance(value, bool)),
    str: _Kind.where("text", "names", lambda value: isinstance(value, str)),
    NoneType: _Kind.where("None", "None", lambda value: value is None),
    Any: _Kind.where("a value", "values", lambda _: True),
}
_PATH = _Kind.where("a path", "paths", lambda value: isinstance(value, str | os.PathLike) and os.fspath(value) != "")
_DAY = _Kind("a day (YYYY-MM-DD)", "days", _day)
_SEVERAL = (Sequence, Collection, Iterable, tuple)
_FUNCTION = get_origin(Callable[..., Any])
