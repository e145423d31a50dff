"""The proofs of honesty, as code: cut the future off, poison it, encode again, and see that nothing of the past moves.
Knows every room by its public names; repairs nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from encash import metrics, pipeline
from encash.arrays import Days, Float32, Float64, Text, day_text
from encash.backtest import BacktestConfig, BacktestInputs, PickTable, picks_of_day
from encash.cache import Cache, Lookup
from encash.clusters import (
    CandidateFilter,
    FitConfig,
    RankConfig,
    WalkConfig,
    fit_sample,
    load_clusters,
    load_ranking,
    load_walk,
    rank_clusters,
    walk_forward,
)
from encash.encoders import Encoder
from encash.errors import InputError
from encash.panel import ArraySource, Bars, FeatureConfig, Panel, PriceTable
from encash.panel.features import feature_names, panel_features
from encash.progress import Progress

Features = Mapping[str, tuple[Days, Float32]]
"""Feature rows by ticker: days (n,) and values (n, F)."""
FeatureMaker = Callable[[Mapping[str, Bars]], Features]
"""Whatever makes features from prices, to be tried on prices of which the end is missing or wrong."""

TOO_GOOD = {1: 0.25, 5: 0.35, 20: 0.45}
"""Rank correlations with the return of so many coming sessions that no honest daily feature has."""
POISON = 1e3
"""Scale of the noise that takes the place of the future."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One proof."""

    name: str
    passed: bool | None
    """None: it could not be tried, and `detail` says why."""
    detail: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All proofs."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Nothing was found; what could not be tried is no finding."""
        return all(check.passed is not False for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The keys of ``encash audit --json``."""
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is audited."""

    panel: Panel
    """With prices."""
    encoder: Encoder
    config: BacktestConfig
    filter: CandidateFilter | None = None
    cache: Cache | None = None
    clusters: Path | None = None
    """The folder of the filter's clusters and ranking."""
    days: int = 5
    """Random days at which the future is cut off."""
    sample: int = 256
    """Entries encoded again."""
    seed: int = 0
    bars: Mapping[str, Bars] | None = None
    """The prices that the features were made from; None takes the closes of the panel."""
    make_features: FeatureMaker | None = None
    """What made the features; None tries ``encash prepare``, where the panel has its features of such bars."""

    def __post_init__(self) -> None:
        """Refuse a seed that no generator takes.

        Raises:
            InputError: a seed below 0.
        """
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more")

    @property
    def prices(self) -> PriceTable:
        """The prices of the panel.

        Raises:
            InputError: it has none.
        """
        if self.panel.prices is None:
            raise InputError("an audit needs prices; give --prices P")
        return self.panel.prices


def audit(subject: Subject, *, progress: Progress | None = None) -> Audit:
    """Try every proof; each compares bit for bit unless its detail says otherwise.

    The chain from data to picks is run three times for each random day t: on all data, on the data as they stood at t,
    and with noise in the place of whatever came after t. Progress is told in these runs.
    """
    checks = [*feature_checks(subject), *chain_checks(subject, progress)]
    if subject.clusters is not None and subject.cache is not None:
        if pipeline.is_walk(subject.clusters):
            checks.append(walk_check(subject, subject.cache, subject.clusters))
        else:
            checks.append(fit_check(subject.cache, subject.clusters))
            checks.append(ranking_check(subject, subject.cache, subject.clusters))
    if subject.cache is not None:
        checks.append(hit_is_miss(subject, subject.cache))
    return Audit(checks=tuple(checks))


def feature_checks(subject: Subject) -> Iterator[Check]:
    """Do the features of a day change when the prices after it are cut off or poisoned? Does one know tomorrow?"""
    yield _known_tomorrow(subject)
    bars = _bars(subject.prices) if subject.bars is None else subject.bars
    make = subject.make_features or _prepared(subject.panel, bars)
    if make is None:
        detail = (
            "encash prepare makes other features of these prices; name the table that yours were prepared from "
            "(--raw), or give what makes them"
        )
        yield Check(name="features: truncation and poison", passed=None, detail=detail)
        return
    whole = make(bars)
    if subject.bars is not None:
        yield _made_again(subject.panel, whole)
    moved: list[str] = []
    for day in _cuts(subject):
        for how, changed in (("cut", _cut(bars, day)), ("poisoned", _poisoned(bars, day, subject.seed))):
            again = make(changed)
            moved += [
                f"{ticker} {how} at {day}" for ticker in again if not _same_past(whole[ticker], again[ticker], day)
            ]
    days = ", ".join(map(str, _cuts(subject)))
    detail = f"moved: {'; '.join(moved[:3])} and {len(moved)} in all" if moved else f"nothing up to {days} moved"
    yield Check(name="features: truncation and poison", passed=not moved, detail=detail)


def _made_again(panel: Panel, made: Features) -> Check:
    """Are the features of the panel those that the maker gives? Else its proofs say nothing of them."""
    last, other = panel.sessions[-1], []
    for ticker in panel.tickers:
        rows = panel.rows((ticker,))
        if ticker not in made or not _same_past((rows.days, rows.values), made[ticker], last):
            other.append(ticker)
    detail = (
        f"{len(other)} of {len(panel.tickers)} tickers have others, {other[0]} first: they come from other prices"
        if other
        else f"{len(panel.tickers)} tickers have, to the bit, the features that these prices give"
    )
    return Check(name="features: made again", passed=not other, detail=detail)


def chain_checks(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Windows, embeddings, forecasts, clusters and picks of a day, without and with a wrong future."""
    found: dict[str, list[str]] = {"truncation": [], "poison": []}
    cells, cuts = 0, _cuts(subject)
    runs = itertools.count(1)

    def picks(panel: Panel, day: np.datetime64) -> PickTable:
        table = _picks(subject, panel, day)
        if progress is not None:
            progress(next(runs), 3 * len(cuts))
        return table

    for day in cuts:
        whole = picks(subject.panel, day)
        cells += len(whole)
        ways = {"truncation": subject.panel.as_of(day), "poison": poisoned_panel(subject, day)}
        for name, panel in ways.items():
            found[name] += [f"{column} on {day_text(day)}" for column in _differing(whole, picks(panel, day))]
    for name, moved in found.items():
        detail = (
            f"moved: {'; '.join(moved[:5])}"
            if moved
            else f"{cells} candidates on {subject.days} days: same bits to the picks"
        )
        yield Check(name=f"data to picks: {name}", passed=not moved, detail=detail)


def fit_check(cache: Cache, folder: Path) -> Check:
    """Are the clusters those that the entries up to the end of the fit give, read again without any later one?"""
    name = "clusters: fitted again on the past"
    model = load_clusters(folder)
    held, seen = cache.count(model.fit_start, model.fit_end), model.notes.get("entries_seen")
    if held != seen:
        detail = f"the fit saw {seen} entries up to {model.fit_end}, the cache has {held} there now"
        return Check(name=name, passed=None, detail=detail)
    config = FitConfig.of_model(model)
    sample = pipeline.draw_sample(cache, config, start=model.fit_start, end=model.fit_end)
    again = fit_sample(sample, config=config, encoder=model.encoder)
    same = again.fingerprint == model.fingerprint
    detail = f"{held:,} entries from {model.fit_start} to {model.fit_end} give " + (
        f"the same {model.k} clusters, bit for bit" if same else "other clusters: they knew more, or were changed"
    )
    return Check(name=name, passed=same, detail=detail)


def walk_check(subject: Subject, cache: Cache, folder: Path) -> Check:
    """Is a walk on data that end on a random day the beginning of the whole walk?"""
    name, walk = "clusters: walked again on cut data", load_walk(folder)
    day = _cuts(subject)[-1]
    known = subject.prices.as_of(day)

    def read(start: np.datetime64, end: np.datetime64) -> Iterator[tuple[Days, Text, Float32]]:
        return pipeline.cached_batches(cache, start, min(end, day))

    config = replace(WalkConfig.of_walk(walk), end=None)
    again = walk_forward(known, read, config=config, encoder=walk.periods[0].model.encoder)
    pairs = list(zip(walk.periods, again.periods, strict=False))
    moved = [
        day_text(one.first_day)
        for one, other in pairs
        if one.first_day is not None
        and (one.model.fingerprint != other.model.fingerprint or one.best.tolist() != other.best.tolist())
    ]
    detail = f"cut after {day}: {len(pairs)} of {len(walk.periods)} refits made again, " + (
        f"others than those in force from {', '.join(moved[:3])}" if moved else "the same clusters and best ones"
    )
    return Check(name=name, passed=not moved, detail=detail)


def ranking_check(subject: Subject, cache: Cache, folder: Path) -> Check:
    """Are the best clusters the same when everything after the end of the ranking is noise?"""
    name = "clusters and ranking: poison"
    horizon = subject.config.horizon
    if not (folder / f"ranking_{horizon}d.json").is_file():
        return Check(name=name, passed=None, detail=f"{folder} has no ranking_{horizon}d.json of one period")
    model, ranking = load_clusters(folder), load_ranking(folder, horizon)
    assignments = pipeline.assign_entries(cache, model, start=ranking.rank_start, end=ranking.rank_end)
    config = RankConfig(
        horizon=horizon,
        end=ranking.rank_end,
        embargo=ranking.embargo,
        start=ranking.rank_start,
        metric=ranking.metric,
        winsorize=ranking.winsorize,
        draws=0,
    )
    noise = _poisoned_prices(subject.prices, np.datetime64(ranking.rank_end), subject.seed)
    again = rank_clusters(assignments, noise, config=config)
    same = again.order.tolist() == ranking.order.tolist() and model.fit_end <= ranking.rank_end
    detail = (
        f"the same order of {ranking.k} clusters, fitted to {model.fit_end}, ranked to {ranking.rank_end}"
        if same
        else f"another order: {again.order.tolist()[:8]} … instead of {ranking.order.tolist()[:8]} …, "
        f"fitted to {model.fit_end}, ranked to {ranking.rank_end}"
    )
    return Check(name=name, passed=same, detail=detail)


def hit_is_miss(subject: Subject, cache: Cache) -> Check:
    """Are random entries what the model says now: the same vectors, and the same clusters?"""
    index = cache.index()
    rows, columns = np.nonzero(index.row >= 0)
    random = np.random.default_rng(subject.seed)
    chosen = np.sort(random.choice(len(rows), size=min(subject.sample, len(rows)), replace=False))
    days, tickers = index.days[rows[chosen]], index.tickers[columns[chosen]]
    live = Lookup(
        panel=subject.panel, encoder=lambda: subject.encoder, spec=subject.encoder.spec, dtype=cache.spec.dtype
    )
    hits = _vectors(Lookup(cache=cache), days, tickers)
    misses = _vectors(live, days, tickers)
    gone = int(np.isnan(misses).any(axis=1).sum())
    difference = float(np.nanmax(np.abs(hits - misses), initial=0.0))
    clusters = 0
    if subject.filter is not None and subject.filter.periods:
        kept = ~np.isnan(misses).any(axis=1)
        both = [subject.filter.assign(days[kept], vectors[kept])[0] for vectors in (hits, misses)]
        clusters = int((both[0] != both[1]).sum())
    passed = gone == 0 and clusters == 0 and difference <= 1e-4 * max(1.0, float(np.abs(hits).max(initial=0.0)))
    detail = f"{len(chosen)} entries encoded again: largest difference {difference:.2e}, {clusters} in another cluster"
    return Check(name="hit = miss", passed=passed, detail=detail + (f", {gone} without a window now" if gone else ""))


def poisoned_panel(subject: Subject, day: np.datetime64) -> Panel:
    """The panel with noise in the place of every feature and price after a day; days stay as they are."""
    rows = subject.panel.rows(start=day, end=day + np.timedelta64(60, "D"), lookback=subject.encoder.spec.lookback)
    values = rows.values.copy()
    late = rows.days > day
    random = np.random.default_rng(subject.seed)
    values[late] = (random.standard_normal((int(late.sum()), values.shape[1])) * POISON).astype(np.float32)
    parts = {
        ticker: (rows.days[start:stop], values[start:stop])
        for ticker, start, stop in zip(rows.tickers, rows.offsets[:-1], rows.offsets[1:], strict=True)
        if stop > start
    }
    source = ArraySource(parts, feature_names=subject.panel.feature_names)
    return Panel(source, _poisoned_prices(subject.prices, day, subject.seed))


def _known_tomorrow(subject: Subject) -> Check:
    """No honest feature ranks coming returns well, be it the next session's or those of the next weeks."""
    rows, prices = subject.panel.rows(), subject.prices
    owner = np.repeat(np.arange(len(rows.tickers)), np.diff(rows.offsets))
    place = {ticker: column for column, ticker in enumerate(prices.tickers)}
    column = np.array([place.get(ticker, -1) for ticker in rows.tickers])[owner]
    row = np.minimum(np.searchsorted(prices.days, rows.days), len(prices.days) - 1)
    there = (column >= 0) & (prices.days[row] == rows.days)
    worst = (0.0, 0.0, "none", 1)
    for horizon, limit in TOO_GOOD.items():
        coming = metrics.forward_returns(prices.close, horizon)
        target = np.where(there, coming[row, column], np.nan)
        known = np.flatnonzero(np.isfinite(target))
        known = known[:: max(1, len(known) // 50_000)]
        for number in range(rows.values.shape[1]):
            values = rows.values[known, number].astype(np.float64)
            finite = np.isfinite(values)
            found = abs(float(metrics.rank_ic(values[None, finite], target[known][None, finite])[0]))
            names = subject.panel.feature_names
            worst = max(worst, (found / limit, found, names[number] if names else f"number {number}", horizon))
    excess, found, name, horizon = worst
    detail = (
        f"the best, {name}, has a rank correlation of {found:.3f} with the return of the next {horizon} sessions "
        f"(limit {TOO_GOOD[horizon]})"
    )
    return Check(name="features: none knows tomorrow", passed=excess <= 1, detail=detail)


def _prepared(panel: Panel, bars: Mapping[str, Bars]) -> FeatureMaker | None:
    """The features of ``encash prepare`` on bars, where the panel has just these."""
    config = FeatureConfig()
    if panel.feature_names != feature_names(next(iter(bars.values())), config):
        return None

    def make(some: Mapping[str, Bars]) -> Features:
        enough = {ticker: own for ticker, own in some.items() if len(own.days) > config.longest}
        return {ticker: (days, values) for ticker, days, values in panel_features(enough, config)} if enough else {}

    return make


def _bars(prices: PriceTable) -> dict[str, Bars]:
    """The closes of each ticker on its own days."""
    bars = {}
    for column, ticker in enumerate(prices.tickers):
        traded = np.isfinite(prices.close[:, column])
        bars[ticker] = Bars(days=prices.days[traded], close=prices.close[traded, column])
    return bars


def _cut(bars: Mapping[str, Bars], day: np.datetime64) -> dict[str, Bars]:
    """What was known on a day."""
    known = {ticker: (own, own.days <= day) for ticker, own in bars.items() if own.days[0] <= day}
    return {
        ticker: Bars(days=own.days[kept], **{name: column[kept] for name, column in _columns(own).items()})
        for ticker, (own, kept) in known.items()
    }


def _poisoned(bars: Mapping[str, Bars], day: np.datetime64, seed: int) -> dict[str, Bars]:
    """The same bars, each later one multiplied by a number of its own."""
    random, wrong = np.random.default_rng(seed), {}
    for ticker, own in bars.items():
        factor = _noisy(np.ones(len(own.days)), own.days > day, random)
        wrong[ticker] = Bars(days=own.days, **{name: column * factor for name, column in _columns(own).items()})
    return wrong


def _columns(bars: Bars) -> dict[str, Any]:
    """Prices and volumes, as far as there are any."""
    columns = {name: getattr(bars, name) for name in ("close", "open", "high", "low", "volume")}
    return {name: column for name, column in columns.items() if column is not None}


def _poisoned_prices(prices: PriceTable, day: np.datetime64, seed: int) -> PriceTable:
    random = np.random.default_rng(seed)
    late = np.broadcast_to((prices.days > day)[:, None], prices.close.shape)
    opens = None if prices.open is None else _noisy(prices.open, late, random)
    return replace(prices, close=_noisy(prices.close, late, random), open=opens)


def _noisy(prices: Float64, late: np.ndarray, random: np.random.Generator) -> Float64:
    """Prices with a random factor from 1/1000 to 1000 on the late ones."""
    noise = np.exp(random.uniform(-np.log(POISON), np.log(POISON), size=prices.shape))
    return np.where(late, prices * noise, prices)


def _same_past(whole: tuple[Days, Float32], again: tuple[Days, Float32], day: np.datetime64) -> bool:
    """Whether the rows up to a day have the same days and bits."""
    (days, values), (other_days, other) = whole, again
    until, other_until = days <= day, other_days <= day
    return (
        np.array_equal(days[until], other_days[other_until]) and values[until].tobytes() == other[other_until].tobytes()
    )


def _cuts(subject: Subject) -> Days:
    """Random sessions of the test period, ascending; the same for a seed.

    Where the configuration has no start, they begin where the filter may be used.
    """
    first = subject.config.start
    if first is None and subject.filter is not None and subject.config.allow_lookahead is None:
        first = subject.filter.first_day
    days = subject.prices.days
    inside = days[:-1] if first is None else days[:-1][days[:-1] >= np.datetime64(first)]
    if len(inside) == 0:
        raise InputError("no session to cut the data at; give an earlier --start")
    random = np.random.default_rng(subject.seed)
    chosen: Days = np.sort(random.choice(inside, size=min(subject.days, len(inside)), replace=False))
    return chosen


def _picks(subject: Subject, panel: Panel, day: np.datetime64) -> PickTable:
    """The candidates and picks of a day, encoded live from a panel."""
    assert panel.prices is not None
    lookup = Lookup(panel=panel, encoder=lambda: subject.encoder, spec=subject.encoder.spec)
    candidates = tuple(sorted(set(panel.tickers) & set(subject.panel.tickers) & set(panel.prices.tickers)))
    return picks_of_day(
        subject.config,
        BacktestInputs(prices=panel.prices, lookup=lookup, filter=subject.filter, candidates=candidates),
        day,
    )


def _differing(one: PickTable, other: PickTable) -> list[str]:
    """The columns in which two tables differ by a single bit."""
    others = other.columns()
    return [name for name, column in one.columns().items() if column.tobytes() != others[name].tobytes()]


def _vectors(lookup: Lookup, days: Days, tickers: Text) -> Float32:
    parts = lookup.read(days, tickers, embeddings=True, forecasts=False)
    return np.concatenate([part.embedding for part in parts if part.embedding is not None])
