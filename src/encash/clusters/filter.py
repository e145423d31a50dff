"""The old name of `CandidateFilter`, for imports that still use it."""

from encash.clusters.filters.base import CandidateFilter as FilterModel

__all__ = ["FilterModel"]
