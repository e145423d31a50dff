"""Encode every stock on every trading day once, and backtest on it for ever."""
