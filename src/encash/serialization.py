"""Descriptions of frozen dataclasses: plain JSON values with a format version, and the way back.

An identity (the fingerprint of an encoder, a cluster model or a run) is a hash of such a description, so a description
may grow, but what was written before must keep its meaning and its fingerprint:

- Fields of format 1 are always described.
- A later field is declared with `added_in` and a default. It is described only if its value is not that default, so a
  new field changes neither the description nor the identity of anything that does not use it.
- `describe` writes the lowest format that knows all described fields, as ``"format"``; a description without that key
  has format 1. The key itself is not part of an identity.
- The meaning of a field never changes: add a new field, and keep the default of the old one. If the name must stay,
  because users give it, declare it with `restated_in`: then only its default means what it meant before, and every
  other value is a new identity.

An older encash refuses a higher format by its number, because it would otherwise ignore the field that matters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import msgspec
import numpy as np

from encash.errors import FormatError, InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Spec = TypeVar("Spec", bound="DataclassInstance")
Value = TypeVar("Value")

FORMAT = "format"
"""Key of the format version in a description; no dataclass has a field of this name."""
_RESTATED = "restated"


def added_in(format: int, default: Value) -> Value:
    """Declare a dataclass field that a later format added; its default is what older descriptions mean.

    Args:
        format: 2 or higher, one above the highest format of the class so far.
        default: never changed afterwards.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Costs:
    ...     fee: float
    ...     tax: float = added_in(2, default=0.0)
    >>> describe(Costs(fee=0.1))
    {'format': 1, 'fee': 0.1}
    >>> describe(Costs(fee=0.1, tax=0.2))
    {'format': 2, 'fee': 0.1, 'tax': 0.2}
    >>> from_description(Costs, {"fee": 0.1}, what="the costs")
    Costs(fee=0.1, tax=0.0)
    """
    return field(default=default, metadata={FORMAT: format})


def restated_in(format: int, default: Value) -> Value:
    """Declare a field of format 1 whose values other than the default have a different meaning since a later format.

    Args:
        format: 2 or higher, one above the highest format of the class so far.
        default: the one value that means the same in every format.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Gate:
    ...     percentile: float = restated_in(2, default=0.0)  # a fraction; in format 1 a percentage
    >>> describe(Gate()), describe(Gate(percentile=0.6))
    ({'format': 1, 'percentile': 0.0}, {'format': 2, 'percentile': 0.6})
    >>> identity(Gate(percentile=0.6))
    {'percentile (format 2)': 0.6}
    """
    return field(default=default, metadata={_RESTATED: format})


def described_fields(spec: DataclassInstance) -> list[Field[Any]]:
    """Return the fields that a description holds: those of format 1, and later ones whose value is not the default."""
    return [one for one in fields(spec) if FORMAT not in one.metadata or getattr(spec, one.name) != one.default]


def describe(spec: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a dataclass as plain JSON values, after the format that is needed to read them.

    Tuples become lists, numpy values Python's own, dates YYYY-MM-DD. Numbers keep their type: 1 and 1.0 differ.

    Raises:
        TypeError: a value that JSON cannot hold.
        ValueError: NaN or infinity, which JSON cannot hold either.
    """
    described = described_fields(spec)
    values = {one.name: getattr(spec, one.name) for one in described}
    text = json.dumps(
        msgspec.to_builtins(values, enc_hook=_plain), allow_nan=False
    )  # the way back turns tuples to lists
    needed = [_format_of(one) for one in described if getattr(spec, one.name) != one.default]
    return {FORMAT: max(needed, default=1), **json.loads(text)}


def identity(spec: DataclassInstance) -> dict[str, Any]:
    """Return what `fingerprint` takes as the identity of a dataclass: its description without the format."""
    described = describe(spec)
    del described[FORMAT]
    return {_identity_key(spec, name): value for name, value in described.items()}


def from_description(cls: type[Spec], description: Mapping[str, Any], *, what: str) -> Spec:
    """Return the dataclass that `describe` described.

    Types are checked strictly: no text becomes a number. An integer in a field of floats stays an integer, because 0
    and 0.0 have different fingerprints.

    Args:
        cls: a dataclass.
        description: from `describe`, perhaps by way of a JSON file, perhaps of an earlier version of encash.
        what: the subject of an error message, such as ``"the encoder of data/cache.lance"``.

    Raises:
        FormatError: a newer encash wrote it, or a field is unknown, missing or of a different type.
        InputError: the class refuses a value.
    """
    known = {one.name: one for one in fields(cls)}
    format = description.get(FORMAT, 1)
    _check_format(format, max(map(_format_of, known.values()), default=1), what)
    values = {name: value for name, value in description.items() if name != FORMAT}
    if unknown := [name for name in values if name not in known]:
        raise FormatError(
            f"{what}: unknown field {unknown[0]!r}; expected only {', '.join(known)}: remove it, or restore the file "
            "from a copy"
        )
    for name, value in values.items():
        _check_meaning(known[name], value, format, what)
    hints = get_type_hints(cls)
    converted = {name: _converted(value, hints[name], f"{what}: {name}") for name, value in values.items()}
    required = [name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING]
    if missing := [name for name in required if name not in values]:
        raise FormatError(
            f"{what}: the field {missing[0]!r} is missing; restore the file from a copy or write it again"
        )
    return cls(**converted)


def _format_of(one: Field[Any]) -> int:
    """Return the format that introduced the values of a field other than its default."""
    since: int = one.metadata.get(FORMAT) or one.metadata.get(_RESTATED, 1)
    return since


def _identity_key(spec: DataclassInstance, name: str) -> str:
    """Return the name of a field in an identity: with its format, if its value has a different meaning since then."""
    (one,) = (one for one in fields(spec) if one.name == name)
    since = one.metadata.get(_RESTATED)
    return name if since is None or getattr(spec, name) == one.default else f"{name} (format {since})"


def _check_meaning(one: Field[Any], value: Any, format: int, what: str) -> None:
    """Refuse a value whose meaning was different in the format of its description."""
    since = one.metadata.get(_RESTATED, 1)
    if format < since and value != one.default:
        raise FormatError(
            f"{what}: {one.name} is {value!r} in format {format}, and has a different meaning since format {since}; "
            "its file can be shown, but not be run again: give the value anew"
        )


def _check_format(found: Any, highest: int, what: str) -> None:
    if type(found) is not int or found < 1:
        raise FormatError(f"{what}: invalid format {found!r}; expected a number from 1 to {highest}: restore the file")
    if found > highest:
        raise FormatError(
            f"{what}: format {found} was written by a newer encash; this version reads formats up to {highest}: update "
            "encash"
        )


def _converted(value: Any, hint: Any, what: str) -> Any:
    """Return a plain value as the type of its field."""
    if np.datetime64 in get_args(hint):  # days are described as text; such a union is beyond msgspec
        hint = str | None if NoneType in get_args(hint) else str
    try:
        converted = msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, InputError):  # a nested dataclass refused a value in our own words
            raise error.__cause__ from None
        raise FormatError(f"{what} is {value!r}: {error}; restore the file from a copy or write it again") from None
    return value if type(value) is int else converted


def _plain(value: Any) -> Any:
    """Return what JSON can hold in place of a numpy value."""
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot describe a {type(value).__name__}; expected plain values, dates, numpy values or arrays")
