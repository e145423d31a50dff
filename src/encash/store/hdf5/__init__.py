"""The interchange format: one gzip dataset per vector at ``/<TICKER>/<YYYY-MM-DD>``, as other tools write and read it.

Foreign files have vectors only. Exports of encash add attributes, which other tools ignore: the encoder (at the root),
and the digests, checksums and forecasts of each ticker's vectors by ascending day.
"""

from encash.store.hdf5.export import write_hdf5
from encash.store.hdf5.layout import escape_ticker, unescape_ticker
from encash.store.hdf5.store import Hdf5Store

__all__ = ["Hdf5Store", "escape_ticker", "unescape_ticker", "write_hdf5"]
