"""Signatures of functions whose settings are the fields of dataclasses, for help and notebooks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_type_hints

from encash.backtest import BacktestConfig
from encash.backtest.inputs.config import settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

P = ParamSpec("P")
R = TypeVar("R")
FILLED_IN = (
    "name",
    "periods",
    "own",
    "data",
    "price_columns",
    "loading",
    "fit",
    "counts",
    "rule",
    "fit_end",
    "encoder",
)
"""Fields that the functions set by themselves: a caller does not give them."""


def with_settings(
    *kinds: type[DataclassInstance], without: Collection[str] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let the signature of a function list the fields of dataclasses in place of ``**settings``.

    A field that is declared once appears in ``help`` and in the completion of a notebook; fields without a default are
    arguments of the function itself. The settings of a backtest are described below the docstring.

    Args:
        kinds: the dataclasses.
        without: further fields that the function sets by itself.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        example = ", ".join(f"{name}=…" for name in ("prices", "cache") if name in signature.parameters)
        own = {name: one for name, one in signature.parameters.items() if one.kind is not inspect.Parameter.VAR_KEYWORD}
        for kind in kinds:
            types = _types(kind)
            for one in fields(kind):
                default = one.default if one.default is not MISSING else None
                if one.name not in (*own, *FILLED_IN, *without) and (one.default, one.default_factory) != (
                    MISSING,
                    MISSING,
                ):
                    keyword = inspect.Parameter.KEYWORD_ONLY
                    own[one.name] = inspect.Parameter(one.name, keyword, default=default, annotation=types[one.name])

        by_name = all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in own.values())

        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            if args and by_name:
                raise TypeError(f"{function.__name__} takes its arguments by name: {function.__name__}({example}, …)")
            return function(*args, **kwargs)

        shown: Any = called
        shown.__signature__ = signature.replace(parameters=list(own.values()))
        if BacktestConfig in kinds:
            shown.__doc__ = f"{inspect.getdoc(function)}\n\nSettings:\n{_described()}\n"
        return called

    return decorate


def _described() -> str:
    """Return a line for each setting of a backtest; flags in it are named as arguments."""
    words = (
        (name, re.sub(r"--([a-z-]+)", lambda flag: flag[1].replace("-", "_"), one.help))
        for name, one in settings().items()
    )
    return "\n".join(f"    {name}: {text}." for name, text in words)


def _types(kind: type[DataclassInstance]) -> dict[str, Any]:
    """Return the types of the fields; of ``Annotated`` ones without the declaration of their flag."""
    written = {one.name: one.type for one in fields(kind)}
    return get_type_hints(kind) if any(str(one).startswith("Annotated[") for one in written.values()) else written
