"""What a page may show beside the run itself, as plain values. Knows no file: whoever compared, ranked, clustered or
timed hands over numbers, and what nobody handed over is said to be unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from encash.arrays import Float64

if TYPE_CHECKING:
    from encash.clusters import ClusterMap, WalkDrift


@dataclass(frozen=True, kw_only=True)
class ClusterReturn:
    """What the entries of one cluster earned in the ranking period."""

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
    """Share of bootstrap draws in which it was among the best."""
    best: bool = False
    """Whether the filter keeps it."""


@dataclass(frozen=True, kw_only=True)
class Skill:
    """How the forecasts of one horizon ranked what followed. NaN where something is not defined."""

    horizon: int
    """In sessions."""
    rank_ic: float
    """Mean of the daily rank correlations."""
    rank_ic_t: float = float("nan")
    """Its t-statistic, robust to overlapping returns."""
    rank_icir: float = float("nan")
    """Mean over deviation of the daily rank correlations, not annualised."""
    ic: float = float("nan")
    """Mean of the daily Pearson correlations."""
    days: int | None = None
    quantile_returns: tuple[float, ...] = ()
    """Mean return of each group of tickers by forecast, lowest first."""
    spread_t: float = float("nan")
    """t-statistic of the highest group less the lowest."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One figure of several runs."""

    mean: float
    deviation: float
    """Sample deviation; NaN for a single run."""


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """One way to do it differently, run once or many times: a row of the table of comparisons."""

    name: str
    meaning: str
    runs: int
    final_capital: Spread
    sharpe: Spread
    max_drawdown: Spread


@dataclass(frozen=True, kw_only=True, eq=False)
class Range:
    """The range of equities of many runs, on the sessions of this one."""

    low: Float64
    """shape (S,)."""
    high: Float64
    """shape (S,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Extras:
    """Comparisons on the same days and costs, and whatever else is known. All of it is optional.

    Capitals are final capitals after costs, in the currency of the run.
    """

    no_filter: float | None = None
    """The same strategy without a filter."""
    random_filters: Sequence[float] = ()
    """One capital a draw: filters that keep as many candidates each day as the run did, at random."""
    random_range: Range | None = None
    """The middle 95 % of the equities of the random filters."""
    excess_interval: tuple[float, float] | None = None
    """95 % interval of the yearly excess return over the mean of the random filters."""
    shuffled_clusters: Sequence[float] = ()
    """One capital a draw: which clusters are the best ones is drawn at random."""
    phases: Mapping[int, float] = field(default_factory=dict)
    """Sessions after the start on which the first signal is taken → capital."""
    phase_range: Range | None = None
    """The middle 95 % of the equities of the phases."""
    later: float | None = None
    """The run with every fill one session later than it was."""
    alternatives: Sequence[Alternative] = ()
    """Rows of the table of comparisons."""
    seeds: Sequence[float] = ()
    """One capital a seed: the same run with other daily subsets and draws."""
    trials: int | None = None
    """Configurations tried before this one was shown."""
    deflated_sharpe: float | None = None
    """Probability that the true Sharpe ratio is above what the best of so many worthless runs would show (Bailey and
    López de Prado 2014)."""
    expected_best_sharpe: float | None = None
    """That Sharpe ratio, a year."""
    overfitting: float | None = None
    """Probability that the best run of one half of the sessions is below the median in the other."""
    ranking: Sequence[ClusterReturn] = ()
    ranking_horizon: int | None = None
    """Sessions of the returns in `ranking`."""
    cluster_map: ClusterMap | None = None
    """A plane through the clusters."""
    refits: WalkDrift | None = None
    """How the clusters of a walk change from refit to refit."""
    skill: Sequence[Skill] = ()
    """One a horizon, shortest first."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds of the same work done in several ways, as ``{"live": 61.0, "cached": 0.4}``."""
    same_picks: bool | None = None
    """Whether all of these ways picked the same."""

    def over(self, other: Extras) -> Extras:
        """These, and where they say nothing, the other's."""
        return replace(other, **self._said())

    @property
    def empty(self) -> bool:
        """Whether they say nothing at all."""
        return not self._said()

    def _said(self) -> dict[str, Any]:
        """The fields that hold something."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: value
            for name, value in values.items()
            if value is not None and not (hasattr(value, "__len__") and len(value) == 0)
        }


def cluster_returns(
    rows: Sequence[Mapping[str, Any]], best: Sequence[int], selected_share: Float64 | None = None
) -> tuple[ClusterReturn, ...]:
    """The rows of a ranking as the page draws them.

    Args:
        rows: one a cluster, with ``cluster_id``, ``mean_return`` and, where they are known, ``mean_error``,
            ``win_rate`` and ``win_error``.
        best: ids of the clusters that the filter keeps.
        selected_share: share of bootstrap draws in which each cluster is among the best, by id, shape (k,).

    >>> cluster_returns([{"cluster_id": 7, "mean_return": 0.01}], best=[7])[0].best
    True
    """
    kept = {int(one) for one in best}
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
