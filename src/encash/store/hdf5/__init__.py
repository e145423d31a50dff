"""The interchange format: one gzip dataset per vector at ``/<TICKER>/<YYYY-MM-DD>``, as other tools write and read it.

Files of other tools hold only vectors. Files of encash also record, in attributes that those tools ignore, the encoder
(at the root) and the digests, checksums and forecasts of the vectors of each ticker, by ascending day.
"""

from encash.store.hdf5.export import write_hdf5
from encash.store.hdf5.layout import escape_ticker, unescape_ticker
from encash.store.hdf5.store import Hdf5Store

__all__ = ["Hdf5Store", "escape_ticker", "unescape_ticker", "write_hdf5"]
