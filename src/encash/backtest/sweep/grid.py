"""The grid of a sweep: which configurations it will run, made before anything runs. Knows TOML and settings; nothing of
data."""

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
    """Name of a filter given to the sweep; ``none`` needs no filter."""
    keep: float | None = None
    """Instead of the filter's own share to keep."""
    varied: tuple[tuple[str, Any], ...] = ()
    """The settings that the grid varies, and their values here."""

    def chosen(self, filters: Mapping[str, CandidateFilter]) -> CandidateFilter | None:
        """The filter of this run.

        Raises:
            UnknownKeyError: a name that was not given.
            InputError: a share to keep without a filter.
        """
        if self.filter == "none":
            if self.keep is not None:
                raise InputError(f"keep is {self.keep} and there is no filter that could keep a share")
            return None
        if self.filter not in filters:
            raise UnknownKeyError(f"filter {self.filter!r} is not there; expected none, {', '.join(sorted(filters))}")
        chosen = filters[self.filter]
        return chosen if self.keep is None else replace(chosen, keep_share=self.keep)

    def key(self, filter: CandidateFilter | None) -> str:
        """Identity: same settings and same filter, same key (32 hexadecimal digits)."""
        return fingerprint([identity(self.config), "" if filter is None else filter.fingerprint])[:32]


def read_grid(path: str | Path) -> tuple[Point, ...]:
    """The runs of a grid file.

    ``[base]`` holds settings that all runs share; ``[grid]`` lists of values, of which every combination is run;
    ``[random]`` holds ``runs``, ``seed`` and for each setting a list to choose from or ``{low = …, high = …}``
    (``log = true`` for a logarithmic scale), drawn anew for each run. Settings are those of `BacktestConfig`, and
    ``filter`` and ``keep``.

    Raises:
        MissingFileError: no such file.
        FormatError: not TOML, or another section.
        InputError: an unknown setting, or a combination that makes no sense.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"no grid file {path}; expected TOML with [base], [grid] or [random]")
    try:
        document = tomllib.loads(Path(path).read_text())
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{path} is not TOML: {error}") from None
    if unknown := sorted(set(document) - {"base", "grid", "random"}):
        raise FormatError(f"{path} has a section [{unknown[0]}]; expected [base], [grid] and [random]")
    return make_points(document.get("base", {}), document.get("grid", {}), document.get("random"))


def make_points(
    base: Mapping[str, Any], grid: Mapping[str, Sequence[Any]], random: Mapping[str, Any] | None = None
) -> tuple[Point, ...]:
    """Every combination of the grid, each once for every random draw.

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
        raise InputError(f"{unknown[0]!r} is no setting of a backtest; see `encash sweep --help` for those there are")
    own = {name: value for name, value in given.items() if name not in _FILTER_KEYS}
    try:
        config = BacktestConfig(**own)
    except InputError as error:
        raise InputError(f"the combination {dict(varied)} makes no sense: {error}") from None
    return Point(
        config=config,
        filter=given.get("filter", "none"),
        keep=given.get("keep"),
        varied=tuple(sorted(varied.items())),
    )


def _draws(random: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The random settings of each run: a function of the seed alone."""
    runs, seed = random.get("runs"), random.get("seed", 0)
    if not isinstance(runs, int) or runs < 1:
        raise InputError(f"random.runs is {runs!r}; expected how many runs to draw")
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"random.seed is {seed!r}; expected a whole number of 0 or more")
    generator = np.random.Generator(np.random.Philox(key=seed))
    ranges = {name: value for name, value in random.items() if name not in ("runs", "seed")}
    return [{name: _drawn(name, value, generator) for name, value in ranges.items()} for _ in range(runs)]


def _drawn(name: str, space: Any, generator: np.random.Generator) -> Any:
    """One value out of a list, or between low and high; whole numbers stay whole and include both ends."""
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
