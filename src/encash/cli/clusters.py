"""``clusters fit|rank|show|walk``: group embeddings of the past and rank the groups by what followed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encash.cli.console import Console, Parser, common, day, lines, plain

if TYPE_CHECKING:
    from encash.clusters import ClusterModel


def register(commands: Any) -> None:
    """Add the commands of this file."""
    clusters = commands.add_parser("clusters", help="fit and rank clusters on the past").add_subparsers(
        dest="clusters_command", metavar="COMMAND", required=True, parser_class=Parser
    )
    for add in (_fit, _rank, _show):
        add(clusters)


def _fit(clusters: Any) -> None:
    parser = clusters.add_parser(
        "fit",
        help="k-means on the embeddings up to a day",
        epilog="example:\n  encash clusters fit --cache cache.lance --end 2015-12-31 -k 50 --out clusters",
    )
    parser.add_argument("--cache", required=True, metavar="C")
    parser.add_argument("--start", type=day, default=None, metavar="DAY", help="first session used (the cache's first)")
    parser.add_argument("--end", type=day, required=True, metavar="DAY", help="last session used")
    parser.add_argument("-k", type=int, default=50, help="number of clusters (50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--samples-per-stock", type=int, default=None, metavar="N", help="a seeded sample of sessions per ticker (all)"
    )
    parser.add_argument("--no-standardize", dest="standardize", action="store_false", help="cluster the raw embeddings")
    parser.add_argument("--pca-components", type=int, default=None, metavar="N")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    common(parser)
    parser.set_defaults(handler=run_fit)


def _rank(clusters: Any) -> None:
    parser = clusters.add_parser(
        "rank",
        help="forward returns by cluster, on entries whose forward return has ended",
        epilog="example:\n  encash clusters rank --clusters clusters --cache cache.lance --prices prices.h5 \\\n"
        "      --end 2015-12-31 --horizon 5",
    )
    parser.add_argument("--clusters", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cache", required=True, metavar="C")
    parser.add_argument("--prices", type=Path, required=True, metavar="P")
    parser.add_argument("--start", type=day, default=None, metavar="DAY", help="first session used (the cache's first)")
    parser.add_argument("--end", type=day, required=True, metavar="DAY", help="last session whose price may be known")
    parser.add_argument("--horizon", type=int, required=True, metavar="H", help="sessions held")
    parser.add_argument(
        "--embargo",
        type=int,
        default=None,
        metavar="N",
        help="sessions between the ranking and the first trade (the horizon)",
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many clusters are the best ones (5)")
    parser.add_argument(
        "--metric", choices=("mean_return", "median_return", "win_rate", "sharpe"), default="mean_return"
    )
    common(parser)
    parser.set_defaults(handler=run_rank)


def _show(clusters: Any) -> None:
    parser = clusters.add_parser(
        "show", help="what a cluster folder holds", epilog="example:\n  encash clusters show clusters"
    )
    parser.add_argument("clusters", type=Path, metavar="DIR")
    common(parser)
    parser.set_defaults(handler=run_show)


def run_fit(arguments: argparse.Namespace, console: Console) -> int:
    """Embeddings of the past → clusters."""
    from encash import pipeline
    from encash.cache import open_cache
    from encash.clusters import FitConfig

    config = FitConfig(
        k=arguments.k,
        seed=arguments.seed,
        standardize=arguments.standardize,
        pca_components=arguments.pca_components,
        samples_per_ticker=arguments.samples_per_stock,
    )
    cache = open_cache(arguments.cache)
    model = pipeline.fit_clusters(cache, config, arguments.out, start=arguments.start, end=arguments.end)
    values = plain({**describe(model), "out": arguments.out})
    console.result(values, lines(values))
    return 0


def run_rank(arguments: argparse.Namespace, console: Console) -> int:
    """Clusters and prices → the best clusters."""
    from encash import pipeline
    from encash.cache import open_cache
    from encash.clusters import RankConfig, Rule, load_clusters
    from encash.panel import open_prices

    model, prices = load_clusters(arguments.clusters), open_prices(arguments.prices)
    assignments = pipeline.assign_entries(open_cache(arguments.cache), model, start=arguments.start, end=arguments.end)
    config = RankConfig(
        horizon=arguments.horizon,
        end=arguments.end,
        start=arguments.start,
        embargo=arguments.horizon if arguments.embargo is None else arguments.embargo,
        metric=arguments.metric,
    )
    rule = Rule(top_k=arguments.top)
    ranking, best = pipeline.rank_clusters(assignments, prices, arguments.clusters, config=config, rule=rule)
    facts = {
        "fit_end": ranking.fit_end,
        "rank_end": ranking.rank_end,
        "embargo": ranking.embargo,
        "horizon": ranking.horizon,
    }
    values = plain({"best": best.tolist(), **facts, "counts": ranking.counts, "ranking": ranking.rows()})
    console.result(
        values, [*lines({"best": values["best"], **facts}), "", *ranking_lines(values["ranking"], set(values["best"]))]
    )
    return 0


def run_show(arguments: argparse.Namespace, console: Console) -> int:
    """What is in a cluster folder."""
    from encash.clusters import load_clusters

    values = plain(describe(load_clusters(arguments.clusters)))
    console.result(values, lines(values))
    return 0


def describe(model: ClusterModel) -> dict[str, Any]:
    """A cluster model in a few figures."""
    return {
        "k": model.k,
        "entries": int(model.counts.sum()),
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
    head = "   cluster  stocks  samples   mean return   ± error  win rate"
    return [head] + [
        f"{'*' if row['cluster_id'] in best else ' '}  {row['cluster_id']:>7}  "
        f"{row['num_stocks']:>6}  {row['num_samples']:>7,}  "
        f"{row['mean_return']:>11.3%}  {row['mean_error']:>8.3%}  {row['win_rate']:>8.1%}"
        for row in rows
    ]
