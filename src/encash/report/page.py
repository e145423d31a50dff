"""The report: one HTML file without external resources. The only module that imports jinja2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from encash.atomic_write import write_whole
from encash.backtest.run_record import RECORD
from encash.errors import InputError
from encash.metrics import SESSIONS_PER_YEAR
from encash.report import formatting, tables
from encash.report.alignment import align, identical
from encash.report.charts import SECTIONS, growth, run_charts, sweep_charts
from encash.report.commands import run_command
from encash.report.comparison_files import read_comparisons
from encash.report.criteria import assess
from encash.report.glossary import GLOSSARY, conventions
from encash.report.run_extras import Extras
from encash.report.summary import Run, read_run
from encash.report.sweep_files import Sweep, check_one_run, is_sweep, not_alone, read_sweep
from encash.report.sweep_summary import best_run, headline, sweep_tiles
from encash.report.trust import proofs
from encash.report.verdict import RULES, judge


def render_report(run_dirs: Sequence[str | Path], out: str | Path, *, extras: Extras | None = None) -> Path:
    """Write the page of one run, of several runs side by side, or of a sweep.

    The page shows the comparisons in a run folder; `extras` takes precedence over them.

    Args:
        run_dirs: run folders, or the folder of one sweep.
        out: the HTML file, written atomically.
        extras: comparisons, rankings and timings of a single run.

    Returns:
        The path of the page.

    Raises:
        InputError: no run, or extras with several runs.
        MissingFileError: a run folder does not exist or is incomplete.
        FormatError: a file of a run is malformed.
    """
    if not run_dirs:
        raise InputError("no runs given; expected at least one run folder")
    if extras is not None and extras.given:
        check_one_run(run_dirs)
    if sweeps := [folder for folder in run_dirs if is_sweep(folder)]:
        if len(run_dirs) > 1:
            raise not_alone(sweeps[0])
        return write_whole(Path(out), _page_of_sweep(read_sweep(sweeps[0])).encode())
    runs = [read_run(folder) for folder in run_dirs]
    page = _page_of_one(runs[0], extras or Extras()) if len(runs) == 1 else _page_of_many(runs)
    return write_whole(Path(out), page.encode())


def _page_of_one(run: Run, extras: Extras) -> str:
    extras = extras.with_defaults(read_comparisons(run.folder))
    charts, comparisons = run_charts(run, extras), tables.comparison_rows(run, extras)
    anchors = {"Trust": "trust", "Configuration and provenance": "configuration"}
    anchors |= {"Comparisons": "comparisons"} if comparisons else {}
    return _render(
        "run.html.j2",
        [run.sessions_per_year],
        run=run,
        verdict=judge(run, extras),
        criteria=assess(run, extras),
        tiles=tables.tiles(run),
        entry_counts=tables.entry_counts(run),
        charts=charts,
        sections=SECTIONS,
        titles=anchors | {chart.title: chart.anchor for chart in charts},
        proofs=proofs(run, extras),
        equal_to=extras.equal_to,
        command=run_command(run),
        health=tables.health(run),
        comparisons=comparisons,
        skill=tables.skill_rows(extras),
        sources=tables.source_rows(run),
        provenance=tables.provenance(run),
    )


def _page_of_many(runs: Sequence[Run]) -> str:
    verdicts = [judge(run, read_comparisons(run.folder)) for run in runs]
    names, shared = tables.run_names(runs), align(runs)
    paths = [(one.days, one.path) for one in shared] or [(run.equity.days, run.path / run.capital) for run in runs]
    honest = [place for place, verdict in enumerate(verdicts) if verdict.warning is None]
    best = max(honest, key=lambda place: float(paths[place][1][-1]), default=None)
    groups = identical(runs, names)
    best_names = next((group for group in groups if best is not None and names[best] in group), [])
    return _render(
        "runs.html.j2",
        [run.sessions_per_year for run in runs],
        rows=list(zip(names, verdicts, map(tables.run_row, runs), strict=True)),
        columns=["Sessions", *tables.FIGURES],
        chart=growth(paths, names),
        shared=list(zip(names, map(tables.performance_row, shared), strict=True)) if shared else [],
        span=None if not shared else (shared[0].days[0], shared[0].days[-1]),
        identical=groups,
        differences=tables.differences(runs),
        unchecked=[name for name, run in zip(names, runs, strict=True) if not run.checked],
        record=RECORD,
        best_name="" if best is None else " = ".join(best_names) or names[best],
        best_growth=0.0 if best is None else float(paths[best][1][-1]),
        same_sessions=len({(str(run.equity.days[0]), str(run.equity.days[-1])) for run in runs}) == 1,
    )


def _page_of_sweep(sweep: Sweep) -> str:
    year = sweep.columns.get("sessions_per_year")
    return _render(
        "sweep.html.j2",
        [] if year is None else np.unique(year).astype(int).tolist(),
        sweep=sweep,
        distinct=len(sweep.distinct),
        headline=headline(sweep),
        tiles=sweep_tiles(sweep),
        best=best_run(sweep),
        charts=sweep_charts(sweep),
    )


def _render(template: str, years: Sequence[int], **values: Any) -> str:
    """Render a page of runs with these sessions per year; text is escaped."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(signed_percent=formatting.signed_percent, number=formatting.number)
    annual = conventions(years or [SESSIONS_PER_YEAR])
    page = templates.get_template(template).render(glossary=GLOSSARY, conventions=annual, rules=RULES, **values)
    return re.sub(r"(?<=[ (>])([pt]) = (?=[\d−–])", "\\1\u00a0=\u00a0", page)  # not broken over two lines
