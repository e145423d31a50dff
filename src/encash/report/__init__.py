"""The report: plain values, a verdict by stated rules, charts, one page. Heavy modules load on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encash.lazy import lazy_names

if TYPE_CHECKING:
    from encash.report.comparison_files import read_comparisons
    from encash.report.criteria import Criterion, assess
    from encash.report.image_files import HeatMap, cluster_picture, coverage_picture, heat_picture
    from encash.report.page import render_report
    from encash.report.run_extras import Alternative, ClusterReturn, Extras, Range, Skill, Spread, cluster_returns
    from encash.report.summary import Run, read_run
    from encash.report.verdict import Verdict, judge

__all__ = [
    "Alternative",
    "ClusterReturn",
    "Criterion",
    "Extras",
    "HeatMap",
    "Range",
    "Run",
    "Skill",
    "Spread",
    "Verdict",
    "assess",
    "cluster_picture",
    "cluster_returns",
    "coverage_picture",
    "heat_picture",
    "judge",
    "read_comparisons",
    "read_run",
    "render_report",
]

_MODULES = {
    "comparison_files": ("read_comparisons",),
    "criteria": ("Criterion", "assess"),
    "image_files": ("HeatMap", "cluster_picture", "coverage_picture", "heat_picture"),
    "page": ("render_report",),
    "run_extras": ("Alternative", "ClusterReturn", "Extras", "Range", "Skill", "Spread", "cluster_returns"),
    "summary": ("Run", "read_run"),
    "verdict": ("Verdict", "judge"),
}

__getattr__ = lazy_names(__name__, {name: module for module, names in _MODULES.items() for name in names})
