"""Signatures of functions whose settings are the fields of dataclasses, for help and notebooks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

P = ParamSpec("P")
R = TypeVar("R")
FILLED_IN = ("name", "periods", "own", "data", "price_columns", "loading")
"""Fields that the functions set by themselves: a caller does not give them."""


def with_settings(*kinds: type[DataclassInstance]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let the signature of a function list the fields of dataclasses in place of ``**settings``.

    A field that is declared once appears in ``help`` and in the completion of a notebook; fields without a default are
    arguments of the function itself.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        own = {name: one for name, one in signature.parameters.items() if one.kind is not inspect.Parameter.VAR_KEYWORD}
        for kind in kinds:
            for one in fields(kind):
                default = one.default if one.default is not MISSING else None
                if one.name not in (*own, *FILLED_IN) and (one.default, one.default_factory) != (MISSING, MISSING):
                    keyword = inspect.Parameter.KEYWORD_ONLY
                    own[one.name] = inspect.Parameter(one.name, keyword, default=default, annotation=_plain(one.type))

        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(*args, **kwargs)

        shown: Any = called
        shown.__signature__ = signature.replace(parameters=list(own.values()))
        return called

    return decorate


def _plain(annotation: Any) -> Any:
    """Return an annotation without what ``Annotated`` adds to it for the command line.

    >>> _plain("Annotated[dict[str, int] | None, Setting('…')]"), _plain("float")
    ('dict[str, int] | None', 'float')
    """
    inside, found, _ = str(annotation).partition("Annotated[")
    if inside or not found:
        return annotation
    text, depth = str(annotation).removeprefix("Annotated["), 0
    for place, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            return text[:place]
    return annotation
