"""The store on Lance: rows in immutable files, one atomic commit per write, versions and tags.

Vectors are kept in plain pages (uncompressed, without nulls), which a local store reads through memory maps, at the
speed of memory and without a second copy. If a page is not plain, or the store is remote, Lance's own reader is used;
both paths pass the same contract.
"""

from encash.store.lance.store import LanceStore

__all__ = ["LanceStore"]
