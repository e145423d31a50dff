"""The command line: parse, call, print. Each command is a few lines; what it does lives in the rooms below."""

from encash.cli.main import main

__all__ = ["main"]
