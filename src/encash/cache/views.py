"""Where people want to go from a cache: Arrow, xarray, torch. Each is imported when it is asked for. Knows caches;
computes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from encash.arrays import DayLike, Float32
from encash.errors import InputError, MissingExtraError
from encash.store.base import Entries, StoreSpec

if TYPE_CHECKING:
    import pyarrow as pa

    from encash.cache.cache import Cache


def arrow_reader(spec: StoreSpec, scan: Callable[[], Iterator[Entries]]) -> pa.RecordBatchReader:
    """Entries as Arrow batches: date, ticker, digest, embedding, forecast, confidence (lists of fixed length)."""
    import pyarrow as pa  # noqa: PLC0415 - takes a tenth of a second to import

    widths = {"embedding": spec.dim, "forecast": len(spec.horizons), "confidence": len(spec.horizons)}
    widths = {name: width for name, width in widths.items() if width}
    schema = pa.schema(
        [
            ("date", pa.date32()),
            ("ticker", pa.string()),
            ("digest", pa.uint64()),
            *((name, pa.list_(pa.float32(), width)) for name, width in widths.items()),
        ]
    )

    def batch(entries: Entries) -> pa.RecordBatch:
        lists = [
            pa.FixedSizeListArray.from_arrays(pa.array(getattr(entries, name).reshape(-1)), width)
            for name, width in widths.items()
        ]
        keys = [pa.array(entries.days), pa.array(entries.tickers.tolist(), pa.string()), pa.array(entries.digest)]
        return pa.RecordBatch.from_arrays([*keys, *lists], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, (batch(entries) for entries in scan()))


def xarray_dataset(cache: Cache, start: DayLike | None, end: DayLike | None) -> Any:
    """Embeddings (day, ticker, feature), forecasts and confidences (day, ticker, horizon); NaN where there is none.

    Raises:
        MissingExtraError: xarray is not installed.
        InputError: the start lies behind the end.
    """
    try:
        import xarray as xr  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError("xarray is not installed; pip install 'encash[xarray]'") from None
    index = cache.index()
    first, stop = index.span(start, end)
    row = index.row[first:stop]
    held, rows = row >= 0, row[row >= 0].astype(np.int64)
    vectors, forecast, confidence = cache.read(rows)
    columns = {
        "embedding": ("feature", vectors),
        "forecast": ("horizon", forecast),
        "confidence": ("horizon", confidence),
    }
    data = {name: (("day", "ticker", axis), _on_grid(values, held)) for name, (axis, values) in columns.items()}
    return xr.Dataset(
        data,
        coords={
            "day": index.days[first:stop].astype("datetime64[ns]"),
            "ticker": index.tickers.astype(object),
            "horizon": list(cache.spec.horizons),
        },
        attrs={"dtype": cache.spec.dtype, "fingerprint": cache.spec.fingerprint},
    )


def torch_dataset(cache: Cache) -> Any:
    """All entries as a map-style dataset; an item is a dict of day (since 1970), ticker, embedding, forecast and so on.

    A loader fetches a whole batch in one read. With worker processes use ``multiprocessing_context="spawn"``: an open
    cache may not cross a fork.

    Raises:
        MissingExtraError: torch is not installed.
    """
    try:
        from torch.utils.data import Dataset  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise MissingExtraError("torch is not installed; pip install 'encash[torch]'") from None

    dataset: Any = type("CacheDataset", (CacheItems, Dataset), {"__doc__": CacheItems.__doc__, "__reduce__": _reduce})
    return dataset(cache)


class CacheItems:
    """The entries of one version of a cache as items, in order of day and ticker."""

    def __init__(self, cache: Cache):
        self._cache = cache
        self._process = os.getpid()
        index = cache.index()
        day, ticker = np.nonzero(index.row >= 0)
        self._rows = index.row[day, ticker].astype(np.int64)
        self._days, self._tickers = index.days[day].astype(np.int64), index.tickers[ticker]

    def __len__(self) -> int:
        """Number of entries."""
        return len(self._rows)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """One entry."""
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> list[dict[str, Any]]:
        """Several entries in one read.

        Raises:
            InputError: in a process that was forked.
        """
        if os.getpid() != self._process:
            raise InputError(
                'an open cache may not cross a fork; give the DataLoader multiprocessing_context="spawn", so that each '
                "worker opens the cache by itself"
            )
        rows = self._rows[np.asarray(items, dtype=np.int64)]
        vectors, forecast, confidence = self._cache.read(rows)
        return [
            {
                "day": int(self._days[item]),
                "ticker": str(self._tickers[item]),
                "embedding": vectors[place],
                "forecast": forecast[place],
                "confidence": confidence[place],
            }
            for place, item in enumerate(items)
        ]


def _reduce(dataset: Any) -> tuple[Callable[[str, int], Any], tuple[str, int]]:
    """A worker process opens the same version of the cache by itself."""
    return _open_dataset, (dataset._cache.path, dataset._cache.version)


def _open_dataset(path: str, version: int) -> Any:
    from encash.cache.cache import Cache  # noqa: PLC0415 - that file imports this one

    return torch_dataset(Cache.at(path, version))


def _on_grid(values: Float32, held: np.ndarray) -> Float32:
    grid = np.full((*held.shape, values.shape[1]), np.nan, dtype=np.float32)
    grid[held] = values
    return grid
