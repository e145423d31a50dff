"""The refits of a walk: their files, and checkpoints from which an interrupted walk resumes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Float64, to_day
from encash.atomic_write import whole_folder
from encash.clusters.assignments import load_assignments
from encash.clusters.entry_values import CacheEntries, cell_digests
from encash.clusters.files import check_types, read_json, write_json
from encash.clusters.model import load_clusters
from encash.clusters.periods import ModelPeriod, worst_clusters
from encash.clusters.rank import Ranking, SelectionRule
from encash.clusters.ranking_files import load_ranking, write_ranking
from encash.errors import InputError
from encash.fingerprint import fingerprint, row_digests
from encash.serialization import identity

REWALK = "encash clusters walk --cache … --prices … --every 60 --horizon 5 --embargo 5 --out DIR"
FOLDER = ".unfinished"
_TYPES = {
    **dict.fromkeys(("model", "rank_end", "first_day"), str),
    **dict.fromkeys(("horizon", "embargo"), int),
    "best": list[int],
    "agreement": float | None,
    "drift": list[float | None],
}
"""Types of the values that `Refit.describe` returns and `load_refit` reads."""
_STATIC_FOLDER, _FACTS_FILE = "static", "refit.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Refit:
    """One step of a walk."""

    period: ModelPeriod
    """The model, its best clusters, and the first day on which they are used."""
    ranking: Ranking
    drift: Float64
    """Distance of each centroid from that of the same id in the previous refit, in standard deviations of this fit,
    divided by the square root of the number of dimensions; NaN in the first refit. Shape (k,)."""
    agreement: float
    """Fraction of the fitted entries to which the previous model gives the same id; NaN in the first refit."""

    def save(self, folder: Path, rule: SelectionRule) -> None:
        """Write model, ranking and the clusters of the static filter; the caller stores what `describe` returns."""
        self.period.model.save(folder)
        write_ranking(folder, self.ranking, self.period.best, rule=rule)
        if self.period.static is not None:
            self.period.static.save(folder / _STATIC_FOLDER)

    def describe(self) -> dict[str, Any]:
        """Return what `load_refit` needs beside the files."""
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
    """Load what `Refit.save` wrote.

    Args:
        folder: the folder that was written.
        facts: from `Refit.describe`.

    Raises:
        MissingFileError: a file is missing.
        FormatError: a file is damaged.
        KeyError, TypeError, ValueError: the facts are incomplete or invalid.
    """
    check_types(folder, facts, _TYPES, remake=REWALK)
    static, ranking = folder / _STATIC_FOLDER, load_ranking(folder, facts["horizon"])
    best = np.array(facts["best"], dtype=np.int32)
    period = ModelPeriod(
        model=load_clusters(folder),
        best=best,
        first_day=to_day(facts["first_day"]),
        rank_end=facts["rank_end"],
        embargo=facts["embargo"],
        rank_start=ranking.rank_start,
        prices=ranking.prices,
        static=load_assignments(static) if static.exists() else None,
        worst=worst_clusters(ranking, best),
    )
    agreement = float("nan") if facts["agreement"] is None else facts["agreement"]
    drift = np.array(facts["drift"], dtype=np.float64)
    return Refit(period=period, ranking=ranking, drift=drift, agreement=agreement)


class WalkCheckpoints:
    """The refits of an unfinished walk, in a hidden folder of its own folder; readers of walks do not see it.

    Checkpoints are addressed by content: a refit is stored under the fingerprint of everything that determined it,
    including its entries, and is loaded again if the same inputs determine it. Each is written atomically.
    """

    def __init__(self, out: Path, entries: CacheEntries):
        """Open the checkpoints of a walk; writes nothing.

        Args:
            out: the folder of the walk.
            entries: the entries that it is fitted on; their vectors are not read.
        """
        self._folder, self._index, self._cache = out / FOLDER, entries.index, entries.cache
        digests = cell_digests(entries.index)
        self._by_day = row_digests(digests)
        self._known = ((digests != 0) | (entries.index.row < 0)).all(axis=1)
        self.stored = 0
        """Number of refits of this walk that are stored."""

    def load_or_make(
        self,
        span: tuple[np.datetime64, np.datetime64],
        determined_by: Any,
        make: Callable[[], Refit],
        *,
        rule: SelectionRule,
    ) -> Refit:
        """Load the refit on the entries of a span, or make and store it.

        A refit on entries without recorded window digests is not stored.

        Args:
            span: first and last day, both included.
            determined_by: everything that determines the refit except its entries and the rule, as `fingerprint` takes
                it.
            make: makes it.
            rule: selects its best clusters.

        Raises:
            WorkError: it cannot be written.
        """
        index = self._index
        days = slice(*index.span(*span))
        if not self._known[days].all():
            return make()
        keys = "\n".join(index.tickers), index.days[days].astype(np.int64)
        place = self._folder / fingerprint([determined_by, identity(rule), self._cache, *keys, self._by_day[days]])
        if (refit := _load_checkpoint(place)) is None:
            refit = make()
            with whole_folder(place) as part:
                refit.save(part, rule)
                write_json(part / _FACTS_FILE, refit.describe())
        self.stored += 1
        return refit

    def clear(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _load_checkpoint(place: Path) -> Refit | None:
    """Load a stored refit; None if there is none or it is damaged, so that it is made again."""
    try:
        facts = read_json(place / _FACTS_FILE, remake=REWALK)
        refit = load_refit(place, facts)
        return refit if refit.period.model.fingerprint == facts["model"] else None
    except (InputError, KeyError, TypeError, ValueError, OverflowError):
        return None
