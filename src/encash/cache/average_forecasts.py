"""Forecasts averaged over several caches, in place of those of one encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from encash.arrays import Bool, Days, Float32, Float64, Int64, Text, positions
from encash.cache.lookup import Lookup
from encash.encoders.base import EncoderSpec
from encash.errors import InputError
from encash.fingerprint import fingerprint
from encash.metrics import ranks

AverageBy = Literal["value", "rank"]


class AverageForecasts:
    """The mean of the forecasts of several caches; a cell without an entry in one of them has no forecast.

    By value, it is the mean of expected returns. By rank, each cache ranks all tickers that all caches have on the day,
    from −0.5 to 0.5, and the mean of these ranks is a score without a unit: encoders whose forecasts differ in scale
    count equally. No model is loaded: an entry that is missing or stale in a cache counts as missing.
    """

    source = "average"
    needs_vectors = False
    first_day = None
    """Unknown here: the training periods of `encoders` say so."""

    def __init__(self, lookups: Mapping[str, Lookup], by: AverageBy = "value"):
        """Average the forecasts of some caches.

        Args:
            lookups: of each cache by its name, without a model.
            by: value or rank.

        Raises:
            InputError: fewer than two caches, an unknown mean, no horizon in common, or a cache whose forecasts are
                those of a different one.
        """
        if len(lookups) < 2:
            raise InputError(f"an average of {len(lookups)} cache; give two or more different ones")
        if by not in get_args(AverageBy):
            raise InputError(f"invalid mean {by!r}: expected {' or '.join(get_args(AverageBy))}")
        self.by: AverageBy = by
        self._lookups = dict(lookups)
        self._check_distinct()
        common = set.intersection(*(set(one.horizons) for one in lookups.values()))
        if not common:
            listed = "; ".join(
                f"{name}: {', '.join(map(str, one.horizons)) or 'none'}" for name, one in lookups.items()
            )
            raise InputError(f"the caches have no horizon of forecasts in common ({listed})")
        self.horizons = tuple(sorted(common))
        every = [one.tickers for one in lookups.values()]
        self._tickers: Text = np.array(
            sorted(set.intersection(*(set(names.tolist()) for names in every))), dtype=np.str_
        )

    @property
    def fingerprint(self) -> str:
        """Identity: the forecasts of each encoder, and the mean (64 hexadecimal digits)."""
        return fingerprint(["average", self.by, sorted(one.forecast_fingerprint for one in self._lookups.values())])

    @property
    def newest_day(self) -> np.datetime64 | None:
        """Last day on which all caches have entries."""
        days = [one.newest_day for one in self._lookups.values()]
        return min((day for day in days if day is not None), default=None)

    @property
    def encoders(self) -> tuple[EncoderSpec | None, ...]:
        """The encoder of each cache; None if it is not recorded."""
        return tuple(one.encoder_spec for one in self._lookups.values())

    def known(self, days: Days, tickers: Text) -> tuple[Bool, Float32, Float32]:
        """Return a mask that is True for all n cells, and forecasts and confidences as `forecast` does, (n, H)."""
        return np.ones(len(days), dtype=np.bool_), *self.forecast(days, tickers)

    def forecast(self, days: Days, tickers: Text, vectors: Float32 | None = None) -> tuple[Float32, Float32]:
        """Average n cells (day i, ticker i): shape (n, H) each, NaN without an entry in every cache."""
        each = [self._read(one, days, tickers) for one in self._lookups.values()]
        confidence = np.mean([found for _, found in each], axis=0)
        if self.by == "value":
            return np.mean([found for found, _ in each], axis=0).astype(np.float32), confidence.astype(np.float32)
        return self._mean_ranks(days, tickers).astype(np.float32), confidence.astype(np.float32)

    def parts(self, days: Days, tickers: Text, horizon: int) -> dict[str, Float32]:
        """Return the forecasts of each cache, shape (n,) each, NaN without an entry."""
        place = self.horizons.index(horizon)
        each = {name: self._read(one, days, tickers)[0][:, place] for name, one in self._lookups.items()}
        return {name: found.astype(np.float32) for name, found in each.items()}

    def check_encoder(self, encoder: str) -> None:
        """Accept any encoder: the average is not made from embeddings."""

    def lookahead(self, first_signal: np.datetime64) -> str | None:
        """Return None: the training periods of `encoders` are compared like that of any encoder."""
        return None

    def describe(self, days: Days, tickers: Sequence[str]) -> dict[str, Any]:
        """Return the mean, and encoder and training period of each cache."""
        rows = [
            {"cache": name, "encoder": one.encoder_fingerprint, "train_end": one.training_period}
            for name, one in self._lookups.items()
        ]
        return {"by": self.by, "caches": rows}

    def _check_distinct(self) -> None:
        names: dict[str, str] = {}
        for name, one in self._lookups.items():
            if (found := one.forecast_fingerprint) and found in names:
                raise InputError(
                    f"{name} and {names[found]} hold the forecasts of one encoder, which would count twice; leave one "
                    "of them out"
                )
            names[found] = name

    def _read(self, lookup: Lookup, days: Days, tickers: Text) -> tuple[Float64, Float64]:
        """Read forecasts and confidences of n cells, shape (n, H) each."""
        places = lookup.places(self.horizons)
        found = np.full((2, len(days), len(places)), np.nan)
        for chunk in lookup.read(days, tickers, embeddings=False):
            rows = slice(chunk.start, chunk.stop)
            found[0, rows], found[1, rows] = chunk.forecast[:, places], chunk.confidence[:, places]
        return found[0], found[1]

    def _mean_ranks(self, days: Days, tickers: Text) -> Float64:
        """Average the ranks of n cells among all tickers of their day that every cache has, shape (n, H)."""
        sessions, row = np.unique(days, return_inverse=True)
        column: Int64 = positions(self._tickers, tickers)
        shape = (len(sessions), len(self._tickers), len(self.horizons))
        cells = np.repeat(sessions, len(self._tickers)), np.tile(self._tickers, len(sessions))
        grids = np.stack([self._read(one, *cells)[0].reshape(shape) for one in self._lookups.values()])
        grids[:, np.isnan(grids).any(axis=0)] = np.nan
        mean = np.empty(shape)
        for place in range(len(self.horizons)):
            rank = np.mean([ranks(grid[:, :, place]) for grid in grids], axis=0)
            counts = np.maximum(np.isfinite(rank).sum(axis=1, keepdims=True), 1)
            mean[:, :, place] = (rank - 0.5) / counts - 0.5
        found: Float64 = np.where((column >= 0)[:, None], mean[row, column], np.nan)
        return found
