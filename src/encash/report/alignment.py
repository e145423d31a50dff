"""Several runs on the sessions that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import Days, Float64
from encash.backtest.evaluation.random_filter_test import Performance
from encash.report.summary import Run, performance_of

_ROUNDING = 1e-9
"""Relative difference of two equities below which the runs are identical."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Aligned:
    """A run from the first to the last session that all runs share."""

    days: Days
    """shape (n,)."""
    path: Float64
    """Net equity, 1 at the first session; shape (n,)."""
    performance: Performance


def align(runs: Sequence[Run]) -> tuple[Aligned, ...]:
    """Cut runs to their common span; empty if they share fewer than three sessions."""
    first = max(run.equity.days[0] for run in runs)
    last = min(run.equity.days[-1] for run in runs)
    found = []
    for run in runs:
        inside = (run.equity.days >= first) & (run.equity.days <= last)
        if inside.sum() < 3:
            return ()
        path = run.path[inside]
        found.append(
            Aligned(
                days=run.equity.days[inside],
                path=path / path[0],
                performance=performance_of(path, run.sessions_per_year),
            )
        )
    return tuple(found)


def identical(runs: Sequence[Run], names: Sequence[str]) -> list[list[str]]:
    """Return the names of runs with the same equity on the same sessions, in groups of two or more."""
    groups: list[tuple[Run, list[str]]] = []
    for run, name in zip(runs, names, strict=True):
        for other, members in groups:
            if np.array_equal(run.equity.days, other.equity.days) and np.allclose(
                run.path, other.path, rtol=_ROUNDING, atol=0.0
            ):
                members.append(name)
                break
        else:
            groups.append((run, [name]))
    return [members for _, members in groups if len(members) > 1]
