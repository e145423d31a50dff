"""The flags of a command as keyword arguments of the function in `encash.api` that it calls."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import encash.backtest as engine
from encash import pipeline
from encash.cli.console import Console
from encash.cli.flags import ticker_list
from encash.errors import InputError

_FILTER = ("clusters", "filter", "keep", "best_file")
_UNIVERSE = ("groups", "membership")


def input_keywords(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return the inputs of a backtest that the flags name; loading a model shows a progress bar.

    Raises:
        InputError: both --no-model and --encoders.
    """
    if arguments.no_model and arguments.encoders is not None:
        raise InputError("--no-model is for --model; leave the key model out of the list of --encoders instead")
    names = [one.name for one in fields(pipeline.Sources) if one.name not in ("loading", "price_columns")]
    found = given(arguments, [*names, *_FILTER, *_UNIVERSE])
    found["panel"], found["tickers"] = found.pop("data", None), ticker_list(getattr(arguments, "tickers", None))
    if arguments.no_model:
        found.pop("model", None)
    return {**found, "loading": lambda: console.progress("loading the model", "steps")}


def setting_keywords(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a backtest that the flags set."""
    return given(arguments, [one.name for one in fields(engine.BacktestConfig)])


def check_groups(arguments: argparse.Namespace, config: engine.BacktestConfig) -> None:
    """Refuse groups that nothing uses.

    Raises:
        InputError: --groups without a flag that needs them.
    """
    if arguments.groups is not None and not (getattr(arguments, "compare", 0) or config.needs_groups):
        raise InputError("--groups is for --compare, --group-neutral or --max-per-group; give both it and one of these")


def given(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return the flags of these names that have a value; lists become tuples."""
    found = {name: getattr(arguments, name, None) for name in names}
    return {name: tuple(one) if isinstance(one, list) else one for name, one in found.items() if one is not None}
