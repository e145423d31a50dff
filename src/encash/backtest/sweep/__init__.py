"""Sweeps: a grid of runs on one reading of the signals, with a journal, workers and a table."""
