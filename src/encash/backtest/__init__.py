"""Backtests on cached signals: who is picked, what becomes of the money, and whether it was luck."""

from encash.backtest.config import DELISTING_POLICIES, BacktestConfig
from encash.backtest.costs import Costs
from encash.backtest.result import BacktestResult, Series, write_run
from encash.backtest.run import run_backtest
from encash.backtest.universe import Membership, read_membership

__all__ = [
    "DELISTING_POLICIES",
    "BacktestConfig",
    "BacktestResult",
    "Costs",
    "Membership",
    "Series",
    "read_membership",
    "run_backtest",
    "write_run",
]
