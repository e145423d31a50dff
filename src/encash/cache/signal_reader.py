"""The interface through which a backtest reads entries and forecasts: of one encoder, or of walk-forward encoders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from encash.arrays import Bool, Days, Float32, Text
from encash.cache.forecast_source import ForecastSource
from encash.cache.lookup_stats import LookupStats
from encash.encoders.base import EncoderSpec
from encash.progress import Progress

if TYPE_CHECKING:
    from encash.cache.lookup import Signals


class SignalReader(Protocol):
    """Reads cells and counts them; `encash.cache.Lookup` documents the methods."""

    @property
    def horizons(self) -> tuple[int, ...]:
        """Sessions ahead of each forecast; empty if there are none, or one for any horizon."""

    @property
    def forecasts(self) -> ForecastSource | None:
        """Source of the forecasts; None takes those of the cache or the model."""

    @property
    def encoder_spec(self) -> EncoderSpec | None:
        """The encoder; None if not recorded, or if there are several."""

    @property
    def encoder_fingerprint(self) -> str:
        """Identity of the encoder or of all of them; empty if unknown."""

    @property
    def forecast_fingerprint(self) -> str:
        """Identity of the forecasts; empty if unknown."""

    @property
    def training_period(self) -> str | None:
        """Last day of the training, or of each; None if not recorded."""

    @property
    def first_day(self) -> np.datetime64 | None:
        """First day on which the encoders may be used; None for a single one, whose training period says so."""

    @property
    def newest_day(self) -> np.datetime64 | None:
        """Last day that can be read."""

    @property
    def stats(self) -> LookupStats:
        """Counts of all cells that were read so far."""

    def places(self, horizons: Sequence[int]) -> list[int]:
        """Return the columns of the forecasts of some horizons."""

    def read(
        self,
        days: Days,
        tickers: Text,
        *,
        embeddings: bool,
        forecasts: bool = True,
        progress: Progress | None = None,
    ) -> Iterator[Signals]:
        """Read n cells (day i, ticker i), in chunks, in order."""

    def other_forecasts(self, days: Days, tickers: Text, horizon: int) -> dict[str, Float32]:
        """Return forecasts to compare with those of `forecasts`, by name."""

    def describe_forecasts(self, days: Days, tickers: Sequence[str]) -> dict[str, Any]:
        """Return the source of the forecasts of some sessions and tickers, and what is known of it."""

    def valid(self, days: Days, tickers: Text) -> Bool:
        """Return which cells are hits."""
