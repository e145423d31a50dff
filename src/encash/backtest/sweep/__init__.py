"""Sweeps: a grid of runs on signals that are read once, with a journal, workers and a table."""
