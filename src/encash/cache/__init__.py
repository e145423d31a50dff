"""The cache: where panel, encoder and store meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encash.lazy import lazy_names

if TYPE_CHECKING:
    from encash.cache.build import BuildReport as BuildReport
    from encash.cache.build import Failure as Failure
    from encash.cache.cache import Cache as Cache
    from encash.cache.dtype_agreement import LEAST_AGREEMENT as LEAST_AGREEMENT
    from encash.cache.dtype_agreement import DtypeAgreement as DtypeAgreement
    from encash.cache.dtype_agreement import measure_agreement as measure_agreement
    from encash.cache.exchange import export_hdf5 as export_hdf5
    from encash.cache.exchange import import_hdf5 as import_hdf5
    from encash.cache.exchange import merge_caches as merge_caches
    from encash.cache.executors.base import Executor as Executor
    from encash.cache.executors.local import LocalExecutor as LocalExecutor
    from encash.cache.find import cache_paths as cache_paths
    from encash.cache.find import open_cache as open_cache
    from encash.cache.info import CacheInfo as CacheInfo
    from encash.cache.info import Coverage as Coverage
    from encash.cache.lookup import Lookup as Lookup
    from encash.cache.lookup import Signals as Signals
    from encash.cache.lookup_stats import LookupStats as LookupStats
    from encash.cache.plan import Plan as Plan
    from encash.cache.plan import State as State
    from encash.cache.plan import make_plan as make_plan
    from encash.cache.plan import renewal as renewal
    from encash.cache.reader import CacheReader as CacheReader
    from encash.cache.reader import CacheSnapshot as CacheSnapshot
    from encash.cache.selection import Selection as Selection
    from encash.cache.verify import VerifyReport as VerifyReport
    from encash.cache.verify import adopt as adopt

_HOMES = {
    "LEAST_AGREEMENT": "dtype_agreement",
    "DtypeAgreement": "dtype_agreement",
    "BuildReport": "build",
    "Cache": "cache",
    "CacheInfo": "info",
    "CacheReader": "reader",
    "CacheSnapshot": "reader",
    "Coverage": "info",
    "Executor": "executors.base",
    "Failure": "build",
    "LocalExecutor": "executors.local",
    "Lookup": "lookup",
    "Plan": "plan",
    "Selection": "selection",
    "Signals": "lookup",
    "State": "plan",
    "LookupStats": "lookup_stats",
    "VerifyReport": "verify",
    "adopt": "verify",
    "cache_paths": "find",
    "export_hdf5": "exchange",
    "import_hdf5": "exchange",
    "make_plan": "plan",
    "measure_agreement": "dtype_agreement",
    "merge_caches": "exchange",
    "open_cache": "find",
    "renewal": "plan",
}
"""Where each name lives; loaded when it is first asked for."""

__all__ = list(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES)
