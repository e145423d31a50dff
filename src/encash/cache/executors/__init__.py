"""Executors of build tasks: in this process, or on Ray."""
