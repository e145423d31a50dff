"""Views of a snapshot for other libraries: Arrow, xarray, torch. Each library is imported when needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from encash.arrays import DayLike, Float32
from encash.errors import InputError, MissingExtraError
from encash.store.base import Entries, StoreSnapshot

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_reader(snapshot: StoreSnapshot, batch_rows: int) -> pa.RecordBatchReader:
    """Return entries as Arrow batches: date, ticker, digest, embedding, forecast, confidence (fixed-size lists)."""
    import pyarrow as pa  # noqa: PLC0415 - takes a tenth of a second to import

    spec = snapshot.spec
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

    return pa.RecordBatchReader.from_batches(schema, (batch(entries) for entries in snapshot.scan(batch_rows)))


def xarray_dataset(snapshot: StoreSnapshot, start: DayLike | None, end: DayLike | None) -> Any:
    """Return embeddings (day, ticker, feature), forecasts and confidences (day, ticker, horizon); NaN if missing.

    Raises:
        MissingExtraError: xarray is not installed.
        InputError: the start is after the end.
    """
    try:
        import xarray as xr  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtraError("xarray is not installed; pip install 'encash[xarray]'") from None
    index = snapshot.index()
    first, stop = index.span(start, end)
    row = index.row[first:stop]
    held, rows = row >= 0, row[row >= 0].astype(np.int64)
    vectors, (forecast, confidence) = snapshot.vectors(rows), snapshot.forecasts(rows)
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
            "horizon": list(snapshot.spec.horizons),
        },
        attrs={"dtype": snapshot.spec.dtype, "fingerprint": snapshot.spec.fingerprint},
    )


def torch_dataset(snapshot: StoreSnapshot) -> Any:
    """Return all entries as a map-style dataset of dicts: day (since 1970), ticker, embedding, forecast, confidence.

    A loader fetches a whole batch in one read. Worker processes need ``multiprocessing_context="spawn"``: an open cache
    may not cross a fork.

    Raises:
        MissingExtraError: torch is not installed.
    """
    try:
        from torch.utils.data import Dataset  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise MissingExtraError("torch is not installed; pip install 'encash[torch]'") from None

    dataset: Any = type("CacheDataset", (CacheItems, Dataset), {"__doc__": CacheItems.__doc__})
    return dataset(snapshot)


class CacheItems:
    """The entries of one snapshot as items, in order of day and ticker."""

    def __init__(self, snapshot: StoreSnapshot):
        self._snapshot = snapshot
        self._process = os.getpid()
        self._rows = snapshot.index().rows()
        days, self._tickers = snapshot.index().keys(self._rows)
        self._days = days.astype(np.int64)

    def __reduce__(self) -> tuple[Callable[[StoreSnapshot], Any], tuple[StoreSnapshot]]:
        return torch_dataset, (self._snapshot,)

    def __repr__(self) -> str:
        spec = self._snapshot.spec
        return f"CacheDataset {self._snapshot.location}: {len(self):,} entries, embeddings of {spec.dim} × float32"

    def __len__(self) -> int:
        """Number of entries."""
        return len(self._rows)

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Return one entry."""
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> list[dict[str, Any]]:
        """Return several entries, in one read.

        Raises:
            InputError: the process was forked.
        """
        if os.getpid() != self._process:
            raise InputError(
                'an open cache may not cross a fork; give the DataLoader multiprocessing_context="spawn", so that each '
                "worker opens the cache itself"
            )
        rows = self._rows[np.asarray(items, dtype=np.int64)]
        vectors, (forecast, confidence) = self._snapshot.vectors(rows), self._snapshot.forecasts(rows)
        return [
            {
                "day": int(self._days[item]),
                "ticker": str(self._tickers[item]),
                "embedding": vectors[number],
                "forecast": forecast[number],
                "confidence": confidence[number],
            }
            for number, item in enumerate(items)
        ]


def _on_grid(values: Float32, held: np.ndarray) -> Float32:
    grid = np.full((*held.shape, values.shape[1]), np.nan, dtype=np.float32)
    grid[held] = values
    return grid
