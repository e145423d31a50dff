"""The panel: features and prices, read-only, knowing only the past of each day."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from encash.panel.panel import FeatureRows, FeatureSource, Panel, PriceTable
from encash.panel.windows import Reason, WindowGrid, gather_windows, window_grid

if TYPE_CHECKING:
    from encash.panel.load import ArraySource, open_panel, open_prices

__all__ = [
    "ArraySource",
    "FeatureRows",
    "FeatureSource",
    "Panel",
    "PriceTable",
    "Reason",
    "WindowGrid",
    "gather_windows",
    "open_panel",
    "open_prices",
    "window_grid",
]

# HDF5 takes a while to import; these come when they are asked for.
_LAZY = {"ArraySource": "load", "open_panel": "load", "open_prices": "load"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
