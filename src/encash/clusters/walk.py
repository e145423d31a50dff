"""Walk-forward clusters: fit and rank again every N sessions, each time on the past only."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import DayLike, Days, Float64, Int64, UInt64, to_day
from encash.clusters.assignments import assign_batches
from encash.clusters.choose import choose_k
from encash.clusters.files import CHECKSUM, check_seal, read_json, write_json
from encash.clusters.fit import Batch, FitConfig, fit_sample, sample_vectors
from encash.clusters.matching import match_rows
from encash.clusters.model import ClusterModel
from encash.clusters.periods import Assigner, ModelPeriod, make_period, static_clusters
from encash.clusters.rank import RankConfig, SelectionRule, rank_clusters, select_best
from encash.clusters.walk_checkpoints import REWALK, Refit, WalkCheckpoints, load_refit
from encash.errors import FormatError, InputError, MismatchError
from encash.fingerprint import fingerprint, row_digests
from encash.metrics import Delisting
from encash.panel.panel import PriceTable
from encash.progress import Progress
from encash.serialization import from_description, identity

_FACTS_FILE = "walk.json"
EntryReader = Callable[[np.datetime64, np.datetime64], Iterable[Batch]]
"""Reads the entries of a range of days, both ends included, in batches: days (n,), tickers (n,), vectors (n, d)."""


@dataclass(frozen=True, kw_only=True)
class WalkConfig:
    """Settings of a walk. `embargo` has no default."""

    every: int
    """Sessions from one refit to the next."""
    horizon: int
    embargo: int
    """Sessions from the last data of a refit to the first day on which it is used; at least the horizon."""
    fit: FitConfig
    counts: tuple[int, ...] = ()
    """Numbers of clusters to choose from, instead of the one of `fit`."""
    rule: SelectionRule = field(default_factory=lambda: SelectionRule(top_k=5))
    window: int | None = None
    """Length of a rolling window in sessions; None takes all of the past (expanding)."""
    history: int = 252
    """Sessions before the end of the first fit."""
    start: DayLike | None = None
    """First day of entries; None starts with the prices."""
    end: DayLike | None = None
    """Last day on which a model is to be active; None goes to the end of the prices."""
    metric: str = RankConfig.metric
    winsorize: tuple[float, float] | None = RankConfig.winsorize
    draws: int = RankConfig.draws
    delisting: Delisting | None = RankConfig.delisting

    def options(self) -> dict[str, Any]:
        """Describe the settings that a `WalkModel` does not hold itself, as plain values."""
        return {name: value for name, value in identity(self).items() if name not in ("fit", "rule")}

    @classmethod
    def of_walk(cls, walk: WalkModel) -> WalkConfig:
        """Return the settings that a walk was made with.

        Raises:
            MismatchError: its notes do not hold them.
        """
        names = {one.name for one in fields(cls)}
        if missing := sorted(names - {"fit", "rule", "delisting"} - walk.notes.keys()):
            raise MismatchError(f"the walk does not record {missing[0]}; walk again: {REWALK}")
        options = {"delisting": None} | {name: value for name, value in walk.notes.items() if name in names}
        parts = {"fit": identity(FitConfig.of_model(walk.periods[0].model)), "rule": identity(walk.rule)}
        return from_description(cls, {**options, **parts}, what="the notes of the walk")


@dataclass(frozen=True, kw_only=True, eq=False)
class WalkModel:
    """The refits of a walk, in order of their first days.

    Cluster ids are matched from each refit to the next: cluster 3 of one is the closest cluster of the next, in the
    best one-to-one assignment of all clusters.
    """

    refits: tuple[Refit, ...]
    rule: SelectionRule
    notes: dict[str, Any] = field(default_factory=dict)
    """Settings and choices, informational and to repeat the walk; not a part of the identity."""

    @property
    def k(self) -> int:
        """Number of clusters."""
        return self.periods[0].model.k

    @property
    def periods(self) -> tuple[ModelPeriod, ...]:
        """The models with their first days, as filters take them."""
        return tuple(refit.period for refit in self.refits)

    @cached_property
    def fingerprint(self) -> str:
        """Identity: models, best clusters and first days (64 hexadecimal digits)."""
        return fingerprint([[one.model.fingerprint, one.best.tolist(), str(one.first_day)] for one in self.periods])

    @property
    def assigner(self) -> Assigner:
        """The assignment of entries by the model that is active on their day."""
        return Assigner(periods=self.periods, fingerprint=self.fingerprint)

    def save(self, folder: str | Path) -> None:
        """Write a numbered folder for each refit, then `walk.json`; remove refits of a longer walk that was there."""
        folder, refits = Path(folder), []
        for number, refit in enumerate(self.refits):
            refit.save(folder / f"{number:04d}", self.rule)
            refits.append({"folder": f"{number:04d}", **refit.describe()})
        facts = {"fingerprint": self.fingerprint, "k": self.k, "rule": identity(self.rule), "notes": self.notes}
        write_json(folder / _FACTS_FILE, {**facts, "refits": refits}, seal=CHECKSUM)
        for number in itertools.count(len(refits)):
            if not (older := folder / f"{number:04d}").is_dir():
                break
            shutil.rmtree(older)


def walk_forward(
    prices: PriceTable,
    read: EntryReader,
    *,
    config: WalkConfig,
    encoder: str,
    checkpoints: WalkCheckpoints | None = None,
    progress: Progress | None = None,
) -> WalkModel:
    """Fit and rank every N sessions, each time on what was known then.

    A refit at session e fits on entries up to e, ranks on returns that have ended by e, and is used from session
    e + embargo until the next one is.

    If there are several numbers of clusters, `choose_k` chooses one for the whole walk on the entries of the first
    refit: all days on which the walk is used come after them, and clusters can only be matched between refits with the
    same number of them.

    Args:
        prices: its days are the sessions.
        read: reads entries of a range of days; called with ranges of the past only.
        config: how often, how far back, and what to fit.
        encoder: fingerprint of the encoder; empty if unknown.
        checkpoints: where refits are stored as they are made, and loaded from after an interruption; None stores none.
        progress: called with fits done and their total: numbers of clusters tried, then refits.

    Raises:
        InputError: an embargo shorter than the horizon, too few sessions for one refit, numbers of clusters that the
            first refit has too few entries for, or a refit in which the rule selects no cluster.
        WorkError: a refit cannot be stored.
    """
    ends = _refit_ends(prices.days, config).tolist()
    tried, total = len(config.counts), len(config.counts) + len(ends)

    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(done, total)

    notes = config.options()
    if config.counts:
        sample = sample_vectors(read(*_span(prices.days, ends[0], config)), config=config.fit)
        selection = choose_k(sample, config.counts, config=config.fit, encoder=encoder, progress=report)
        config, notes["choice"] = replace(config, fit=replace(config.fit, k=selection.best.k)), selection.rows()
    refits: list[Refit] = []
    closes = row_digests(prices.close)
    for number, end in enumerate(ends, start=1):
        before = refits[-1] if refits else None
        make = partial(_refit, prices, read, end, config, encoder, before)
        if checkpoints is None:
            refits.append(make())
        else:
            determined_by = _determined_by(prices, closes, end, config, encoder, before)
            span = _span(prices.days, end, config)
            refits.append(checkpoints.load_or_make(span, determined_by, make, rule=config.rule))
        report(tried + number, total)
    return WalkModel(refits=tuple(refits), rule=config.rule, notes=notes)


def load_walk(folder: str | Path) -> WalkModel:
    """Load what `WalkModel.save` wrote.

    Raises:
        MissingFileError: no walk in the folder, or a part of it is missing.
        FormatError: a file is damaged, or the parts do not belong together.
    """
    folder = Path(folder)
    path = folder / _FACTS_FILE
    facts = read_json(path, remake=REWALK)
    check_seal(path, facts, required=False, remake=REWALK, seal=CHECKSUM)
    try:
        refits = tuple(load_refit(folder / entry["folder"], entry) for entry in facts["refits"])
        rule = from_description(SelectionRule, facts["rule"], what=f"the rule of {path}")
        made = WalkModel(refits=refits, rule=rule, notes=facts["notes"])
        belongs = facts["fingerprint"] == made.fingerprint
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"{path} does not describe a walk ({error!r}); walk again: {REWALK}") from None
    if not belongs:
        raise FormatError(f"the refits in {folder} are not those of its {_FACTS_FILE}; walk again: {REWALK}")
    return made


def match_clusters(before: ClusterModel, after: ClusterModel) -> tuple[ClusterModel, Float64]:
    """Renumber the clusters of a later model so that they continue those of an earlier one.

    Solves the assignment problem on squared distances between centroids, in the later model's deviations.

    Returns:
        The later model with matched ids, and how far each centroid has moved, shape (k,).

    Raises:
        InputError: the numbers of clusters or dimensions differ.
    """
    if before.k != after.k or before.dim != after.dim:
        raise InputError(
            f"cannot match {before.k} clusters of {before.dim} dimensions with {after.k} of {after.dim}; "
            "a walk keeps one encoder and one number of clusters"
        )
    old, new = (_centroids_among_embeddings(model) / after.scale for model in (before, after))
    squares = np.stack([np.square(old[cluster] - new).sum(axis=1) for cluster in range(before.k)])
    place = match_rows(squares)
    drift: Float64 = np.sqrt(squares[np.arange(before.k), place] / after.dim)
    return after.reordered(place), drift


def _refit_ends(sessions: Days, config: WalkConfig) -> Int64:
    """Return the last session whose close each refit uses."""
    if config.embargo < config.horizon:
        raise InputError(
            f"the embargo of {config.embargo} sessions is shorter than the horizon of {config.horizon}; "
            f"give an embargo of {config.horizon} or more"
        )
    if config.every < 1 or config.history <= config.horizon:
        raise InputError(
            f"a refit every {config.every} sessions after a history of {config.history}; expected 1 or more, and "
            f"more than the horizon of {config.horizon}"
        )
    if config.window is not None and config.window <= config.horizon:
        raise InputError(
            f"a refit looks back over a window of {config.window} sessions; expected more than the horizon of "
            f"{config.horizon}, or none for all of the past"
        )
    if config.start is not None and config.end is not None and to_day(config.start) > to_day(config.end):
        raise InputError(f"the walk starts on {config.start} and ends on {config.end}; expected the start first")
    first = 0 if config.start is None else int(np.searchsorted(sessions, to_day(config.start)))
    stop = len(sessions) if config.end is None else int(np.searchsorted(sessions, to_day(config.end), side="right"))
    ends = np.arange(first + config.history - 1, stop - config.embargo, config.every, dtype=np.int64)
    if not len(ends):
        raise InputError(
            f"{stop - first} sessions are too few for a history of {config.history} and an embargo of "
            f"{config.embargo}; give a shorter history or more sessions"
        )
    return ends


def _refit(
    prices: PriceTable, read: EntryReader, end: int, config: WalkConfig, encoder: str, before: Refit | None
) -> Refit:
    sessions = prices.days
    sample = sample_vectors(read(*_span(sessions, end, config)), config=config.fit)
    model = fit_sample(sample, config=config.fit, encoder=encoder)
    drift = np.full(model.k, np.nan)
    agreement = float("nan")
    if before is not None:
        model, drift = match_clusters(before.period.model, model)
        agreement = float(np.mean(model.assign(sample.vectors)[0] == before.period.model.assign(sample.vectors)[0]))
    drawn = [(sample.days, sample.tickers, sample.vectors)]
    entries = drawn if sample.seen == len(sample.days) else read(*_span(sessions, end, config))
    assigned = assign_batches(entries, model)
    rank_config = RankConfig(
        horizon=config.horizon,
        end=sessions[end],
        embargo=config.embargo,
        metric=config.metric,
        winsorize=config.winsorize,
        draws=config.draws,
        delisting=config.delisting,
        seed=config.fit.seed,
        fit_end=model.fit_end,
        model=model.fingerprint,
        encoder=model.encoder,
    )
    ranking = rank_clusters(assigned, prices, config=rank_config)
    best = select_best(ranking, config.rule)
    static = static_clusters(assigned, model.fit_end)
    period = make_period(model, best, ranking, sessions, static=static)
    return Refit(period=period, ranking=ranking, drift=drift, agreement=agreement)


def _span(sessions: Days, end: int, config: WalkConfig) -> tuple[np.datetime64, np.datetime64]:
    """Return the first and the last day of the entries of the refit at a session."""
    first = 0 if config.start is None else int(np.searchsorted(sessions, to_day(config.start)))
    first = first if config.window is None else max(first, end + 1 - config.window)
    return sessions[first], sessions[end]


def _determined_by(
    prices: PriceTable, closes: UInt64, end: int, config: WalkConfig, encoder: str, before: Refit | None
) -> list[Any]:
    """Return everything that determines a refit, except its entries and the rule."""
    return [
        identity(config.fit),
        [config.horizon, config.embargo, config.metric, config.winsorize, config.draws, config.delisting],
        encoder,
        "" if before is None else before.period.model.fingerprint,
        "\n".join(prices.tickers),
        prices.days[: end + config.embargo + 1].astype(np.int64),
        closes[: end + 1],
    ]


def _centroids_among_embeddings(model: ClusterModel) -> Float64:
    """Return centroids as embeddings, shape (k, d)."""
    space = model.centroids.astype(np.float64)
    if model.components is not None:
        space = space @ model.components
    among: Float64 = space * model.scale + model.mean
    return among
