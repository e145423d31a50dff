"""The charts of a run as figures of matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import encash.report as pages
from encash import pipeline
from encash.errors import meant

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Plots:
    """Charts of a run: ``plots.equity()`` draws one, ``dir(plots)`` lists those for which the run has the data.

    Charts of random filters, start days and forecast skill are there after `encash.compare`, those of clusters if the
    run was filtered by clusters.
    """

    def __init__(self, folder: Path, clusters: Path | None = None):
        """Draw from a run folder, and from the clusters that filtered the run."""
        self._folder = folder
        self._extras = pipeline.PageExtras(clusters=clusters)

    def __dir__(self) -> list[str]:
        """List the charts that can be drawn."""
        return list(self._names())

    def __getattr__(self, name: str) -> Callable[[], Figure]:
        """Return the function that draws a chart.

        Raises:
            AttributeError: no chart of this name.
        """
        if name.startswith("_"):  # also of an object that is being copied and has no folder yet
            raise AttributeError(name)
        if name not in pages.chart_names():
            raise AttributeError(
                f"no chart {name!r}{meant(name, pages.chart_names()) or '; there are ' + ', '.join(self._names())}"
            )
        return lambda: _shown(pipeline.draw_chart(self._folder, name, self._extras))

    def __repr__(self) -> str:
        """List the charts that can be drawn."""
        return f"charts: {', '.join(self._names())}"

    def _names(self) -> tuple[str, ...]:
        files = sorted((path.name, path.stat().st_mtime_ns) for path in self._folder.iterdir())
        return _drawable(self._folder.absolute(), self._extras.clusters, tuple(files))


@lru_cache(maxsize=64)
def _drawable(folder: Path, clusters: Path | None, files: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """List the charts of a run whose files have these names and times: a notebook asks at every completion."""
    return pipeline.drawable_charts(folder, pipeline.PageExtras(clusters=clusters))


def _shown(figure: Figure) -> Figure:
    """Let a notebook show a figure, which pyplot does not manage, as a picture."""
    figure._repr_png_ = partial(_picture, figure)  # type: ignore[attr-defined] # the name that IPython looks for
    return figure


def _picture(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", facecolor="white")
    return buffer.getvalue()
