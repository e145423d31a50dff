"""Walk-forward encoders: on each day the newest one that may be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from encash.arrays import Bool, Days, Float32, Int64, Text
from encash.cache.lookup import Lookup, Signals
from encash.cache.lookup_stats import LookupStats
from encash.errors import InputError
from encash.fingerprint import fingerprint
from encash.progress import Progress


class LookupByPeriod:
    """Reads each cell through the lookup of its day: the last one that has begun.

    A day before the first one is read through the first, which a backtest refuses as look-ahead. Vectors of different
    periods may differ in length; a chunk belongs to one period.
    """

    forecasts = None
    """Each lookup has its own source."""
    encoder_spec = None
    """There are several."""

    def __init__(self, lookups: Sequence[Lookup], first_days: Days):
        """Read through some lookups.

        Args:
            lookups: P of them, in order.
            first_days: first day of each, ascending; shape (P,).

        Raises:
            InputError: none, days that are not ascending, or no horizon that all of them forecast.
        """
        if not lookups or len(lookups) != len(first_days) or (np.diff(first_days) <= np.timedelta64(0, "D")).any():
            raise InputError("expected one or more encoders, each usable from a later day than the one before")
        self._lookups, self._first_days = tuple(lookups), first_days
        common = set.intersection(*(set(one.horizons) for one in lookups))
        if not common:
            listed = "; ".join(", ".join(map(str, one.horizons)) or "none" for one in lookups)
            raise InputError(f"the encoders have no horizon of forecasts in common ({listed}); fit heads of the same")
        self.horizons = tuple(sorted(common))

    def __repr__(self) -> str:
        """Show how many encoders there are, and what was read."""
        return f"Lookup in {len(self._lookups)} encoders from {self.first_day} on: {self.stats}"

    @property
    def first_day(self) -> np.datetime64:
        """First day on which the first encoder may be used."""
        day: np.datetime64 = self._first_days[0]
        return day

    @property
    def newest_day(self) -> np.datetime64 | None:
        """Last day that can be read: of the newest encoder."""
        return self._lookups[-1].newest_day

    @property
    def encoder_fingerprint(self) -> str:
        """Identity of all encoders and their first days."""
        return self._identity([one.encoder_fingerprint for one in self._lookups])

    @property
    def forecast_fingerprint(self) -> str:
        """Identity of all forecasts and their first days."""
        return self._identity([one.forecast_fingerprint for one in self._lookups])

    @property
    def training_period(self) -> str | None:
        """Last day of the training of each encoder; None if one is not recorded."""
        ends = [one.training_period for one in self._lookups]
        return None if None in ends else ", ".join(end for end in ends if end is not None)

    @property
    def stats(self) -> LookupStats:
        """Sums of the counts of all lookups; stale is None if one of them cannot compare."""
        each = [one.stats for one in self._lookups]
        total = LookupStats()
        for part in fields(LookupStats):
            values = [getattr(stats, part.name) for stats in each]
            flag = {"verified": all, "model_loaded": any}.get(part.name)
            value = flag(values) if flag else None if None in values else sum(values)
            setattr(total, part.name, value)
        return total

    def places(self, horizons: Sequence[int]) -> list[int]:
        """Return the columns of the forecasts of some horizons.

        Raises:
            InputError: an encoder without forecasts for a horizon.
        """
        for one in self._lookups:
            one.places(horizons)
        return [self.horizons.index(horizon) for horizon in horizons]

    def read(
        self,
        days: Days,
        tickers: Text,
        *,
        embeddings: bool,
        forecasts: bool = True,
        progress: Progress | None = None,
    ) -> Iterator[Signals]:
        """Read n cells (day i, ticker i), in chunks, in order; errors as `Lookup.read`."""
        for number, start, stop in self._segments(days):
            own = self._lookups[number]
            columns = own.places(self.horizons)
            report = None if progress is None else _shifted(progress, start, len(days))
            part = slice(start, stop)
            for chunk in own.read(
                days[part], tickers[part], embeddings=embeddings, forecasts=forecasts, progress=report
            ):
                yield replace(
                    chunk,
                    start=chunk.start + start,
                    stop=chunk.stop + start,
                    forecast=chunk.forecast[:, columns] if forecasts else chunk.forecast,
                    confidence=chunk.confidence[:, columns] if forecasts else chunk.confidence,
                )

    def other_forecasts(self, days: Days, tickers: Text, horizon: int) -> dict[str, Float32]:
        """Return forecasts for comparison, as `Lookup.other_forecasts`: those that every encoder has."""
        segments = list(self._segments(days))
        found = [
            self._lookups[number].other_forecasts(days[start:stop], tickers[start:stop], horizon)
            for number, start, stop in segments
        ]
        names = set.intersection(*(set(one) for one in found)) if found else set()
        return {name: np.concatenate([one[name] for one in found]) for name in sorted(names)}

    def describe_forecasts(self, days: Days, tickers: Sequence[str]) -> dict[str, Any]:
        """Return the source of the forecasts of some sessions and tickers, as `Lookup.describe_forecasts`.

        Facts are those of the newest lookup of each source. If there are several sources, it is ``mixed``.
        """
        found = dict[str, Any]()
        sources = set[str]()
        for number, start, stop in self._segments(days):
            found |= self._lookups[number].describe_forecasts(days[start:stop], tickers)
            sources.add(found["forecast_source"])
        return found if len(sources) == 1 else found | {"forecast_source": "mixed"}

    def valid(self, days: Days, tickers: Text) -> Bool:
        """Return which cells (day i, ticker i) are hits, shape (n,)."""
        hits = np.zeros(len(days), dtype=np.bool_)
        for number, start, stop in self._segments(days):
            hits[start:stop] = self._lookups[number].valid(days[start:stop], tickers[start:stop])
        return hits

    def _segments(self, days: Days) -> Iterator[tuple[int, int, int]]:
        """Yield number, start and stop of each run of cells of one period."""
        active: Int64 = np.searchsorted(self._first_days[1:], days, side="right").astype(np.int64)
        bounds = np.flatnonzero(np.diff(active, prepend=-1, append=-1))
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            yield int(active[start]), start, stop

    def _identity(self, parts: list[str]) -> str:
        return fingerprint([[str(day), part] for day, part in zip(self._first_days, parts, strict=True)])


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    """Return the progress of one of several periods."""
    return lambda done, _: progress(before + done, total)
