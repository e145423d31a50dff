"""The embeddings cache of the guide: built as HDF5 or Lance, read alone or merged, and the bin edges it goes with."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from encash import pipeline
from encash.errors import InputError, MismatchError
from encash.legacy_workflow.defaults import SEQ_LEN, Announce
from encash.pipeline import Sources
from encash.progress import Progress
from encash.store.local.lock import file_writer
from encash.store.locator import HDF5_SUFFIXES

if TYPE_CHECKING:
    from encash.cache import BuildReport, Selection

BINS = 100
EDGES_FILE = "adaptive_bin_edges.pt"


def build_cache(
    sources: Sources, selection: Selection, *, say: Announce, progress: Progress | None = None
) -> BuildReport:
    """Build a cache: in place for .lance, through a temporary Lance cache for .h5.

    An HDF5 file cannot be written safely in place. Entries are committed to a Lance cache beside it, block by block,
    and the HDF5 file is exported from that and replaced atomically. An interrupted build resumes from the Lance cache,
    and the older file stays until then. A build that is refused leaves nothing beside the file.

    Raises:
        MismatchError: an existing file does not record which model made it.
        ConflictError: a different process is building this file.
    """
    assert sources.cache is not None
    target = Path(sources.cache)
    sources = with_bin_edges(with_defaults(sources), say)
    if tickers := selection.describe(sources.the_panel().tickers):
        say(tickers)
    if target.suffix.lower() not in HDF5_SUFFIXES:
        return pipeline.build_cache(sources, selection, progress=progress)
    with file_writer(target, "build"):
        return _build_hdf5(target, sources, selection, progress)


def _build_hdf5(target: Path, sources: Sources, selection: Selection, progress: Progress | None) -> BuildReport:
    """Build an HDF5 cache through a Lance cache beside it; the caller holds the lock of the file."""
    from encash.cache import export_hdf5, open_cache

    beside = target.with_name(f"{target.name}.lance")
    shutil.rmtree(_part(beside), ignore_errors=True)
    continued = beside.exists()
    if target.exists() and not continued:
        _import_whole(target, beside)
    try:
        report = pipeline.build_cache(replace(sources, cache=str(beside)), selection, progress=progress)
    except InputError:
        if not continued:
            _remove_whole(beside)
        raise
    if not report.failed:
        export_hdf5(open_cache(beside), target)
        _remove_whole(beside)
    return report


def _import_whole(target: Path, beside: Path) -> None:
    """Import a file into the cache beside it, which has all its entries or does not exist: a build would continue from
    a part of them, and then replace the file."""
    from encash.cache import import_hdf5, open_cache

    if open_cache(target).encoder_spec is None:
        raise MismatchError(
            f"{target} exists and does not record which model made it, so it is neither continued nor overwritten; "
            "give a different --output-path, or move it away"
        )
    import_hdf5(target, _part(beside))
    if _part(beside).exists():  # a file without entries makes no cache
        _part(beside).rename(beside)


def _remove_whole(beside: Path) -> None:
    """Remove a cache so that no build continues from a part of it."""
    if beside.exists():
        beside.rename(_part(beside))
        shutil.rmtree(_part(beside), ignore_errors=True)


def _part(beside: Path) -> Path:
    """Return the name of a cache that is not whole yet, or no longer."""
    return beside.with_name(f".{beside.stem}.part.lance")


def with_defaults(sources: Sources) -> Sources:
    """Set the window to 60 sessions unless a flag or the model defines it, and the precision to float32 unless a flag
    or a cache does.

    The guide's clusters are fitted without a cache, and all commands must load the same encoder. So none of them
    measures which precision is the fastest, or takes its window from a cache.
    """
    sources = replace(sources, default_lookback=SEQ_LEN)
    cache = sources.open_cache()
    known = cache is not None and cache.exists and cache.encoder_spec is not None
    return sources if known or sources.precision != "auto" else replace(sources, precision="float32")


def with_bin_edges(sources: Sources, say: Announce) -> Sources:
    """Use the bin edges that the cache was built with, else those of the model, else those beside the data, and equal
    bins from −25% to +25% for a classifier without any; a flag that names some precedes all of them.

    The rule becomes part of the encoder's forecast fingerprint.
    """
    from encash.encoders.bins import UNIFORM

    if sources.bin_edges is not None:
        return sources
    cache = sources.open_cache()
    known = None if cache is None or not cache.exists else cache.encoder_spec
    if known is not None and known.horizons:
        return _with_edges_of_rule(sources, known.forecast_rule)
    if sources.encoder(cache).spec.horizons:
        return sources
    if (beside := _edges_beside_data(sources)) is not None:
        say(f"bin edges: {beside} (--bin-edges); forecasts are returns")
        return replace(sources, bin_edges=beside)
    say("no bin edges were found: forecasts are returns from equal bins of -25% to +25% (--bin-edges)")
    return replace(sources, bin_edges=UNIFORM)


def _with_edges_of_rule(sources: Sources, rule: str) -> Sources:
    """Name the bin edges of a cache's forecast rule, if they are not those of the model."""
    from encash.encoders.bins import UNIFORM, uniform_edges, unit_of_rule

    if rule == uniform_edges(BINS).rule:
        return replace(sources, bin_edges=UNIFORM)
    unit, beside = sources.bin_unit or unit_of_rule(rule), _edges_beside_data(sources)
    if unit is None or beside is None:
        return sources
    from encash.encoders.torch.files import read_edges

    return replace(sources, bin_edges=beside, bin_unit=unit) if read_edges(beside, unit=unit).rule == rule else sources


def _edges_beside_data(sources: Sources) -> Path | None:
    """Return the file of bin edges in the folder of the features, if there is one; none is looked for at a URL."""
    found = sources.data.with_name(EDGES_FILE) if isinstance(sources.data, Path) else None
    return found if found is not None and found.is_file() else None


@contextmanager
def merged_cache(caches: Sequence[str]) -> Iterator[str | None]:
    """Yield one cache, or several merged into a temporary one; None without any.

    Raises:
        MismatchError: the caches are of different models, or differ under one key.
    """
    if len(caches) < 2:
        yield caches[0] if caches else None
        return
    from encash.cache import merge_caches

    with tempfile.TemporaryDirectory(prefix="encash-") as folder:
        merged = str(Path(folder) / "merged.lance")
        merge_caches(caches, merged)
        yield merged
