"""Output of the command line: results on stdout, progress and errors on stderr, exit codes."""

from __future__ import annotations

import argparse
import codecs
import io
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from encash import pipeline
from encash.cli.parser import Parser as Parser  # noqa: PLC0414 - commands import it from here
from encash.cli.parser import one_line
from encash.command_start import STOPPING
from encash.errors import EncashError, reason
from encash.input_files import check_url, is_url, refuse_url
from encash.live_progress import Bar, LiveLine, is_live
from encash.remote_files import one_version

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Spec = TypeVar("Spec", bound="DataclassInstance")
Handler = Callable[[argparse.Namespace, "Console"], int | None]
"""A command; it returns its exit code, None for 0."""
_POLL_SECONDS = 0.02
_KEPT = "what was committed is kept, and the same command starts again"
_PLAIN = "encash-plain"
_ASCII = {"–": "-", "−": "-", "—": "-", "…": "...", "×": "x", "±": "+/-", "→": "->", "·": "-", "²": "^2", "³": "^3"}
"""Replacements of characters that a console lacks."""
_OUT_OF_MEMORY = "failed to map segment|[Cc]annot allocate memory|bad_alloc|can't start new thread"
FOUND = 3
"""The exit code of a check with findings."""


@dataclass(kw_only=True)
class Console:
    """The output of a command: one JSON object with ``--json``, otherwise lines for people."""

    as_json: bool = False
    quiet: bool = False
    warnings: list[str] = field(default_factory=list)
    line: LiveLine | None = None
    """Shows on a terminal that the command works."""

    def result(self, values: Mapping[str, Any], lines: Sequence[str]) -> None:
        """Print `values` with ``--json``, otherwise `lines`, and on stderr the warnings that ``--quiet`` held back."""
        self.hand_over()
        if self.quiet and self.warnings:
            print("\n".join(self.warnings), file=sys.stderr, flush=True)
        if self.as_json:
            print(json.dumps(values, ensure_ascii=not _is_utf8(sys.stdout), allow_nan=False))
        else:
            print("\n".join(lines))

    def facts(self, values: Mapping[str, Any]) -> None:
        """Print a result that consists of names and values, one line each for people."""
        values = plain(values)
        self.result(values, lines(values))

    def note(self, text: str) -> None:
        """Print a remark on stderr; nothing with ``--quiet``."""
        if self.line is not None:
            self.line.clear()
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Print a warning on stderr, with ``--quiet`` beside the result, and keep it for ``--json``."""
        self.warnings.append(text)
        self.note(text)

    def progress(self, title: str, unit: str, written: Callable[[], int] | None = None) -> AbstractContextManager[Bar]:
        """Show a progress bar; `written` returns the bytes written so far."""
        return closing(Bar(title, unit, quiet=self.quiet, line=self.line, stream=sys.stderr, written=written))

    @contextmanager
    def live(self, title: str) -> Iterator[None]:
        """Show a live line while a command runs, if stderr is a terminal."""
        if is_live(sys.stderr) and not self.quiet:
            self.line = LiveLine(sys.stderr, title)
        try:
            yield
        finally:
            self.hand_over()

    def hand_over(self) -> None:
        """Erase the live line for good: what follows is the result, or the output of other processes."""
        if self.line is not None:
            self.line.close()

    def sources(self, arguments: argparse.Namespace, **overrides: Any) -> pipeline.Sources:
        """Return the inputs that the flags name; loading a model shows a progress bar."""
        return spec_of(
            pipeline.Sources, arguments, loading=lambda: self.progress("loading the model", "steps"), **overrides
        )


def spec_of(kind: type[Spec], arguments: argparse.Namespace, /, **overrides: Any) -> Spec:
    """Build a dataclass from the flags that are named like its fields.

    A field whose flag is absent or None keeps its default, if it has one. `overrides` are passed as they are.

    >>> from encash.pipeline import Sources
    >>> flags = argparse.Namespace(cache="c.lance", ensemble_models=["a.pt"], device=None, json=True)
    >>> sources = spec_of(Sources, flags, precision="float32")
    >>> sources.cache, sources.ensemble_models, sources.device, sources.precision
    ('c.lance', ('a.pt',), 'auto', 'float32')
    """
    values: dict[str, Any] = {}
    for part in fields(kind):
        value = getattr(arguments, part.name, None)
        if value is not None or part.default is part.default_factory is MISSING:
            values[part.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values | overrides)


def plain(values: Any) -> Any:
    """Convert values to JSON types: paths and days to text, tuples to lists, numpy scalars to numbers.

    >>> import numpy as np
    >>> plain({"day": np.datetime64("2024-01-02"), "ids": (1, np.int32(2))})
    {'day': '2024-01-02', 'ids': [1, 2]}
    """
    if isinstance(values, Mapping):
        return {str(name): plain(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    if hasattr(values, "tolist"):  # of numpy
        return plain(values.tolist())
    return values if values is None or isinstance(values, bool | int | float | str) else str(values)


def lines(values: Mapping[str, Any]) -> list[str]:
    """Format names and values, one per line.

    >>> lines({"max_abs_diff": 0.5, "fees": {"buy": 0.1}})
    ['max abs diff  0.5', 'fees          buy: 0.1']
    """
    width = max((len(name) for name in values), default=0)
    return [f"{name.replace('_', ' '):<{width}}  {readable(value)}" for name, value in values.items()]


def table_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Format rows of the same names as columns with a header; no rows give no lines.

    >>> table_lines([{"number": 1, "tags": ["a"]}, {"number": 12, "tags": []}])
    ['number  tags', '1       a', '12      –']
    """
    if not rows:
        return []
    cells = [[name.replace("_", " ") for name in rows[0]], *([readable(one) for one in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def readable(value: Any) -> str:
    """Format a value for people: four digits of a fraction, lists and tables without brackets, yes and no.

    >>> readable(91.9125), readable(0.00041898), readable(4145.5947), readable(12000), readable(1e-9)
    ('91.91', '0.000419', '4,146', '12,000', '1e-09')
    >>> readable({"short": 3, "gap": 1}), readable([1, 5]), readable([]), readable(True)
    ('short: 3, gap: 1', '1, 5', '–', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {readable(one)}" for name, one in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(readable, value)) or "–"
    return "–" if value is None else str(value)


def figure(value: float | None, form: str) -> str:
    """Format a number, or a dash if it is not defined.

    >>> figure(0.123, ".1%"), figure(None, ".1%")
    ('12.3%', '–')
    """
    return "–" if value is None else format(value, form)


def settled_line(settled: int, used: int, delisting: str | None) -> str:
    """Say how many entries the delisting policy concerns.

    >>> settled_line(12, 4000, "last")
    '12 of 4,000 entries are of tickers that stopped trading within the horizon: settled under the policy last'
    """
    return (
        f"{settled:,} of {used:,} entries are of tickers that stopped trading within the horizon: settled under the "
        f"policy {delisting}"
    )


def run(handler: Handler, arguments: argparse.Namespace, program: str) -> int:
    """Call a command; turn an exception into one line on stderr, with ``--json`` also into ``{"error": …}``."""
    tolerate_any_console()
    console = Console(as_json=getattr(arguments, "json", False), quiet=getattr(arguments, "quiet", False))
    try:
        with _stopped_by_signals(), console.live(program), one_version(console.progress):
            _check_urls(arguments)
            code = handler(arguments, console) or 0
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # the reader of stdout has gone; nothing is left to say
        _discard_stdout()
        return 1
    except KeyboardInterrupt as stop:
        message, code = f"stopped; {one_line(str(stop)) or _KEPT}", 1
    except (EncashError, OSError, MemoryError, ImportError, RuntimeError, UnicodeEncodeError) as error:
        if not is_expected(error):
            raise
        if getattr(arguments, "debug", False):
            import traceback

            traceback.print_exc()
        message, code = failure(error)
        if isinstance(error, OSError) and not isinstance(error, EncashError) and error.filename is None:
            _discard_stdout()  # it may be stdout itself that cannot be written
    print(f"{program}: {message}", file=sys.stderr)
    if console.as_json:
        _print_error(message)
    return code


def _check_urls(arguments: argparse.Namespace) -> None:
    """Refuse a URL where there can be none, which is a path, and one that may have a secret."""
    for value in vars(arguments).values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Path):
                refuse_url(one)
            elif isinstance(one, str) and is_url(one):
                check_url(one)


def is_expected(error: BaseException) -> bool:
    """Return whether an error is one of ours or of the system, in the words of any library, rather than a defect.

    >>> is_expected(ImportError("libtorch.so: failed to map segment from shared object")), is_expected(KeyError("x"))
    (True, False)
    """
    expected = EncashError | OSError | MemoryError | UnicodeEncodeError
    return isinstance(error, expected) or _is_out_of_memory(error) or _missing_library(error) is not None


def _missing_library(error: BaseException) -> str | None:
    """Return the library that is not installed; None for other errors, and for a module of our own."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return name if name not in ("", "encash") else None


def failure(error: BaseException) -> tuple[str, int]:
    """Return the line and the exit code of an error.

    >>> failure(PermissionError(13, "Permission denied", "p.csv"))
    ('no permission to read or write p.csv; let its owner grant it, or run this as a user who has it', 2)
    >>> failure(OSError(28, "No space left on device", "c.lance"))
    ('c.lance: No space left on device; what was committed is kept', 1)
    """
    text, code = str(error), 1
    match error:
        case EncashError():
            code = error.exit_code
        case PermissionError(filename=str(name)):
            text, code = (
                f"no permission to read or write {name}; let its owner grant it, or run this as a user who has it",
                2,
            )
        case FileNotFoundError() | NotADirectoryError() | IsADirectoryError():
            text, code = f"{error.filename}: {error.strerror}; give the path of a file that exists", 2
        case UnicodeEncodeError():
            text, code = f"{error.object} is not UTF-8, which a library needs; give a path or a name in UTF-8", 2
        case ModuleNotFoundError():
            text, code = f"{error.name} is not installed; run: pip install --force-reinstall encash", 2
        case _ if _is_out_of_memory(error):
            text = f"not enough memory{reason(error)}; what was committed is kept: close other programs, or do less"
        case OSError():
            text = f"{error.filename or 'output'}: {error.strerror or error}; what was committed is kept"
    return one_line(text), code


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out; libraries that are being loaded say so in their own words."""
    return isinstance(error, MemoryError) or re.search(_OUT_OF_MEMORY, str(error)) is not None


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop a command as Ctrl-C does: what is committed is kept, and temporary files go.

    A signal that was ignored before, as that of a closed terminal by nohup, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    report, sys.unraisablehook = sys.unraisablehook, _interrupt_later
    try:
        yield
    except SystemError as error:  # of Python, about an interrupt that came while a callback of h5py ran
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        sys.unraisablehook = report
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`; during an import, at its end: there, libraries turn it into a different error."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return _poll()
        frame = frame.f_back
    raise KeyboardInterrupt


def _interrupt_later(error: sys.UnraisableHookArgs) -> None:
    """Raise a `KeyboardInterrupt` again that came in a callback, which cannot raise; print other errors as usual."""
    if error.exc_type is KeyboardInterrupt:
        _poll()
    else:
        sys.__unraisablehook__(error)


def _poll() -> None:
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, _POLL_SECONDS)


def _print_error(message: str) -> None:
    """Print the error as the JSON object of the command."""
    with suppress(OSError):
        print(json.dumps({"error": message}, ensure_ascii=not _is_utf8(sys.stdout)), flush=True)


def _discard_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not report it when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tolerate_any_console() -> None:
    """Print characters that a console lacks in ASCII or as ``?``, and print nothing to a stream that is closed."""
    codecs.register_error(_PLAIN, _plain_letters)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for the rest of the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_PLAIN)


def _plain_letters(error: UnicodeError) -> tuple[str, int]:
    """Replace what a console lacks; as an error handler of codecs."""
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(_ASCII.get(letter, "?") for letter in lost), error.end


def _is_utf8(stream: TextIO) -> bool:
    """Return whether a stream has every character; JSON for others is escaped, so that no value is lost."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf")
