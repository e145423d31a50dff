"""Caches, from a model and data: planned, built, checked, listed. Knows panel, encoders and cache by their public
names."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from encash.errors import EncashError, MismatchError
from encash.pipeline.sources import Sources
from encash.progress import Progress, rate_text

if TYPE_CHECKING:
    from encash.cache import BuildReport, Cache, Plan, Selection, VerifyReport
    from encash.encoders import Encoder
    from encash.panel import Panel


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How a cache is built."""

    dtype: str | None = None
    least_agreement: float | None = None
    """What a new cache narrower than float32 must keep; None takes the cache's own measure."""
    executor: str = "local"
    workers: int | None = None
    renew: bool = False
    """Look at what the cache is of, and at nothing that was never built."""
    say: Callable[[str], None] = field(default=lambda text: None)
    """Told in one line which engine, precision and batch size were chosen, and why."""
    warn: Callable[[str], None] = field(default=lambda text: None)
    """Told what the cache will lack."""


def plan_build(
    sources: Sources,
    selection: Selection,
    *,
    dtype: str | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> Plan:
    """What a build would do; the model is loaded to know what it is, nothing is encoded.

    Args:
        sources: the model, the data and the cache.
        selection: days and tickers.
        dtype: how vectors are kept; None takes the cache's, float32 for a new one.
        warn: told what the cache will lack.
    """
    cache = sources.the_cache()
    encoder = _measured(sources.encoder(cache))
    _say_without_forecasts(encoder, warn)
    return cache.plan(sources.the_panel(), encoder, selection, dtype=dtype)


def build_cache(
    sources: Sources, selection: Selection, options: BuildOptions | None = None, *, progress: Progress | None = None
) -> BuildReport:
    """Make every missing or stale entry of a selection valid."""
    options = options or BuildOptions()
    cache, panel = sources.the_cache(), sources.the_panel()
    encoder = _measured(sources.encoder(cache))
    encoder.notify = options.say
    if options.renew and cache.exists:
        selection = _renewal(cache, panel, encoder, selection, options.warn)
    _say_without_forecasts(encoder, options.warn)
    said, rate = encoder.choice, encoder.entries_per_second
    options.say(said if rate is None or "entries/s" in said else f"{said} ({rate_text(rate)} entries/s)")
    how: dict[str, Any] = {"dtype": options.dtype, "progress": progress}
    how |= {} if options.least_agreement is None else {"least_agreement": options.least_agreement}
    if options.executor == "local":
        return cache.build(panel, encoder, selection, **how)
    from encash.cache.executors.ray import RayExecutor

    # The workers take engine, precision and batch as they were chosen here: measured again, they might be others. They
    # do not see the cache either, which may have settled the window; and they show nothing.
    same = replace(
        sources.like(encoder.spec),
        lookback=encoder.spec.lookback,
        batch_size=encoder.batch_size,
        loading=nullcontext,
    )
    with RayExecutor(same.encoder, workers=options.workers, say=options.say) as executor:
        return cache.build(panel, encoder, selection, executor=executor, **how)


def verify_cache(
    sources: Sources, *, sample: int | Literal["all"] | None, drop: bool = False, progress: Progress | None = None
) -> VerifyReport:
    """Check a cache against itself, the data and the model, as far as these are named.

    A cache without provenance of which every entry is what the model makes is from then on known to be the model's.
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
    """One cache of a folder, in a line."""

    path: str
    encoder: str = ""
    """Fingerprint; empty where nobody knows which it was."""
    models: int = 0
    """Model files that the cache is known to come from."""
    dim: int | None = None
    dtype: str | None = None
    entries: int | None = None
    first: str | None = None
    last: str | None = None
    belongs: bool | None = None
    """Whether the model in question made it; None without one."""
    problem: str = ""
    """Why it cannot be read, where it cannot."""


def list_caches(folder: Path, sources: Sources) -> list[ListedCache]:
    """The caches of a folder; where the sources name a model, which of them it made. It is loaded where no cache knows
    its file.

    Raises:
        MissingFileError: no such folder.
    """
    from encash.cache import cache_paths, open_cache

    caches: dict[str, Cache | str] = {}
    for path in cache_paths(folder):
        try:
            caches[path] = open_cache(path)
        except EncashError as error:
            caches[path] = str(error)
    sound = [cache for cache in caches.values() if not isinstance(cache, str)]
    model = sources.model
    own = [] if model is None else [cache.path for cache in sound if cache.recognizes(model)]
    if model is not None and not own:
        own = [cache.path for cache in sound if _made_by(cache, sources)]
    return [_listed(path, cache, None if model is None else path in own) for path, cache in caches.items()]


def _made_by(cache: Cache, sources: Sources) -> bool:
    """Whether the model, loaded as the cache says, is the one that made it."""
    try:
        cache.check(sources.encoder(cache).spec)
    except MismatchError:
        return False
    return True


def _listed(path: str, cache: Cache | str, belongs: bool | None) -> ListedCache:
    if isinstance(cache, str):
        return ListedCache(path=path, problem=cache)
    try:
        info = cache.info()
    except EncashError as error:
        return ListedCache(path=path, belongs=belongs, problem=str(error))
    return ListedCache(
        path=path,
        encoder=info.encoder,
        models=cache.model_files,
        dim=info.dim,
        dtype=info.dtype,
        entries=info.entries,
        first=info.first,
        last=info.last,
        belongs=belongs,
    )


def _measured(encoder: Encoder) -> Encoder:
    """The same encoder, its entries a second measured: on a few windows, and on a whole batch if these were quick."""
    if encoder.entries_per_second is not None:  # known since it was chosen
        return encoder
    for count in (1, min(8, encoder.batch_size), encoder.batch_size):  # the first call is slower than all others
        windows = np.zeros((count, encoder.spec.lookback, encoder.spec.num_features), dtype=np.float32)
        began = time.perf_counter()
        encoder.encode(windows)
        encoder.entries_per_second = count / (time.perf_counter() - began)
        if count > 1 and encoder.batch_size / encoder.entries_per_second > 1.0:
            break
    return encoder


def _renewal(
    cache: Cache, panel: Panel, encoder: Encoder, selection: Selection, warn: Callable[[str], None]
) -> Selection:
    """What an update looks at."""
    from encash.cache import renewal

    selection, left_out = renewal(panel, encoder.spec, cache.index(), selection)
    if left_out:
        warn(f"{left_out:,} tickers of the data were never in this cache and are left out: `encash build` adds them")
    return selection


def _say_without_forecasts(encoder: Encoder, warn: Callable[[str], None]) -> None:
    from encash.encoders.bins import NO_EDGES

    if encoder.spec.forecast_rule == NO_EDGES:
        warn("no forecasts: the checkpoint has no bin edges (--bin-edges F)")
    elif not encoder.spec.horizons:
        warn(f"no forecasts: the model has none ({encoder.spec.forecast_rule}); the cache will hold embeddings alone")
