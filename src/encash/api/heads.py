"""Forecast heads from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encash import heads, pipeline
from encash.api.inputs import Progresses, counts_of, spec_of, the_cache, the_prices
from encash.api.results import Home, InFolder
from encash.arrays import DayLike
from encash.cache import Cache
from encash.live_progress import progress_bars
from encash.panel import PriceTable


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FittedHead(InFolder):
    """A head in a folder."""

    head: heads.Head

    def title(self) -> str:
        """Return one sentence."""
        first = self.head.periods[0].first_day
        return f"{self.head.kind} head on embeddings of {self.head.dim} dimensions, usable from {first}"

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return the skill of each horizon on sessions that were held out."""
        return [
            (f"IC over {one.horizon}", f"{one.ic:+.3f} ± {one.ic_error:.3f}, t {one.t:+.1f}")
            for one in self.head.periods[-1].skill
        ]


def fit_head(
    cache: Cache | str | Path,
    prices: PriceTable | str | Path,
    *,
    end: DayLike,
    horizons: Sequence[int] = heads.HeadConfig.horizons,
    kind: str = "ridge",
    out: str | Path | None = None,
    progress: Progresses = progress_bars,
    **settings: Any,
) -> FittedHead:
    """Fit forecasts on cached embeddings, so that an encoder without forecasts gives a backtest.

    Args:
        cache: a cache or its path.
        prices: prices or their path.
        end: last day that may be known; the head may be used an embargo of its longest horizon later.
        horizons: sessions ahead.
        kind: ridge or boosted.
        out: the folder; None keeps it in a temporary one as long as the result exists.
        progress: returns a progress bar of a title and a unit; by default one in a terminal or a notebook.
        settings: other fields of `encash.heads.HeadConfig`, such as ``every``.
    """
    config = spec_of(
        heads.HeadConfig,
        {"end": end, "horizons": counts_of("horizons", horizons), "kind": kind, **settings},
        "a setting of a head",
    )
    opened, home = the_cache(cache), Home.at(out)
    with progress("fit", "fits") as bar:
        head = pipeline.fit_head(opened, the_prices(prices), config, home.folder, progress=bar)
    with progress("forecasts", "entries") as bar:
        pipeline.update_forecasts(opened, home.folder, head, progress=bar)
    return FittedHead(home=home, head=head)
