"""Third-party encoders, by ``module:attribute`` or by the name of an entry point.

The module is imported, which runs its code: name only modules that you trust.
"""

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
    """Return the installed encoder of that name; None if there is none."""
    return plugins.find_entry_point(GROUP, name)


def load_attribute(name: str) -> Encoder:
    """Load the encoder of a module: an `Encoder`, or a class or function that returns one without arguments.

    Raises:
        InputError: no such module or attribute, or not an encoder.
    """
    return _made(plugins.find_plugin(name, GROUP), name)


def load_entry_point(entry_point: EntryPoint) -> Encoder:
    """Load the encoder of an installed package.

    Raises:
        InputError: not an encoder.
    """
    return _made(entry_point.load(), entry_point.name)


def _made(found: Any, name: str) -> Encoder:
    encoder = found if isinstance(found, Encoder) else found() if callable(found) else found
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"{name} is a {type(encoder).__name__}; expected an encash.encoders.Encoder, or a class or function that "
            "returns one without arguments (check yours with encash.testing.EncoderContract)"
        )
    encoder.choice = encoder.choice or f"{encoder.spec.precision}, {encoder.spec.engine}, {name}: its own settings"
    return encoder
