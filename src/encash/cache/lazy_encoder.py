"""The encoder of a lookup: loaded when the first cell needs it, then checked against the cache."""

from __future__ import annotations

from collections.abc import Callable

from encash.cache.identity import UNVERIFIED, check_encoder, encoder_of, is_unverified
from encash.cache.lookup_stats import LookupStats
from encash.cache.reader import CacheReader
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import InputError, MismatchError
from encash.panel.panel import Panel


class LazyEncoder:
    """An encoder that is loaded at most once."""

    def __init__(
        self,
        make: Callable[[], Encoder] | None,
        *,
        spec: EncoderSpec | None,
        cache: CacheReader | None,
        panel: Panel | None,
        write_back: bool,
        stats: LookupStats,
    ):
        """Trust a spec and a cache until the model is loaded.

        Raises:
            MismatchError: the cache belongs to a different encoder, or does not record which.
        """
        self._make, self._spec, self._cache, self._panel = make, spec, cache, panel
        self._write_back, self._stats = write_back, stats
        self._encoder: Encoder | None = None
        self._served_forecasts = False
        if cache is not None:
            self._check_cache(cache)

    @property
    def given(self) -> bool:
        """True if there is a model at all."""
        return self._make is not None

    @property
    def stated(self) -> EncoderSpec | None:
        """The spec as far as it is known without loading the model: the one given, else the cache's."""
        if self._spec is not None or self._cache is None:
            return self._spec
        return encoder_of(self._cache.spec)

    @property
    def spec(self) -> EncoderSpec | None:
        """The encoder of the signals: the cache's if there is one, which does not load the model; None if not
        recorded."""
        if self._encoder is None and self._cache is not None:
            return self.stated
        return self._known()

    @property
    def horizons(self) -> tuple[int, ...]:
        """Sessions ahead of each forecast; loads the model only if the cache holds no forecasts of it."""
        if (cached := self._cached_horizons()) is not None:
            return cached
        spec = self._known()
        return () if spec is None else spec.horizons

    @property
    def dim(self) -> int:
        """Length of an embedding; loads the model only without a cache."""
        return self._cache.spec.dim if self._cache is not None else self.load().spec.dim

    def load(self) -> Encoder:
        """Return the encoder, loaded once and checked against the cache."""
        if self._encoder is not None:
            return self._encoder
        if self._make is None:
            raise InputError("an entry must be encoded, and no model was given; give --model")
        encoder = self._make()
        self._stats.model_loaded = True
        panel = self.panel
        encoder.spec.check_features(panel.num_features, panel.feature_names)
        if self._cache is not None:
            self._check_loaded(self._cache, encoder.spec)
        self._encoder = encoder
        return encoder

    @property
    def panel(self) -> Panel:
        """The panel to encode.

        Raises:
            InputError: there is none.
        """
        if self._panel is None:
            raise InputError("an entry must be encoded, and no panel was given; give --data")
        return self._panel

    def choose_forecasts(self) -> bool:
        """Decide whether forecasts come from the cache; if not, they come from the model.

        Raises:
            MismatchError: neither has any.
        """
        if self._cached_horizons() is not None:
            self._served_forecasts = True
            return True
        if not self.horizons:
            raise MismatchError(
                "forecasts are needed, and neither the cache nor a model has any; give the model (--model) that built "
                "the cache, or one that forecasts"
            )
        return False

    def _cached_horizons(self) -> tuple[int, ...] | None:
        """Return the horizons of the cached forecasts; None without any, or if the encoder makes different ones."""
        if self._cache is None or not self._cache.spec.horizons:
            return None
        spec = self._encoder.spec if self._encoder is not None else self._spec
        if spec is not None and spec.forecast_fingerprint != self._cache.spec.forecast_fingerprint:
            return None
        return self._cache.spec.horizons

    def _known(self) -> EncoderSpec | None:
        if self._encoder is not None:
            return self._encoder.spec
        if self._spec is not None:
            return self._spec
        return None if self._make is None else self.load().spec

    def _check_cache(self, cache: CacheReader) -> None:
        if is_unverified(cache.spec):
            if UNVERIFIED not in (cache.spec.notes or {}):
                raise MismatchError(
                    f"{cache.path} does not record which model made it; import it (encash cache import {cache.path} "
                    "CACHE.lance --trust) and let `encash cache verify` compare it with the model"
                )
            self._stats.verified = False
        elif self._spec is not None:
            check_encoder(cache.spec, self._spec)

    def _check_loaded(self, cache: CacheReader, spec: EncoderSpec) -> None:
        if not is_unverified(cache.spec):
            check_encoder(cache.spec, spec, forecasts=self._served_forecasts or self._write_back)
        elif spec.dim != cache.spec.dim:
            raise MismatchError(f"the cache holds vectors of length {cache.spec.dim}, the model makes {spec.dim}")
        elif self._write_back:
            raise MismatchError("cannot write back to a cache that does not record its model; verify it first")
