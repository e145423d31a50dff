"""The page of one or several runs, with what their clusters show of themselves. Knows clusters and report by their
public names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encash.errors import MismatchError
from encash.pipeline.clusters import is_walk, load_assigner


@dataclass(frozen=True, kw_only=True)
class PageExtras:
    """What a page shows beside its runs."""

    clusters: Path | None = None
    """A folder with the ranking of `horizon`: return by cluster."""
    horizon: int = 5
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds of the same work done in several ways."""
    same_picks: bool | None = None


def write_report(runs: Sequence[Path], out: Path, extras: PageExtras | None = None) -> Path:
    """The page of one or several runs."""
    from encash.report import Extras, render_report

    given, shown = extras or PageExtras(), dict[str, Any]()
    if given.clusters is not None:
        _check_clusters(runs, given.clusters)
        shown = _cluster_extras(given.clusters, given.horizon)
    return render_report(runs, out, extras=Extras(timings=given.timings, same_picks=given.same_picks, **shown))


def _check_clusters(runs: Sequence[Path], folder: Path) -> None:
    """Refuse clusters that a run did not use; a run that names none may be shown beside any.

    Raises:
        MissingFileError: the folder holds no clusters.
        MismatchError: they are of another fit or walk.
    """
    from encash.clusters import models_fingerprint
    from encash.report import read_run

    ours = models_fingerprint(load_assigner(folder).periods)
    for run in runs:
        theirs = read_run(run).fingerprints.get("clusters")
        if theirs and theirs != ours:
            raise MismatchError(f"{run} was filtered by other clusters than those in {folder}; give the ones it used")


def _cluster_extras(folder: Path, horizon: int) -> dict[str, Any]:
    """What a folder of clusters or of a walk shows of itself on a page."""
    from encash.clusters import load_map, load_ranking
    from encash.report import cluster_returns

    shown: dict[str, Any] = {}
    if (folder / "map.npz").is_file():
        shown["cluster_map"] = load_map(folder)
    ranking = None
    if is_walk(folder):
        from encash.clusters import load_walk, walk_drift

        walk = load_walk(folder)
        ranking, shown["refits"] = walk.refits[-1].ranking, walk_drift(walk)
    elif (folder / f"ranking_{horizon}d.json").is_file():
        ranking = load_ranking(folder, horizon)
    if ranking is not None:
        shown["ranking"] = cluster_returns(ranking.rows(), ranking.best or (), ranking.selected_share)
        shown["ranking_horizon"] = ranking.horizon
    return shown
