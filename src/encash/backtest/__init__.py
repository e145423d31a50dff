"""Backtests on cached signals: who is picked, what becomes of the money, and whether it was luck."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encash.lazy import lazy_names

if TYPE_CHECKING:
    from encash.backtest.evaluation.comparisons import (
        CompareConfig,
        Comparison,
        Comparisons,
        FilterTest,
        run_comparisons,
        write_comparisons,
    )
    from encash.backtest.evaluation.forecast_skill import Evidence, rank_evidence
    from encash.backtest.evaluation.overfitting import Overfitting
    from encash.backtest.evaluation.trials import Trials, run_trials
    from encash.backtest.inputs.backtest_inputs import BacktestInputs
    from encash.backtest.inputs.config import BacktestConfig
    from encash.backtest.inputs.universe import Candidates, Membership, read_membership
    from encash.backtest.picks import PickTable, picks_of_day
    from encash.backtest.result import BacktestResult, Series, read_series, write_run
    from encash.backtest.run import run_backtest
    from encash.backtest.simulation.costs import Costs
    from encash.backtest.simulation.market import DELISTING_POLICIES
    from encash.backtest.sweep.grid import Point, make_points, read_grid
    from encash.backtest.sweep.sweep import SweepResult, run_sweep, write_best
    from encash.backtest.sweep.sweep_table import heat_map

__all__ = [
    "DELISTING_POLICIES",
    "BacktestConfig",
    "BacktestInputs",
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
    "CompareConfig": "evaluation.comparisons",
    "Comparison": "evaluation.comparisons",
    "Comparisons": "evaluation.comparisons",
    "FilterTest": "evaluation.comparisons",
    "run_comparisons": "evaluation.comparisons",
    "write_comparisons": "evaluation.comparisons",
    "DELISTING_POLICIES": "simulation.market",
    "BacktestConfig": "inputs.config",
    "BacktestInputs": "inputs.backtest_inputs",
    "Costs": "simulation.costs",
    "Evidence": "evaluation.forecast_skill",
    "rank_evidence": "evaluation.forecast_skill",
    "Point": "sweep.grid",
    "make_points": "sweep.grid",
    "read_grid": "sweep.grid",
    "Overfitting": "evaluation.overfitting",
    "PickTable": "picks",
    "picks_of_day": "picks",
    "BacktestResult": "result",
    "Series": "result",
    "read_series": "result",
    "write_run": "result",
    "run_backtest": "run",
    "SweepResult": "sweep.sweep",
    "run_sweep": "sweep.sweep",
    "write_best": "sweep.sweep",
    "heat_map": "sweep.sweep_table",
    "Trials": "evaluation.trials",
    "run_trials": "evaluation.trials",
    "Candidates": "inputs.universe",
    "Membership": "inputs.universe",
    "read_membership": "inputs.universe",
}
"""The file of each name, loaded when it is first asked for: a backtest needs no sweep."""

__getattr__ = lazy_names(__name__, _HOMES)
