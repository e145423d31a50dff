"""The report: one HTML file without external resources. The only module that imports jinja2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from encash.atomic_write import write_whole
from encash.backtest.run_record import RECORD
from encash.errors import InputError
from encash.report import formatting, tables
from encash.report.charts import growth, run_charts
from encash.report.comparison_files import read_comparisons
from encash.report.criteria import assess
from encash.report.glossary import GLOSSARY, conventions
from encash.report.run_extras import Extras
from encash.report.summary import Run, read_run
from encash.report.verdict import RULES, judge


def render_report(run_dirs: Sequence[str | Path], out: str | Path, *, extras: Extras | None = None) -> Path:
    """Write the page of one run, or of several runs side by side.

    The page shows the comparisons in a run folder; `extras` takes precedence over them.

    Args:
        run_dirs: run folders.
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
    if extras is not None and extras.given and len(run_dirs) > 1:
        raise InputError(f"extras belong to one run, but {len(run_dirs)} runs were given; give one run, or no extras")
    runs = [read_run(folder) for folder in run_dirs]
    page = _page_of_one(runs[0], extras or Extras()) if len(runs) == 1 else _page_of_many(runs)
    return write_whole(Path(out), page.encode())


def _page_of_one(run: Run, extras: Extras) -> str:
    extras = extras.with_defaults(read_comparisons(run.folder))
    return _render(
        "run.html.j2",
        [run],
        run=run,
        verdict=judge(run, extras),
        criteria=assess(run, extras),
        tiles=tables.tiles(run),
        entry_counts=tables.entry_counts(run),
        charts=run_charts(run, extras),
        comparisons=tables.comparison_rows(run, extras),
        skill=tables.skill_rows(extras),
        sources=tables.source_rows(run),
        provenance=tables.provenance(run),
    )


def _page_of_many(runs: Sequence[Run]) -> str:
    verdicts = [judge(run, read_comparisons(run.folder)) for run in runs]
    names = tables.run_names(runs)
    honest = [place for place, verdict in enumerate(verdicts) if verdict.warning is None]
    best = max(honest, key=lambda place: float(runs[place].path[-1] / runs[place].capital), default=None)
    return _render(
        "runs.html.j2",
        runs,
        rows=list(zip(names, verdicts, map(tables.run_row, runs), strict=True)),
        columns=["Sessions", *tables.FIGURES],
        chart=growth(runs, names),
        differences=tables.differences(runs),
        unchecked=[name for name, run in zip(names, runs, strict=True) if not run.checked],
        record=RECORD,
        best=None if best is None else runs[best],
        best_name="" if best is None else names[best],
        same_sessions=len({(str(run.equity.days[0]), str(run.equity.days[-1])) for run in runs}) == 1,
    )


def _render(template: str, runs: Sequence[Run], **values: Any) -> str:
    """Render a page of some runs; text is escaped."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(signed_percent=formatting.signed_percent, money=formatting.money)
    page = templates.get_template(template)
    annual = conventions(run.sessions_per_year for run in runs)
    return page.render(glossary=GLOSSARY, conventions=annual, rules=RULES, **values)
