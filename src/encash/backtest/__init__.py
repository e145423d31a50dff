"""Backtests on cached signals: who is picked, what becomes of the money, and whether it was luck."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encash.lazy import lazy_names

if TYPE_CHECKING:
    from encash.backtest.compare import (
        CompareConfig,
        Comparison,
        Comparisons,
        FilterTest,
        run_comparisons,
        write_comparisons,
    )
    from encash.backtest.config import DELISTING_POLICIES, BacktestConfig
    from encash.backtest.costs import Costs
    from encash.backtest.evidence import Evidence, rank_evidence
    from encash.backtest.grid import Point, make_points, read_grid
    from encash.backtest.overfitting import Overfitting
    from encash.backtest.picks import PickTable, picks_of_day
    from encash.backtest.result import BacktestResult, Series, read_series, write_run
    from encash.backtest.run import run_backtest
    from encash.backtest.sweep import SweepResult, run_sweep, write_best
    from encash.backtest.sweep_table import heat_map
    from encash.backtest.trials import Trials, run_trials
    from encash.backtest.universe import Candidates, Membership, read_membership

__all__ = [
    "DELISTING_POLICIES",
    "BacktestConfig",
    "BacktestResult",
    "Candidates",
    "CompareConfig",
    "Comparison",
    "Comparisons",
    "Costs",
    "Evidence",
    "FilterTest",
    "Membership",
    "Overfitting",
    "PickTable",
    "Point",
    "Series",
    "SweepResult",
    "Trials",
    "heat_map",
    "make_points",
    "picks_of_day",
    "rank_evidence",
    "read_grid",
    "read_membership",
    "read_series",
    "run_backtest",
    "run_comparisons",
    "run_sweep",
    "run_trials",
    "write_best",
    "write_comparisons",
    "write_run",
]

_HOMES = {
    "CompareConfig": "compare",
    "Comparison": "compare",
    "Comparisons": "compare",
    "FilterTest": "compare",
    "run_comparisons": "compare",
    "write_comparisons": "compare",
    "DELISTING_POLICIES": "config",
    "BacktestConfig": "config",
    "Costs": "costs",
    "Evidence": "evidence",
    "rank_evidence": "evidence",
    "Point": "grid",
    "make_points": "grid",
    "read_grid": "grid",
    "Overfitting": "overfitting",
    "PickTable": "picks",
    "picks_of_day": "picks",
    "BacktestResult": "result",
    "Series": "result",
    "read_series": "result",
    "write_run": "result",
    "run_backtest": "run",
    "SweepResult": "sweep",
    "run_sweep": "sweep",
    "write_best": "sweep",
    "heat_map": "sweep_table",
    "Trials": "trials",
    "run_trials": "trials",
    "Candidates": "universe",
    "Membership": "universe",
    "read_membership": "universe",
}
"""The file of each name, loaded when it is first asked for: a backtest needs no sweep."""

__getattr__ = lazy_names(__name__, _HOMES)
