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
    from encash.pipeline.clusters import keep_assignments as keep_assignments
    from encash.pipeline.clusters import rank_clusters as rank_clusters
    from encash.pipeline.clusters import write_walk as write_walk
    from encash.pipeline.page import PageExtras as PageExtras
    from encash.pipeline.page import write_report as write_report
    from encash.pipeline.sources import Sources as Sources
    from encash.pipeline.sources import cached_batches as cached_batches
    from encash.pipeline.sources import the_only_cache as the_only_cache
    from encash.pipeline.trading import FilterChoice as FilterChoice
    from encash.pipeline.trading import backtest as backtest
    from encash.pipeline.trading import beside as beside
    from encash.pipeline.trading import open_filter as open_filter
    from encash.pipeline.trading import open_inputs as open_inputs
    from encash.pipeline.trading import write_heat_maps as write_heat_maps

_HOMES = {
    "BuildOptions": "caches",
    "FilterChoice": "trading",
    "ListedCache": "caches",
    "PageExtras": "page",
    "Sources": "sources",
    "assign_entries": "clusters",
    "assignments_to_rank": "clusters",
    "backtest": "trading",
    "build_cache": "caches",
    "cached_batches": "sources",
    "beside": "trading",
    "draw_sample": "clusters",
    "find_similar": "clusters",
    "fit_clusters": "clusters",
    "is_walk": "clusters",
    "keep_assignments": "clusters",
    "list_caches": "caches",
    "open_filter": "trading",
    "open_inputs": "trading",
    "plan_build": "caches",
    "rank_clusters": "clusters",
    "the_only_cache": "sources",
    "verify_cache": "caches",
    "write_heat_maps": "trading",
    "write_report": "page",
    "write_walk": "clusters",
}

__all__ = list(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES)
