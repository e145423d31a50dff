"""The grid of a sweep: the configurations to run, before anything runs."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from encash.backtest.inputs.config import BacktestConfig, settings
from encash.clusters.filters.base import CandidateFilter
from encash.errors import FormatError, InputError, MissingFileError, UnknownKeyError
from encash.fingerprint import fingerprint
from encash.serialization import identity

_FILTER_KEYS = ("filter", "keep")


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
        InputError: an unknown setting, or an invalid combination.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"no grid file {path}; expected TOML with [base], [grid] or [random]")
    try:
        document = tomllib.loads(Path(path).read_text())
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{path} is not TOML: {error}") from None
    if unknown := sorted(set(document) - {"base", "grid", "random"}):
        raise FormatError(f"{path} has a section [{unknown[0]}]; expected [base], [grid] and [random]")
    base = {"filter": filter, **document.get("base", {})}
    return make_points(base, document.get("grid", {}), document.get("random"))


def make_points(
    base: Mapping[str, Any], grid: Mapping[str, Sequence[Any]], random: Mapping[str, Any] | None = None
) -> tuple[Point, ...]:
    """Return every combination of the grid, once per random draw.

    >>> points = make_points({"top_k": 3}, {"horizon": [1, 5], "seed": [1, 2]})
    >>> [(point.config.horizon, point.config.seed, point.config.top_k) for point in points]
    [(1, 1, 3), (1, 2, 3), (5, 1, 3), (5, 2, 3)]
    """
    for name, values in grid.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise InputError(f"grid.{name} is {values!r}; expected a list of values")
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    draws = [{}] if random is None else _draws(random)
    points = [_point(base, {**combination, **draw}) for combination in combinations for draw in draws]
    distinct = {fingerprint([identity(point.config), point.filter, point.keep]): point for point in points}
    return tuple(distinct.values())


def _point(base: Mapping[str, Any], varied: Mapping[str, Any]) -> Point:
    given = {**base, **varied}
    if unknown := sorted(set(given) - set(settings()) - set(_FILTER_KEYS)):
        raise InputError(f"unknown setting {unknown[0]!r}; `encash sweep --help` lists the settings")
    own = {name: value for name, value in given.items() if name not in _FILTER_KEYS}
    try:
        config = BacktestConfig(**own)
    except InputError as error:
        raise InputError(f"invalid combination {dict(varied)}: {error}") from None
    return Point(
        config=config,
        filter=given.get("filter", "none"),
        keep=given.get("keep"),
        varied=tuple(sorted(varied.items())),
    )


def _draws(random: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Draw the random settings of each run: a function of the seed only."""
    runs, seed = random.get("runs"), random.get("seed", 0)
    if not isinstance(runs, int) or runs < 1:
        raise InputError(f"random.runs is {runs!r}; expected a whole number of 1 or more")
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"random.seed is {seed!r}; expected a whole number of 0 or more")
    generator = np.random.Generator(np.random.Philox(key=seed))
    ranges = {name: value for name, value in random.items() if name not in ("runs", "seed")}
    return [{name: _drawn(name, value, generator) for name, value in ranges.items()} for _ in range(runs)]


def _drawn(name: str, space: Any, generator: np.random.Generator) -> Any:
    """Draw a value from a list, or between low and high; whole numbers stay whole and include both ends."""
    if isinstance(space, list) and space:
        return space[int(generator.integers(len(space)))]
    if not isinstance(space, dict) or not {"low", "high"} <= set(space) <= {"low", "high", "log"}:
        raise InputError(f"random.{name} is {space!r}; expected a list, or {{low = …, high = …}}")
    low, high = space["low"], space["high"]
    if isinstance(low, int) and isinstance(high, int):
        return int(generator.integers(low, high + 1))
    if space.get("log"):
        return float(math.exp(generator.uniform(math.log(low), math.log(high))))
    return float(generator.uniform(low, high))
