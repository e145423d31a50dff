"""Neighbors of the picks of a run: similar past windows, and what followed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encash import clusters, report
from encash.arrays import Bool, Days, Float32, Float64, Text
from encash.errors import InputError, MismatchError
from encash.pipeline.clusters import missing_entry

if TYPE_CHECKING:
    from encash.cache import Cache
    from encash.metrics import Delisting
    from encash.panel import PriceTable

_PICKS, _HITS, _FOUND = 6, 12, 200
"""Picks of a day, episodes per pick, and entries that are searched for them."""
_MOST_PICKS = 300
"""Picks of all days together, which take about 400 KB of the page."""
_EMBARGO = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class _Picks:
    """n entries whose neighbors are wanted, by day, then ticker."""

    days: Days
    """shape (n,)."""
    tickers: Text
    """shape (n,)."""

    def __len__(self) -> int:
        return len(self.days)

    def take(self, rows: Bool) -> _Picks:
        return _Picks(days=self.days[rows], tickers=self.tickers[rows])

    def as_neighbors(self) -> clusters.Neighbors:
        return clusters.Neighbors(days=self.days, tickers=self.tickers, distance=np.zeros(len(self)))


def neighborhoods(
    run: report.Run, cache_path: str, prices_path: str | Path, *, days: Sequence[str] = (), tickers: Sequence[str] = ()
) -> tuple[report.Neighborhood, ...]:
    """Find the neighbors of the picks of a run; a pick without an entry or a past has none.

    All rebalances are shown if they have at most 300 picks, otherwise days at equal distances, the best and
    the worst one. Nothing looks ahead: the return of a neighbor ended before the day of the pick, and is computed from
    prices up to that day.

    Args:
        run: the run.
        cache_path: its cache.
        prices_path: its prices.
        days: days that are shown in any case, YYYY-MM-DD.
        tickers: what is shown on these days, instead of the picks.

    Raises:
        InputError: a day without picks, and no tickers.
        MismatchError: the cache of a different encoder.
        UnknownKeyError: the cache has no entry of a ticker on one of these days.
    """
    import encash

    cache, prices, horizon = encash.open_cache(cache_path), encash.open_prices(prices_path), run.horizon or 1
    _check_encoder(run, cache, cache_path)
    policy: Delisting = run.config.get("delisting", "last")
    asked = np.unique(np.array(days, dtype="datetime64[D]"))
    picks = _requested(_picks_of(run), cache, asked, tickers)
    actual = clusters.neighbor_returns(picks.as_neighbors(), prices, (horizon,), delisting=policy)[:, 0]
    regular, remarks = _days_to_show(picks.days, actual, asked)
    rows = np.isin(picks.days, np.concatenate([regular, np.array(list(remarks), dtype="datetime64[D]")]))
    picks, actual = picks.take(rows), actual[rows]
    return tuple(
        report.Neighborhood(
            ticker=str(picks.tickers[at]),
            day=str(picks.days[at]),
            days=tuple(map(str, near.days)),
            tickers=tuple(map(str, near.tickers)),
            distance=near.distance,
            returns=_known_returns(near, prices, picks.days[at], horizon, policy),
            actual=float(actual[at]),
            remark=remarks.get(picks.days[at], ""),
            regular=picks.days[at] in regular and remarks.get(picks.days[at]) != "requested",
        )
        for at, near in _search(cache, prices, picks, max(_EMBARGO, horizon + 1))
    )


def _check_encoder(run: report.Run, cache: Cache, path: str) -> None:
    """Refuse a cache of an encoder other than the one of the run, as far as both are known."""
    recorded, spec = run.fingerprints.get("encoder"), cache.encoder_spec
    if recorded and spec is not None and spec.fingerprint != recorded:
        raise MismatchError(
            f"{path} is a cache of the encoder {spec.fingerprint[:12]}…, and {run.name} used {recorded[:12]}…; "
            "give the cache of the run"
        )


def _picks_of(run: report.Run) -> _Picks:
    """Return the picks of a run, the first six tickers of each day."""
    candidates, picked = run.candidates, run.candidates.picked
    days, tickers = candidates.days[picked], np.asarray(candidates.names or [""])[candidates.ticker[picked]]
    order = np.lexsort((tickers, days))
    days, tickers = days[order], tickers[order]
    place = np.arange(len(days)) - np.searchsorted(days, days)
    return _Picks(days=days, tickers=tickers).take(place < _PICKS)


def _requested(picks: _Picks, cache: Cache, asked: Days, tickers: Sequence[str]) -> _Picks:
    """Replace the picks of the requested days by the requested tickers, if any."""
    if not tickers:
        if len(without := asked[~np.isin(asked, picks.days)]):
            raise InputError(f"the run picked nothing on {without[0]}; give the day of a rebalance, or also --ticker")
        return picks
    for day in asked:
        found = cache.get(day, tickers)[1]
        if not found.all():
            raise missing_entry(cache, tickers[int(np.argmin(found))], day)
    others = picks.take(~np.isin(picks.days, asked))
    names = np.asarray(sorted(set(tickers)))
    days = np.concatenate([others.days, np.repeat(asked, len(names))])
    both = np.concatenate([others.tickers, np.tile(names, len(asked))])
    order = np.lexsort((both, days))
    return _Picks(days=days[order], tickers=both[order])


def _days_to_show(days: Days, returns: Float64, asked: Days) -> tuple[Days, dict[np.datetime64, report.Remark]]:
    """Return days at equal distances, all if there are few picks, and remarks on these and on other days to show.

    Args:
        days: of the picks, ascending; shape (n,).
        returns: what followed them, shape (n,).
        asked: days that are shown in any case.
    """
    every, first, count = np.unique(days, return_index=True, return_counts=True)
    if not len(every):
        return every, {}
    most = len(every) if len(days) <= _MOST_PICKS else max(2, _MOST_PICKS // int(count.max()))
    regular = every[np.unique(np.linspace(0, len(every) - 1, most).round().astype(np.int64))]
    known = np.isfinite(returns)
    number, total = (np.add.reduceat(values, first) for values in (known.astype(np.int64), np.where(known, returns, 0)))
    remarks = dict[np.datetime64, report.Remark]()
    if number.any():
        mean = np.where(number > 0, total / np.maximum(number, 1), np.nan)
        remarks |= {every[np.nanargmax(mean)]: "best day", every[np.nanargmin(mean)]: "worst day"}
    remarks |= dict.fromkeys(asked, "requested")
    return regular, remarks


def _search(cache: Cache, prices: PriceTable, picks: _Picks, embargo: int) -> list[tuple[int, clusters.Neighbors]]:
    """Find the neighbors of each pick in one pass over the cache: (its place, one neighbor per episode)."""
    vectors, known, last_days = list[Float32](), list[int](), list[np.datetime64]()
    for day in np.unique(picks.days):
        if np.searchsorted(prices.days, day) < embargo:
            continue
        rows = np.flatnonzero(picks.days == day)
        found_vectors, found = cache.get(day, picks.tickers[rows].tolist(), checked=True)
        vectors.append(found_vectors[found])
        known += rows[found].tolist()
        last_days += [clusters.last_known_day(prices.days, day, embargo)] * int(found.sum())
    if not known:
        return []
    nearest = cache.nearest_to_each(np.concatenate(vectors), _FOUND, last_days=np.array(last_days), checked=True)
    found_of = (
        (at, clusters.Neighbors(days=days, tickers=tickers, distance=distance))
        for at, (days, tickers, distance) in zip(known, nearest, strict=True)
        if len(days)
    )
    return [(at, clusters.one_per_episode(near, prices.days, _EMBARGO).first(_HITS)) for at, near in found_of]


def _known_returns(
    near: clusters.Neighbors, prices: PriceTable, day: np.datetime64, horizon: int, policy: Delisting
) -> Float64:
    """Return what followed each neighbor, from prices up to a day."""
    priced = tuple(sorted(set(near.tickers.tolist()) & set(prices.tickers)))
    known = prices.as_of(day).select(priced)
    return clusters.neighbor_returns(near, known, (horizon,), delisting=policy)[:, 0]
