"""What a piece of work reads – features, prices, a cache, a model – opened when it is asked for. Knows the rooms of
these by their public names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encash.arrays import DayLike, Days, Float32, Text
from encash.errors import InputError, MismatchError
from encash.progress import Progress

if TYPE_CHECKING:
    from encash.cache import Cache, Lookup
    from encash.encoders import Encoder, EncoderSpec
    from encash.panel import Panel, PriceTable

BATCH_DAYS = 64
"""Days whose entries are given at once."""
Loading = Callable[[], AbstractContextManager[Progress | None]]
"""Gives what is told, while a model is loaded, how far it is."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a piece of work finds what it reads; nothing is opened before it is asked for."""

    data: Path | None = None
    """Features, HDF5."""
    prices: Path | None = None
    """Prices, HDF5."""
    cache: str | None = None
    as_of: int | str | None = None
    """A version or tag of the cache to read as of; None for the newest."""
    model: str | None = None
    ensemble_models: tuple[str, ...] = ()
    """Further models whose forecasts are averaged with those of `model`."""
    device: str = "auto"
    engine: str = "auto"
    default_engine: str = "auto"
    """What runs a checkpoint where `engine` is auto."""
    precision: str = "auto"
    batch_size: int | None = None
    lookback: int | None = None
    default_lookback: int | None = None
    """Sessions in a window where neither `lookback` nor the model says; None takes the cache's, else 60. Where it is
    given, no cache decides."""
    pooling: str | None = None
    bin_edges: str | Path | None = None
    loading: Loading = nullcontext

    def panel(self) -> Panel | None:
        """Features, with prices where both are given; None without features."""
        from encash.panel import open_panel

        return None if self.data is None else open_panel(self.data, prices=self.prices)

    def the_panel(self) -> Panel:
        """The panel, which must be given.

        Raises:
            InputError: no features were named.
        """
        if (panel := self.panel()) is None:
            raise InputError("no features were named; give --data F")
        return panel

    def price_table(self) -> PriceTable:
        """The prices, which must be given.

        Raises:
            InputError: no prices were named.
        """
        from encash.panel import open_prices

        if self.prices is None:
            raise InputError("no prices were named; give --prices P")
        return open_prices(self.prices)

    def open_cache(self) -> Cache | None:
        """The cache; None where none was named."""
        from encash.cache import open_cache

        return None if self.cache is None else open_cache(self.cache, version=self.as_of)

    def the_cache(self) -> Cache:
        """The cache, which must be given.

        Raises:
            InputError: no cache was named.
        """
        if (cache := self.open_cache()) is None:
            raise InputError("no cache was named; give --cache C")
        return cache

    def encoder(self, cache: Cache | None = None) -> Encoder:
        """Load the model, in the engine and precision and with the pooling of the cache that it is to fill or to stand
        in for; without one, engine and precision are chosen on windows of the data. The window is the cache's too, if
        it was built from this very file; of another model it counts only where that states none itself.

        Raises:
            InputError: no model was named.
            MismatchError: the model has another window than the cache.
        """
        from encash.encoders import DEFAULT_LOOKBACK, Ensemble, is_checkpoint, load_encoder

        if self.model is None:
            raise InputError("no model was named; give --model M")
        known = cache.encoder_spec if cache is not None and cache.exists else None
        asked = self if known is None else self.like(known)
        with self.loading() as progress:
            members = [
                load_encoder(
                    model,
                    device=self.device,
                    engine=asked.default_engine if asked.engine == "auto" and is_checkpoint(model) else asked.engine,
                    precision=asked.precision,
                    batch_size=self.batch_size,
                    lookback=self.lookback,
                    default_lookback=asked.default_lookback or DEFAULT_LOOKBACK,
                    bin_edges=self.bin_edges,
                    pooling=asked.pooling or "mean",
                    sample=self._sample if self.data is not None else None,
                    progress=progress,
                )
                for model in (self.model, *self.ensemble_models)
            ]
        encoder = members[0] if len(members) == 1 else Ensemble(members)
        if cache is None or known is None or encoder.spec.lookback == known.lookback:
            return encoder
        if self.lookback is None and self.default_lookback is None and cache.recognizes(encoder):
            return replace(self, lookback=known.lookback).encoder(cache)
        raise _other_lookback(self.model, encoder.spec.lookback, cache, known.lookback)

    def lookup(self, panel: Panel | None, cache: Cache | None) -> Lookup:
        """What a backtest reads through. A model file that the cache recognizes is not loaded before a miss needs it.

        Raises:
            MismatchError: the cache was built with another model.
        """
        from encash.cache import Lookup

        if self.model is None:
            return Lookup(cache=cache, panel=panel)
        if cache is not None and not self._asks_otherwise(cache) and cache.recognizes(self.model):
            return Lookup(cache=cache, panel=panel, encoder=lambda: self.encoder(cache))
        encoder = self.encoder(cache)
        if cache is not None:
            cache.check(encoder.spec)
        return Lookup(cache=cache, panel=panel, encoder=lambda: encoder, spec=encoder.spec)

    def like(self, spec: EncoderSpec) -> Sources:
        """The same sources; what neither a flag nor the model says of engine, precision, window and pooling is as in a
        spec."""
        from encash.encoders import ENGINES, is_checkpoint

        agrees = self.engine in ("auto", spec.engine) and self.precision in ("auto", spec.precision)
        taken = agrees and self.model is not None and is_checkpoint(self.model)
        return replace(
            self,
            default_engine=spec.engine if taken and spec.engine in ENGINES else self.default_engine,
            precision=spec.precision if taken else self.precision,
            default_lookback=self.default_lookback or spec.lookback,
            pooling=self.pooling or (None if spec.pooling == "model" else spec.pooling),
        )

    def _sample(self, lookback: int) -> Float32:
        from encash.panel import sample_windows

        return sample_windows(self.the_panel(), lookback)

    def _asks_otherwise(self, cache: Cache) -> bool:
        """Whether these make another encoder of the model than the cache's, or might make other forecasts of it."""
        known = cache.encoder_spec
        asked = {
            "lookback": self.lookback or self.default_lookback,
            "engine": self.engine,
            "precision": self.precision,
            "pooling": self.pooling,
        }
        other = [name for name, value in asked.items() if value not in (None, "auto", getattr(known, name, None))]
        return bool(self.ensemble_models or self.bin_edges or other)


def the_only_cache() -> str:
    """The cache of the working folder, if that has just one.

    Raises:
        InputError: none, or several: the message names them.
    """
    found = sorted(str(path) for path in Path().glob("*.lance"))
    if len(found) != 1:
        named = f"there are several caches here ({', '.join(found)})" if found else "there is no *.lance here"
        raise InputError(f"no cache was named and {named}; give --cache C")
    return found[0]


def encoder_fingerprint(cache: Cache) -> str:
    """Identity of the encoder that made a cache; empty where nobody wrote it down."""
    return "" if cache.encoder_spec is None else cache.encoder_spec.fingerprint


def cached_batches(
    cache: Cache, start: DayLike | None, end: DayLike | None, *, progress: Progress | None = None
) -> Iterator[tuple[Days, Text, Float32]]:
    """The entries of a range as (days, tickers, vectors), many days at a time; progress is told in entries."""
    pending: list[tuple[Days, Text, Float32]] = []
    done, total = 0, 0 if progress is None else cache.count(start, end)
    for day, tickers, vectors in cache.days(start, end):
        pending.append((np.full(len(tickers), day, dtype="datetime64[D]"), tickers, vectors))
        done += len(tickers)
        if progress is not None:
            progress(done, total)
        if len(pending) == BATCH_DAYS:
            yield _joined(pending)
            pending = []
    if pending:
        yield _joined(pending)


def _other_lookback(model: str, lookback: int, cache: Cache, cached: int) -> MismatchError:
    """Why a model whose windows have another length than those that the cache was made from is refused."""
    return MismatchError(
        f"{model} reads windows of {lookback} sessions, the cache {cache.path} was built with windows of {cached}; "
        "give the model that built the cache, the lookback it was built with, or another cache"
    )


def _joined(parts: list[tuple[Days, Text, Float32]]) -> tuple[Days, Text, Float32]:
    days, tickers, vectors = zip(*parts, strict=True)
    return np.concatenate(days), np.concatenate(tickers), np.concatenate(vectors)
