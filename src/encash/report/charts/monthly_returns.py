"""Table of monthly returns."""

from __future__ import annotations

from encash.report.charts.base import Chart, Column, Table
from encash.report.formatting import SIGNED_PERCENT, signed_percent
from encash.report.run_extras import Extras
from encash.report.summary import Run, monthly_returns


def monthly(run: Run, extras: Extras) -> Chart:
    """List net returns of calendar months and years, one row per year."""
    years = monthly_returns(run.equity.days, run.path)
    months = [month for year in years for month in year.months if month is not None]
    named = [(f"{year.year}-{at:02}", month) for year in years for at, month in enumerate(year.months, 1)]
    known = [(name, month) for name, month in named if month is not None]
    positive, best, worst = sum(month > 0 for month in months), max(months), min(months)
    return Chart(
        title="Monthly returns",
        reading=f"{positive} of {len(months)} months were positive; the best {signed_percent(best)}, the worst "
        f"{signed_percent(worst)}.",
        section="time",
        template="chart_months.html.j2",
        rows=years,
        table=Table(
            columns=(
                Column(name="month", values=[name for name, _ in known]),
                Column(name="net return", values=[month for _, month in known], unit=SIGNED_PERCENT),
            )
        ),
        note="Net returns of calendar months, in %.",
        wide=True,
    )
