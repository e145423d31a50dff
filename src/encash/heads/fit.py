"""Fit a head once, or walk-forward every N sessions, each time on data known then."""

from __future__ import annotations

import numpy as np

from encash.arrays import Days, day_text, to_day
from encash.clusters.periods import first_allowed_day
from encash.clusters.rank import price_fingerprint
from encash.errors import InputError
from encash.heads.config import HeadConfig
from encash.heads.head import Head, HeadPeriod
from encash.heads.registry import fit_function
from encash.heads.samples import EntryReader, make_targets
from encash.heads.skill import measure_skill
from encash.panel.panel import PriceTable
from encash.progress import Progress
from encash.serialization import identity


def fit_head(
    prices: PriceTable, read: EntryReader, *, config: HeadConfig, encoder: str, progress: Progress | None = None
) -> Head:
    """Fit a forecast head on embeddings.

    A fit at session e uses entries whose longest forward return has ended by e; penalty or number of trees, and scale
    and confidence of the forecasts, are chosen on held-out blocks of these sessions, separated by a gap of the longest
    horizon. It may be used from session e + embargo.

    Args:
        prices: its days are the sessions.
        read: reads entries of a range of days; called with ranges of the past only.
        config: what to fit, on what.
        encoder: fingerprint of the encoder; empty if unknown.
        progress: called with fits done and their total.

    Raises:
        InputError: an unknown kind, too few sessions, or no entries with known returns.
        MissingExtraError: the library of the kind is not installed.
    """
    fit, ends = fit_function(config.kind), _ends(prices.days, config)
    periods = []
    for number, end in enumerate(ends, start=1):
        targets = make_targets(prices, config, end)
        predictor, held_out = fit(read, targets, config)
        if not held_out:
            raise InputError(
                f"no entry up to {day_text(end)} is left to measure the head on; give more entries or a later end"
            )
        skill, calibration = measure_skill(held_out, config.horizons)
        first_day = first_allowed_day(prices.days, end, config.gap, fit_end=end)
        periods.append(
            HeadPeriod(
                end=day_text(end),
                first_day=first_day,
                predictor=predictor,
                level=targets.level,
                calibration=calibration,
                skill=skill,
            )
        )
        if progress is not None:
            progress(number, len(ends))
    first, last = prices.days[0] if config.start is None else to_day(config.start), ends[-1]
    return Head(
        kind=config.kind,
        horizons=config.horizons,
        encoder=encoder,
        periods=tuple(periods),
        price_start=day_text(first),
        price_end=day_text(last),
        prices=price_fingerprint(prices, first, last),
        notes=identity(config),
    )


def _ends(sessions: Days, config: HeadConfig) -> Days:
    """Return the last day of data of each fit, ascending.

    Raises:
        InputError: no session up to the end, or fewer than the history of a first refit.
    """
    stop = int(np.searchsorted(sessions, to_day(config.end), side="right"))
    if not stop:
        raise InputError(f"the prices begin on {day_text(sessions[0])}, after the end {day_text(config.end)}")
    if config.every is None:
        return sessions[stop - 1 : stop]
    first = 0 if config.start is None else int(np.searchsorted(sessions, to_day(config.start)))
    ends = np.arange(first + config.history - 1, stop, config.every)
    if not len(ends):
        raise InputError(
            f"{stop - first} sessions up to {day_text(config.end)} are too few for a history of {config.history}; "
            "give a shorter history or a later end"
        )
    return sessions[ends]
