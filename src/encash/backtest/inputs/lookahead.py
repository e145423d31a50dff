"""Checks that refuse a run: look-ahead, and too many missing signals."""

from __future__ import annotations

from typing import Literal

import numpy as np

from encash.arrays import day_text, to_day
from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.run_setup import RunSetup
from encash.backtest.inputs.signals import SignalGrid
from encash.errors import InputError, LookaheadError

TRAINING_UNKNOWN = "training period unknown"


def check_lookahead(
    config: BacktestConfig, inputs: BacktestInputs, first_signal: np.datetime64
) -> Literal[False] | str:
    """Refuse a run whose filter or encoder has seen days on or after its first signal.

    Args:
        config: may allow look-ahead, with a reason.
        inputs: the filter records what its ranking knew, the encoder the last day of its training, if known.
        first_signal: day of the first decision.

    Returns:
        False, or why look-ahead was allowed and what the run knows.

    Raises:
        LookaheadError: look-ahead that the settings do not allow.
    """
    filter, spec = inputs.filter, inputs.lookup.encoder_spec
    known = [] if filter is None else [filter.lookahead(first_signal)]
    if spec is not None and spec.train_end is not None and first_signal <= to_day(spec.train_end):
        known.append(f"the model was trained on days up to {day_text(spec.train_end)}")
    found = "; ".join(reason for reason in known if reason)
    if not found:
        return False
    if config.allow_lookahead is None:
        raise LookaheadError(
            f"a decision on {day_text(first_signal)} would know its future: {found}; start later, rank or train on an "
            "earlier past, or say --allow-lookahead with a reason"
        )
    return f"{config.allow_lookahead} ({found})"


def check_missing(config: BacktestConfig, setup: RunSetup, signals: SignalGrid) -> float:
    """Refuse a run with too many missing signals.

    A ticker with a price whose history is shorter than the window counts as missing.

    Returns:
        Fraction of the candidates without an entry: missing, failed or without a full window.

    Raises:
        InputError: it is above `max_missing`.
    """
    absent = setup.candidates & ~signals.found
    missing, total = int(absent.sum()), int(setup.candidates.sum())
    share = missing / total if total else 0.0
    if share > config.max_missing:
        row, column = np.argwhere(absent)[0]
        raise InputError(
            f"{share:.1%} of the candidates ({missing} of {total}) have a price but no entry, more than "
            f"{config.max_missing:.1%}; the first is {setup.sessions.tickers[column]} on "
            f"{day_text(setup.signal_days[row])}; build the cache for these days and tickers, start later, or raise "
            "--max-missing"
        )
    return share
