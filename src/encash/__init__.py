"""Encode every stock on every trading day once, and backtest on the cached embeddings from then on.

The public API starts with `open_panel`, `load_encoder` and `open_cache`. Public names are listed in ``__init__.pyi``
and are imported on first use, so that ``import encash`` is fast. Every package below follows the same pattern.
"""

from encash import command_start  # isort: skip  # noqa: F401 - first: the next import takes longer than Python itself

import sys
from typing import Any

import lazy_loader

_import_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import a public name. A package of this name is returned, not the function that it calls: it holds its parts."""
    found = _import_name(name)
    found = sys.modules.get(f"{__name__}.{name}", found)
    globals()[name] = found
    return found
