"""Encoders that change in the course of time, from a file that lists them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encash import clusters
from encash.arrays import Days, day_text, to_day
from encash.errors import FormatError, InputError, shown
from encash.pipeline.filters import FilterChoice, load_periods
from encash.pipeline.sources import Sources
from encash.text_files import read_toml

if TYPE_CHECKING:
    from encash.cache import Lookup, LookupByPeriod
    from encash.encoders import EncoderSpec

_TABLE = "encoder"


@dataclass(frozen=True, kw_only=True)
class EncoderPeriod:
    """An encoder of the list: its cache, and what was fitted on it."""

    cache: str
    train_end: str | None = None
    """Last day of its training, YYYY-MM-DD; None if the encoder records it."""
    clusters: str | None = None
    head: str | None = None
    model: str | None = None
    """Loaded only if an entry is missing or stale."""

    def within(self, folder: Path) -> EncoderPeriod:
        """Return the same period with paths that do not depend on the working folder."""
        paths = {name: getattr(self, name) for name in ("cache", "clusters", "head", "model")}
        found: dict[str, Any] = {
            name: path if path is None or "://" in path else str(folder / path) for name, path in paths.items()
        }
        return replace(self, **found)


def read_encoders(path: Path) -> tuple[EncoderPeriod, ...]:
    """Read a TOML file with a table ``[[encoder]]`` for each encoder; its paths are relative to the file.

    Raises:
        MissingFileError: no such file.
        FormatError: not TOML, an unknown key, or an encoder without a cache.
    """
    document = read_toml(path, kind="list of encoders", expected="TOML with a table [[encoder]] for each")
    tables = document.get(_TABLE)
    if set(document) != {_TABLE} or not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise FormatError(f"{path} holds {', '.join(document) or 'nothing'}; expected a table [[encoder]] for each")
    return tuple(_entry(path, number, table) for number, table in enumerate(tables, start=1))


def open_encoders(
    sources: Sources, choice: FilterChoice, sessions: Days
) -> tuple[LookupByPeriod, tuple[clusters.ModelPeriod, ...]]:
    """Open the caches of the encoders of a list, and the clusters on them.

    An encoder is used from the first session on which its training, head and clusters all may be used, each after its
    embargo, until the next one is. Nothing else decides: a newer encoder is never used earlier because it is better.

    Args:
        sources: the list, and features and options that all encoders share.
        choice: name and horizon of the filter.
        sessions: trading days, ascending, for counting embargoes.

    Returns:
        The lookup, and the periods of the clusters; none if no encoder has any.

    Raises:
        InputError: a cache, model, head, scores or clusters beside the list; an encoder whose training period or
            ranking is not recorded, or whose stated end of the training is before the recorded one; clusters for some
            encoders only; or two encoders that may be used from the same session.
        MismatchError: clusters or a head of a different encoder.
        FormatError: see `read_encoders`.
    """
    from encash.cache import LookupByPeriod

    assert sources.encoders is not None
    beside: dict[str, Any] = {
        "--cache": sources.cache,
        "--model": sources.model,
        "--head": sources.head,
        "--scores": sources.scores,
    }
    beside |= {"--average": sources.average or None, "--clusters": choice.clusters}
    if given := [flag for flag, value in beside.items() if value is not None]:
        raise InputError(f"--encoders names everything of each encoder; leave {', '.join(given)} out")
    entries = read_encoders(sources.encoders)
    if len({entry.clusters is None for entry in entries}) > 1:
        raise InputError("some encoders have clusters and others have none; give clusters to all of them or to none")
    opened = sorted((_open(sources, entry, choice, sessions) for entry in entries), key=lambda one: one.first_day)
    for earlier, later in pairwise(opened):
        if earlier.first_day == later.first_day:
            raise InputError(
                f"two encoders may be used from {day_text(later.first_day)}: {earlier.name} and {later.name}; leave "
                "one of them out"
            )
    first_days = np.array([one.first_day for one in opened], dtype="datetime64[D]")
    ends = [*first_days[1:].tolist(), None]
    periods = [period for one, end in zip(opened, ends, strict=True) for period in one.active_until(end)]
    return LookupByPeriod([one.lookup for one in opened], first_days), tuple(periods)


def with_periods(sources: Sources, choice: FilterChoice, sessions: Days) -> FilterChoice:
    """Return a filter choice with the periods of a list of encoders; the same without such a list."""
    return choice if sources.encoders is None else replace(choice, periods=open_encoders(sources, choice, sessions)[1])


@dataclass(frozen=True, kw_only=True)
class _Opened:
    name: str
    lookup: Lookup
    periods: tuple[clusters.ModelPeriod, ...]
    first_day: np.datetime64

    def active_until(self, end: Any) -> list[clusters.ModelPeriod]:
        """Return the periods of the clusters on this encoder that are active before a day, from its own first day."""
        first_days = [self.first_day if one.first_day is None else one.first_day for one in self.periods]
        place = sum(day <= self.first_day for day in first_days) - 1  # the newest that its first day may use
        active = [replace(self.periods[place], first_day=self.first_day)] if self.periods else []
        rest = zip(first_days[place + 1 :], self.periods[place + 1 :], strict=True)
        return active + [period for day, period in rest if end is None or day < np.datetime64(end, "D")]


def _open(sources: Sources, entry: EncoderPeriod, choice: FilterChoice, sessions: Days) -> _Opened:
    own = replace(sources, cache=entry.cache, model=entry.model, head=None if entry.head is None else Path(entry.head))
    cache = own.the_cache()
    lookup, spec = own.lookup(own.panel(), cache), cache.encoder_spec
    train_end = _train_end(entry, spec)
    longest = max(() if spec is None else spec.horizons, default=0)
    days = [clusters.first_allowed_day(sessions, to_day(train_end), longest, fit_end=train_end)]
    if lookup.forecasts is not None and (usable := lookup.forecasts.first_day) is not None:
        days.append(usable)
    periods: tuple[clusters.ModelPeriod, ...] = ()
    if entry.clusters is not None:
        kind = clusters.filter_class("hard" if choice.name in (None, clusters.NO_FILTER) else choice.name)
        periods, _ = load_periods(replace(choice, clusters=Path(entry.clusters)), kind, sessions, cache)
        periods[0].model.check_encoder(lookup.encoder_fingerprint)
        if periods[0].first_day is None:
            raise InputError(
                f"{entry.clusters} does not record on which data its clusters were ranked; rank them again"
            )
        days.append(periods[0].first_day)
    return _Opened(name=entry.cache, lookup=lookup, periods=periods, first_day=max(days))


def _train_end(entry: EncoderPeriod, spec: EncoderSpec | None) -> str:
    """Return the last day of the training of an encoder.

    Raises:
        InputError: it is neither recorded nor stated, or what is stated is before what is recorded.
    """
    recorded = None if spec is None else spec.train_end
    if (stated := entry.train_end or recorded) is None:
        raise InputError(
            f'{entry.cache} does not record to which day its encoder was trained; state it as train_end = "YYYY-MM-DD"'
        )
    if recorded is not None and to_day(stated) < to_day(recorded):
        raise InputError(
            f"{entry.cache} records that its encoder was trained on days up to {day_text(recorded)}, and the list says "
            f"{stated}; leave train_end out, or state a later day"
        )
    return stated


def _entry(path: Path, number: int, table: dict[str, Any]) -> EncoderPeriod:
    names = [one.name for one in fields(EncoderPeriod)]
    if unknown := sorted(set(table) - set(names)):
        raise FormatError(f"{path}, encoder {number}: unknown key {unknown[0]!r}; expected {', '.join(names)}")
    if "train_end" in table and type(table["train_end"]) is date:  # a day of TOML; an instant is none
        table = {**table, "train_end": day_text(table["train_end"])}
    if odd := [(name, value) for name, value in table.items() if not isinstance(value, str)]:
        raise FormatError(f"{path}, encoder {number}: {odd[0][0]} is {shown(odd[0][1])}; expected text in quotes")
    values: dict[str, str] = table
    if "cache" not in values:
        raise FormatError(f'{path}, encoder {number} names no cache; expected cache = "….lance"')
    if "train_end" in values:
        try:
            to_day(values["train_end"])
        except InputError as error:
            raise FormatError(f"{path}, encoder {number}: train_end: {error}") from None
    return EncoderPeriod(**values).within(path.parent)
