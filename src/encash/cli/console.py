"""What the command line says and how: results to stdout, progress and errors to stderr, exit codes."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from encash.cli.progress import Bar
from encash.errors import EncashError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from encash.pipeline import Sources

Spec = TypeVar("Spec", bound="DataclassInstance")
Handler = Callable[[argparse.Namespace, "Console"], int]
FOUND = 3
"""The exit code of a check that found something."""


class Console:
    """Where a command writes: one JSON object with ``--json``, lines for people without."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False):
        self.as_json = as_json
        self.quiet = quiet

    def result(self, values: Mapping[str, Any], lines: Sequence[str]) -> None:
        """The result: `values` with ``--json``, else `lines`."""
        if self.as_json:
            print(json.dumps(values, ensure_ascii=False, allow_nan=False))
        else:
            print("\n".join(lines))

    def facts(self, values: Mapping[str, Any]) -> None:
        """A result of names and values alone: a line each for people."""
        values = plain(values)
        self.result(values, lines(values))

    def note(self, text: str) -> None:
        """A remark on stderr; nothing with ``--quiet``."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def progress(self, title: str, unit: str, written: Callable[[], int] | None = None) -> Iterator[Bar]:
        """A bar for one piece of work; `written` gives the bytes that it has written."""
        bar = Bar(title, unit, quiet=self.quiet, written=written)
        try:
            yield bar
        finally:
            bar.close()

    def sources(self, arguments: argparse.Namespace) -> Sources:
        """What the flags name to read; while a model is loaded, a bar says how far it is."""
        from encash.pipeline import Sources

        return replace(spec_of(Sources, arguments), loading=lambda: self.progress("loading the model", "steps"))


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose help keeps the examples as they are written."""

    def __init__(self, *args: Any, **keywords: Any):
        keywords.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        keywords.setdefault("allow_abbrev", False)
        super().__init__(*args, **keywords)

    def error(self, message: str) -> NoReturn:
        """One line on stderr, exit code 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def spec_of(kind: type[Spec], arguments: argparse.Namespace) -> Spec:
    """A spec from the flags that are named like its fields; a field without a flag keeps its default.

    >>> from encash.pipeline import Sources
    >>> sources = spec_of(Sources, argparse.Namespace(cache="c.lance", ensemble_models=["a.pt"], json=True))
    >>> sources.cache, sources.ensemble_models, sources.device
    ('c.lance', ('a.pt',), 'auto')
    """
    given = {one.name: getattr(arguments, one.name) for one in fields(kind) if hasattr(arguments, one.name)}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def plain(values: Any) -> Any:
    """Values as JSON takes them: paths and days as text, tuples as lists, numpy scalars as numbers.

    >>> plain({"day": np.datetime64("2024-01-02"), "ids": (1, np.int32(2))})
    {'day': '2024-01-02', 'ids': [1, 2]}
    """
    if isinstance(values, Mapping):
        return {str(name): plain(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    if isinstance(values, np.number | np.bool_):
        return values.item()
    return values if values is None or isinstance(values, bool | int | float | str) else str(values)


def lines(values: Mapping[str, Any]) -> list[str]:
    """Values as lines for people: one name and value a line.

    >>> lines({"max_abs_diff": 0.5, "fees": {"buy": 0.1}})
    ['max abs diff  0.5', 'fees          buy: 0.1']
    """
    width = max((len(name) for name in values), default=0)
    return [f"{name.replace('_', ' '):<{width}}  {readable(value)}" for name, value in values.items()]


def readable(value: Any) -> str:
    """A value as people read it: four figures of a fraction, lists and tables without brackets, yes and no.

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


def run(handler: Handler, arguments: argparse.Namespace, program: str) -> int:
    """Call a command and turn what it raises into one line and an exit code."""
    console = Console(as_json=getattr(arguments, "json", False), quiet=getattr(arguments, "quiet", False))
    try:
        return handler(arguments, console)
    except EncashError as error:
        if getattr(arguments, "debug", False):
            traceback.print_exc()
        print(f"{program}: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        print(f"{program}: stopped; {one_line(str(stop)) or 'what was committed is kept'}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def one_line(text: str) -> str:
    r"""A message without line breaks.

    >>> one_line("a\n  b")
    'a b'
    """
    return " ".join(text.split())
