"""Equity and drawdown over time, with the ranges of random filters and start days."""

from __future__ import annotations

from encash import metrics
from encash.errors import InputError
from encash.report.charts.base import Chart
from encash.report.charts.elements import Line
from encash.report.charts.timeline import Band, Panel, timeline
from encash.report.formatting import MONEY, PERCENT, money
from encash.report.run_extras import Extras
from encash.report.summary import Run


def equity(run: Run, extras: Extras) -> Chart:
    """Draw equity above its drawdown, with bands behind it.

    Raises:
        InputError: a range does not cover the sessions of the run.
    """
    final, gross, benchmark = run.path[-1], run.equity.gross, run.equity.benchmark
    lost, fees = gross[-1] - final, run.result.get("fees")
    share = ""
    if isinstance(fees, float) and 0 < fees < lost:
        rest = (
            "slippage, and what both would have earned" if run.config.get("slippage") else "what they would have earned"
        )
        share = f" (fees {money(fees)}; the rest is {rest})"
    reading = f"{money(run.capital)} became {money(final)} after costs; costs took {money(lost)}{share}."
    lines = [
        Line(label="net", values=run.path, role="net", width=2.2),
        Line(label="gross", values=gross, role="gross", width=1.4),
    ]
    if run.has_benchmark:
        reading += f" All candidates in equal weights ended at {money(benchmark[-1])}."
        lines.append(Line(label="benchmark", values=benchmark, role="bench", width=1.6))
    bands, note = [], ""
    for color, role, over, found in (
        ("Gray", "muted", "random filters", extras.random_range),
        ("Blue", "net", "start days", extras.phase_range),
    ):
        if found is None:
            continue
        if not len(found.low) == len(found.high) == len(run.path):
            raise InputError(f"a range of {len(found.low)} sessions for a run of {len(run.path)}; compare again")
        bands.append(Band(label=f"middle 95% of the {over}", low=found.low, high=found.high, role=role))
        note += f"{color}: middle 95% of the {over}. "
    drawdowns = [
        Line(label=line.label, values=metrics.drawdowns(line.values), role=line.role, width=1.2)
        for line in lines
        if line.label != "gross"
    ]
    panels = [
        Panel(
            title="capital, in the currency of the prices",
            unit=MONEY,
            lines=lines,
            bands=bands,
            height=250,
            growth=True,
        ),
        Panel(title="drawdown", unit=PERCENT, lines=drawdowns, height=90, zero=True, filled=True),
    ]
    return Chart(
        title="Equity and drawdown",
        reading=reading,
        section="time",
        note=note.strip(),
        **timeline(run.equity.days, panels, run.equity.days),
    )
