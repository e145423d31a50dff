"""The report: plain values, a verdict by stated rules, charts, one page. Heavy parts load when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encash.lazy import lazy_names

if TYPE_CHECKING:
    from encash.report.comparisons import read_comparisons
    from encash.report.extras import Alternative, ClusterReturn, Extras, Range, Skill, Spread, cluster_returns
    from encash.report.pictures import HeatMap, cluster_picture, coverage_picture, heat_picture
    from encash.report.render import render_report
    from encash.report.summary import Run, read_run
    from encash.report.verdict import Check, Verdict, examine, judge

__all__ = [
    "Alternative",
    "Check",
    "ClusterReturn",
    "Extras",
    "HeatMap",
    "Range",
    "Run",
    "Skill",
    "Spread",
    "Verdict",
    "cluster_picture",
    "cluster_returns",
    "coverage_picture",
    "examine",
    "heat_picture",
    "judge",
    "read_comparisons",
    "read_run",
    "render_report",
]

_HOMES = {
    "Alternative": "extras",
    "Check": "verdict",
    "ClusterReturn": "extras",
    "Extras": "extras",
    "Range": "extras",
    "Run": "summary",
    "Skill": "extras",
    "Spread": "extras",
    "Verdict": "verdict",
    "cluster_returns": "extras",
    "cluster_picture": "pictures",
    "coverage_picture": "pictures",
    "HeatMap": "pictures",
    "heat_picture": "pictures",
    "examine": "verdict",
    "judge": "verdict",
    "read_comparisons": "comparisons",
    "read_run": "summary",
    "render_report": "render",
}

__getattr__ = lazy_names(__name__, _HOMES)
