"""Checks that refuse a run: look-ahead, and too many missing signals."""

from __future__ import annotations

from typing import Literal

import numpy as np

from encash.arrays import Bool, Days, day_text
from encash.backtest.inputs.backtest_inputs import BacktestInputs
from encash.backtest.inputs.config import BacktestConfig
from encash.backtest.inputs.run_setup import RunSetup
from encash.backtest.inputs.signals import SignalGrid
from encash.clusters.periods import first_allowed_day, ranking_prices
from encash.encoders.base import EncoderSpec
from encash.errors import InputError, LookaheadError

TRAINING_UNKNOWN = "training period unknown"


def check_lookahead(
    config: BacktestConfig, inputs: BacktestInputs, first_signal: np.datetime64
) -> Literal[False] | str:
    """Refuse a run whose filter or encoder has seen days on or after its first signal.

    Args:
        config: may allow look-ahead, with a reason.
        inputs: the filter records the data used by its ranking, the encoder the last day of its training, if known.
        first_signal: day of the first decision.

    Returns:
        False, or the reason why look-ahead was allowed and the data that it concerns.

    Raises:
        LookaheadError: look-ahead that the settings do not allow.
    """
    filter, specs = inputs.filter, [inputs.lookup.encoder_spec]
    known = [] if filter is None else [filter.lookahead(first_signal)]
    if inputs.lookup.forecasts is not None:
        known.append(inputs.lookup.forecasts.lookahead(first_signal))
        specs += inputs.lookup.forecasts.encoders
    if inputs.lookup.first_day is not None and first_signal < inputs.lookup.first_day:
        known.append(f"the first of the encoders may be used from {day_text(inputs.lookup.first_day)}")
    known += [_training_overlap(spec, inputs.prices.days, first_signal) for spec in specs if spec is not None]
    found = "; ".join(dict.fromkeys(reason for reason in known if reason))
    if not found:
        return False
    if config.allow_lookahead is None:
        raise LookaheadError(
            f"a decision on {day_text(first_signal)} would have look-ahead bias: {found}; start later, rank or train "
            "on an earlier period, or give --allow-lookahead a reason"
        )
    return f"{config.allow_lookahead} ({found})"


def _training_overlap(spec: EncoderSpec, sessions: Days, first_signal: np.datetime64) -> str | None:
    """Return why an encoder may have learned from returns after a day: its training days, and its longest horizon after
    them, end too late; None if they do not, or if its training period is not recorded."""
    if spec.train_end is None:
        return None
    longest = max(spec.horizons, default=0)
    first_day = first_allowed_day(sessions, spec.train_end, longest, fit_end=spec.train_end)
    if first_signal >= first_day:
        return None
    embargo = (
        f" and forecasts {longest} sessions ahead, so it may be used from {day_text(first_day)}" if longest else ""
    )
    return f"the model was trained on days up to {day_text(spec.train_end)}{embargo}"


def ranking_prices_of(inputs: BacktestInputs) -> Literal["same", "other", "unknown"] | None:
    """Compare the prices of a run with those that the clusters of its filter were ranked on; None without clusters."""
    filter = inputs.filter
    return None if filter is None or not filter.periods else ranking_prices(filter.periods, inputs.prices)


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
        raise InputError(_describe_missing(config, setup, absent, total, scores=signals.of_scores))
    return share


def _describe_missing(config: BacktestConfig, setup: RunSetup, absent: Bool, total: int, *, scores: bool) -> str:
    """Describe the missing signals, shape (R, N), and the fix that applies: a build cannot encode too recent a listing.

    A listing may be too recent if others have entries on its day, and it has fewer prices than any of these ever had.
    """
    sessions, missing, found = setup.sessions, int(absent.sum()), setup.candidates & ~absent
    priced = np.cumsum(~np.isnan(sessions.history.close), axis=0)[sessions.first + setup.schedule.signal]
    entry, make = ("score", "give scores of") if scores else ("entry", "build the cache for")
    least = int(priced[found].min(initial=np.iinfo(np.int64).max))
    young = absent & (priced < least) & found.any(axis=1, keepdims=True)
    too_young = f"fewer prices than any candidate with an {entry} ({least:,}): if too few for a window, no build helps"
    row, column = np.argwhere(absent & ~young if (absent & ~young).any() else absent)[0]
    tickers = np.asarray(sessions.tickers)
    never = tickers[absent.any(axis=0) & ~found.any(axis=0)]
    partly = (
        f", or name the others with --tickers: {len(never)} of {len(tickers)} tickers have no {entry} on any day "
        f"({', '.join(never[:3])}{', …' if len(never) > 3 else ''})"
        if 0 < len(never) < len(tickers)
        else ""
    )
    fix = f"{make} these days and tickers, start later, or raise --max-missing{partly}"
    if young.sum() == missing:
        fix = f"all have {too_young}; start later, give a --membership, or raise --max-missing, otherwise {fix}"
    elif young.any():
        fix += f"; {int(young.sum()):,} have {too_young}"
    return (
        f"{missing / total:.1%} of the candidates ({missing} of {total}) have a price but no {entry}, more than "
        f"{config.max_missing:.1%}; the first is {tickers[column]} on {day_text(setup.signal_days[row])}; {fix}"
    )
