"""The command line. Each command has a module here, which adds its flags, calls the library and prints the result."""

from encash.cli.main import main

__all__ = ["main"]
