"""Optional data that a page shows beside the run: comparisons, cluster rankings, forecast skill and timings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from encash.arrays import Float64
from encash.backtest.evaluation.cluster_behavior import ClusterBehavior
from encash.backtest.evaluation.forecast_skill import DailySkill
from encash.backtest.evaluation.random_filter_test import FilterTest

if TYPE_CHECKING:
    from encash.clusters import ClusterMap, WalkDrift


@dataclass(frozen=True, kw_only=True)
class ClusterReturn:
    """Returns of the entries of one cluster in the ranking period."""

    cluster: int
    mean_return: float
    """As a fraction, over the horizon."""
    error: float | None = None
    """Standard error of the mean."""
    win_rate: float = float("nan")
    """Share of entries with a return above 0."""
    win_error: float | None = None
    """Standard error of the win rate."""
    selected_share: float = float("nan")
    """Share of bootstrap draws in which the cluster was among the best."""
    best: bool = False
    """True if the filter keeps it."""


@dataclass(frozen=True, kw_only=True)
class Skill:
    """Forecast skill at one horizon. NaN if a figure is undefined."""

    horizon: int
    """In sessions."""
    rank_ic: float
    """Mean of the daily rank correlations."""
    rank_ic_t: float = float("nan")
    """Its t-statistic, robust to overlapping returns."""
    rank_icir: float = float("nan")
    """Mean over standard deviation of the daily rank correlations, not annualized."""
    ic: float = float("nan")
    """Mean of the daily Pearson correlations."""
    days: int | None = None
    quantile_returns: tuple[float, ...] = ()
    """Mean return of each group of tickers by forecast, lowest first."""
    quantile_errors: tuple[float, ...] = ()
    """Standard errors of these means."""
    spread_t: float = float("nan")
    """t-statistic of the highest group minus the lowest."""
    decay: tuple[tuple[int, float], ...] = ()
    """(sessions, mean rank IC) of the same forecasts with the returns that begin that many sessions later."""
    autocorrelation: tuple[tuple[int, float], ...] = ()
    """(sessions, mean rank correlation) of the forecasts of a day with those that many sessions later."""
    reliability: tuple[tuple[float, float, int], ...] = ()
    """(mean confidence, share of right signs, number) of groups of forecasts, least confident first."""
    settled: int = 0
    """Forecasts of tickers that stopped trading within the horizon."""


Remark = Literal["", "best day", "worst day", "requested"]
"""Special day of picks, or none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighborhood:
    """Past entries that are nearest to a pick, one per episode, and the returns that followed them."""

    ticker: str
    """The pick."""
    day: str
    days: tuple[str, ...]
    """Of its n neighbors, the nearest first."""
    tickers: tuple[str, ...]
    distance: Float64
    """shape (n,)."""
    returns: Float64
    """Over the horizon, as known on the day of the pick; shape (n,)."""
    actual: float
    """Return after the pick itself; NaN if unknown."""
    remark: Remark = ""
    regular: bool = True
    """False if its day is on the page for its remark only, and does not count in a mean."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and deviation of one figure over several runs."""

    mean: float
    deviation: float
    """Sample deviation; NaN for a single run."""


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A variant of the run, repeated once or several times: a row of the table of comparisons."""

    name: str
    meaning: str
    runs: int
    final_capital: Spread
    sharpe: Spread
    max_drawdown: Spread


@dataclass(frozen=True, kw_only=True, eq=False)
class Range:
    """The range of equity over many runs, on the sessions of this one."""

    low: Float64
    """shape (S,)."""
    high: Float64
    """shape (S,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Extras:
    """Comparisons on the same days and costs, and other data. Every field is optional.

    Capitals are final capitals after costs, in the currency of the run.
    """

    no_filter: float | None = None
    """The same strategy without a filter."""
    random_filters: Sequence[float] = ()
    """One capital per draw: filters that keep as many candidates each day as the run did, for as long, at random; or
    the same forecasts, given to other tickers."""
    random_range: Range | None = None
    """The middle 95% of the equity of the random filters."""
    test: FilterTest | None = None
    """Test of the filter, or of the forecasts of a run without one."""
    shuffled_clusters: Sequence[float] = ()
    """One capital per draw: the best clusters are drawn at random."""
    phases: Mapping[int, float] = field(default_factory=dict)
    """Sessions from the start to the first signal → capital."""
    phase_range: Range | None = None
    """The middle 95% of the equity of the phases."""
    later: float | None = None
    """The same run with every fill one session later."""
    draws: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """cagr, sharpe and max_drawdown of each of the random filters."""
    references: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The same figures of "no filter", "benchmark" and "shuffled clusters" (the median)."""
    paths: Mapping[str, Float64] = field(default_factory=dict)
    """Equity of variants that were run once ("no filter", "no filter, gross", "lag + 1"), shape (S,)."""
    cost_curve: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    """final_capital and cagr of the same picks by cost of a trade, a fraction of its amount."""
    behavior: Sequence[ClusterBehavior] = ()
    """Entries of each cluster in the sessions of the run."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Group of each ticker."""
    daily_skill: Mapping[int, DailySkill] = field(default_factory=dict)
    """Skill of the forecasts by day, by horizon."""
    alternatives: Sequence[Alternative] = ()
    """Rows of the table of comparisons."""
    seeds: Sequence[float] = ()
    """One capital per seed: the same run with different daily subsets and draws."""
    seed_spreads: Mapping[str, Spread] = field(default_factory=dict)
    """cagr, sharpe and max_drawdown over the seeds."""
    seed_figures: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """cagr, sharpe and max_drawdown of each seed."""
    trials: int | None = None
    """Number of configurations from which this one was chosen."""
    deflated_sharpe: float | None = None
    """Probability that the true Sharpe ratio exceeds the best of N runs without skill (Bailey and López de Prado,
    2014)."""
    expected_best_sharpe: float | None = None
    """Annual Sharpe ratio that the best of N runs without skill is expected to have."""
    overfitting: float | None = None
    """Probability that the best run of one half of the sessions is below the median in the other half."""
    ranking: Sequence[ClusterReturn] = ()
    ranking_horizon: int | None = None
    """Sessions of the returns in `ranking`."""
    cluster_map: ClusterMap | None = None
    """A 2-D projection of the clusters."""
    refits: WalkDrift | None = None
    """Changes of the clusters of a walk from refit to refit."""
    neighborhoods: Sequence[Neighborhood] = ()
    """Of picks of several days, by day."""
    skill: Sequence[Skill] = ()
    """One per horizon, shortest first."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds that each method takes for the same work, as ``{"live": 61.0, "cached": 0.4}``."""
    same_picks: bool | None = None
    """True if all of these methods made the same picks."""
    equal_to: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the ledger of this run and of one that should be equal, by the names of the runs."""
    audit: Sequence[tuple[str, str, str]] = ()
    """Status, name and detail of each test of an audit."""

    def with_defaults(self, other: Extras) -> Extras:
        """Return these extras, with the other's values for the fields that are not given."""
        return replace(other, **self.given)

    @property
    def given(self) -> dict[str, Any]:
        """The fields that have a value."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value
            for name, value in values.items()
            if value is not None and not (hasattr(value, "__len__") and len(value) == 0)
        }


def cluster_returns(
    rows: Sequence[Mapping[str, Any]], best: Sequence[int], selected_share: Float64 | None = None
) -> tuple[ClusterReturn, ...]:
    """Convert the rows of a ranking for the page.

    Args:
        rows: one per cluster, with ``cluster_id``, ``mean_return`` and, if known, ``mean_error``, ``win_rate`` and
            ``win_error``.
        best: ids of the clusters that the filter keeps.
        selected_share: share of bootstrap draws in which each cluster is among the best, by id, shape (k,).

    >>> cluster_returns([{"cluster_id": 7, "mean_return": 0.01}], best=[7])[0].best
    True
    """
    kept = {int(cluster) for cluster in best}
    return tuple(
        ClusterReturn(
            cluster=int(row["cluster_id"]),
            mean_return=float(row["mean_return"]),
            error=row.get("mean_error"),
            win_rate=row.get("win_rate", float("nan")),
            win_error=row.get("win_error"),
            selected_share=float("nan") if selected_share is None else float(selected_share[int(row["cluster_id"])]),
            best=int(row["cluster_id"]) in kept,
        )
        for row in rows
    )
