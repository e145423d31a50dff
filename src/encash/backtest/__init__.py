"""Backtests: array programs over forecasts, filter and prices."""
