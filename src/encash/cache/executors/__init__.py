"""Executors: where the blocks of a build are run."""
