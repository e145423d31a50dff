"""Backtests on cached signals: picks, trades, results, comparisons and sweeps."""

import lazy_loader

from encash.callable_package import make_callable

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
make_callable(__name__)
