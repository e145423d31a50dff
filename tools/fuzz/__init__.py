"""Mutate every file that a command reads, run the command, and count what happened: ``python -m tools.fuzz``."""
