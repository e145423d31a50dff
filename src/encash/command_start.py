"""One line if a signal stops the command `encash` before it begins.

Until then nothing is written, so a signal ends the process at once: an exception would print a traceback, or be turned
into a different error by the libraries that are being imported. Nothing happens where `encash` is a library.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # no stubs; `signal` itself takes a hundredth of a second to import
import os
import sys

TYPE_CHECKING = False  # `typing` too takes time to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

STOPPING = tuple(getattr(_signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(_signal, name))
"""The signals that stop a command; Windows has no SIGHUP."""

STOPPED = "stopped before the command began; nothing was changed, and the same command starts it again"


def is_command() -> bool:
    """Return whether this process was started as ``encash``, ``python -m encash``, or a command of the guide."""
    name = sys.argv[0] if getattr(sys, "argv", None) else ""
    if name == "-m":  # while the module is looked for; options of Python may stand before it
        words = sys.orig_argv
        return any(words[at : at + 2] in (["-m", "encash"], ["-m", "encash.guide"]) for at in range(len(words)))
    return os.path.basename(name) == "encash" or getattr(sys.modules.get("__main__"), "ENCASH_COMMAND", False)


def stop_at_once() -> None:
    """End the process with one line and exit code 1 at the next signal; a signal that is ignored stays ignored."""
    for number in STOPPING:
        if _signal.getsignal(number) is not _signal.SIG_IGN:
            _signal.signal(number, stop)


def finish(run: Callable[[], int]) -> NoReturn:
    """Run a command and end the process with its exit code; from then on signals are ignored.

    The process ends without taking the interpreter apart, which takes a tenth of a second and more once Arrow and Lance
    are loaded, and which a Ctrl-C in a library's `exec` turns into a signal of its own.
    """
    try:
        code = run()
    finally:
        for number in STOPPING:
            _signal.signal(number, _signal.SIG_IGN)
    if code != 1:  # after a failure, what a library does at the end may fail too, or wait
        import atexit  # noqa: PLC0415 - not at the start

        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # closed, or full, which the command has said
            continue
    os._exit(code)


def stop(number: int, frame: object) -> None:
    """End the process with one line; a signal handler until the command begins."""
    os.write(2, f"encash: {STOPPED}\n".encode())
    os._exit(1)


if is_command():
    stop_at_once()
