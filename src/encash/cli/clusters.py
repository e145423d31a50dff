"""``clusters fit|rank|walk|assign|show``: group embeddings of the past, and what followed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encash.cli.console import Console, Parser, lines, plain
from encash.cli.flags import command, day

if TYPE_CHECKING:
    from encash.arrays import Int32
    from encash.clusters import ClusterModel, FitConfig, Ranking, Rule, WalkModel

AUTO_COUNTS = (3, 5, 10, 20, 35, 50, 75, 100)
"""Numbers of clusters that -k auto tries, as far as there are entries."""
METRICS = ("mean_return", "median_return", "win_rate", "sharpe")
"""As in `encash.clusters.METRICS`, which is not imported before a command needs it."""


def register(commands: Any) -> None:
    """Add the commands of this file."""
    clusters = commands.add_parser("clusters", help="fit and rank clusters on the past").add_subparsers(
        dest="clusters_command", metavar="COMMAND", required=True, parser_class=Parser
    )
    for add in (_fit, _rank, _walk, _assign, _show):
        add(clusters)


def _fit(clusters: Any) -> None:
    parser = command(
        clusters,
        "fit",
        "k-means on the embeddings up to a day",
        "clusters fit --cache cache.lance --end 2015-12-31 -k 50 --out clusters",
        run_fit,
    )
    parser.add_argument("--cache", required=True, metavar="C")
    parser.add_argument("--start", type=day, default=None, metavar="DAY", help="first session used (the cache's first)")
    parser.add_argument("--end", type=day, required=True, metavar="DAY", help="last session used")
    fit_flags(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")


def _rank(clusters: Any) -> None:
    parser = command(
        clusters,
        "rank",
        "forward returns by cluster, on entries whose forward return has ended",
        "clusters rank --clusters clusters --cache cache.lance --prices prices.h5 \\\n"
        "      --end 2015-12-31 --horizon 5",
        run_rank,
    )
    parser.add_argument("--clusters", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cache", required=True, metavar="C")
    parser.add_argument("--prices", type=Path, required=True, metavar="P")
    parser.add_argument("--start", type=day, default=None, metavar="DAY", help="first session used (the cache's first)")
    parser.add_argument("--end", type=day, required=True, metavar="DAY", help="last session whose price may be known")
    parser.add_argument(
        "--horizon", type=int, nargs="+", required=True, metavar="H", help="sessions held; a ranking for each"
    )
    parser.add_argument(
        "--embargo",
        type=int,
        default=None,
        metavar="N",
        help="sessions between the ranking and the first trade (the horizon)",
    )
    rule_flags(parser)


def _walk(clusters: Any) -> None:
    parser = command(
        clusters,
        "walk",
        "refit and rank every N sessions, each time on the past",
        "clusters walk --cache cache.lance --prices prices.h5 --every 60 --horizon 5 --embargo 5 --out walk",
        run_walk,
    )
    parser.add_argument("--cache", required=True, metavar="C")
    parser.add_argument("--prices", type=Path, required=True, metavar="P")
    parser.add_argument("--every", type=int, required=True, metavar="N", help="sessions from one refit to the next")
    parser.add_argument("--horizon", type=int, required=True, metavar="H", help="sessions held")
    parser.add_argument("--embargo", type=int, required=True, metavar="N", help="sessions, at least the horizon")
    fit_flags(parser)
    rule_flags(parser)
    parser.add_argument("--window", type=int, default=None, metavar="N", help="sessions a refit looks back (all)")
    parser.add_argument("--history", type=int, default=252, metavar="N", help="sessions before the first fit (252)")
    parser.add_argument("--start", type=day, default=None, metavar="DAY", help="first day of entries")
    parser.add_argument("--end", type=day, default=None, metavar="DAY", help="last day a model is to be in force")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")


def _assign(clusters: Any) -> None:
    parser = command(
        clusters,
        "assign",
        "the cluster of every entry of a cache, kept beside the clusters",
        "clusters assign --clusters clusters --cache cache.lance",
        run_assign,
        about="rank and walk do this too; after a build only new and restated entries are read. A backtest then "
        "reads no embeddings.",
    )
    parser.add_argument("--clusters", type=Path, required=True, metavar="DIR", help="a folder of fit, or of walk")
    parser.add_argument("--cache", required=True, metavar="C")


def fit_flags(parser: Any) -> None:
    """How clusters are fitted."""
    how = parser.add_argument_group("how clusters are fitted")
    how.add_argument(
        "-k",
        type=cluster_counts,
        default=(50,),
        metavar="K[,K…]|auto",
        help="number of clusters (50); of several, the one with the highest Calinski–Harabasz index, in a walk at its "
        f"first refit; auto tries {','.join(map(str, AUTO_COUNTS))}",
    )
    how.add_argument("--seed", type=int, default=0)
    how.add_argument("--method", default="kmeans", help="kmeans: the others cannot assign new entries (kmeans)")
    how.add_argument(
        "--samples-per-stock", type=int, default=None, metavar="N", help="a seeded sample of sessions per ticker (all)"
    )
    how.add_argument(
        "--max-entries",
        type=most_entries,
        default=262_144,
        metavar="N|all",
        help="a seeded sample of at most so many entries; all takes every one, and the memory for it (262144)",
    )
    how.add_argument("--no-standardize", dest="standardize", action="store_false", help="cluster the raw embeddings")
    how.add_argument("--pca-components", type=int, default=None, metavar="N", help="project on so many first (none)")


def rule_flags(parser: Any) -> None:
    """How clusters are ranked, and which of them are the best ones."""
    rule = parser.add_argument_group("which clusters are the best ones; all that is given must hold")
    rule.add_argument("--top", type=int, default=None, metavar="N", help="this many (5 where nothing else is given)")
    rule.add_argument("--coverage", type=float, default=None, metavar="SHARE", help="best first, to this share of all")
    rule.add_argument("--min-return", type=float, default=None, help="mean return over the horizon, as a fraction")
    rule.add_argument("--min-win-rate", type=float, default=None)
    rule.add_argument("--min-sharpe", type=float, default=None)
    rule.add_argument("--metric", choices=METRICS, default="mean_return", help="what the order goes by (mean_return)")
    rule.add_argument(
        "--no-winsorize", dest="winsorize", action="store_false", help="outliers as they are, not drawn in to 0.5 %%"
    )


def cluster_counts(text: str) -> tuple[int, ...]:
    """The type of a flag that takes one or several numbers of clusters, or auto.

    >>> cluster_counts("50"), cluster_counts("10,20")
    ((50,), (10, 20))
    """
    if text == "auto":
        return AUTO_COUNTS
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of clusters; expected 50, 10,20,50 or auto") from None


def most_entries(text: str) -> int | None:
    """The type of a flag that takes a number of entries, or all.

    >>> most_entries("1000"), most_entries("all")
    (1000, None)
    """
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of entries; expected 262144, say, or all") from None


def _show(clusters: Any) -> None:
    parser = command(clusters, "show", "what a cluster folder holds", "clusters show clusters", run_show)
    parser.add_argument("clusters", type=Path, metavar="DIR")


def run_fit(arguments: argparse.Namespace, console: Console) -> int:
    """Embeddings of the past → clusters."""
    from encash import pipeline
    from encash.cache import open_cache

    counts: tuple[int, ...] = arguments.k
    cache, config = open_cache(arguments.cache), fit_config(arguments)
    with console.progress("read", "entries") as progress:
        sample = pipeline.draw_sample(cache, config, start=arguments.start, end=arguments.end, progress=progress)
    fitting = tuple(k for k in counts if k < len(sample.days)) if counts == AUTO_COUNTS else counts
    several = fitting if len(counts) > 1 else ()
    with console.progress("fit", "numbers of clusters" if several else "entries × iterations") as progress:
        model, chosen = pipeline.fit_clusters(cache, sample, config, arguments.out, counts=several, progress=progress)
    values = plain({**describe(model), "out": arguments.out})
    tried, text = describe_choice([] if chosen is None else chosen.rows())
    console.result({**values, **tried}, [*text, *lines(values)])
    return 0


def run_assign(arguments: argparse.Namespace, console: Console) -> int:
    """Clusters and a cache → the cluster of every entry."""
    from encash import pipeline
    from encash.cache import open_cache

    with console.progress("assign", "entries") as progress:
        kept = pipeline.keep_assignments(open_cache(arguments.cache), arguments.clusters, progress=progress)
    console.facts({"entries": kept.entries, "k": kept.k, "sessions": len(kept.days), "tickers": len(kept.tickers)})
    return 0


def fit_config(arguments: argparse.Namespace) -> FitConfig:
    """The flags of `fit_flags` as a configuration, with the first of several numbers of clusters."""
    from encash.clusters import FitConfig

    return FitConfig(
        k=arguments.k[0],
        seed=arguments.seed,
        method=arguments.method,
        standardize=arguments.standardize,
        pca_components=arguments.pca_components,
        samples_per_ticker=arguments.samples_per_stock,
        max_entries=arguments.max_entries,
    )


def rule_of(arguments: argparse.Namespace) -> Rule:
    """The flags of `rule_flags` as a rule; the best five where none is given."""
    from encash.clusters import Rule

    rule = Rule(
        top_k=arguments.top,
        coverage=arguments.coverage,
        min_return=arguments.min_return,
        min_win_rate=arguments.min_win_rate,
        min_sharpe=arguments.min_sharpe,
    )
    return Rule(top_k=5) if rule == Rule() else rule


def winsorized(arguments: argparse.Namespace) -> tuple[float, float] | None:
    """Between which quantiles returns are drawn in."""
    from encash.clusters import RankConfig

    return RankConfig.winsorize if arguments.winsorize else None


def run_rank(arguments: argparse.Namespace, console: Console) -> int:
    """Clusters and prices → the best clusters, for each horizon."""
    from encash import pipeline
    from encash.cache import open_cache
    from encash.clusters import RankConfig
    from encash.panel import open_prices

    prices, rule = open_prices(arguments.prices), rule_of(arguments)
    configs = [
        RankConfig(
            horizon=horizon,
            end=arguments.end,
            start=arguments.start,
            embargo=horizon if arguments.embargo is None else arguments.embargo,
            metric=arguments.metric,
            winsorize=winsorized(arguments),
        )
        for horizon in arguments.horizon
    ]
    with console.progress("assign", "entries") as progress:
        assignments = pipeline.assignments_to_rank(
            open_cache(arguments.cache),
            arguments.clusters,
            start=arguments.start,
            end=arguments.end,
            progress=progress,
        )
    found = [
        describe_best(*pipeline.rank_clusters(assignments, prices, arguments.clusters, config=config, rule=rule), rule)
        for config in configs
    ]
    several = {"horizons": [values for values, _ in found]} if len(found) > 1 else {}
    text = [line for _, part in found for line in ("", *part)]
    console.result({**found[0][0], **several}, text[1:])
    return 0


def describe_best(ranking: Ranking, best: Int32, rule: Rule) -> tuple[dict[str, Any], list[str]]:
    """A ranking and its best clusters, as values and as lines."""
    from encash.clusters import stability

    names = ("fit_end", "rank_end", "embargo", "horizon")
    facts = {"best": best.tolist(), **{name: getattr(ranking, name) for name in names}}
    share = stability(ranking, rule)
    rows = [{**row, "selected_share": float(share[row["cluster_id"]])} for row in ranking.rows()]
    values = plain({**facts, "counts": ranking.counts, "ranking": rows})
    text = [*lines(facts), "", *ranking_lines(values["ranking"], set(facts["best"]))]
    if len(best) == ranking.k:
        text += ["", f"all {ranking.k} clusters are best ones: the filter keeps everybody (fewer: --top)"]
    return values, text


def run_walk(arguments: argparse.Namespace, console: Console) -> int:
    """Embeddings and prices → a model for each stretch of days."""
    from encash import pipeline
    from encash.cache import open_cache
    from encash.clusters import WalkConfig
    from encash.panel import open_prices

    config = WalkConfig(
        every=arguments.every,
        horizon=arguments.horizon,
        embargo=arguments.embargo,
        fit=fit_config(arguments),
        counts=arguments.k if len(arguments.k) > 1 else (),
        rule=rule_of(arguments),
        metric=arguments.metric,
        winsorize=winsorized(arguments),
        window=arguments.window,
        history=arguments.history,
        start=arguments.start,
        end=arguments.end,
    )
    cache = open_cache(arguments.cache)
    with console.progress("walk", "fits" if config.counts else "refits") as progress:
        walk = pipeline.write_walk(cache, open_prices(arguments.prices), config, arguments.out, progress=progress)
    if cache.verified:
        with console.progress("assign", "entries") as progress:
            pipeline.keep_assignments(cache, arguments.out, progress=progress)
    values, text = describe_walk(walk)
    console.result({**values, "out": str(arguments.out)}, text)
    return 0


def run_show(arguments: argparse.Namespace, console: Console) -> int:
    """What is in a folder of clusters, or of a walk."""
    from encash import pipeline

    if pipeline.is_walk(arguments.clusters):
        from encash.clusters import load_walk

        values, text = describe_walk(load_walk(arguments.clusters))
        console.result({**values, "out": str(arguments.clusters)}, text)
        return 0
    from encash.clusters import load_clusters, load_rankings

    values = plain(describe(load_clusters(arguments.clusters)))
    ranked = [
        {"horizon": one.horizon, "best": list(one.best or ()), "rank_end": one.rank_end, "embargo": one.embargo}
        for one in load_rankings(arguments.clusters)
    ]
    text = [f"over {one['horizon']} sessions, ranked to {one['rank_end']}: best {one['best']}" for one in ranked]
    console.result({**values, "rankings": ranked}, [*lines(values), *text])
    return 0


def describe_walk(walk: WalkModel) -> tuple[dict[str, Any], list[str]]:
    """The refits of a walk, as values and as lines."""
    refits = plain(
        [
            {
                "first_day": refit.period.first_day,
                "fit_end": refit.period.model.fit_end,
                "rank_end": refit.period.rank_end,
                "best": refit.period.best.tolist(),
                "agreement": None if np.isnan(refit.agreement) else refit.agreement,
            }
            for refit in walk.refits
        ]
    )
    tried, text = describe_choice(walk.notes.get("choice", []))
    text += [f"from {one['first_day']}: ranked to {one['rank_end']}, best {one['best']}" for one in refits]
    values = {"refits": len(refits), "k": walk.k, "terms": refits, **tried}
    return values, [*text, f"{len(refits)} refits of {walk.k} clusters"]


def describe_choice(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """The numbers of clusters that were tried, as values and as lines; nothing where there was no choice."""
    text = [f"{row['k']:>4} clusters: Calinski–Harabasz index {row['score']:,.1f}" for row in rows]
    return {"choice": rows} if rows else {}, text


def describe(model: ClusterModel) -> dict[str, Any]:
    """A cluster model in a few figures."""
    return {
        "k": model.k,
        "entries": int(model.counts.sum()),
        "entries_seen": model.notes.get("entries_seen"),
        "fit_start": model.fit_start,
        "fit_end": model.fit_end,
        "inertia": model.inertia,
        "smallest": int(model.counts.min()),
        "largest": int(model.counts.max()),
        "method": model.method,
        "seed": model.seed,
        "encoder": model.encoder,
    }


def ranking_lines(rows: list[dict[str, Any]], best: set[int]) -> list[str]:
    """The ranking as a table; a star marks the best clusters."""
    head = "   cluster  stocks  samples   mean return   ± error  win rate  best in draws"
    return [head] + [
        f"{'*' if row['cluster_id'] in best else ' '}  {row['cluster_id']:>7}  "
        f"{row['num_stocks']:>6}  {row['num_samples']:>7,}  "
        f"{row['mean_return']:>11.3%}  {row['mean_error']:>8.3%}  {row['win_rate']:>8.1%}  "
        f"{row['selected_share']:>13.0%}"
        for row in rows
    ]
