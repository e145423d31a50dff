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

from encash.errors import EncashError, InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_ATTRIBUTE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_NAMED: set[str] = set()
"""Modules that users named in this process."""


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
        InputError: no such module or attribute, or a module that fails when it is imported.
    """
    entry_point = None if is_attribute(name) else find_entry_point(group, name)
    if entry_point is None and not is_attribute(name):
        return None
    try:
        if entry_point is None:
            return _import(name)
        _NAMED.add(entry_point.module)
        return entry_point.load()
    except ImportError as error:
        raise InputError(
            f"{name}: the module cannot be imported ({error}); is it in this folder, or on the Python path?"
        ) from error
    except AttributeError as error:
        raise InputError(f"{name}: {error}") from None
    except EncashError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{name}: the module cannot be imported ({type(error).__name__}: {error}); correct it"
        ) from error


def _import(name: str) -> Any:
    """Import ``module:attribute``."""
    module, _, attribute = name.partition(":")
    if module.partition(".")[0] != __name__.partition(".")[0]:
        _NAMED.add(module)
        if (here := str(Path.cwd())) not in sys.path:
            sys.path.append(here)
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def place_in_named(error: BaseException) -> str | None:
    """Return the file and the line of a module that a user named, if an error came from there or from what it called.

    The place is the last one in such a module.
    """
    place, trace = None, error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_globals.get("__name__") in _NAMED:
            place = f"{Path(frame.f_code.co_filename).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place
