"""The page: one HTML file that needs nothing else. The only file that imports the templates' engine. Knows which parts
a page has; the numbers, words and drawings come from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from encash.atomic_write import write_whole
from encash.errors import InputError
from encash.report import figures, gallery, wording
from encash.report.comparisons import read_comparisons
from encash.report.extras import Extras
from encash.report.summary import Run, monthly_returns, read_run
from encash.report.verdict import RULES, Verdict, examine, judge


def render_report(run_dirs: Sequence[str | Path], out: str | Path, *, extras: Extras | None = None) -> Path:
    """Write the page of one run, or of several side by side.

    What a run folder holds in `comparisons.json` is shown; `extras` adds to it and goes before it.

    Args:
        run_dirs: run folders.
        out: the HTML file; replaced whole or not at all.
        extras: comparisons, ranking and times of a single run.

    Returns:
        The path of the page.

    Raises:
        InputError: no run, or extras with several runs.
        MissingFileError: a folder that is not there or is no run folder.
        FormatError: a file of a run that is not what its name says.
    """
    if not run_dirs:
        raise InputError("no run was given; expected at least one run folder")
    if extras is not None and not extras.empty and len(run_dirs) > 1:
        raise InputError(f"extras belong to one run, and {len(run_dirs)} were given; give one run, or no extras")
    runs = [read_run(folder) for folder in run_dirs]
    page = _page_of_one(runs[0], extras or Extras()) if len(runs) == 1 else _page_of_many(runs)
    return write_whole(Path(out), page.encode())


def _page_of_one(run: Run, extras: Extras) -> str:
    extras = extras.over(read_comparisons(run.folder))
    years = monthly_returns(run.equity.days, run.path)
    return _render(
        "run.html.j2",
        run=run,
        verdict=judge(run, extras),
        checks=examine(run, extras),
        tiles=figures.tiles(run),
        data_line=figures.data_line(run),
        charts=gallery.run_charts(run, extras),
        comparisons=figures.comparison_rows(run, extras),
        skill=figures.skill_rows(extras),
        years=years,
        extreme=max((abs(month) for year in years for month in year.months if month is not None), default=0.0),
        stages=figures.stages(run),
        timings=figures.timings(extras.timings),
        same_picks=extras.same_picks,
        tables=figures.tables(run),
    )


def _page_of_many(runs: Sequence[Run]) -> str:
    verdicts = [judge(run, read_comparisons(run.folder)) for run in runs]
    names = figures.names(runs)
    best = _best(runs, verdicts)
    return _render(
        "runs.html.j2",
        runs=list(zip(runs, verdicts, [figures.row(run) for run in runs], strict=True)),
        names=names,
        columns=figures.ROW_TERMS,
        warnings=[(name, verdict.warning) for name, verdict in zip(names, verdicts, strict=True) if verdict.warning],
        chart=gallery.runs_chart(runs, names),
        differences=figures.differences(runs),
        best=None if best is None else runs[best],
        best_name="" if best is None else names[best],
        same_sessions=len({(str(run.equity.days[0]), str(run.equity.days[-1])) for run in runs}) == 1,
    )


def _best(runs: Sequence[Run], verdicts: Sequence[Verdict]) -> int | None:
    """The place of the run that grew most among those that did not know their future; None without such a run."""
    honest = [place for place, verdict in enumerate(verdicts) if verdict.warning is None]
    return max(honest, key=lambda place: float(runs[place].path[-1] / runs[place].capital), default=None)


def _render(template: str, **values: Any) -> str:
    """A page; every text that comes from outside is escaped."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(percent=wording.percent, signed_percent=wording.signed_percent, money=wording.money)
    page = templates.get_template(template)
    return page.render(glossary=figures.GLOSSARY, conventions=figures.CONVENTIONS, rules=RULES, **values)
