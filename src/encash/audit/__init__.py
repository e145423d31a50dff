"""Checks that a backtest uses no future data: truncate it, poison it, encode again, and compare."""

import lazy_loader

from encash.callable_package import make_callable

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
make_callable(__name__)
