"""One line if a signal stops the command `encash` before it begins.

Until then nothing is written, so a signal ends the process at once: an exception would print a traceback, or be turned
into a different error by the libraries that are being imported. Nothing happens where `encash` is a library.
"""

import _signal  # type: ignore[import-not-found]  # no stubs; `signal` itself takes a hundredth of a second to import
import os
import sys

STOPPING = tuple(getattr(_signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(_signal, name))
"""The signals that stop a command; Windows has no SIGHUP."""


def is_command() -> bool:
    """Return whether this process was started as ``encash`` or ``python -m encash``."""
    name = sys.argv[0] if getattr(sys, "argv", None) else ""
    return os.path.basename(name) == "encash" or (name == "-m" and "encash" in sys.orig_argv[1:4])


def stop_at_once() -> None:
    """End the process with one line and exit code 1 at the next signal; a signal that is ignored stays ignored."""
    for number in STOPPING:
        if _signal.getsignal(number) is not _signal.SIG_IGN:
            _signal.signal(number, _stop)


def ignore_signals() -> None:
    """Ignore further signals: the result is out, and only the interpreter has yet to end."""
    for number in STOPPING:
        _signal.signal(number, _signal.SIG_IGN)


def _stop(number: int, frame: object) -> None:
    os.write(2, b"encash: stopped before the command began\n")
    os._exit(1)


if is_command():
    stop_at_once()
