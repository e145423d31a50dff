"""Imports of optional packages, or one clear error with the command that installs them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from encash.errors import MissingExtraError


def import_optional(module: str, *, package: str, extra: str) -> ModuleType:
    """Import a module that needs an optional package.

    Args:
        module: the module to import.
        package: the package that it needs.
        extra: the extra of encash that installs the package.

    Raises:
        MissingExtraError: the package is not installed; the message holds the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if (error.name or "").split(".")[0] != package:
            raise
        raise MissingExtraError(
            f'this needs {package}, which is not installed; run: pip install "encash[{extra}]"'
        ) from None
