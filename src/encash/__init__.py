"""Encode every stock on every trading day once, and backtest on the cached embeddings from then on.

The public API starts with `open_panel`, `load_encoder` and `open_cache`. Public names are listed in ``__init__.pyi``
and are imported on first use, so that ``import encash`` is fast. Every package below follows the same pattern.
"""

from encash import command_start  # isort: skip  # noqa: F401 - first: the next import takes longer than Python itself

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
