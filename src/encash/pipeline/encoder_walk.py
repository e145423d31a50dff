"""Encoders that are trained again in the course of time: train, build, fit and rank, each on the past only.

Each encoder has a folder whose name holds the identity of everything that its training may know. Data that change after
that day leave the folder as it is; data that change before it lead to a different folder. Within a folder, a step is
done if its record says that the same inputs determined it, and its files are those that it wrote; otherwise it is done
again. A killed walk continues in this way, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encash import clusters, training
from encash.arrays import DayLike, Days, UInt64, day_text
from encash.atomic_write import check_folder, write_whole
from encash.clusters.entry_values import cell_digests
from encash.clusters.files import SEAL, check_seal, read_json, write_json
from encash.encoders.checkpoint import HORIZONS
from encash.errors import InputError, WorkError
from encash.fingerprint import Canonical, file_digest, fingerprint, row_digests
from encash.pipeline.caches import BuildOptions, build_cache
from encash.pipeline.clusters import assignments_to_rank, draw_sample, fit_clusters, rank_clusters
from encash.pipeline.sources import Sources, entries_of
from encash.pipeline.walk_schedule import Interval, Stretch, schedule
from encash.progress import Progress
from encash.serialization import identity
from encash.store.local.lock import sole_writer

if TYPE_CHECKING:
    from encash.cache import Cache, Selection
    from encash.panel import Panel, PriceTable

ENCODERS_LIST = "encoders.toml"
MODEL, CACHE, CLUSTERS = "model.pt", "cache.lance", "clusters"
_REWALK = "encash walk --data … --prices … --first-train-end DAY --every 1y --out DIR"
Stages = Callable[[str, str], AbstractContextManager[Progress | None]]
"""Returns a context manager for a step, given its title and unit, whose value receives the progress of the step."""


def _unseen(title: str, unit: str) -> AbstractContextManager[Progress | None]:
    """Show no progress."""
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class EncoderWalkConfig:
    """Settings of a walk over encoders."""

    train: training.TrainConfig
    """Settings of each training; `train_end` is that of the first."""
    every: Interval
    """Time from one training to the next."""
    fit: clusters.FitConfig
    counts: tuple[int, ...] = ()
    """Numbers of clusters to choose from, instead of the one of `fit`."""
    horizons: tuple[int, ...] = (5,)
    """Horizons of the rankings, in sessions."""
    rule: clusters.SelectionRule = field(default_factory=lambda: clusters.SelectionRule(top_k=5))
    metric: str = clusters.RankConfig.metric
    winsorize: tuple[float, float] | None = clusters.RankConfig.winsorize
    window: int = 252
    """Sessions up to the end of a training on which its clusters are fitted and ranked."""
    end: DayLike | None = None
    """Last day on which an encoder is used; None is the last session."""
    dtype: str = "float32"
    """Type of the stored vectors."""

    @property
    def embargo(self) -> int:
        """Sessions from the end of a training to the first day on which the encoder is used: the longest horizon."""
        return max(*HORIZONS, *self.horizons)

    def stretches(self, sessions: Days) -> tuple[Stretch, ...]:
        """Return the days of each encoder; errors as `schedule`."""
        return schedule(
            sessions,
            self.train.train_end,
            self.every,
            embargo=self.embargo,
            window=self.window,
            end=self.end,
        )

    def ranking(self, stretch: Stretch, horizon: int) -> clusters.RankConfig:
        """Return the settings of a ranking."""
        return clusters.RankConfig(
            horizon=horizon,
            start=stretch.first_entry,
            end=stretch.train_end,
            embargo=self.embargo,
            metric=self.metric,
            winsorize=self.winsorize,
            delisting=self.train.delisting,
            seed=self.fit.seed,
        )


@dataclass(frozen=True, kw_only=True)
class WalkedEncoder:
    """One encoder of a walk, and what was done for it now."""

    folder: Path
    stretch: Stretch
    trained: bool
    """False: the checkpoint was there."""
    computed: int
    """Entries that were encoded."""
    reused: int
    fitted: bool
    """False: the clusters and rankings were there."""
    best: dict[int, list[int]]
    """Best clusters by horizon."""


@dataclass(frozen=True, kw_only=True)
class EncoderWalk:
    """A walk over encoders in a folder, ready to be planned or run."""

    out: Path
    sources: Sources
    """Features, prices, and how models are run."""
    panel: Panel
    prices: PriceTable
    encoders: tuple[EncoderWork, ...]

    @classmethod
    def open(cls, sources: Sources, config: EncoderWalkConfig, out: Path) -> EncoderWalk:
        """Read the data, and decide when encoders are trained; writes nothing.

        Raises:
            InputError: no session for the schedule.
            MissingExtraError: the library that fits clusters is not installed.
        """
        config.fit.clusterer().require_installed()
        panel, prices = sources.the_panel(), sources.price_table()
        stretches, known = config.stretches(prices.days), KnownData(panel, prices)
        folders = [out / known.folder(config, stretch.train_end) for stretch in stretches]
        works = (EncoderWork(sources, config, one, place) for one, place in zip(stretches, folders, strict=True))
        return cls(out=out, sources=sources, panel=panel, prices=prices, encoders=tuple(works))

    def run(
        self, *, warn: Callable[[str], None] = lambda text: None, stages: Stages = _unseen
    ) -> tuple[WalkedEncoder, ...]:
        """Train each encoder, build its cache, fit and rank clusters on it, and list all of them in `encoders.toml`.

        No step of an encoder reads anything after its `train_end`, except the build, which encodes the days on which
        the encoder is used, each from its own window. Clusters are not matched between encoders, whose spaces differ:
        each encoder's are ranked anew.

        Args:
            warn: called with one line for each thing that a cache will lack.
            stages: shows the progress of each step.

        Raises:
            InputError: too little history for a training.
            WorkError: entries that could not be encoded.
            ConflictError: a different walk writes into the folder.
            KeyboardInterrupt: says how many encoders are ready.
        """
        check_folder(self.out)
        done: list[WalkedEncoder] = []
        with sole_writer(self.out, "walk"):
            try:
                for work in self.encoders:
                    done.append(work.run(self.panel, self.prices, warn, stages))
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"{len(done)} of {len(self.encoders)} encoders are ready: the same command continues from there"
                ) from None
            write_whole(self.out / ENCODERS_LIST, _list_text([one.folder.name for one in done]).encode())
        return tuple(done)


class KnownData:
    """Identities of features and prices as they were known on a day."""

    def __init__(self, panel: Panel, prices: PriceTable):
        """Read all features once; only digests of the rows stay in memory."""
        self._columns, self._prices = _names(panel), prices
        self._rows = {ticker: _row_identity(panel, ticker) for ticker in panel.tickers}

    def folder(self, config: EncoderWalkConfig, day: np.datetime64) -> str:
        """Return the name of the folder of an encoder: the end of its training, and the identity of what decides it.

        A ticker that is listed later does not count.
        """
        rows: list[Canonical] = []
        for ticker in sorted(self._rows):
            days, digests = self._rows[ticker]
            if count := int(np.searchsorted(days, day, side="right")):
                rows.append([ticker, days[:count].astype(np.int64), digests[:count]])
        known = self._prices.as_of(day)
        closes = clusters.price_fingerprint(known, known.days[0], day)
        settings = identity(replace(config.train, train_end=day_text(day)))
        return f"{day_text(day)}-{fingerprint([settings, self._columns, rows, closes])[:12]}"


@dataclass(frozen=True)
class EncoderWork:
    """The work for one encoder of a walk."""

    sources: Sources
    config: EncoderWalkConfig
    stretch: Stretch
    folder: Path

    @property
    def trained(self) -> bool:
        """True if the checkpoint is there, as it was written."""
        return _is_done(self.folder / "model.json", self.folder.name, self.folder / MODEL)

    @property
    def cache(self) -> Path:
        """Path of its cache."""
        return self.folder / CACHE

    @property
    def selection(self) -> Selection:
        """Days and tickers of its cache."""
        from encash.cache import Selection

        return Selection(start=self.stretch.first_entry, end=self.stretch.last_day, tickers=self.config.train.tickers)

    def run(self, panel: Panel, prices: PriceTable, warn: Callable[[str], None], stages: Stages) -> WalkedEncoder:
        """Do what is not done yet."""
        from encash.cache import open_cache

        title, trained = day_text(self.stretch.train_end), not self.trained
        if trained:
            with stages(f"training to {title}", "steps") as progress:
                self._train(panel, progress)
        options = BuildOptions(dtype=self.config.dtype, warn=warn)
        sources = replace(self.sources, model=str(self.folder / MODEL), cache=str(self.cache))
        with stages(f"encoding for {title}", "entries") as progress:
            report = build_cache(sources, self.selection, options, progress=progress)
        if report.failed:
            raise WorkError(f"{report.failed:,} entries failed; the first: {report.failures[0]}; run this again")
        cache = open_cache(str(self.cache))
        determined_by = self._clusters_identity(cache, prices)
        place = self.folder / CLUSTERS
        fitted = not _is_done(self.folder / "clusters.json", determined_by, place)
        if fitted:
            with stages(f"clusters to {title}", "entries × iterations") as progress:
                self._fit_and_rank(cache, prices, progress)
            _note(self.folder / "clusters.json", determined_by, place)
        return WalkedEncoder(
            folder=self.folder,
            stretch=self.stretch,
            trained=trained,
            computed=report.computed,
            reused=report.reused,
            fitted=fitted,
            best={one: list(clusters.load_ranking(place, one).best or ()) for one in self.config.horizons},
        )

    def _train(self, panel: Panel, progress: Progress | None) -> None:
        config = replace(self.config.train, train_end=day_text(self.stretch.train_end))
        training.train(panel, self.folder / MODEL, config=config, progress=progress)
        _note(self.folder / "model.json", self.folder.name, self.folder / MODEL)

    def _fit_and_rank(self, cache: Cache, prices: PriceTable, progress: Progress | None) -> None:
        config, stretch, place = self.config, self.stretch, self.folder / CLUSTERS
        sample = draw_sample(cache, config.fit, start=stretch.first_entry, end=stretch.train_end)
        fit_clusters(cache, sample, config.fit, place, counts=config.counts, progress=progress)
        assignments = assignments_to_rank(cache, place, start=stretch.first_entry, end=stretch.train_end)
        for horizon in config.horizons:
            rank_clusters(assignments, prices, place, config=config.ranking(stretch, horizon), rule=config.rule)

    def _clusters_identity(self, cache: Cache, prices: PriceTable) -> str:
        """Return the identity of everything that decides the clusters and their rankings."""
        config, stretch, entries = self.config, self.stretch, entries_of(cache)
        first, stop = entries.index.span(stretch.first_entry, stretch.train_end)
        digests = cell_digests(entries.index)[first:stop]
        there = (digests != 0).any(axis=0)
        return fingerprint(
            [
                entries.cache,
                entries.index.days[first:stop].astype(np.int64),
                "\n".join(entries.index.tickers[there]),
                digests[:, there],
                [identity(config.fit), config.counts, identity(config.rule)],
                [identity(config.ranking(stretch, horizon)) for horizon in config.horizons],
                clusters.price_fingerprint(prices, stretch.first_entry, stretch.train_end),
            ]
        )


def _row_identity(panel: Panel, ticker: str) -> tuple[Days, UInt64]:
    rows = panel.rows((ticker,))
    return rows.days, row_digests(rows.values)


def _names(panel: Panel) -> list[str]:
    chosen = panel.feature_config.feature_set if panel.feature_config else ""
    return [chosen, *(panel.feature_names or ())]


def _note(record: Path, determined_by: str, place: Path) -> None:
    """Write what determined a step, and the digests of the files that it wrote."""
    write_json(record, {"determined_by": determined_by, "files": _digests(place)}, seal=SEAL)


def _is_done(record: Path, determined_by: str, place: Path) -> bool:
    """Return True if a step was determined by the same inputs, and its files are those that it wrote."""
    try:
        facts = read_json(record, remake=_REWALK)
        check_seal(record, facts, required=True, remake=_REWALK)
        return bool(facts.get("determined_by") == determined_by and facts.get("files") == _digests(place))
    except (InputError, OSError):
        return False


def _digests(place: Path) -> Mapping[str, str]:
    """Return the digest of a file, or of each file of a folder; hidden files and folders do not count."""
    files = [place] if place.is_file() else sorted(path for path in place.iterdir() if path.is_file())
    return {path.name: file_digest(path) for path in files if not path.name.startswith(".")}


def _list_text(folders: list[str]) -> str:
    """Return the list of encoders that `encash backtest --encoders` reads."""
    lines = ["# written by encash walk; paths are relative to this file"]
    for name in folders:
        lines += ["", "[[encoder]]"]
        lines += [
            f'{key} = "{name}/{file}"' for key, file in (("cache", CACHE), ("clusters", CLUSTERS), ("model", MODEL))
        ]
    return "\n".join(lines) + "\n"
