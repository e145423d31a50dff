"""Durations as horizontal bars: by method, and by stage of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from encash.report.charts.base import Chart
from encash.report.formatting import seconds
from encash.report.run_extras import Extras
from encash.report.summary import Run


class DurationBar(NamedTuple):
    """A labeled duration."""

    label: str
    text: str
    share: float
    """Length of the bar, 0 to 1."""
    muted: bool = False


def timings(run: Run, extras: Extras) -> Chart | None:
    """Compare methods that do the same work, slowest first, as shares of the slowest."""
    if len(extras.timings) < 2:
        return None
    slowest_first = dict(sorted(extras.timings.items(), key=lambda item: -item[1]))
    slow, *faster = _bars(slowest_first, max(slowest_first.values()))
    fast = faster[-1]
    speedup = f"{slow.share / fast.share:.0f}" if fast.share else "∞"
    picks = {True: ", with the same picks", False: ", with different picks", None: ""}[extras.same_picks]
    return Chart(
        title="Time by method",
        reading=f"{fast.label[:1].upper()}{fast.label[1:]} is {speedup} times faster than {slow.label}: {fast.text} "
        f"instead of {slow.text}{picks}.",
        template="chart_durations.html.j2",
        rows=[slow._replace(muted=True), *faster],
    )


def stages(run: Run, extras: Extras) -> Chart | None:
    """Show the time of each stage, in the order of the run, as shares of the total."""
    shown = _bars(run.stages, sum(run.stages.values()))
    if not shown:
        return None
    longest = max(shown, key=lambda bar: bar.share)
    reading = f"{100 * longest.share:.0f}% of the time was spent in the stage “{longest.label}”."
    return Chart(title="Time by stage", reading=reading, template="chart_durations.html.j2", rows=shown)


def _bars(durations: Mapping[str, float], whole: float) -> list[DurationBar]:
    return [DurationBar(name, seconds(value), value / whole if whole else 0.0) for name, value in durations.items()]
