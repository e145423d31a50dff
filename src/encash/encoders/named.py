"""Third-party encoders, by ``module:attribute`` or by the name of an entry point.

The module is imported, which runs its code: name only modules that you trust.
"""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from encash.encoders.base import Encoder
from encash.errors import InputError

GROUP = "encash.encoders"
"""The entry points under which a package offers encoders."""
_ATTRIBUTE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_attribute(name: str) -> bool:
    """Return whether a name has the form ``module:attribute``.

    >>> is_attribute("my_models.encoders:Best"), is_attribute("models/best.pt")
    (True, False)
    """
    return _ATTRIBUTE.fullmatch(name) is not None


def find_entry_point(name: str) -> EntryPoint | None:
    """Return the installed encoder of that name; None if there is none."""
    return next(iter(entry_points(group=GROUP, name=name)), None)


def load_attribute(name: str) -> Encoder:
    """Load the encoder of a module: an `Encoder`, or a class or function that returns one without arguments.

    Raises:
        InputError: no such module or attribute, or not an encoder.
    """
    module, _, attribute = name.partition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise InputError(f"{name}: the module cannot be imported ({error}); is it on the Python path?") from error
    except AttributeError as error:
        raise InputError(f"{name}: {error}") from None
    return _made(found, name)


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
