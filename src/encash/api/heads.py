"""Forecast heads from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from encash import heads, pipeline
from encash.api.inputs import (
    CacheLike,
    PricesLike,
    Progresses,
    counts_of,
    spec_of,
    the_cache,
    the_prices,
)
from encash.api.results import Home, InFolder
from encash.api.signatures import with_settings
from encash.api.tables import Table, Tabular
from encash.arguments import typed
from encash.arrays import DayLike
from encash.live_progress import progress_bars


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FittedHead(InFolder, Tabular):
    """A head in a folder."""

    head: heads.Head

    @property
    def table(self) -> Table:
        """Skill of each horizon on sessions that were held out, of the newest period: horizon, ic, ic_error, t."""
        skill = self.head.periods[-1].skill
        return Table(
            {name: np.array([getattr(one, name) for one in skill]) for name in ("horizon", "ic", "ic_error", "t")}
        )

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


@with_settings(heads.HeadConfig)
@typed
def fit_head(
    cache: CacheLike,
    prices: PricesLike,
    *,
    end: DayLike,
    horizons: int | Sequence[int] = heads.HeadConfig.horizons,
    kind: Literal["ridge", "boosted"] = "ridge",
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

    Raises:
        InputError: an unknown setting, or too few entries or sessions up to the end.

    Example::

        head = encash.fit_head("cache.lance", "prices.h5", end="2020-04-08", horizons=[5])
        encash.backtest(prices="prices.h5", cache="cache.lance", head=head, start="2020-05-13")
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
