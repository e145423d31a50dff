"""Write the report of one or several runs, including the clusters of a single run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import encash.report as pages
from encash import clusters
from encash.errors import InputError, MismatchError
from encash.pipeline.clusters import is_walk, load_assigner
from encash.pipeline.neighbors import neighborhoods


@dataclass(frozen=True, kw_only=True)
class PageExtras:
    """Data that a page shows beside its runs."""

    clusters: Path | None = None
    """A folder of clusters, with the ranking of `horizon`."""
    horizon: int | None = None
    """None is the horizon of the run, whose ranking is shown if there is one."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds that each method takes for the same work."""
    same_picks: bool | None = None
    same_as: Path | None = None
    """A run folder that must be equal, such as the same run without a cache: the page shows the hashes of both."""
    cache: str | None = None
    """With `prices`: the cache of the run, for the neighbors of its picks."""
    prices: str | Path | None = None
    days: Sequence[str] = ()
    """Days whose neighbors are shown in any case, YYYY-MM-DD."""
    tickers: Sequence[str] = ()
    """Tickers that are shown on these days, instead of the picks."""
    audit: Path | None = None
    """A file with the output of ``encash audit --json``."""


def write_report(runs: Sequence[Path], out: Path, extras: PageExtras | None = None) -> Path:
    """Write the page of one or several runs.

    Raises:
        MismatchError: a run was filtered by different clusters.
        MissingFileError: no ranking of the horizon that was given.
        InputError: a cache without prices, or prices without a cache.
    """
    given = extras or PageExtras()
    if given != PageExtras():
        pages.check_one_run(runs)
    shown = _cluster_extras(runs, given) | {"timings": given.timings, "same_picks": given.same_picks}
    if given.same_as is not None:
        shown["equal_to"] = pages.ledger_digests(runs, given.same_as)
    if given.cache is not None and given.prices is not None:
        shown["neighborhoods"] = neighborhoods(
            pages.read_run(runs[0]), given.cache, given.prices, days=given.days, tickers=given.tickers
        )
    elif given.cache is not None or given.prices is not None:
        raise InputError("neighbors of picks need the cache and the prices of the run; give both or neither")
    elif given.days:
        raise InputError("the neighbors of a day need the cache and the prices of the run; give --cache and --prices")
    if given.tickers and not given.days:
        raise InputError("tickers without a day; give the day whose neighbors are wanted, with --day")
    if given.audit is not None:
        shown["audit"] = pages.read_audit(given.audit)
    return pages.render_report(runs, out, extras=pages.Extras(**shown))


def draw_chart(run: Path, name: str, extras: PageExtras) -> Any:
    """Draw one chart of the page of a run as a figure of matplotlib.

    Raises:
        InputError: the run has no data for it.
        MismatchError: the run was filtered by different clusters.
    """
    return pages.draw_chart(pages.read_run(run), _extras_of(run, extras), name)


def drawable_charts(run: Path, extras: PageExtras) -> tuple[str, ...]:
    """List the charts that `draw_chart` can draw of a run.

    Raises:
        MismatchError: the run was filtered by different clusters.
    """
    return pages.drawable_charts(pages.read_run(run), _extras_of(run, extras))


def _extras_of(run: Path, extras: PageExtras) -> pages.Extras:
    """Return what a chart may show beside a run: its clusters, and its comparisons."""
    return pages.Extras(**_cluster_extras([run], extras)).with_defaults(pages.read_comparisons(run))


def _check_clusters(runs: Sequence[Path], folder: Path) -> None:
    """Refuse clusters that a run did not use; a run without recorded clusters may be shown with any.

    Raises:
        MissingFileError: the folder holds no clusters.
        MismatchError: they are of a different fit or walk.
    """
    ours = clusters.models_fingerprint(load_assigner(folder).periods)
    for run in runs:
        theirs = pages.read_run(run).fingerprints.get("clusters")
        if theirs and theirs != ours:
            raise MismatchError(
                f"{run} was filtered by different clusters than those in {folder}; give the ones it used"
            )


def _cluster_extras(runs: Sequence[Path], given: PageExtras) -> dict[str, Any]:
    """Read the map, the ranking and the drift of a folder of clusters or of a walk."""
    shown: dict[str, Any] = {}
    if (folder := given.clusters) is None:
        return shown
    _check_clusters(runs, folder)
    horizon = given.horizon or pages.read_run(runs[0]).horizon
    if (folder / "map.npz").is_file():
        shown["cluster_map"] = clusters.load_map(folder)
    ranking = None
    if is_walk(folder):
        walk = clusters.load_walk(folder)
        ranking, shown["refits"] = walk.refits[-1].ranking, clusters.walk_drift(walk)
    elif horizon is not None and (given.horizon or (folder / f"ranking_{horizon}d.json").is_file()):
        ranking = clusters.load_ranking(folder, horizon)
    if ranking is not None:
        shown["ranking"] = pages.cluster_returns(ranking.rows(), ranking.best or (), ranking.selected_share)
        shown["ranking_horizon"] = ranking.horizon
    return shown
