"""Clusters: fitted and ranked on the past, then a filter."""
