"""Forecast heads on cached embeddings: fitted on past returns, so that any encoder gives a backtest."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
