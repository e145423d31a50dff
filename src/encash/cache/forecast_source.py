"""Forecasts from elsewhere, in place of those of the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from encash.arrays import Bool, Days, Float32, Text
from encash.encoders.base import EncoderSpec


class ForecastSource(Protocol):
    """Gives the forecasts of a lookup: a head on the embeddings, a table of scores, or a mean over caches."""

    @property
    def source(self) -> str:
        """Kind of the source, in a word: head, scores, average."""

    @property
    def fingerprint(self) -> str:
        """Identity of the forecasts (64 hexadecimal digits)."""

    @property
    def horizons(self) -> tuple[int, ...]:
        """Sessions ahead of each of H forecasts; empty: one forecast, for any horizon."""

    @property
    def first_day(self) -> np.datetime64 | None:
        """First day on which the forecasts may be used; None if it is unknown."""

    @property
    def newest_day(self) -> np.datetime64 | None:
        """Last day of the forecasts; None if they are made for any entry."""

    @property
    def needs_vectors(self) -> bool:
        """True if forecasts are made from embeddings."""

    @property
    def encoders(self) -> tuple[EncoderSpec | None, ...]:
        """Encoders whose forecasts are used, other than that of the embeddings; None if one is not recorded."""

    def known(self, days: Days, tickers: Text) -> tuple[Bool, Float32, Float32]:
        """Look up the forecasts of n entries of the cache that need no vectors.

        Returns:
            a mask of the known ones, (n,); forecasts and confidences, (n, H), NaN if not known.
        """

    def forecast(self, days: Days, tickers: Text, vectors: Float32 | None) -> tuple[Float32, Float32]:
        """Forecast n cells (day i, ticker i).

        Args:
            days: shape (n,).
            tickers: shape (n,).
            vectors: embeddings, shape (n, d); None if they are not needed.

        Returns:
            expected returns and confidences, shape (n, H), or (n, 1) without horizons; NaN without a forecast.
        """

    def parts(self, days: Days, tickers: Text, horizon: int) -> dict[str, Float32]:
        """Return the component forecasts of n cells by name, shape (n,) each; empty if there are none."""

    def check_encoder(self, encoder: str) -> None:
        """Refuse embeddings of a different encoder, given its fingerprint.

        Raises:
            MismatchError: forecasts are not made from its embeddings.
        """

    def describe(self, days: Days, tickers: Sequence[str]) -> dict[str, Any]:
        """Return facts for the result of a run on some sessions and tickers, as plain values."""

    def lookahead(self, first_signal: np.datetime64) -> str | None:
        """Explain why forecasts on a day would have look-ahead bias; None if they have none, or if that is unknown."""
