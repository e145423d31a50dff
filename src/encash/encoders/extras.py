"""Optional packages: found when they are needed, or refused with the line that installs them. Knows none of them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from encash.errors import MissingExtraError


def engine_module(module: str, *, package: str, extra: str) -> ModuleType:
    """A module that needs an optional package.

    Raises:
        MissingExtraError: the package is not installed; holds the line that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if (error.name or "").split(".")[0] != package:
            raise
        raise MissingExtraError(
            f'this needs {package}, which is not installed; run: pip install "encash[{extra}]"'
        ) from None
