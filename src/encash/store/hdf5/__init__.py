"""The interchange format: one gzip dataset a vector at ``/<TICKER>/<YYYY-MM-DD>``, as other tools write and read it.
This folder alone imports h5py in this room.

Files of others hold vectors and nothing else. Ours say besides, in attributes that such tools never look at, which
encoder it was (at the root), and the digests, checksums and forecasts of a ticker's vectors by ascending day.
"""

from encash.store.hdf5.export import write_hdf5
from encash.store.hdf5.layout import escape_ticker, unescape_ticker
from encash.store.hdf5.store import Hdf5Store

__all__ = ["Hdf5Store", "escape_ticker", "unescape_ticker", "write_hdf5"]
