"""Optional packages by extra; their imports, or one clear error with the command that installs them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from encash.errors import MissingExtraError

EXTRAS = {
    "report": ("jinja2", "matplotlib"),
    "clusters": ("faiss",),
    "torch": ("torch", "safetensors"),
    "onnx": ("onnxruntime",),
    "chronos": ("chronos",),
    "transformers": ("transformers",),
    "boosted": ("lightgbm",),
    "clusterers": ("sklearn",),
    "ray": ("ray",),
    "stats": ("purgedcv",),
    "object-storage": ("obstore", "fsspec"),
    "xarray": ("xarray",),
    "demo": ("skfolio",),
}
"""Modules that each extra of ``pyproject.toml`` adds to the core, without those of extras that it includes."""


def missing_modules(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed."""
    return [module for module in EXTRAS[extra] if not _is_installed(module)]


def require(extra: str, need: str) -> None:
    """Check that an extra is installed, before work that needs it at its end.

    Args:
        extra: one of `EXTRAS`.
        need: what needs it, for the error message.

    Raises:
        MissingExtraError: a package is not installed; the message holds the command that installs it.

    >>> require("no-such", "a page")
    Traceback (most recent call last):
    KeyError: 'no-such'
    """
    if missing := missing_modules(extra):
        raise MissingExtraError(_message(need, " and ".join(missing), extra))


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
        raise MissingExtraError(_message("this", package, extra)) from None


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # refused by an import hook, or a module that has no spec
        return False


def _message(need: str, missing: str, extra: str) -> str:
    which = "which is not installed" if " and " not in missing else "which are not installed"
    return f'{need} needs {missing}, {which}; run: pip install "encash[{extra}]"'
