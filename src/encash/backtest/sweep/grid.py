"""The grid of a sweep: the configurations to run, before anything runs."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import day_text
from encash.backtest.inputs.config import BacktestConfig, settings
from encash.clusters.filters.base import CandidateFilter
from encash.errors import FormatError, InputError, UnknownKeyError
from encash.fingerprint import fingerprint
from encash.serialization import identity
from encash.text_files import read_toml

MOST_RUNS = 100_000
"""Maximum number of runs in a grid; more are refused before anything is expanded."""
_FILTER_KEYS = ("filter", "keep")
_SECTIONS = ("base", "grid", "random")
_SHOWN = 80
"""Characters of an invalid value in an error message."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a sweep."""

    config: BacktestConfig
    filter: str = "none"
    """Name of a filter of the sweep; ``none`` needs no filter."""
    keep: float | None = None
    """Fraction to keep, instead of the filter's own."""
    varied: tuple[tuple[str, Any], ...] = ()
    """Settings that the grid varies, and their values in this run."""

    def chosen(self, filters: Mapping[str, CandidateFilter]) -> CandidateFilter | None:
        """Return the filter of this run.

        Raises:
            UnknownKeyError: there is no filter of this name.
            InputError: a fraction to keep without a filter.
        """
        if self.filter == "none":
            if self.keep is not None:
                raise InputError(f"keep is {self.keep}, but the filter is none; name a filter, or leave keep out")
            return None
        if self.filter not in filters:
            raise UnknownKeyError(
                f"unknown filter {self.filter!r}; expected one of {', '.join(['none', *sorted(filters)])}"
            )
        chosen = filters[self.filter]
        return chosen if self.keep is None else replace(chosen, keep_share=self.keep)

    def key(self, filter: CandidateFilter | None) -> str:
        """Return the identity of the settings and the filter (32 hexadecimal digits)."""
        return fingerprint([identity(self.config), "" if filter is None else filter.fingerprint])[:32]


def read_grid(path: str | Path, *, filter: str = "none") -> tuple[Point, ...]:
    """Read the runs of a grid file.

    ``[base]`` holds settings that all runs share; ``[grid]`` lists of values, every combination of which is run;
    ``[random]`` holds ``runs``, ``seed`` and for each setting a list to choose from or ``{low = …, high = …}``
    (``log = true`` for a logarithmic scale), drawn anew for each run. Settings are the fields of `BacktestConfig`,
    ``filter`` and ``keep``.

    Args:
        path: the file.
        filter: filter of the runs that name none.

    Raises:
        MissingFileError: no such file.
        FormatError: not TOML, or an unknown section.
        InputError: an unknown setting, an invalid combination, or more than `MOST_RUNS` runs.
    """
    document = read_toml(path, kind="grid file", expected="TOML with [base], [grid] or [random]")
    return points_of(document, filter=filter, what=str(path))


def points_of(document: Mapping[str, Any], *, filter: str = "none", what: str = "the grid") -> tuple[Point, ...]:
    """Return the runs of a grid given as ``{"base": {…}, "grid": {…}, "random": {…}}``; see `read_grid`.

    Args:
        document: the sections.
        filter: filter of the runs that name none.
        what: the subject of an error message.

    Raises:
        FormatError: no section, an unknown one, or one that is not a mapping.
        InputError: an unknown setting, an invalid combination, or more than `MOST_RUNS` runs.
    """
    if not document:
        raise FormatError(f"{what} is empty; expected [base], [grid] or [random]")
    if unknown := sorted(set(document) - set(_SECTIONS)):
        raise FormatError(
            f"{what} has a section [{unknown[0]}]; expected [base], [grid] and [random]{_meant(unknown[0], _SECTIONS)}"
        )
    if other := [name for name, section in document.items() if not isinstance(section, dict)]:
        raise FormatError(f"{what}: {other[0]} is not a table; expected a section [{other[0]}] of settings")
    base = {"filter": filter, **document.get("base", {})}
    return make_points(base, document.get("grid", {}), document.get("random"))


def make_points(
    base: Mapping[str, Any], grid: Mapping[str, Sequence[Any]], random: Mapping[str, Any] | None = None
) -> tuple[Point, ...]:
    """Return every combination of the grid, once per random draw.

    Raises:
        InputError: an unknown setting, one with two sources, an invalid combination, or more than `MOST_RUNS` runs.

    >>> points = make_points({"top_k": 3}, {"horizon": [1, 5], "seed": [1, 2]})
    >>> [(point.config.horizon, point.config.seed, point.config.top_k) for point in points]
    [(1, 1, 3), (1, 2, 3), (5, 1, 3), (5, 2, 3)]
    """
    for name, values in grid.items():
        _check_name(name)
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise InputError(f"grid.{name} is {_short(values)}; expected a list of values")
    _check_runs(grid, 1 if random is None else random.get("runs"))
    draws = [{}] if random is None else _draws(random)
    if both := sorted(set(grid) & set(draws[0])):
        raise InputError(f"{both[0]} is in [grid] and in [random]; give it in one of them")
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    points = [_point(base, {**combination, **draw}) for combination in combinations for draw in draws]
    distinct = {fingerprint([identity(point.config), point.filter, point.keep]): point for point in points}
    return tuple(distinct.values())


def _point(base: Mapping[str, Any], varied: Mapping[str, Any]) -> Point:
    given = {**base, **varied}
    for name in given:
        _check_name(name)
    _check_filter(given)
    own = {name: value for name, value in given.items() if name not in _FILTER_KEYS}
    try:
        config = BacktestConfig(**own)
    except InputError as error:
        raise InputError(f"invalid combination {_short(dict(varied))}: {error}") from None
    return Point(
        config=config,
        filter=given.get("filter", "none"),
        keep=given.get("keep"),
        varied=tuple(sorted((name, _plain(value)) for name, value in varied.items())),
    )


def _check_name(name: str) -> None:
    """Refuse a name that is not a setting.

    Raises:
        InputError: an unknown setting; the message names the most similar one.
    """
    known = (*settings(), *_FILTER_KEYS)
    if name not in known:
        raise InputError(f"unknown setting {name!r}; `encash sweep --help` lists the settings{_meant(name, known)}")


def _check_filter(given: Mapping[str, Any]) -> None:
    """Refuse a filter that is not a name, and a fraction to keep that is not a number."""
    name, keep = given.get("filter", "none"), given.get("keep")
    if not isinstance(name, str):
        raise InputError(f"filter is {_short(name)}; expected the name of a filter, or none")
    if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 < keep <= 1):
        raise InputError(f"keep is {_short(keep)}; expected a fraction above 0 and at most 1")


def _check_runs(grid: Mapping[str, Sequence[Any]], draws: Any) -> None:
    """Refuse a grid of too many runs before it is expanded."""
    counts = [len(values) for values in grid.values()] + ([draws] if isinstance(draws, int) else [])
    if (runs := math.prod(counts)) > MOST_RUNS:
        factors = " × ".join(f"{count:,}" for count in counts if count != 1)
        raise InputError(
            f"the grid has {runs:,} runs ({factors}), and at most {MOST_RUNS:,} are allowed; vary fewer settings, or "
            "draw some runs with [random]"
        )


def _meant(name: str, known: Sequence[str]) -> str:
    """Return a question that names the most similar known name; empty if none is similar.

    >>> _meant("topk", ["top_k", "seed"]), _meant("zzz", ["top_k"])
    ("; did you mean 'top_k'?", '')
    """
    similar = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {similar[0]!r}?" if similar else ""


def _plain(value: Any) -> Any:
    """Return a value as the journal holds it: days as text."""
    return value if value is None or isinstance(value, bool | int | float | str) else day_text(value)


def _short(value: Any) -> str:
    """Return the text of a value in an error message."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _draws(random: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Draw the random settings of each run: a function of the seed only."""
    runs, seed = random.get("runs"), random.get("seed", 0)
    if not isinstance(runs, int) or isinstance(runs, bool) or runs < 1:
        raise InputError(f"random.runs is {_short(runs)}; expected a whole number of 1 or more")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**64:
        raise InputError(f"random.seed is {_short(seed)}; expected a whole number of 0 or more")
    generator = np.random.Generator(np.random.Philox(key=seed))
    ranges = {name: value for name, value in random.items() if name not in ("runs", "seed")}
    for name in ranges:
        _check_name(name)
    return [{name: _drawn(name, value, generator) for name, value in ranges.items()} for _ in range(runs)]


def _drawn(name: str, space: Any, generator: np.random.Generator) -> Any:
    """Draw a value from a list, or between low and high; whole numbers stay whole and include both ends."""
    if isinstance(space, list) and space:
        return space[int(generator.integers(len(space)))]
    if not isinstance(space, dict) or not {"low", "high"} <= set(space) <= {"low", "high", "log"}:
        raise InputError(f"random.{name} is {_short(space)}; expected a list, or {{low = …, high = …}}")
    low, high, log = space["low"], space["high"], space.get("log", False)
    _check_range(name, low, high, log)
    if isinstance(low, int) and isinstance(high, int):
        if log:  # a whole number n has the share of the logarithmic scale from n to n + 1
            return min(high, int(math.exp(generator.uniform(math.log(low), math.log(high + 1)))))
        return int(generator.integers(low, high + 1))
    if log:
        return float(math.exp(generator.uniform(math.log(low), math.log(high))))
    return float(generator.uniform(low, high))


def _check_range(name: str, low: Any, high: Any, log: Any) -> None:
    """Refuse ends that are not numbers in order, and a logarithmic scale of numbers that have no logarithm.

    Raises:
        InputError: names the range and what was expected.
    """
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not -(2**62) <= low <= high <= 2**62:
        raise InputError(f"random.{name} runs from {_short(low)} to {_short(high)}; expected two numbers, low ≤ high")
    if not isinstance(log, bool) or (log and low <= 0):
        raise InputError(f"random.{name} has log = {_short(log)}; expected true or false, and true only above 0")
