"""The store on Lance: rows in immutable files, one atomic commit a write, versions and tags. This folder alone imports
lance.

Vectors are kept in plain pages (uncompressed, no nulls), and a local store reads those through memory maps, at the
speed of memory and without a second copy. Where a page is not plain, or the store is remote, Lance's own reader is
used; both paths pass the same contract.
"""

from encash.store.lance.store import LanceStore

__all__ = ["LanceStore"]
