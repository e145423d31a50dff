"""The charts of a run as figures of matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import encash.report as pages
from encash import pipeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Plots:
    """Charts of a run: ``plots.equity()`` draws one, ``dir(plots)`` lists them.

    A chart that needs comparisons (`encash.compare`) or clusters says so if there are none.
    """

    def __init__(self, folder: Path, clusters: Path | None = None, horizon: int = 5):
        """Draw from a run folder, and from the clusters that filtered the run."""
        self._folder = folder
        self._extras = pipeline.PageExtras(clusters=clusters, horizon=horizon)

    def __dir__(self) -> list[str]:
        """List the charts."""
        return list(pages.chart_names())

    def __getattr__(self, name: str) -> Callable[[], Figure]:
        """Return the function that draws a chart.

        Raises:
            AttributeError: no chart of this name.
        """
        if name.startswith("_") or name not in pages.chart_names():
            raise AttributeError(f"no chart {name!r}; there are {', '.join(pages.chart_names())}")
        return lambda: _shown(pipeline.draw_chart(self._folder, name, self._extras))

    def __repr__(self) -> str:
        """List the charts."""
        return f"charts: {', '.join(pages.chart_names())}"


def _shown(figure: Figure) -> Figure:
    """Let a notebook show a figure, which pyplot does not manage, as a picture."""
    figure._repr_png_ = partial(_picture, figure)  # type: ignore[attr-defined] # the name that IPython looks for
    return figure


def _picture(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", facecolor="white")
    return buffer.getvalue()
