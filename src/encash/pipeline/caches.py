"""Plan, build, verify and list caches, from a model and data."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from encash.encoders.registry import LOADERS
from encash.errors import EncashError, MismatchError
from encash.pipeline.sources import Sources, run_here
from encash.progress import Progress, rate_text
from encash.remote_files import pinned

if TYPE_CHECKING:
    from encash.cache import BuildReport, Cache, Plan, Selection, VerifyReport
    from encash.cache.executors.ray import RayExecutor, RayWorkers
    from encash.encoders import Encoder


def _ignore(text: str) -> None:
    """Ignore a message."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Options of a build."""

    dtype: str | None = None
    least_agreement: float | None = None
    """Agreement that a new cache narrower than float32 must preserve; None takes `encash.cache.LEAST_AGREEMENT`."""
    executor: str = "local"
    workers: int | None = None
    ray_wait: float | None = None
    """Seconds that a Ray worker may take to start; None takes 120."""
    renew: bool = False
    """Update what the cache covers, instead of building a selection."""
    say: Callable[[str], None] = field(default=_ignore)
    """Called with one line each: the tickers, if only a number of them is selected; the engine, precision and batch
    size that were chosen, and the reason."""
    warn: Callable[[str], None] = field(default=_ignore)
    """Called with one line for each thing that the cache will lack."""


def plan_build(
    sources: Sources,
    selection: Selection,
    *,
    dtype: str | None = None,
    warn: Callable[[str], None] = _ignore,
    say: Callable[[str], None] = _ignore,
) -> Plan:
    """Plan a build. The model is loaded to identify it and to measure its speed; no entry is encoded.

    Args:
        sources: the model, the data and the cache.
        selection: days and tickers.
        dtype: type of the stored vectors; None takes the cache's, float32 for a new one.
        warn: called with one line for each thing that the cache will lack.
        say: called with one line if only a number of tickers is selected.
    """
    cache = sources.the_cache()
    if tickers := selection.describe(sources.the_panel().tickers):
        say(tickers)
    encoder = _loaded(sources, cache, warn)
    return cache.plan(sources.the_panel(), encoder, selection, dtype=dtype)


def build_cache(
    sources: Sources, selection: Selection, options: BuildOptions | None = None, *, progress: Progress | None = None
) -> BuildReport:
    """Make every missing or stale entry of a selection valid.

    On Ray, the model is loaded and measured in the first worker, and not in this process.
    """
    from encash.cache import renewal

    options = options or BuildOptions()
    cache, panel = sources.the_cache(), sources.the_panel()
    if tickers := selection.describe(panel.tickers):
        options.say(tickers)
    with ExitStack() as stack:
        workers = None if options.executor == "local" else stack.enter_context(_ray_workers(sources, options))
        if workers is not None:
            sources = _anywhere(sources)
        encoder = _loaded(sources, cache, options.warn, run_here if workers is None else workers.load_first)
        encoder.notify = options.say
        if options.renew and cache.exists:
            selection, left_out = renewal(panel, encoder.spec, cache.index(), selection)
            if left_out:
                options.warn(
                    f"{left_out:,} tickers of the data were never in this cache and are left out: `encash build` adds "
                    "them"
                )
        rate, chosen = encoder.entries_per_second, encoder.choice
        options.say(chosen if rate is None or "entries/s" in chosen else f"{chosen} ({rate_text(rate)} entries/s)")
        executor = None
        if workers is not None:
            executor = stack.enter_context(_ray_executor(sources, encoder, workers, options))
        keywords: dict[str, Any] = {"dtype": options.dtype, "progress": progress, "executor": executor}
        if options.least_agreement is not None:
            keywords["least_agreement"] = options.least_agreement
        return cache.build(panel, encoder, selection, **keywords)


def _ray_workers(sources: Sources, options: BuildOptions) -> RayWorkers:
    from encash.cache.executors.ray import RayWorkers

    waiting = {} if options.ray_wait is None else {"wait_seconds": options.ray_wait}
    return RayWorkers(options.workers, use_gpus=sources.device != "cpu", say=options.say, **waiting)


def _ray_executor(sources: Sources, encoder: Encoder, workers: RayWorkers, options: BuildOptions) -> RayExecutor:
    """Return an executor whose workers get the engine, precision, batch and window that the first one has.

    A measurement of their own might choose others, and they do not see the cache, which may have decided the window.
    """
    from encash.cache.executors.ray import RayExecutor

    same = replace(sources.like(encoder.spec), lookback=encoder.spec.lookback, batch_size=encoder.batch_size)
    return RayExecutor(same.encoder, workers=workers, say=options.say)


def _anywhere(sources: Sources) -> Sources:
    """Return the same sources for a process with a different working folder, without progress."""
    model, others = sources.model and _absolute(sources.model), tuple(map(_absolute, sources.ensemble_models))
    given = {name: getattr(sources, name) for name in ("bin_edges", "model_config")}
    paths: dict[str, Any] = {name: Path(path).resolve() for name, path in given.items() if path is not None}
    data = None if sources.data is None else pinned(sources.data)
    return replace(sources, data=data, model=model, ensemble_models=others, loading=nullcontext, **paths)


def _absolute(model: str) -> str:
    """Return a model that is a file or a folder, or names one after its scheme, by absolute path."""
    if Path(model).exists():
        return str(Path(model).resolve())
    scheme, colon, folder = model.partition(":")
    return f"{scheme}:{Path(folder).resolve()}" if scheme + colon in LOADERS else model


def verify_cache(
    sources: Sources, *, sample: int | Literal["all"] | None, drop: bool = False, progress: Progress | None = None
) -> VerifyReport:
    """Check a cache against itself, and against the data and the model if they are named.

    If every entry of a cache without provenance agrees with the model, the cache is recorded as the model's.
    """
    from encash.cache import adopt

    cache, panel = sources.the_cache(), sources.panel()
    encoder = None if sources.model is None else sources.encoder(cache)
    report = cache.verify(panel, encoder, sample=sample, drop=drop, progress=progress)
    proven = report.passed and report.verified and report.sampled > 0 and cache.store.writable
    if panel is not None and encoder is not None and proven:
        adopt(cache.store, panel, encoder, report)
    return report


@dataclass(frozen=True, kw_only=True)
class ListedCache:
    """Summary of one cache of a folder."""

    path: str
    encoder: str = ""
    """Fingerprint; empty if not recorded."""
    models: int = 0
    """Number of model files that the cache is known to come from."""
    dim: int | None = None
    dtype: str | None = None
    entries: int | None = None
    first: str | None = None
    last: str | None = None
    belongs: bool | None = None
    """True if the named model built it; None without a model."""
    problem: str = ""
    """The error, if it cannot be read."""


def list_caches(folder: Path, sources: Sources) -> list[ListedCache]:
    """List the caches of a folder; if the sources name a model, mark the caches that it built.

    The model is loaded only if no cache recognizes its file.

    Raises:
        MissingFileError: no such folder.
    """
    from encash.cache import cache_paths, open_cache

    caches: dict[str, Cache | EncashError] = {}
    for path in cache_paths(folder):
        try:
            caches[path] = open_cache(path)
        except EncashError as error:
            caches[path] = error
    readable = [cache for cache in caches.values() if not isinstance(cache, EncashError)]
    own: set[str] | None = None
    if (model := sources.model) is not None:
        own = {cache.path for cache in readable if cache.recognizes(model)}
        own = own or {cache.path for cache in readable if _built_by(cache, sources)}
    return [_listed(path, cache, None if own is None else path in own) for path, cache in caches.items()]


def _built_by(cache: Cache, sources: Sources) -> bool:
    """Load the model with the options of a cache, and compare it with the one that built the cache."""
    try:
        cache.check(sources.encoder(cache).spec)
    except MismatchError:
        return False
    return True


def _listed(path: str, cache: Cache | EncashError, belongs: bool | None) -> ListedCache:
    if isinstance(cache, EncashError):
        return ListedCache(path=path, problem=str(cache))
    try:
        info = cache.info()
    except EncashError as error:
        return ListedCache(path=path, belongs=belongs, problem=str(error))
    shown = {name: getattr(info, name) for name in ("encoder", "dim", "dtype", "entries", "first", "last")}
    return ListedCache(path=path, models=cache.model_files, belongs=belongs, **shown)


def _loaded(
    sources: Sources,
    cache: Cache,
    warn: Callable[[str], None],
    where: Callable[[Callable[[], Encoder]], Encoder] = run_here,
) -> Encoder:
    """Load the encoder, measure its entries per second if they are not known, and warn if it makes no forecasts."""
    from encash.encoders.bins import NO_EDGES

    encoder = sources.encoder(cache, lambda load: where(partial(_measured, load)))
    if encoder.spec.forecast_rule == NO_EDGES:
        warn("no forecasts: the checkpoint has no bin edges (--bin-edges F)")
    elif not encoder.spec.horizons:
        warn(f"no forecasts: the model has none ({encoder.spec.forecast_rule}); the cache will hold only embeddings")
    return encoder


def load_measured(sources: Sources) -> Encoder:
    """Load a model for no cache, and measure its entries per second if that was not done."""
    return sources.encoder(None, lambda load: run_here(partial(_measured, load)))


def _measured(load: Callable[[], Encoder]) -> Encoder:
    """Load a model, and measure it if that was not done."""
    encoder = load()
    if encoder.entries_per_second is None:
        _measure(encoder)
    return encoder


def _measure(encoder: Encoder) -> None:
    """Measure entries per second on a few windows, and on a whole batch if it takes less than a second."""
    for count in (1, min(8, encoder.batch_size), encoder.batch_size):  # the first call is slower than all others
        windows = np.zeros((count, encoder.spec.lookback, encoder.spec.num_features), dtype=np.float32)
        began = time.perf_counter()
        encoder.encode(windows)
        encoder.entries_per_second = count / (time.perf_counter() - began)
        if count > 1 and encoder.batch_size / encoder.entries_per_second > 1.0:
            break
