"""Encode every stock on every trading day once, and backtest on it for ever.

The public face: `open_panel`, `load_encoder`, `open_cache`. Each is imported from its room when it is first used, so
that ``import encash`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encash.lazy import lazy_names

if TYPE_CHECKING:
    from encash.cache import Cache, open_cache
    from encash.encoders import Encoder, load_encoder
    from encash.panel import Panel, open_panel, open_prices

__all__ = ["Cache", "Encoder", "Panel", "load_encoder", "open_cache", "open_panel", "open_prices"]

_HOMES = {
    "Cache": "cache",
    "Encoder": "encoders",
    "Panel": "panel",
    "load_encoder": "encoders",
    "open_cache": "cache",
    "open_panel": "panel",
    "open_prices": "panel",
}

__getattr__ = lazy_names(__name__, _HOMES)
