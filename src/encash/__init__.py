"""Encode every stock on every trading day once, and backtest on the cached embeddings from then on.

The public API starts with `open_panel`, `load_encoder` and `open_cache`. Public names are listed in ``__init__.pyi``
and are imported on first use, so that ``import encash`` is fast. Every package below follows the same pattern.
"""

import _signal  # type: ignore[import-not-found]  # isort: skip  # built in, without stubs

_held = _signal.pthread_sigmask(_signal.SIG_BLOCK, (1, 2, 15))  # HUP, INT, TERM: until the next import handles them
from encash import command_start  # isort: skip  # noqa: F401 - first, since the others take far longer

_signal.pthread_sigmask(_signal.SIG_SETMASK, _held)

import sys
from importlib import import_module
from typing import Any

import lazy_loader

_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_CALLABLE = ("audit", "backtest", "report")
"""Packages that are also functions, see `encash.callable_package`."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use.

    A callable package is never replaced by its function: `import encash.backtest` and ``encash.backtest(…)`` mean one
    object, in any order.
    """
    if name not in __all__:  # with the object, so that Python suggests the nearest name
        raise AttributeError(f"No encash attribute {name}", name=name, obj=sys.modules[__name__])
    return import_module(f"{__name__}.{name}") if name in _CALLABLE else _lazy(name)


__version__ = "0.1.0"
