"""Public names of a room that are imported when they are first asked for: what nobody uses costs nothing. Knows
modules by their names alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """What a package calls ``__getattr__``.

    Args:
        room: the package's ``__name__``.
        homes: the file of each public name, such as ``{"Plan": "plan", "Executor": "executors.base"}``.

    >>> find = lazy_names("encash.panel", {"open_panel": "load"})
    >>> find("open_panel").__module__
    'encash.panel.load'
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"{room} has no {name!r}; it has {', '.join(sorted(homes))}")
        return getattr(import_module(f"{room}.{homes[name]}"), name)

    return find
