"""The registered cost models and their lookup by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from urllib.parse import parse_qsl

from encash.backtest.simulation.costs.base import CostModel
from encash.errors import InputError
from encash.plugins import find_plugin

ENTRY_POINTS = "encash.costs"
"""The entry point group in which a package offers cost models."""
COSTS = {
    "proportional": "encash.backtest.simulation.costs.proportional:Costs",
    "square-root": "encash.backtest.simulation.costs.square_root:SquareRootImpact",
}
"""``module:attribute`` of each cost model. Add yours here: one line."""


def make_costs(text: str, settings: Mapping[str, float]) -> CostModel:
    """Make the cost model that ``NAME`` or ``NAME?field=value&…`` describes.

    Args:
        text: a registered name, ``module:attribute``, or the name of an entry point `encash.costs`, and values of
            fields. The module is imported, which runs its code.
        settings: values of the fields of the same name that the text does not give.

    Raises:
        InputError: an unknown name or field, or an invalid value.

    >>> make_costs("square-root?impact=0.01", {"buy_fee": 0.001, "slippage": 0.0})
    SquareRootImpact(buy_fee=0.001, sell_fee=0.0, impact=0.01)
    """
    name, _, query = text.partition("?")
    found = find_plugin(COSTS.get(name, name), ENTRY_POINTS)
    if not (isinstance(found, type) and issubclass(found, CostModel)):
        raise InputError(
            f"{name!r} is not a cost model; expected one of {', '.join(COSTS)}, or your own subclass of "
            f"encash.backtest.CostModel: module:attribute, or an entry point {ENTRY_POINTS}"
        )
    names = [one.name for one in fields(found)]
    try:
        given = {field: float(value) for field, value in parse_qsl(query, keep_blank_values=True)}
        if not (given.keys() <= set(names) and all(0 <= value < math.inf for value in given.values())):
            raise ValueError
    except ValueError:
        raise InputError(
            f"the cost model is {text!r}; expected {name}, or {name}?field=value with numbers of 0 or more for "
            f"{', '.join(names) or 'no field'}"
        ) from None
    return found(**{field: settings[field] for field in names if field in settings} | given)
