"""Check of the chain from data to picks: windows, embeddings, forecasts, clusters and picks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from encash.arrays import day_text
from encash.audit.poison import poisoned_panel
from encash.audit.subject import Check, Subject
from encash.backtest import BacktestInputs, PickTable, picks_of_day
from encash.cache import Lookup
from encash.panel import Panel
from encash.progress import Progress


def chain_checks(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Compare the picks of random days with those from data without a future, and from data with a poisoned one."""
    days, lookback, done = subject.cut_days(), subject.encoder.spec.lookback, 0
    differences: dict[str, list[str]] = {"truncation": [], "poison": []}
    candidates = 0
    for day in days:
        poisoned = poisoned_panel(subject.panel, subject.prices, day, lookback=lookback, seed=subject.seed)
        tables = []
        for panel in (subject.panel, subject.panel.as_of(day), poisoned):
            tables.append(_picks(subject, panel, day).columns())
            done += 1
            if progress is not None:
                progress(done, 3 * len(days))
        whole, *altered = tables
        candidates += len(whole["date"])
        for found, table in zip(differences.values(), altered, strict=True):
            found += [f"{name} on {day_text(day)}" for name in whole if whole[name].tobytes() != table[name].tobytes()]
    for how, found in differences.items():
        same = f"{candidates} candidates on {len(days)} days: the same bits up to the picks"
        detail = f"changed: {'; '.join(found[:5])}" if found else same
        yield Check.judged(f"data to picks: {how}", not found, detail)


def _picks(subject: Subject, panel: Panel, day: np.datetime64) -> PickTable:
    """Pick on a day, encoded live from a panel."""
    assert panel.prices is not None
    head = subject.forecasts if subject.forecasts is not None and subject.forecasts.needs_vectors else None
    lookup = Lookup(panel=panel, encoder=lambda: subject.encoder, spec=subject.encoder.spec, forecasts=head)
    candidates = subject.candidates(panel)
    inputs = BacktestInputs(
        prices=panel.prices, lookup=lookup, filter=subject.filter, candidates=candidates, groups=subject.groups
    )
    return picks_of_day(subject.config, inputs, day)
