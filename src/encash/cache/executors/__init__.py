"""Executors of tasks: in this process, or on Ray."""
