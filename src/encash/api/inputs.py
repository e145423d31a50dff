"""Inputs of the functions in Python: paths, or what was opened from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, get_type_hints

import encash.backtest as engine
from encash import pipeline
from encash.arguments import read
from encash.arrays import Days
from encash.backtest import Groups
from encash.cache import AverageBy, Cache, open_cache
from encash.clusters import CandidateFilter
from encash.encoders import Encoder
from encash.errors import InputError, meant, shown
from encash.input_files import path_or_url
from encash.panel import Panel, PriceTable, open_panel, open_prices
from encash.panel.scores import ScoreTable
from encash.progress import Progress

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from encash.cache import ForecastSource, Lookup

Spec = TypeVar("Spec", bound="DataclassInstance")
Progresses: TypeAlias = Callable[[str, str], AbstractContextManager[Progress | None]]
"""Returns a progress bar of a title and a unit."""
_OPTION_PATHS, _OPTION_LISTS = {"encoders", "model_config"}, {"average", "ensemble_models", "ignore_keys"}
"""Fields of `pipeline.Sources` that hold a path, and those that hold several texts or paths."""
PricesLike: TypeAlias = PriceTable | str | Path
CacheLike: TypeAlias = Cache | str | Path
PanelLike: TypeAlias = Panel | str | Path
ModelLike: TypeAlias = Encoder | str | Path
ScoresLike: TypeAlias = ScoreTable | str | Path
GroupsLike: TypeAlias = Groups | str | Path


@dataclass(frozen=True, kw_only=True)
class OpenSources(pipeline.Sources):
    """Sources of which some are open already."""

    opened_panel: Panel | None = None
    opened_prices: PriceTable | None = None
    opened_cache: Cache | None = None
    opened_encoder: Encoder | None = None
    opened_scores: ScoreTable | None = None

    def panel(self) -> Panel | None:
        """Return the features, with prices if they are named."""
        if self.opened_panel is None:
            if self.data is None or self.opened_prices is None:
                return super().panel()
            return open_panel(self.data).with_prices(self.opened_prices)
        if self.prices is None and self.opened_prices is None:
            return self.opened_panel
        return self.opened_panel.with_prices(self.price_table())

    def price_table(self) -> PriceTable:
        """Return the prices: those that are named, or those of the panel."""
        if self.opened_prices is not None:
            return self.opened_prices
        if self.prices is None:
            if (panel := self.opened_panel) is None:
                raise InputError("prices is None; give prices, or a panel that was opened with prices")
            return panel.price_table
        return super().price_table()

    def open_cache(self) -> Cache | None:
        """Return the cache; None if none was named."""
        return super().open_cache() if self.opened_cache is None else self.opened_cache

    def encoder(
        self, cache: Cache | None = None, where: Callable[[Callable[[], Encoder]], Encoder] = pipeline.run_here
    ) -> Encoder:
        """Return the encoder."""
        return super().encoder(cache, where) if self.opened_encoder is None else self.opened_encoder

    def lookup(self, panel: Panel | None, cache: Cache | None) -> Lookup:
        """Return the lookup that a backtest reads through."""
        if self.opened_encoder is None:
            return super().lookup(panel, cache)
        return self.lookup_through(self.opened_encoder, panel, cache)

    def forecasts(self, cache: Cache | None, panel: Panel | None = None) -> ForecastSource | None:
        """Return what replaces the forecasts of the encoder."""
        if self.opened_scores is None:
            return super().forecasts(cache, panel)
        if self.head is not None or self.scores is not None or self.average:
            raise InputError("scores, a head and an average each give forecasts; give one of them")
        return self.opened_scores


def sources_of(
    *,
    prices: Any = None,
    panel: Any = None,
    cache: Any = None,
    model: Any = None,
    head: Any = None,
    scores: Any = None,
    **options: Any,
) -> OpenSources:
    """Return the inputs of a function, whether they are paths or open.

    Raises:
        InputError: a value that is neither; it names what was expected.
    """
    opened: dict[str, Any] = {}
    for name, value, kind, field, convert in (
        ("prices", prices, PriceTable, "prices", path_or_url),
        ("panel", panel, Panel, "data", path_or_url),
        ("cache", cache, Cache, "cache", str),
        ("model", model, Encoder, "model", str),
        ("scores", scores, ScoreTable, "scores", path_or_url),
        ("head", head, (), "head", Path),
    ):
        if isinstance(value, kind):
            opened[{"model": "opened_encoder"}.get(name, f"opened_{name}")] = value
        elif value is not None:
            opened[field] = convert(path_of(name, value))
    for name in _OPTION_PATHS & set(options):
        options[name] = folder_of(name, options[name])
    for name in _OPTION_LISTS & set(options):
        given = options[name]
        several = given if isinstance(given, list | tuple) else (given,)
        options[name] = tuple(path_of(name, one) for one in several)
    return spec_of(OpenSources, {**options, **opened}, "an input")


def path_of(name: str, value: Any) -> str:
    """Return the path of an input: text, a path, or a result that is in a folder.

    Raises:
        InputError: anything else.
    """
    return str(read(name, getattr(value, "folder", value), str | Path))


def folder_of(name: str, value: Any) -> Path | None:
    """Return the folder of an input, or None for None; see `path_of`."""
    return None if value is None else Path(path_of(name, value))


def file_of(name: str, value: Any) -> str | Path | None:
    """Return the path or URL of an input, or None for None; see `path_of`."""
    return None if value is None else path_or_url(path_of(name, value))


def universe_of(tickers: Iterable[str] | None, membership: str | Path | None) -> str | Path | tuple[str, ...] | None:
    """Return the candidates of a run: a membership file, names, or None for all tickers with prices.

    Raises:
        InputError: both, or an empty list.
    """
    if tickers is not None and membership is not None:
        raise InputError("both tickers and a membership were given; give one of them")
    if tickers is None:
        return file_of("membership", membership)
    if not (names := tuple(tickers)):
        raise InputError("tickers is empty; expected a list of names such as ['AAPL', 'MSFT'], or None for all")
    return names


def groups_of(groups: GroupsLike | None) -> Groups | None:
    """Return the groups of the tickers, given themselves, their file or None."""
    return groups if groups is None or isinstance(groups, Groups) else engine.read_groups(groups)


def the_cache(cache: Any) -> Cache:
    """Return a cache, given itself or its path."""
    return cache if isinstance(cache, Cache) else open_cache(path_of("cache", cache))


def the_prices(prices: Any) -> PriceTable:
    """Return prices, given themselves or their path."""
    return prices if isinstance(prices, PriceTable) else open_prices(path_of("prices", prices))


def spec_of(kind: type[Spec], settings: Mapping[str, Any], what: str) -> Spec:
    """Build a dataclass from keyword arguments.

    Raises:
        InputError: a name that is not one of its fields, with the nearest one; or a value that is not of its type.

    >>> from encash.backtest import BacktestConfig
    >>> spec_of(BacktestConfig, {"topk": 3}, "a setting of a backtest")
    Traceback (most recent call last):
    encash.errors.InputError: 'topk' is not a setting of a backtest; did you mean top_k?
    """
    names = [one.name for one in fields(kind)]
    for name in settings:
        if name not in names:
            raise InputError(f"{name!r} is not {what}{meant(name, names) or '; expected one of ' + ', '.join(names)}")
    if kind is engine.BacktestConfig:  # says more about its values
        return kind(**settings)
    hints = get_type_hints(kind, localns={"AverageBy": AverageBy})
    return kind(**{name: read(name, value, hints[name]) for name, value in settings.items()})


def counts_of(name: str, value: int | Sequence[int]) -> tuple[int, ...]:
    """Return one or several whole numbers as a tuple.

    Raises:
        InputError: none.
    """
    several = (value,) if isinstance(value, int) else tuple(value)
    if not several:
        raise InputError(f"{name} is empty; expected a whole number, or a list of them")
    return several


def at_least(name: str, value: int, least: int) -> int:
    """Return a number that is large enough.

    Raises:
        InputError: it is smaller.
    """
    if value < least:
        raise InputError(f"{name} is {value}; expected {least} or more")
    return value


def split_settings(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Remove options of the inputs and of the filter from the settings of a backtest, and return them."""
    choice: dict[str, Any] = {name: settings.pop(name) for name in ("keep", "best_file") if name in settings}
    configured = {one.name for one in fields(engine.BacktestConfig)}
    options = {
        one.name: settings.pop(one.name)
        for one in fields(pipeline.Sources)
        if one.name in settings and one.name not in configured
    }
    return options, choice


def open_choice(
    filter: Any,
    clusters: Any,
    choice: Mapping[str, Any],
    config: engine.BacktestConfig,
    sessions: Days,
    cache: Cache | None,
) -> CandidateFilter | None:
    """Return the filter of a run: one of the caller's own, or the one that is named."""
    if isinstance(filter, CandidateFilter):
        return filter
    return pipeline.open_filter(filter_choice(filter, clusters, choice, config), sessions, cache)


def filter_choice(
    filter: Any, clusters: Any, choice: Mapping[str, Any], config: engine.BacktestConfig
) -> pipeline.FilterChoice:
    """Return the filter that is named, over the horizon of a run.

    Raises:
        InputError: not a name.
    """
    if filter is not None and not (isinstance(filter, str) and filter):
        raise InputError(f"filter is {shown(filter)}; expected its name, or an object of a CandidateFilter")
    folder, chosen = folder_of("clusters", clusters), dict(choice)
    if chosen.get("keep") is not None:
        chosen["keep"] = fraction_of("keep", chosen["keep"])
    if "best_file" in chosen:
        chosen["best_file"] = folder_of("best_file", chosen["best_file"])
    return pipeline.FilterChoice(clusters=folder, name=filter, horizon=config.horizon, seed=config.seed, **chosen)


def fraction_of(name: str, value: Any) -> float:
    """Return a fraction above 0 and at most 1.

    Raises:
        InputError: anything else.
    """
    number: float = read(name, value, float)
    if not 0 < number <= 1:
        raise InputError(f"{name} is {shown(value)}; expected a fraction above 0 and at most 1")
    return number


def price_columns(needed: Sequence[engine.BacktestConfig]) -> tuple[str, ...]:
    """Return the columns of the prices that some configurations need beside the closes."""
    return ("open", "dollars") if any(config.needs_dollars for config in needed) else ("open",)


def take(kind: type[DataclassInstance], settings: dict[str, Any]) -> dict[str, Any]:
    """Remove the fields of a dataclass from keyword arguments, and return them."""
    return {one.name: settings.pop(one.name) for one in fields(kind) if one.name in settings}
