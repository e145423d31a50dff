"""One step of a walk and its files, and the steps of a walk that was stopped: kept until it is whole. Knows models,
rankings and the keys of entries; nothing of when a refit is due."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Float64, to_day
from encash.atomic_write import whole_folder
from encash.clusters.assignment_cache import CacheEntries, cell_digests
from encash.clusters.assignments import load_assignments
from encash.clusters.files import read_json, write_json
from encash.clusters.model import load_clusters
from encash.clusters.periods import ModelPeriod
from encash.clusters.rank import Ranking, Rule
from encash.clusters.ranking_files import load_ranking, write_ranking
from encash.errors import InputError
from encash.fingerprint import fingerprint, row_digests
from encash.store.local.lock import sole_writer

REWALK = "encash clusters walk --cache … --prices … --every 60 --horizon 5 --embargo 5 --out DIR"
_STATIC_FOLDER, _FACTS_FILE = "static", "refit.json"
UNFINISHED = ".unfinished"


@dataclass(frozen=True, kw_only=True, eq=False)
class Refit:
    """One step of the walk."""

    period: ModelPeriod
    """The model, its best clusters, and the first day on which they are used."""
    ranking: Ranking
    drift: Float64
    """How far each centroid lies from the one of the same id before, in the deviations of this fit, divided by the
    square root of the dimensions; NaN in the first refit. Shape (k,)."""
    agreement: float
    """Share of the fitted entries to which the model before gives the same id; NaN in the first refit."""

    def save(self, folder: Path, rule: Rule) -> None:
        """Write model, ranking and the clusters of the static filter; the caller keeps what `describe` says."""
        self.period.model.save(folder)
        write_ranking(folder, self.ranking, self.period.best, rule=rule)
        if self.period.static is not None:
            self.period.static.save(folder / _STATIC_FOLDER)

    def describe(self) -> dict[str, Any]:
        """What `load_refit` needs beside the files."""
        period = self.period
        return {
            "model": period.model.fingerprint,
            "fit_start": period.model.fit_start,
            "fit_end": period.model.fit_end,
            "rank_end": period.rank_end,
            "first_day": str(period.first_day),
            "horizon": self.ranking.horizon,
            "embargo": period.embargo,
            "best": period.best.tolist(),
            "agreement": self.agreement,
            "drift": self.drift.tolist(),
        }


def load_refit(folder: Path, facts: Mapping[str, Any]) -> Refit:
    """What `Refit.save` wrote.

    Args:
        folder: where it was written.
        facts: from `Refit.describe`.

    Raises:
        MissingFileError: a file is missing.
        FormatError: a file is damaged.
        KeyError, TypeError, ValueError: the facts are no such facts.
    """
    static = folder / _STATIC_FOLDER
    period = ModelPeriod(
        model=load_clusters(folder),
        best=np.array(facts["best"], dtype=np.int32),
        first_day=to_day(facts["first_day"]),
        rank_end=facts["rank_end"],
        embargo=facts["embargo"],
        static=load_assignments(static) if static.exists() else None,
    )
    agreement = float("nan") if facts["agreement"] is None else facts["agreement"]
    drift = np.array(facts["drift"], dtype=np.float64)
    return Refit(period=period, ranking=load_ranking(folder, facts["horizon"]), drift=drift, agreement=agreement)


def sole_walk(folder: Path) -> AbstractContextManager[None]:
    """Make the folder of a walk and hold it in a block, from its first refit until it is saved: of two walks at once,
    one would take away what the other has unfinished, and the files of both would lie among each other.

    Raises:
        ConflictError: another process walks there; the message names its process id.
        WorkError: the folder cannot be made or written.
    """
    return sole_writer(folder, "walk")


class Unfinished:
    """The refits of a walk that is not whole yet, in a hidden folder of its own folder; readers of walks see none.

    Identity is content: a refit lies under the fingerprint of all that decided it, its entries included, and is taken
    again where the same decides it. It appears whole or not at all.
    """

    def __init__(self, out: Path, entries: CacheEntries):
        """Look into the folder of a walk; makes nothing.

        Args:
            out: the folder of the walk.
            entries: what it is fitted on; their vectors are not read.
        """
        self._folder, self._index, self._cache = out / UNFINISHED, entries.index, entries.cache
        digests = cell_digests(entries.index)
        self._by_day = row_digests(digests)
        self._known = ((digests != 0) | (entries.index.row < 0)).all(axis=1)
        self.kept = 0
        """Refits of this walk that lie there by now."""

    def take(
        self, span: tuple[np.datetime64, np.datetime64], decided_by: Any, make: Callable[[], Refit], *, rule: Rule
    ) -> Refit:
        """The refit on the entries of a span, as it was kept; else made now, and kept.

        Nothing is kept of entries of which nobody recorded the windows that they were made from.

        Args:
            span: first and last day, both included.
            decided_by: all that decides the refit but its entries and the rule; what `fingerprint` takes.
            make: makes it.
            rule: which clusters are its best ones.

        Raises:
            WorkError: it cannot be written.
        """
        index = self._index
        days = slice(*index.span(*span))
        if not self._known[days].all():
            return make()
        keys = "\n".join(index.tickers), index.days[days].astype(np.int64)
        place = self._folder / fingerprint([decided_by, vars(rule), self._cache, *keys, self._by_day[days]])
        if (refit := _found(place)) is None:
            refit = make()
            with whole_folder(place) as part:
                refit.save(part, rule)
                write_json(part / _FACTS_FILE, refit.describe())
        self.kept += 1
        return refit

    def remove(self) -> None:
        """Take all away: the walk is whole, or will never be."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _found(place: Path) -> Refit | None:
    """A refit as it was kept; None where there is none, or a damaged one, which is made again."""
    try:
        facts = read_json(place / _FACTS_FILE, mend=REWALK)
        refit = load_refit(place, facts)
        return refit if refit.period.model.fingerprint == facts["model"] else None
    except (InputError, KeyError, TypeError, ValueError):
        return None
