"""Packages that are also functions: ``encash.backtest(…)`` runs one, and ``encash.backtest`` holds its parts."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """A package that calls the function of its name in `encash.api`."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Call the function."""
        return self._function()(*args, **keywords)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Pickle the name, for worker processes."""
        return import_module, (self.__name__,)

    @property
    def __signature__(self) -> Any:
        """The signature of the function, for ``help`` and notebooks."""
        import inspect  # noqa: PLC0415 - only for help

        return inspect.signature(self._function())

    @property
    def __doc__(self) -> str:  # type: ignore[override]  # help() of a module shows its docstring first
        """The docstring of the package, and how to call the function."""
        import inspect  # noqa: PLC0415 - only for help

        function = self._function()
        signature = inspect.signature(function)
        shown = [one for one in signature.parameters.values() if one.default is one.empty or not callable(one.default)]
        bare = signature.replace(
            parameters=[one.replace(annotation=one.empty) for one in shown], return_annotation=signature.empty
        )
        return f"{vars(self)['__doc__']}\n\n{self.__name__}{bare}\n\n{inspect.getdoc(function)}"

    def _function(self) -> Any:
        return getattr(import_module("encash.api"), self.__name__.rpartition(".")[2])


def make_callable(package: str) -> None:
    """Let a package be called like the function of its name in `encash.api`, which is imported by the first call."""
    sys.modules[package].__class__ = _CallablePackage
