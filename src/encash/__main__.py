"""The command `encash`, also ``python -m encash``."""

import os
import sys
from contextlib import suppress

from encash.command_start import ignore_signals, stop_at_once


def main() -> None:
    """Run one command, and end the process with its exit code."""
    stop_at_once()
    from encash.cli.main import main as run  # noqa: PLC0415 - a signal while it is imported is one line

    try:
        code = run()
    finally:
        ignore_signals()
    if code == 1:  # after Ctrl-C in a library's `exec`, the interpreter would end by a signal of its own
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
