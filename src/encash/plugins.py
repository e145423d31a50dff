"""Python objects that users name: ``module:attribute``, or an entry point of an installed package.

A named module is imported, which runs its code: name only what you would run. Modules of the working folder are found
after all installed ones.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encash.errors import InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_ATTRIBUTE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_attribute(name: str) -> bool:
    """Say if a name has the form ``module:attribute``.

    >>> is_attribute("my_models.encoders:Best"), is_attribute("models/best.pt")
    (True, False)
    """
    return _ATTRIBUTE.fullmatch(name) is not None


def find_entry_point(group: str, name: str) -> EntryPoint | None:
    """Find an installed entry point; None if there is none of that name."""
    from importlib.metadata import entry_points  # noqa: PLC0415  takes 20 ms, and most runs name no plugin

    return next(iter(entry_points(group=group, name=name)), None)


def find_plugin(name: str, group: str) -> Any | None:
    """Import ``module:attribute``, or load the entry point of that name; None if the name is neither.

    Raises:
        InputError: no such module or attribute.
    """
    if not is_attribute(name):
        entry_point = find_entry_point(group, name)
        return None if entry_point is None else entry_point.load()
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    module, _, attribute = name.partition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise InputError(
            f"{name}: the module cannot be imported ({error}); is it in this folder, or on the Python path?"
        ) from error
    except AttributeError as error:
        raise InputError(f"{name}: {error}") from None
    return found
