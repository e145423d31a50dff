"""The report: plain values, a verdict by stated rules, charts, one page. Heavy parts load when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encash.report.charts import coverage_picture
    from encash.report.extras import ClusterReturn, Extras, Skill
    from encash.report.render import render_report
    from encash.report.summary import Run, read_run
    from encash.report.verdict import Verdict, judge

__all__ = [
    "ClusterReturn",
    "Extras",
    "Run",
    "Skill",
    "Verdict",
    "coverage_picture",
    "judge",
    "read_run",
    "render_report",
]

_HOMES = {
    "ClusterReturn": "extras",
    "Extras": "extras",
    "Run": "summary",
    "Skill": "extras",
    "Verdict": "verdict",
    "coverage_picture": "charts",
    "judge": "verdict",
    "read_run": "summary",
    "render_report": "render",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
