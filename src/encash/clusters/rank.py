"""Rank clusters by the forward returns of their entries, on the past only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encash.arrays import Bool, DayLike, Float64, Int32, Int64, day_text, positions, to_day
from encash.clusters.assignments import Assignments
from encash.errors import InputError
from encash.fingerprint import fingerprint
from encash.metrics import DELISTING_POLICIES, Delisting, forward_returns, settled_returns
from encash.panel.panel import PriceTable
from encash.serialization import added_in
from encash.significance import ROUNDING, standard_errors

METRICS = ("mean_return", "median_return", "win_rate", "sharpe")
"""Metrics that clusters can be ranked by; higher is better."""


@dataclass(frozen=True, kw_only=True)
class RankConfig:
    """Settings of a ranking. `end` and `embargo` have no default: they limit the data that it may use."""

    horizon: int
    """Sessions ahead."""
    end: DayLike
    """Last day of data: an entry counts only if its forward return has ended by then."""
    embargo: int
    """Sessions from `end` to the first session that may trade on the ranking; at least the horizon."""
    start: DayLike | None = None
    """First day of entries; None takes all."""
    metric: str = "mean_return"
    winsorize: tuple[float, float] | None = (0.005, 0.995)
    """Forward returns are winsorized at these quantiles of all entries, so that one bad print cannot make a
    best cluster; None does not winsorize."""
    delisting: Delisting | None = "last"
    """Policy for entries whose ticker stops trading within the horizon; None leaves them out, as rankings of earlier
    versions did, so that a cluster that collapses looks good."""
    draws: int = 200
    """Bootstrap draws of blocks of days, for the selection frequency; 0 for none."""
    seed: int = 0
    fit_end: str = ""
    """Provenance, stored with the ranking: `fit_end` and fingerprints of the model and of the encoder."""
    model: str = ""
    encoder: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClusterTable:
    """Forward returns of the entries of each cluster; one row per cluster, NaN for a cluster without entries."""

    num_stocks: Int64
    """Distinct tickers, shape (k,)."""
    num_samples: Int64
    """Entries, shape (k,)."""
    mean_return: Float64
    """As fractions, over the horizon, after winsorizing; shape (k,), as all that follow."""
    median_return: Float64
    win_rate: Float64
    """Fraction of entries with a return above 0."""
    sharpe: Float64
    """Mean divided by volatility, over the horizon: not annualized."""
    volatility: Float64
    """Standard deviation of the entries' returns (divisor n)."""
    skewness: Float64
    """Third standardized moment (divisor n)."""
    mean_error: Float64
    """Standard error of `mean_return`, by days and overlapping horizons: 1.96 of them are half a 95% interval. NaN if
    undefined. Rankings of earlier versions have Newey and West's."""
    win_error: Float64
    """Standard error of `win_rate`, likewise."""
    raw_mean: Float64
    """Mean without winsorizing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Clusters in order, and the data that the ranking used."""

    horizon: int
    metric: str
    rank_start: str
    """First day of an entry that counted."""
    rank_end: str
    """Last session that the ranking used."""
    embargo: int
    table: ClusterTable
    order: Int32
    """Cluster ids, best first, ties by the lowest id, clusters without entries last; shape (k,)."""
    counts: dict[str, int]
    """Number of entries that were used, window_open, no_price, no_session, no_ticker, clipped by winsorizing, and those
    used that were settled under the delisting policy."""
    draws: Float64
    """Each metric in each bootstrap draw, shape (draws, metrics, k); (draws, 0, k) if loaded from a file."""
    winsorize: tuple[float, float] | None = None
    delisting: Delisting | None = None
    """Policy for tickers that stopped trading; None if such entries were left out."""
    seed: int = 0
    fit_end: str = ""
    model: str = ""
    encoder: str = ""
    prices: str = ""
    """`price_fingerprint` of the prices from `rank_start` to `rank_end`; empty if not recorded."""
    best: tuple[int, ...] | None = None
    """The clusters that were written as the best ones; None if it was not written."""
    selected_share: Float64 | None = None
    """Fraction of bootstrap draws in which the written rule selects each cluster, shape (k,); None if not written."""
    held: Bool | None = None
    """True if a cluster has an entry of a ticker, shape (k, tickers); None if loaded from a file."""

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.order)

    def rows(self) -> list[dict[str, Any]]:
        """Return the table as plain values, best cluster first."""
        names = list(ClusterTable.__dataclass_fields__)
        return [
            {"cluster_id": int(cluster), **{name: getattr(self.table, name)[cluster].item() for name in names}}
            for cluster in self.order
        ]


@dataclass(frozen=True, kw_only=True)
class SelectionRule:
    """The criteria that select the best of the ranked clusters; all given ones must hold."""

    top_k: int | None = None
    """Maximum number."""
    coverage: float | None = None
    """Best clusters until they hold this fraction of all entries (0.1 is a tenth)."""
    min_return: float | None = None
    min_win_rate: float | None = None
    min_sharpe: float | None = None
    ticker_coverage: float | None = added_in(2, default=None)
    """Best clusters until they hold an entry of this fraction of all distinct tickers; each ticker counts once."""

    def __post_init__(self) -> None:
        """Refuse invalid criteria.

        Raises:
            InputError: fewer than one cluster, a fraction outside 0 to 1, or a threshold that is not finite.
        """
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"the number of best clusters is {self.top_k}; expected 1 or more")
        for name in ("coverage", "ticker_coverage"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 1:
                raise InputError(f"{name} is {share}; expected a share above 0 and at most 1")
        limits = {"return": self.min_return, "win rate": self.min_win_rate, "Sharpe ratio": self.min_sharpe}
        for name, least in limits.items():
            if least is not None and not np.isfinite(least):
                raise InputError(f"the minimum {name} is {least}; expected a finite number")

    def __str__(self) -> str:
        """Return the given criteria.

        >>> print(SelectionRule(top_k=5, min_sharpe=0.0))
        top_k 5, min_sharpe 0.0
        """
        return ", ".join(f"{name} {value}" for name, value in asdict(self).items() if value is not None)


def rank_clusters(assignments: Assignments, prices: PriceTable, *, config: RankConfig) -> Ranking:
    """Rank clusters by the forward returns of the entries assigned to them, day by day.

    The forward return of an entry runs from the close of its session to the close `horizon` sessions later; it
    counts only if that session is on or before `end`. If its ticker stops trading before, it is settled under the
    delisting policy, see `metrics.settled_returns`. Entries that are not used are counted in `Ranking.counts`.

    Raises:
        InputError: an embargo shorter than the horizon, an unknown metric, or no entry that can be used.
    """
    _check(config)
    known = prices.as_of(config.end)
    if not len(known.days):
        first = day_text(prices.days[0]) if len(prices.days) else "nowhere: there are none"
        raise InputError(f"no session on or before {day_text(config.end)}; the prices start on {first}")
    entries, counts = _entries(assignments, known, config)
    if not len(entries.returns):
        raise InputError(
            f"no entry has a forward return of {config.horizon} sessions known by {day_text(config.end)} "
            f"({', '.join(f'{name} {count}' for name, count in counts.items())}); give a later end or more history"
        )
    raw, entries = entries, entries.winsorized(config.winsorize)
    counts["clipped"] = int((raw.returns != entries.returns).sum())
    table = _table(entries, raw, config.horizon)
    first, last = known.days[entries.session.min()], known.days[-1]
    return Ranking(
        horizon=config.horizon,
        metric=config.metric,
        rank_start=day_text(first),
        rank_end=day_text(last),
        embargo=config.embargo,
        table=table,
        order=_best_first(getattr(table, config.metric)),
        counts=counts,
        draws=_bootstrap(entries, config),
        winsorize=config.winsorize,
        delisting=config.delisting,
        seed=config.seed,
        fit_end=config.fit_end,
        model=config.model,
        encoder=config.encoder,
        held=entries.held(),
        prices=price_fingerprint(known, first, last),
    )


def price_fingerprint(prices: PriceTable, start: DayLike, end: DayLike) -> str:
    """Identify the closes of a range of days, both ends included (64 hexadecimal digits).

    Later days, and tickers without a price in the range, do not count, so that a file that has grown since matches.
    """
    inside = (prices.days >= to_day(start)) & (prices.days <= to_day(end))
    close = prices.close[inside]
    traded = ~np.isnan(close)
    columns = [column for column in np.argsort(prices.tickers, kind="stable") if traded[:, column].any()]
    rows = traded.any(axis=1)
    kept = np.where(traded, close, np.nan)[np.ix_(rows, columns)]
    names = "\n".join(prices.tickers[column] for column in columns)
    return fingerprint([prices.days[inside][rows].astype(np.int64), names, kept])


def select_best(ranking: Ranking, rule: SelectionRule) -> Int32:
    """Select the best clusters by a rule, best first.

    Raises:
        InputError: a rule without criteria, one that no cluster passes, or a coverage of tickers for a ranking from a
            file, which does not hold them.
    """
    if rule.ticker_coverage is not None and ranking.held is None:
        raise InputError("a ranking from a file does not hold the tickers of each cluster; rank again")
    if rule == SelectionRule():
        raise InputError("the rule has no criteria; give top_k, coverage or a threshold")
    table = ranking.table
    chosen = _select({name: getattr(table, name) for name in METRICS}, ranking, rule)
    if not len(chosen):
        best = float(getattr(table, ranking.metric)[ranking.order[0]])
        raise InputError(f"no cluster passes {rule}; the best {ranking.metric} is {best:.6g}")
    return chosen


def selection_frequency(ranking: Ranking, rule: SelectionRule) -> Float64:
    """Compute the fraction of bootstrap draws in which the rule selects each cluster, shape (k,).

    A ranking from a file has no draws, only the stored fractions; without either they are NaN. A cluster
    that is selected in half of the draws is among the best by chance.
    """
    if not ranking.draws.size:
        return np.full(ranking.k, np.nan) if ranking.selected_share is None else ranking.selected_share
    selected = np.zeros(ranking.k)
    for draw in ranking.draws:
        metrics = dict(zip(METRICS, draw, strict=True))
        selected[_select(metrics, ranking, rule)] += 1
    return selected / len(ranking.draws)


@dataclass(frozen=True, kw_only=True, eq=False)
class _RankedEntries:
    """The n entries that are ranked, one row each."""

    session: Int64
    """Index of the day among the sessions."""
    ticker: Int64
    cluster: Int32
    returns: Float64
    num_clusters: int
    num_tickers: int

    def winsorized(self, quantiles: tuple[float, float] | None) -> _RankedEntries:
        """Clip extreme returns to the quantiles; the largest and the smallest return are always clipped."""
        if quantiles is None or len(self.returns) < 3:
            return self
        low = np.quantile(self.returns, quantiles[0], method="higher")
        high = np.quantile(self.returns, quantiles[1], method="lower")
        return replace(self, returns=np.clip(self.returns, low, high))

    def by_cluster(self) -> list[Int64]:
        """List the rows of each cluster, in order of their returns; k arrays."""
        order = np.lexsort((self.returns, self.cluster))
        return np.split(order, np.cumsum(np.bincount(self.cluster, minlength=self.num_clusters))[:-1])

    def held(self) -> Bool:
        """Mark the tickers of each cluster, shape (k, tickers)."""
        held = np.zeros((self.num_clusters, self.num_tickers), dtype=np.bool_)
        held[self.cluster, self.ticker] = True
        return held

    def sums(self, values: NDArray[np.floating[Any]]) -> Float64:
        """Sum values by session and cluster, from the first to the last session, shape (sessions, k)."""
        session = self.session - self.session.min()
        cell = session * self.num_clusters + self.cluster
        size = (int(session.max()) + 1) * self.num_clusters
        sums = np.bincount(cell, weights=values, minlength=size).astype(np.float64)
        return sums.reshape(-1, self.num_clusters)


def _entries(assignments: Assignments, known: PriceTable, config: RankConfig) -> tuple[_RankedEntries, dict[str, int]]:
    """Select the entries whose forward return is known, and count the others by reason."""
    assignments = assignments.between(config.start, config.end)
    row, column = np.nonzero(assignments.cluster >= 0)
    order = np.argsort(known.tickers)
    place = positions(np.asarray(known.tickers)[order], assignments.tickers)
    ticker = np.where(place >= 0, order[place], -1)[column]
    session = positions(known.days, assignments.days)[row]
    no_session, no_ticker = session < 0, ticker < 0
    window_open = session + config.horizon >= len(known.days)
    returns = np.full(len(row), np.nan)
    priced = ~(no_session | no_ticker | window_open)
    following, settled = _forward_returns(known, config)
    returns[priced] = following[session[priced], ticker[priced]]
    used = np.isfinite(returns)
    counts = {
        "used": int(used.sum()),
        "no_session": int(no_session.sum()),
        "no_ticker": int((no_ticker & ~no_session).sum()),
        "window_open": int((window_open & ~no_session & ~no_ticker).sum()),
        "no_price": int((priced & ~used).sum()),
        "settled": int(settled[session[used], ticker[used]].sum()),
    }
    entries = _RankedEntries(
        session=session[used],
        ticker=ticker[used],
        cluster=assignments.cluster[row[used], column[used]],
        returns=returns[used],
        num_clusters=assignments.k,
        num_tickers=len(known.tickers),
    )
    return entries, counts


def _forward_returns(known: PriceTable, config: RankConfig) -> tuple[Float64, Bool]:
    """Return the forward return of each (session, ticker), and a mask of those that the delisting policy decides."""
    if config.delisting is not None:
        return settled_returns(known.close, config.horizon, config.delisting)
    returns = forward_returns(known.close, config.horizon)
    return returns, np.zeros(returns.shape, dtype=np.bool_)


def _table(entries: _RankedEntries, raw: _RankedEntries, horizon: int) -> ClusterTable:
    k, cluster, returns = entries.num_clusters, entries.cluster, entries.returns
    samples = np.bincount(cluster, minlength=k)

    def mean(values: Float64) -> Float64:
        with np.errstate(invalid="ignore"):
            return np.bincount(cluster, weights=values, minlength=k) / samples

    means, won = mean(returns), (returns > 0).astype(np.float64)
    gap = returns - means[cluster]
    volatility = np.sqrt(mean(gap**2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return ClusterTable(
            num_stocks=entries.held().sum(axis=1),
            num_samples=samples,
            mean_return=means,
            median_return=np.array(
                [np.median(returns[rows]) if len(rows) else np.nan for rows in entries.by_cluster()]
            ),
            win_rate=mean(won),
            sharpe=np.where(volatility > 0, means / volatility, np.nan),
            volatility=volatility,
            skewness=np.where(volatility > 0, mean(gap**3) / volatility**3, np.nan),
            mean_error=_standard_errors(entries, returns, horizon),
            win_error=_standard_errors(entries, won, horizon),
            raw_mean=mean(raw.returns),
        )


def _standard_errors(entries: _RankedEntries, values: Float64, horizon: int) -> Float64:
    """Estimate standard errors of the means by cluster, shape (k,), for correlated entries and overlapping returns.

    The mean is a ratio of sums over days; its influence by day is ``sum − mean · count``, and the error that of
    `encash.significance`. NaN for a cluster without entries, with values that do not vary, or below 8 days.
    """
    totals, counts = entries.sums(values), entries.sums(np.ones(len(values)))
    samples = counts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        influence = totals - np.nan_to_num(totals.sum(axis=0) / samples) * counts
        varies = np.abs(influence).max(axis=0) > ROUNDING * np.maximum(1.0, np.abs(totals).max(axis=0))
        errors: Float64 = standard_errors(influence.T, horizon) * len(influence) / samples
    return np.where(varies, errors, np.nan)


def _bootstrap(entries: _RankedEntries, config: RankConfig) -> Float64:
    """Compute each metric in each draw of blocks of days, shape (draws, metrics, k).

    Circular blocks (Politis & Romano 1992) of the horizon, or the cube root of the number of days if that is more.
    The median takes a pass over all entries in each draw, so it is NaN unless clusters are ranked by it.
    """
    if config.draws == 0:
        return np.empty((0, len(METRICS), entries.num_clusters))
    ones = np.ones(len(entries.returns))
    count, total, square, won = (
        entries.sums(values) for values in (ones, entries.returns, entries.returns**2, 1.0 * (entries.returns > 0))
    )
    times = _times_drawn(len(count), max(config.horizon, round(len(count) ** (1 / 3))), config)
    samples = times @ count
    with np.errstate(divide="ignore", invalid="ignore"):
        means = times @ total / samples
        deviation = np.sqrt(np.maximum(times @ square / samples - means**2, 0))
        sharpe = np.where(deviation > 0, means / deviation, np.nan)
        medians = _median_draws(entries, times) if config.metric == "median_return" else np.full_like(means, np.nan)
        return np.stack([means, medians, times @ won / samples, sharpe], axis=1)


def _times_drawn(num_days: int, block: int, config: RankConfig) -> Float64:
    """Count how often each draw takes each day, shape (draws, days)."""
    random = np.random.default_rng(config.seed)
    block = min(block, num_days)
    starts = random.integers(num_days, size=(config.draws, -(-num_days // block)))
    days = ((starts[:, :, None] + np.arange(block)) % num_days).reshape(config.draws, -1)[:, :num_days]
    drawn = days + num_days * np.arange(config.draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=config.draws * num_days).reshape(-1, num_days).astype(np.float64)


def _median_draws(entries: _RankedEntries, times: Float64) -> Float64:
    medians = np.full((len(times), entries.num_clusters), np.nan)
    day = entries.session - entries.session.min()
    for cluster, rows in enumerate(entries.by_cluster()):
        for draw, weights in enumerate(times[:, day[rows]]):
            below = np.cumsum(weights)
            if len(rows) and below[-1] > 0:
                medians[draw, cluster] = entries.returns[rows[np.searchsorted(below, below[-1] / 2)]]
    return medians


def _select(metrics: dict[str, Float64], ranking: Ranking, rule: SelectionRule) -> Int32:
    order = _best_first(metrics[ranking.metric])
    passes = np.isfinite(metrics[ranking.metric])
    limits = {"mean_return": rule.min_return, "win_rate": rule.min_win_rate, "sharpe": rule.min_sharpe}
    for name, least in limits.items():
        if least is not None:
            passes &= metrics[name] >= least
    order = order[passes[order]]
    if rule.coverage is not None:
        samples = ranking.table.num_samples
        covered = np.cumsum(samples[order]) - samples[order]
        order = order[covered < rule.coverage * samples.sum()]
    if rule.ticker_coverage is not None and ranking.held is not None:
        seen = np.logical_or.accumulate(ranking.held[order], axis=0).sum(axis=1)
        before = np.concatenate([[0], seen])[: len(order)]
        order = order[before < rule.ticker_coverage * ranking.held.any(axis=0).sum()]
    return order[: rule.top_k]


def _best_first(values: Float64) -> Int32:
    """Order ids by descending value, ties by the lowest id, NaN last."""
    return np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable").astype(np.int32)


def _check(config: RankConfig) -> None:
    if config.horizon < 1:
        raise InputError(f"the horizon is {config.horizon} sessions; expected 1 or more")
    if config.embargo < config.horizon:
        raise InputError(
            f"the embargo of {config.embargo} sessions is shorter than the horizon of {config.horizon}: the ranking "
            f"would know returns of the test period; give an embargo of {config.horizon} or more"
        )
    if config.metric not in METRICS:
        raise InputError(f"cannot rank by {config.metric!r}; expected one of {', '.join(METRICS)}")
    if config.delisting not in (None, *DELISTING_POLICIES):
        raise InputError(f"invalid delisting policy {config.delisting!r}: expected {', '.join(DELISTING_POLICIES)}")
    low, high = config.winsorize or (0.0, 1.0)
    if not 0 <= low < high <= 1:
        raise InputError(f"winsorize is {config.winsorize}; expected two ascending quantiles from 0 to 1")
