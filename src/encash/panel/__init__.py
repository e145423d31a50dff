"""The panel: features and prices, read-only, knowing only the past of each day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encash.lazy import lazy_names
from encash.panel.panel import FeatureRows, FeatureSource, Panel, PriceTable
from encash.panel.prepare import PrepareReport, prepare
from encash.panel.windows import Reason, WindowGrid, gather_windows, sample_windows, window_grid

if TYPE_CHECKING:
    from encash.panel.features import Bars, FeatureConfig
    from encash.panel.load import ArraySource, open_panel, open_prices
    from encash.panel.toy import RegimePanel, regime_panel, toy_panel
    from encash.panel.write import write_panel

__all__ = [
    "ArraySource",
    "Bars",
    "FeatureConfig",
    "FeatureRows",
    "FeatureSource",
    "Panel",
    "PrepareReport",
    "PriceTable",
    "Reason",
    "RegimePanel",
    "WindowGrid",
    "gather_windows",
    "open_panel",
    "open_prices",
    "prepare",
    "regime_panel",
    "sample_windows",
    "toy_panel",
    "window_grid",
    "write_panel",
]

# HDF5 takes a while to import; these come when they are asked for.
_LAZY = {
    "ArraySource": "load",
    "Bars": "features",
    "FeatureConfig": "features",
    "RegimePanel": "toy",
    "open_panel": "load",
    "open_prices": "load",
    "regime_panel": "toy",
    "toy_panel": "toy",
    "write_panel": "write",
}

__getattr__ = lazy_names(__name__, _LAZY)
