"""The whole book: which room is called with what, from a model and data to a page. Knows every room by its public
names; calculates nothing itself.

`sources` opens what is read, `caches` builds, `clusters` fits and ranks, `trading` backtests, `page` shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encash.lazy import lazy_names

if TYPE_CHECKING:
    from encash.pipeline.caches import BuildOptions as BuildOptions
    from encash.pipeline.caches import ListedCache as ListedCache
    from encash.pipeline.caches import build_cache as build_cache
    from encash.pipeline.caches import list_caches as list_caches
    from encash.pipeline.caches import plan_build as plan_build
    from encash.pipeline.caches import verify_cache as verify_cache
    from encash.pipeline.clusters import assign_entries as assign_entries
    from encash.pipeline.clusters import assignments_to_rank as assignments_to_rank
    from encash.pipeline.clusters import draw_sample as draw_sample
    from encash.pipeline.clusters import find_similar as find_similar
    from encash.pipeline.clusters import fit_clusters as fit_clusters
    from encash.pipeline.clusters import is_walk as is_walk
    from encash.pipeline.clusters import rank_clusters as rank_clusters
    from encash.pipeline.clusters import update_assignment_cache as update_assignment_cache
    from encash.pipeline.clusters import write_walk as write_walk
    from encash.pipeline.filters import FilterChoice as FilterChoice
    from encash.pipeline.filters import open_filter as open_filter
    from encash.pipeline.filters import open_filters as open_filters
    from encash.pipeline.page import PageExtras as PageExtras
    from encash.pipeline.page import write_report as write_report
    from encash.pipeline.sources import Sources as Sources
    from encash.pipeline.sources import cached_batches as cached_batches
    from encash.pipeline.sources import the_only_cache as the_only_cache
    from encash.pipeline.trading import Trading as Trading
    from encash.pipeline.trading import backtest as backtest
    from encash.pipeline.trading import beside as beside
    from encash.pipeline.trading import best_of_sweep as best_of_sweep
    from encash.pipeline.trading import compare as compare
    from encash.pipeline.trading import open_trading as open_trading
    from encash.pipeline.trading import sweep as sweep
    from encash.pipeline.trading import trials as trials

_HOMES = {
    "BuildOptions": "caches",
    "FilterChoice": "filters",
    "ListedCache": "caches",
    "PageExtras": "page",
    "Sources": "sources",
    "Trading": "trading",
    "assign_entries": "clusters",
    "assignments_to_rank": "clusters",
    "backtest": "trading",
    "build_cache": "caches",
    "cached_batches": "sources",
    "beside": "trading",
    "best_of_sweep": "trading",
    "compare": "trading",
    "draw_sample": "clusters",
    "find_similar": "clusters",
    "fit_clusters": "clusters",
    "is_walk": "clusters",
    "list_caches": "caches",
    "open_filter": "filters",
    "open_filters": "filters",
    "open_trading": "trading",
    "plan_build": "caches",
    "rank_clusters": "clusters",
    "sweep": "trading",
    "the_only_cache": "sources",
    "trials": "trading",
    "update_assignment_cache": "clusters",
    "verify_cache": "caches",
    "write_report": "page",
    "write_walk": "clusters",
}

__all__ = list(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES)
