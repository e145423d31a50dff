"""The inputs of a command – features, prices, a cache, a model – opened on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encash.arrays import DayLike, Days, Float32, Text
from encash.errors import InputError, MismatchError
from encash.progress import Progress
from encash.remote_files import is_there

if TYPE_CHECKING:
    from encash.cache import AverageBy, Cache, CacheReader, ForecastSource, Lookup
    from encash.clusters import CacheEntries
    from encash.encoders import Encoder, EncoderSpec
    from encash.panel import Panel, PriceTable

BATCH_DAYS = 64
"""Days per batch of entries."""
Loading = Callable[[], AbstractContextManager[Progress | None]]
"""Returns a context manager whose value receives the progress of loading a model."""


def run_here(load: Callable[[], Encoder]) -> Encoder:
    """Load a model in this process."""
    return load()


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Paths and options of the inputs; nothing is opened before a method is called."""

    data: str | Path | None = None
    """Features, HDF5; text is a URL."""
    prices: str | Path | None = None
    """Prices, HDF5; text is a URL."""
    price_columns: tuple[str, ...] = ("open",)
    """Columns of the prices to read beside the closes, if the file has them."""
    cache: str | None = None
    as_of: int | str | None = None
    """Version or tag of the cache to read; None for the newest."""
    model: str | None = None
    encoders: Path | None = None
    """A list of encoders that change in the course of time, instead of one cache, model and head."""
    head: Path | None = None
    """A folder of `encash head fit`: its forecasts replace those of the encoder."""
    scores: str | Path | None = None
    """A table of date, ticker and score: they replace the forecasts of the encoder."""
    average: tuple[str, ...] = ()
    """More caches: the mean of their forecasts and of those of `cache` replaces them."""
    average_by: AverageBy = "value"
    ensemble_models: tuple[str, ...] = ()
    """More models; their forecasts are averaged with those of `model`."""
    device: str = "auto"
    engine: str = "auto"
    default_engine: str = "auto"
    """The engine of a checkpoint if `engine` is auto."""
    precision: str = "auto"
    batch_size: int | None = None
    lookback: int | None = None
    default_lookback: int | None = None
    """Sessions per window if neither `lookback` nor the model says; None takes the cache's, else 60. If given, the
    cache does not decide."""
    pooling: str | None = None
    bin_edges: str | Path | None = None
    bin_unit: str | None = None
    """Unit of the bin edges; None infers it, or takes that of the cache."""
    model_config: Path | None = None
    """A JSON file with the config of weights that have none."""
    ignore_keys: tuple[str, ...] = ()
    """Weights of a checkpoint, or parts of the model, that are left out."""
    loading: Loading = nullcontext

    def panel(self) -> Panel | None:
        """Open the features, with prices if both are named; None without features."""
        from encash.panel import open_panel

        return None if self.data is None else open_panel(self.data, self.prices, price_columns=self.price_columns)

    def the_panel(self) -> Panel:
        """Open the panel.

        Raises:
            InputError: no features were named.
        """
        if (panel := self.panel()) is None:
            raise InputError("no features were named; give --data F")
        return panel

    def price_table(self) -> PriceTable:
        """Open the prices.

        Raises:
            InputError: no prices were named.
        """
        from encash.panel import open_prices

        if self.prices is None:
            raise InputError("no prices were named; give --prices P")
        return open_prices(self.prices, columns=self.price_columns)

    def open_cache(self) -> Cache | None:
        """Open the cache; None if none was named."""
        from encash.cache import open_cache

        return None if self.cache is None else open_cache(self.cache, version=self.as_of)

    def the_cache(self) -> Cache:
        """Open the cache, which must be named.

        Raises:
            InputError: no cache was named.
        """
        if (cache := self.open_cache()) is None:
            raise InputError("no cache was named; give --cache C")
        return cache

    def encoder(
        self, cache: Cache | None = None, where: Callable[[Callable[[], Encoder]], Encoder] = run_here
    ) -> Encoder:
        """Load the model.

        Engine, precision and pooling are those of the cache that the encoder will fill or serve. Without a cache,
        engine and precision are chosen by a measurement on windows of the data. The window is the cache's if it was
        built from this very file; for a different model it counts only if the model does not state its window.

        Args:
            cache: the cache that the encoder will fill or serve.
            where: called with a function that loads and measures the model, and returns its result, or an encoder that
                stands for it if it runs in a different process.

        Raises:
            InputError: no model was named.
            MismatchError: model and cache have different windows.
        """
        known = cache.encoder_spec if cache is not None and cache.exists else None
        options = self if known is None else self.like(known)
        encoder = where(options._load)
        if cache is None or known is None or encoder.spec.lookback == known.lookback:
            return encoder
        if self.lookback is None and self.default_lookback is None and cache.recognizes(encoder):
            return replace(self, lookback=known.lookback).encoder(cache, where)
        raise MismatchError(
            f"{self.model} reads windows of {encoder.spec.lookback} sessions, the cache {cache.path} was built with "
            f"windows of {known.lookback}; give the model that built the cache, its lookback, or a different cache"
        )

    def _load(self) -> Encoder:
        """Load the model with these options, on a sample of the data if they are here."""
        from encash.encoders import DEFAULT_LOOKBACK, Ensemble, is_checkpoint, load_encoder
        from encash.panel import sample_windows

        if self.model is None:
            raise InputError("no model was named; give --model M")
        sampled = self.data is not None and is_there(self.data)  # a machine that runs a model may have no data
        with self.loading() as progress:
            members = [
                load_encoder(
                    model,
                    device=self.device,
                    engine=self.default_engine if self.engine == "auto" and is_checkpoint(model) else self.engine,
                    precision=self.precision,
                    batch_size=self.batch_size,
                    lookback=self.lookback,
                    default_lookback=self.default_lookback or DEFAULT_LOOKBACK,
                    bin_edges=self.bin_edges,
                    bin_unit=self.bin_unit,
                    pooling=self.pooling or "mean",
                    model_config=self.model_config,
                    ignore_keys=self.ignore_keys,
                    feature_names=self.the_panel().feature_names if sampled and "?" in model else None,
                    sample=(lambda sessions: sample_windows(self.the_panel(), sessions)) if sampled else None,
                    progress=progress,
                )
                for model in (self.model, *self.ensemble_models)
            ]
        return members[0] if len(members) == 1 else Ensemble(members)

    def lookup(self, panel: Panel | None, cache: Cache | None) -> Lookup:
        """Return the lookup that a backtest reads through.

        A model file that the cache recognizes is loaded only at the first miss.

        Raises:
            MismatchError: the cache was built with a different model, or the head fitted on a different encoder.
            InputError: both a head and scores.
        """
        if self.model is None:
            return self._lookup(panel, cache)
        if cache is not None and not self._differs(cache) and cache.recognizes(self.model):
            return self._lookup(panel, cache, encoder=lambda: self.encoder(cache))
        return self.lookup_through(self.encoder(cache), panel, cache)

    def lookup_through(self, encoder: Encoder, panel: Panel | None, cache: Cache | None) -> Lookup:
        """Return the lookup through a loaded encoder.

        Raises:
            MismatchError: as `lookup`.
        """
        if cache is not None:
            cache.check(encoder.spec)
        return self._lookup(panel, cache, encoder=lambda: encoder, spec=encoder.spec)

    def _lookup(self, panel: Panel | None, cache: Cache | None, **options: Any) -> Lookup:
        from encash.cache import Lookup

        forecasts = self.forecasts(cache, panel)
        found = Lookup(cache=cache, panel=panel, forecasts=forecasts, **options)
        if forecasts is not None and (spec := found.encoder_spec) is not None:
            forecasts.check_encoder(spec.fingerprint)
        return found

    def forecasts(self, cache: Cache | None, panel: Panel | None = None) -> ForecastSource | None:
        """Open what replaces the forecasts of the encoder: a head, with its stored forecasts of a cache, scores, or the
        mean over several caches, whose entries are compared with a panel.

        Raises:
            InputError: more than one is named, an average without a cache, or a kind of average without one.
        """
        named = {"--head": self.head, "--scores": self.scores, "--average": self.average or None}
        if len(given := [flag for flag, value in named.items() if value is not None]) > 1:
            raise InputError(f"{' and '.join(given)} each give forecasts; give one of them")
        if self.average:
            return self._average(cache, panel)
        if self.average_by != "value":
            raise InputError(
                f"--average-by {self.average_by} is for --average, which is not given; give more caches too"
            )
        if self.head is not None:
            from encash.heads import load_head, with_stored_forecasts

            head = load_head(self.head)
            if cache is None or not cache.exists or not cache.verified:
                return head
            return with_stored_forecasts(self.head, head, entries_of(cache))
        if self.scores is not None:
            from encash.panel import read_scores

            return read_scores(self.scores)
        return None

    def _average(self, cache: Cache | None, panel: Panel | None) -> ForecastSource:
        """Open the caches whose forecasts are averaged.

        Raises:
            InputError: no cache, one that is named twice, or as `AverageForecasts`.
        """
        from encash.cache import AverageForecasts, Lookup, open_cache

        if cache is None or self.cache is None:
            raise InputError(
                "--average takes the mean of the forecasts of --cache and of further caches; give --cache C"
            )
        names = (self.cache, *self.average)
        if len(set(names)) < len(names):
            raise InputError(f"a cache is named twice: {', '.join(names)}; name each once")
        caches = {self.cache: cache, **{name: open_cache(name) for name in self.average}}
        return AverageForecasts(
            {name: Lookup(cache=one, panel=panel) for name, one in caches.items()}, by=self.average_by
        )

    def like(self, spec: EncoderSpec) -> Sources:
        """Return the same sources with engine, precision, window, pooling and bin unit of a spec, if no flag sets
        them."""
        from encash.encoders import ENGINES, is_checkpoint
        from encash.encoders.bins import unit_of_rule

        agrees = self.engine in ("auto", spec.engine) and self.precision in ("auto", spec.precision)
        checkpoint = self.model is not None and is_checkpoint(self.model)
        taken = agrees and checkpoint
        return replace(
            self,
            default_engine=spec.engine if taken and spec.engine in ENGINES else self.default_engine,
            precision=spec.precision if taken else self.precision,
            default_lookback=self.default_lookback or spec.lookback,
            pooling=self.pooling or (None if spec.pooling == "model" else spec.pooling),
            bin_unit=self.bin_unit or (unit_of_rule(spec.forecast_rule) if checkpoint and not self.bin_edges else None),
        )

    def _differs(self, cache: Cache) -> bool:
        """Return True if the options may make an encoder or forecasts that differ from the cache's."""
        known = cache.encoder_spec
        options = {
            "lookback": self.lookback or self.default_lookback,
            "engine": self.engine,
            "precision": self.precision,
            "pooling": self.pooling,
        }
        changed = [name for name, value in options.items() if value not in (None, "auto", getattr(known, name, None))]
        given = self.ensemble_models or self.bin_edges or self.bin_unit or self.model_config or self.ignore_keys
        return bool(given or changed)


def the_only_cache() -> str:
    """Return the cache of the working folder.

    Raises:
        InputError: there is none, or more than one; the message names them.
    """
    found = sorted(str(path) for path in Path().glob("*.lance"))
    if len(found) != 1:
        there = f"there are several here ({', '.join(found)})" if found else "there is no *.lance here"
        raise InputError(f"no cache was named, and {there}; give --cache C")
    return found[0]


def encoder_fingerprint(cache: Cache) -> str:
    """Return the fingerprint of the encoder that built a cache; empty if not recorded."""
    return "" if cache.encoder_spec is None else cache.encoder_spec.fingerprint


def cached_batches(
    cache: CacheReader, start: DayLike | None, end: DayLike | None, *, progress: Progress | None = None
) -> Iterator[tuple[Days, Text, Float32]]:
    """Yield the entries of a range as (days, tickers, vectors), many days at a time; progress counts entries.

    Raises:
        FormatError: an entry is not what was written.
    """
    days = iter(cache.days(start, end, checked=True))
    done, total = 0, 0 if progress is None else cache.count(start, end)
    while batch := list(islice(days, BATCH_DAYS)):
        sessions, tickers, vectors = zip(*batch, strict=True)
        counts = [len(names) for names in tickers]
        done += sum(counts)
        if progress is not None:
            progress(done, total)
        entry_days = np.repeat(np.array(sessions, dtype="datetime64[D]"), counts)
        yield entry_days, np.concatenate(tickers), np.concatenate(vectors)


def entries_of(cache: Cache) -> CacheEntries:
    """Return the entries of a cache as clusters and heads read them."""
    from encash.clusters import CacheEntries

    snapshot = cache.snapshot()
    fingerprint, vectors = snapshot.spec.fingerprint, snapshot.store.reader_of_vectors(checked=True)
    return CacheEntries(index=snapshot.index(), vectors=vectors, cache=fingerprint, version=snapshot.version)
