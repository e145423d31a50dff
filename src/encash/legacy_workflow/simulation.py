"""The backtest of the guide, live or from an embeddings cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import encash.backtest as engine
from encash import pipeline
from encash.atomic_write import write_whole
from encash.backtest.inputs.signals import check_clusters
from encash.errors import InputError, MismatchError, MissingFileError
from encash.extras import require
from encash.legacy_workflow.caches import merged_cache, with_bin_edges, with_defaults
from encash.legacy_workflow.defaults import (
    CLEAN_PRICES,
    CLUSTERS,
    HORIZONS,
    NEAREST_SHARE,
    PRICES,
    SELL_FEE,
    SESSIONS_PER_MONTH,
    Announce,
)
from encash.legacy_workflow.result_file import write_guide_result
from encash.pipeline import Sources
from encash.progress import Progress

_DIFFERENCES = (
    "unlike the guide's version: the score is expected return × confidence (there 1 was added to the return), a stock "
    "without a price at its sale is settled at its last one (there: no change), and each day's subset follows from "
    "--seed and the day"
)
"""Announced by each run."""
_NEAREST = "nearest"


@dataclass(frozen=True, kw_only=True)
class SimulationOptions:
    """Options of ``inference.backtest_simulation``, except its sources; None stands for the guide's default."""

    config: engine.BacktestConfig
    """Settings except the horizon, the sessions and the fees."""
    horizon_idx: int
    test_months: int
    cluster_dir: Path | None
    best_clusters_file: Path | None
    cluster_top_k_percent: float | None
    """Fraction of the day's candidates that the nearest filter keeps."""
    filter: str | None
    num_trials: int
    compare: int
    output: Path | None
    caches: Sequence[str]


def simulate(
    sources: Sources, options: SimulationOptions, *, say: Announce, progress: Progress | None = None
) -> dict[str, Any]:
    """Run the backtest with the guide's universe, filter and costs; return the result as plain values.

    Raises:
        InputError: an output of `.pt` that is a folder; else as `run_backtest`.
        MissingFileError: clusters or prices that were named, or clusters that are not ranked.
    """
    require("report", "report.html")
    horizon = HORIZONS[options.horizon_idx]
    run_dir, document = _outputs(options.output)
    choice = _filter_choice(options, horizon, say)
    say(_DIFFERENCES)
    with merged_cache(options.caches) as cache:
        sources = with_bin_edges(with_defaults(_with_inputs(replace(sources, cache=cache), say)), say)
        inputs = pipeline.open_inputs(sources, choice)
        if not _asked(options):
            inputs = _without_foreign_clusters(inputs, say)
        if inputs.filter is not None and choice.name == _NEAREST:
            kept, best = f"{choice.keep:.4g} of the day's candidates", choice.best_file or choice.clusters
            say(f"filter: the {kept} nearest to the best clusters of {best}")
        _announce_unit(inputs, say)
        sessions = _test_sessions(inputs, sources, options.test_months, horizon, say)
        config = replace(options.config, horizon=horizon, test_sessions=sessions, buy_fee=0.0, sell_fee=SELL_FEE)
        result, run_dir = pipeline.backtest(inputs, config, run_dir=run_dir, progress=progress)
        _announce_missing(result.facts["missing_share"], say)
        beside = pipeline.evaluate_run(
            inputs, config, run_dir, num_trials=options.num_trials, draws=options.compare, progress=progress
        )
    folder = None if inputs.filter is None else choice.clusters
    extras = pipeline.PageExtras(clusters=folder)
    pipeline.write_report([run_dir], run_dir / "report.html", extras)
    values = {**result.to_json(), **beside, "run_dir": str(run_dir)}
    if document is not None:
        if document.suffix == ".json":
            write_whole(document, (run_dir / "result.json").read_bytes())
        else:
            write_guide_result(document, result)
        values["output"] = str(document)
    return values


def _outputs(output: Path | None) -> tuple[Path | None, Path | None]:
    """Return the run folder (None for one named after the run), and the file to write beside it, if one is named."""
    if output is None or output.suffix not in (".json", ".pt", ".pth"):
        return output, None
    if output.is_dir():
        raise InputError(
            f"{output} is a folder, perhaps a run of an earlier version, and --output names a file; move it away, or "
            "give a different name"
        )
    return output.with_suffix(""), output


def _with_inputs(sources: Sources, say: Announce) -> Sources:
    """Choose the default prices, and let an ensemble take the place of the model, as in the guide."""
    if sources.prices is None:
        fallback = not CLEAN_PRICES.is_file() and PRICES.is_file()
        if fallback:
            say(f"there is no {CLEAN_PRICES}: prices are those of {PRICES} (--prices)")
        sources = replace(sources, prices=PRICES if fallback else CLEAN_PRICES)
    if sources.ensemble_models:
        first, *others = sources.ensemble_models
        say(f"the ensemble is {', '.join(sources.ensemble_models)}, without --model; clusters are those of {first}")
        sources = replace(sources, model=first, ensemble_models=tuple(others))
    return sources


def _filter_choice(options: SimulationOptions, horizon: int, say: Announce) -> pipeline.FilterChoice:
    """Return the filter of a run, and say which it is."""
    share, best = options.cluster_top_k_percent, options.best_clusters_file
    if share is not None and not 0 < share <= 1:
        raise InputError(
            f"--cluster-top-k-percent is {share:g}; expected a fraction above 0 and at most 1: 3 percent is 0.03"
        )
    none = pipeline.FilterChoice(name="none", horizon=horizon, seed=options.config.seed)
    if options.filter == "none":
        return none
    folder = _cluster_folder(options.cluster_dir, best)
    if not _asked(options) and not folder.is_dir():
        say(f"there is no folder {folder}: without a cluster filter, every candidate is ranked (--cluster-dir)")
        return none
    name = options.filter or _NEAREST
    if not pipeline.is_walk(folder):
        best = best or folder / f"best_clusters_{HORIZONS[0]}d.txt"
        _check_ranked(folder, best, horizon, say)
    if name == _NEAREST:
        share = NEAREST_SHARE if share is None else share
    return replace(
        none,
        clusters=folder,
        name=name,
        keep=share,
        best_file=best,
        own={"rounding": "down"} if name == _NEAREST else {},
    )


def _asked(options: SimulationOptions) -> bool:
    """Return True if a flag asks for a filter, which then is not left out."""
    flags = (options.cluster_dir, options.best_clusters_file, options.cluster_top_k_percent, options.filter)
    return any(value is not None for value in flags)


def _without_foreign_clusters(inputs: engine.BacktestInputs, say: Announce) -> engine.BacktestInputs:
    """Leave out the filter of the default folder, if its clusters are of a different model."""
    try:
        check_clusters(inputs.filter, inputs.lookup.encoder_spec)
    except MismatchError:
        say(f"the clusters in {CLUSTERS} are of a different model: without a cluster filter, every candidate is ranked")
        return replace(inputs, filter=None)
    return inputs


def _cluster_folder(asked: Path | None, best: Path | None) -> Path:
    """Return the folder of the clusters: the given one, else that of the best clusters if it holds any, else the
    default."""
    if asked is not None:
        return asked
    return best.parent if best is not None and (best.parent / "clusters.json").is_file() else CLUSTERS


def _check_ranked(folder: Path, best: Path, horizon: int, say: Announce) -> None:
    """Refuse clusters that are not ranked, and say if they were ranked over a different horizon."""
    if (folder / "clusters.json").is_file() and not best.is_file():
        raise MissingFileError(
            f"there is no file {best}; make it: python -m cluster.analyze_clusters --cluster-dir {folder} "
            "--prices-path …"
        )
    ranked = pipeline.ranked_horizon(best)
    if ranked not in (None, horizon):
        say(
            f"the best clusters of {best} are those of horizon {ranked}, this run has horizon {horizon} "
            "(in sessions; --best-clusters-file, --horizon-idx)"
        )


def _announce_unit(inputs: engine.BacktestInputs, say: Announce) -> None:
    """Say how the bin edges of a classifier are read."""
    from encash.encoders.bins import unit_of_rule

    spec = inputs.lookup.encoder_spec
    unit = None if spec is None else unit_of_rule(spec.forecast_rule)
    if unit is not None:
        say(f"bin edges are read as {unit}s; forecasts are returns")


def _announce_missing(share: float, say: Announce) -> None:
    """Say how many candidates were left out, if they are many."""
    if share > engine.BacktestConfig.max_missing:
        say(f"{share:.1%} of the candidates have a price but no full window, and are left out (--max-missing)")


def _test_sessions(inputs: engine.BacktestInputs, sources: Sources, months: int, horizon: int, say: Announce) -> int:
    """Return the number of sessions of a run: those of the months, or all that can be used if there are fewer.

    Sessions before the first full window have no candidates. As many of them as are a multiple of the horizon are left
    out, so that the run trades on the days on which one over all sessions would.
    """
    wanted, there = months * SESSIONS_PER_MONTH, len(inputs.prices.days)
    spec = inputs.lookup.encoder_spec
    first, lookback = max(0, there - wanted), 0 if spec is None else spec.lookback
    idle = _idle_sessions(inputs, sources, first, lookback) if first < lookback else 0
    idle -= idle % horizon
    used = min(wanted, there) - idle
    if used < wanted:
        before = f", the first {first + idle} of them before the first window of {lookback}" if idle else ""
        say(f"{months} months are {wanted} sessions; the prices have {there}{before}: {used} are used")
    return used


def _idle_sessions(inputs: engine.BacktestInputs, sources: Sources, first: int, lookback: int) -> int:
    """Count the sessions from `first` on before any ticker has a full window; 0 if none has one."""
    from encash.cache.window_digests import window_digests

    panel, days = sources.panel(), inputs.prices.days[first:]
    if panel is None:
        return 0
    priced = set(inputs.prices.tickers)
    tickers = tuple(ticker for ticker in panel.tickers if ticker in priced)
    known = window_digests(panel, tickers, days, lookback).digest.any(axis=1)
    return int(np.argmax(known)) if known.any() else 0
