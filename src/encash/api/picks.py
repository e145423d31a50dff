"""The picks of one day from Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

import encash.backtest as engine
from encash import pipeline
from encash.api.clusters import Clusters, Walk
from encash.api.heads import FittedHead
from encash.api.inputs import CacheLike, GroupsLike, ModelLike, PanelLike, PricesLike, ScoresLike
from encash.api.runs import open_run
from encash.api.signatures import with_settings
from encash.api.tables import Table, Tabular
from encash.arguments import typed
from encash.arrays import DayLike, to_day
from encash.cache import staleness
from encash.clusters import CandidateFilter
from encash.display import Shown

LATEST: Literal["latest"] = "latest"
SHOWN = ("ticker", "score", "forecast", "confidence", "cluster", "weight")
"""Columns of a pick in JSON."""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Picks(Shown, Tabular):
    """The filtered, ranked top-k of one day."""

    date: np.datetime64
    inputs: engine.BacktestInputs
    candidates: engine.PickTable
    """All candidates of the day."""
    age_sessions: int
    """Sessions of the prices after the day."""
    staleness: str
    """Comparison of the entries with the present data: "checked" or "not checked"."""
    stale: int | None
    """Entries that no longer belong to the data, and were not used as they are; None if not checked."""

    @property
    def table(self) -> Table:
        """The picks, best first: ticker, forecast, confidence, cluster, score, weight."""
        chosen = self.candidates.picked_first().columns()
        return Table(
            {name: chosen[name] for name in ("ticker", "forecast", "confidence", "cluster", "score", "weight")}
        )

    def to_json(self) -> dict[str, Any]:
        """Return what ``encash picks --json`` prints of the picks."""
        chosen = self.table
        rows = zip(*(chosen[name].tolist() for name in SHOWN), strict=True)
        return {
            "date": str(self.date),
            "candidates": len(self.candidates),
            "kept": int(self.candidates.kept.sum()),
            "staleness": self.staleness,
            "stale": self.stale,
            "age_sessions": self.age_sessions,
            "ranking_prices": engine.ranking_prices_of(self.inputs),
            "picks": [dict(zip(SHOWN, row, strict=True)) for row in rows],
        }

    def title(self) -> str:
        """Return one sentence."""
        kept = int(self.candidates.kept.sum())
        return f"{self.date}: {', '.join(self.table['ticker'].tolist()) or 'nothing'}, of {kept} candidates kept"

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return each pick, and the state of the entries."""
        rows = zip(*(self.table[name].tolist() for name in ("ticker", "forecast", "weight")), strict=True)
        state = self.staleness if self.stale is None else f"{self.staleness}, {self.stale:,} stale"
        picks = [(name, f"forecast {forecast:+.2%}, weight {weight:.1%}") for name, forecast, weight in rows]
        return [*picks, ("staleness", state)]


@with_settings(engine.BacktestConfig, pipeline.FilterChoice, pipeline.Sources)
@typed
def picks(
    *,
    date: DayLike | Literal["latest"] = LATEST,
    prices: PricesLike | None = None,
    cache: CacheLike | None = None,
    panel: PanelLike | None = None,
    clusters: Clusters | Walk | str | Path | None = None,
    filter: CandidateFilter | str | None = None,
    head: FittedHead | str | Path | None = None,
    scores: ScoresLike | None = None,
    model: ModelLike | None = None,
    groups: GroupsLike | None = None,
    tickers: Iterable[str] | None = None,
    membership: str | Path | None = None,
    **settings: Any,
) -> Picks:
    """Return the filtered, ranked top-k of one day.

    Args:
        date: a session, or "latest": the last one with entries.
        prices: prices; those of the panel if None.
        cache: the cache with the forecasts.
        panel: features: entries are compared with them.
        clusters: clusters with a ranking, or a walk.
        filter: as `encash.backtest` takes it.
        head: a head whose forecasts replace those of the encoder.
        scores: a table of scores that replace them.
        model: encodes what the cache does not have.
        groups: a CSV file of ``ticker,group``, or what `encash.backtest.read_groups` made of it.
        tickers: candidates; all with prices if None.
        membership: a file of the days on which each ticker may be bought, in place of `tickers`.
        settings: as `encash.backtest` takes them.

    Raises:
        InputError: a day that is not a session, or no entries.
        LookaheadError: the clusters, head or encoder have seen the day.

    Example::

        chosen = encash.picks(prices="prices.h5", cache="cache.lance", panel="features.h5", top_k=3)
        chosen.table.to_pandas()
    """
    config, inputs = open_run(
        settings, filter=filter, clusters=clusters, groups=groups, tickers=tickers, membership=membership,
        prices=prices, cache=cache, panel=panel, head=head, scores=scores, model=model,
    )  # fmt: skip
    day = engine.latest_session(inputs) if isinstance(date, str) and date == LATEST else to_day(date)
    table, stats = engine.picks_of_day(config, inputs, day), inputs.lookup.stats
    return Picks(
        date=day,
        inputs=inputs,
        candidates=table,
        age_sessions=int((inputs.prices.days > day).sum()),
        staleness=staleness(stats),
        stale=stats.stale,
    )
