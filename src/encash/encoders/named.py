"""Encoders that are somebody's own class, by ``module:attribute`` or by the name of an entry point. Knows the seam
alone. The module is imported, which runs its code: name only what you would run."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

from encash import plugins
from encash.encoders.base import Encoder
from encash.errors import InputError

GROUP = "encash.encoders"
"""The entry points under which a package offers encoders."""
is_attribute = plugins.is_attribute


def find_entry_point(name: str) -> EntryPoint | None:
    """The installed encoder of that name."""
    return plugins.find_entry_point(GROUP, name)


def load_attribute(name: str) -> Encoder:
    """The encoder that a module offers: an `Encoder`, or a class or function that makes one without arguments.

    Raises:
        InputError: no such module or attribute, or something else.
    """
    return _made(plugins.import_attribute(name), name)


def load_entry_point(entry_point: EntryPoint) -> Encoder:
    """The encoder that an installed package offers.

    Raises:
        InputError: it is no encoder.
    """
    return _made(entry_point.load(), entry_point.name)


def _made(found: Any, name: str) -> Encoder:
    encoder = found if isinstance(found, Encoder) else found() if callable(found) else found
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"{name} is a {type(encoder).__name__}; expected an encash.encoders.Encoder, or a class or function that "
            "makes one without arguments (encash.testing.EncoderContract checks yours)"
        )
    encoder.choice = encoder.choice or f"{encoder.spec.precision}, {encoder.spec.engine}, {name}: as it comes"
    return encoder
