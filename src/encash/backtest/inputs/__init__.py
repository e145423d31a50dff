"""Inputs of a run: settings, universe, rebalances, signals, and the checks that refuse them."""
