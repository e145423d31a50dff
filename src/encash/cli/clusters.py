"""``clusters fit|rank|walk|assign|show``: group past embeddings, and rank the groups by forward returns."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import encash
from encash import api, clusters, pipeline
from encash.cli.console import Console, Parser, lines, plain, settled_line
from encash.cli.flags import command, day, delisting_flag
from encash.clusters.clusterers.registry import CLUSTERERS
from encash.input_files import path_or_url

if TYPE_CHECKING:
    from encash.arrays import Int32

AUTO_COUNTS = (3, 5, 10, 20, 35, 50, 75, 100)
"""`encash.api.clusters.AUTO_COUNTS`, listed here so that help imports no numpy."""
METRICS = ("mean_return", "median_return", "win_rate", "sharpe")
"""`encash.clusters.METRICS`, listed here so that help imports no numpy."""


def register(parser: Parser) -> None:
    """Add the subcommands."""
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for add in (_fit, _rank, _walk, _assign, _show):
        add(commands)


def _fit(commands: Any) -> None:
    parser = commands.add_parser("fit", help="group the embeddings up to a day")
    command(parser, run_fit, "clusters fit --cache cache.lance --end 2015-12-31 -k 50 --out clusters")
    parser.add_argument("--cache", required=True, metavar="C", help="path or URL of the cache")
    parser.add_argument("--start", type=day, metavar="DAY", help="first session used (the cache's first)")
    parser.add_argument("--end", type=day, required=True, metavar="DAY", help="last session used")
    fit_flags(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")


def _rank(commands: Any) -> None:
    parser = commands.add_parser("rank", help="forward returns by cluster, from entries whose forward return has ended")
    command(
        parser,
        run_rank,
        "clusters rank --clusters clusters --cache cache.lance --prices prices.h5 --end 2015-12-31 --horizon 5",
    )
    parser.add_argument("--clusters", type=Path, required=True, metavar="DIR", help="a folder of clusters fit")
    parser.add_argument("--cache", required=True, metavar="C", help="path or URL of the cache")
    parser.add_argument("--prices", type=path_or_url, required=True, metavar="P", help="prices, HDF5: a path or URL")
    parser.add_argument("--start", type=day, metavar="DAY", help="first session used (the cache's first)")
    parser.add_argument("--end", type=day, required=True, metavar="DAY", help="last session whose price may be known")
    parser.add_argument(
        "--horizon", type=int, nargs="+", required=True, metavar="H", help="sessions held; one ranking per horizon"
    )
    parser.add_argument(
        "--embargo", type=int, metavar="N", help="sessions between the ranking and the first trade (the horizon)"
    )
    rule_flags(parser)


def _walk(commands: Any) -> None:
    parser = commands.add_parser("walk", help="refit and rank every N sessions, each time on the past")
    command(
        parser,
        run_walk,
        "clusters walk --cache cache.lance --prices prices.h5 --every 60 --horizon 5 --embargo 5 --out walk",
    )
    parser.add_argument("--cache", required=True, metavar="C", help="path or URL of the cache")
    parser.add_argument("--prices", type=path_or_url, required=True, metavar="P", help="prices, HDF5: a path or URL")
    parser.add_argument("--every", type=int, required=True, metavar="N", help="sessions from one refit to the next")
    parser.add_argument("--horizon", type=int, required=True, metavar="H", help="sessions held")
    parser.add_argument("--embargo", type=int, required=True, metavar="N", help="sessions, at least the horizon")
    fit_flags(parser)
    rule_flags(parser)
    parser.add_argument("--window", type=int, metavar="N", help="sessions that a refit looks back (all)")
    parser.add_argument("--history", type=int, default=252, metavar="N", help="sessions before the first fit (252)")
    parser.add_argument("--start", type=day, metavar="DAY", help="first day of entries")
    parser.add_argument("--end", type=day, metavar="DAY", help="last day on which a model is used")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")


def _assign(commands: Any) -> None:
    parser = commands.add_parser("assign", help="store the cluster of every entry of a cache in the clusters' folder")
    command(
        parser,
        run_assign,
        "clusters assign --clusters clusters --cache cache.lance",
        about="rank and walk do this too; after a build only new and restated entries are read. A backtest then "
        "reads no embeddings.",
    )
    parser.add_argument("--clusters", type=Path, required=True, metavar="DIR", help="a folder of fit, or of walk")
    parser.add_argument("--cache", required=True, metavar="C", help="path or URL of the cache")


def fit_flags(parser: Any) -> None:
    """Add the flags that say how clusters are fitted."""
    how = parser.add_argument_group("how clusters are fitted")
    how.add_argument(
        "-k",
        type=cluster_counts,
        default=(50,),
        metavar="K[,K…]|auto",
        help="number of clusters (50); of several, the one with the highest Calinski–Harabasz index, in a walk at its "
        f"first refit; auto tries {','.join(map(str, AUTO_COUNTS))}",
    )
    how.add_argument("--seed", type=int, default=0, help="of all random draws (0)")
    how.add_argument(
        "--clusterer",
        "--method",
        dest="method",
        default="kmeans",
        metavar="NAME[?field=value]",
        help="how entries are grouped; a new one belongs to "
        + "; ".join(f"{name}: {one.assigns}" for name, one in CLUSTERERS.items())
        + "; or your own, module:attribute (kmeans)",
    )
    how.add_argument(
        "--samples-per-stock",
        dest="samples_per_ticker",
        type=int,
        metavar="N",
        help="fit on a seeded sample of N sessions per ticker (all)",
    )
    how.add_argument(
        "--max-entries",
        type=most_entries,
        default=262_144,
        metavar="N|all",
        help="fit on a seeded sample of at most N entries; all needs memory for every entry (262144)",
    )
    how.add_argument("--no-standardize", dest="standardize", action="store_false", help="cluster the raw embeddings")
    how.add_argument("--pca-components", type=int, metavar="N", help="first project on N components (no projection)")


def rule_flags(parser: Any) -> None:
    """Add the flags that say how clusters are ranked, and which of them are the best ones."""
    rule = parser.add_argument_group("which clusters are the best ones", "all given conditions must hold")
    rule.add_argument("--top", dest="top_k", type=int, metavar="N", help="the first N (5 if no condition is given)")
    rule.add_argument("--coverage", type=float, metavar="FRACTION", help="best first, up to this fraction of entries")
    rule.add_argument(
        "--ticker-coverage", type=float, metavar="FRACTION", help="best first, up to this fraction of distinct tickers"
    )
    rule.add_argument(
        "--min-return", type=float, metavar="FRACTION", help="mean return over the horizon, as a fraction"
    )
    rule.add_argument("--min-win-rate", type=float, metavar="FRACTION", help="share of entries with a gain")
    rule.add_argument("--min-sharpe", type=float, metavar="S", help="mean return over its deviation, not annualized")
    rule.add_argument(
        "--metric", choices=METRICS, default="mean_return", metavar="NAME", help=f"{', '.join(METRICS)} (mean_return)"
    )
    rule.add_argument(
        "--no-winsorize", dest="winsorize", action="store_false", help="do not limit returns to the 0.5%% quantiles"
    )
    delisting_flag(rule)


def cluster_counts(text: str) -> tuple[int, ...]:
    """Parse a flag that takes one or several numbers of clusters, or auto.

    >>> cluster_counts("50"), cluster_counts("10,20")
    ((50,), (10, 20))
    """
    if text == "auto":
        return AUTO_COUNTS
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"invalid number of clusters {text!r}: expected 50, 10,20,50 or auto"
        ) from None


def most_entries(text: str) -> int | None:
    """Parse a flag that takes a number of entries, or all.

    >>> most_entries("1000"), most_entries("all")
    (1000, None)
    """
    try:
        return None if text == "all" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"invalid number of entries {text!r}: expected a whole number such as 262144, or all"
        ) from None


def _show(commands: Any) -> None:
    parser = commands.add_parser("show", help="summarize a folder of clusters")
    command(parser, run_show, "clusters show clusters")
    parser.add_argument("clusters", type=Path, metavar="DIR", help="a folder of fit, or of walk")


def run_fit(arguments: argparse.Namespace, console: Console) -> None:
    """Fit clusters on past embeddings."""
    fitted = api.fit_clusters(
        arguments.cache,
        end=arguments.end,
        start=arguments.start,
        k="auto" if arguments.k == AUTO_COUNTS else arguments.k,
        out=arguments.out,
        progress=console.progress,
        **fit_settings(arguments),
    )
    values = plain({**describe(fitted.model), "out": arguments.out})
    tried, text = describe_choice([] if fitted.choice is None else fitted.choice.rows())
    console.result({**values, **tried}, [*text, *lines(values)])


def run_assign(arguments: argparse.Namespace, console: Console) -> None:
    """Store the cluster of every entry."""
    with console.progress("assign", "entries") as progress:
        kept = pipeline.update_assignment_cache(
            encash.open_cache(arguments.cache), arguments.clusters, progress=progress
        )
    console.facts({"entries": kept.entries, "k": kept.k, "sessions": len(kept.days), "tickers": len(kept.tickers)})


def fit_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the values of `fit_flags` except the number of clusters."""
    names = ("seed", "method", "samples_per_ticker", "max_entries", "standardize", "pca_components")
    return {name: getattr(arguments, name) for name in names}


def rule_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the values of `rule_flags`."""
    names = ("coverage", "ticker_coverage", "min_return", "min_win_rate", "min_sharpe", "metric", "winsorize")
    found = {name: getattr(arguments, name) for name in (*names, "delisting")}
    return {"top": arguments.top_k, **found}


def run_rank(arguments: argparse.Namespace, console: Console) -> None:
    """Rank clusters by forward returns, once per horizon."""
    ranked = api.rank_clusters(
        arguments.clusters,
        arguments.cache,
        arguments.prices,
        end=arguments.end,
        horizon=arguments.horizon,
        embargo=arguments.embargo,
        start=arguments.start,
        progress=console.progress,
        **rule_settings(arguments),
    )
    found = [describe_best(one.ranking, one.best, one.rule) for one in ranked.rankings]
    several = {"horizons": [values for values, _ in found]} if len(found) > 1 else {}
    text = [line for _, part in found for line in ("", *part)]
    console.result({**found[0][0], **several}, text[1:])


def describe_best(
    ranking: clusters.Ranking, best: Int32, rule: clusters.SelectionRule
) -> tuple[dict[str, Any], list[str]]:
    """Return a ranking and its best clusters as values and as lines."""
    names = ("fit_end", "rank_end", "embargo", "horizon", "delisting")
    facts = {"best": best.tolist(), **{name: getattr(ranking, name) for name in names}}
    share = clusters.selection_frequency(ranking, rule)
    rows = [{**row, "selected_share": float(share[row["cluster_id"]])} for row in ranking.rows()]
    values = plain({**facts, "counts": ranking.counts, "ranking": rows})
    text = [*lines(facts), "", *ranking_lines(values["ranking"], set(facts["best"]))]
    if settled := ranking.counts.get("settled", 0):
        text += ["", settled_line(settled, ranking.counts["used"], ranking.delisting)]
    if len(best) == ranking.k:
        text += ["", f"all {ranking.k} clusters are selected: the filter keeps every candidate (--top N selects fewer)"]
    return values, text


def run_walk(arguments: argparse.Namespace, console: Console) -> None:
    """Refit and rank clusters over time."""
    walk = api.walk_clusters(
        arguments.cache,
        arguments.prices,
        every=arguments.every,
        horizon=arguments.horizon,
        embargo=arguments.embargo,
        k=arguments.k,
        out=arguments.out,
        window=arguments.window,
        history=arguments.history,
        start=arguments.start,
        end=arguments.end,
        progress=console.progress,
        **fit_settings(arguments),
        **rule_settings(arguments),
    ).walk
    values, text = describe_walk(walk)
    console.result({**values, "out": str(arguments.out)}, text)


def run_show(arguments: argparse.Namespace, console: Console) -> None:
    """Print the content of a folder of clusters, or of a walk."""
    if pipeline.is_walk(arguments.clusters):
        values, text = describe_walk(clusters.load_walk(arguments.clusters))
        console.result({**values, "out": str(arguments.clusters)}, text)
        return
    values = plain(describe(clusters.load_clusters(arguments.clusters)))
    ranked = [
        {"horizon": one.horizon, "best": list(one.best or ()), "rank_end": one.rank_end, "embargo": one.embargo}
        for one in clusters.load_rankings(arguments.clusters)
    ]
    text = [f"over {one['horizon']} sessions, ranked to {one['rank_end']}: best {one['best']}" for one in ranked]
    console.result({**values, "rankings": ranked}, [*lines(values), *text])


def describe_walk(walk: clusters.WalkModel) -> tuple[dict[str, Any], list[str]]:
    """Return the refits of a walk as values and as lines."""
    refits = plain(
        [
            {
                "first_day": refit.period.first_day,
                "fit_end": refit.period.model.fit_end,
                "rank_end": refit.period.rank_end,
                "settled": refit.ranking.counts.get("settled", 0),
                "best": refit.period.best.tolist(),
                "agreement": None if math.isnan(refit.agreement) else refit.agreement,
            }
            for refit in walk.refits
        ]
    )
    tried, text = describe_choice(walk.notes.get("choice", []))
    text += [f"from {one['first_day']}: ranked to {one['rank_end']}, best {one['best']}" for one in refits]
    if settled := sum(one["settled"] for one in refits):
        text.append(f"{settled:,} entries, counted once per refit, are of tickers that stopped trading: settled")
    values = {"refits": len(refits), "k": walk.k, "terms": refits, **tried}
    return values, [*text, f"{len(refits)} refits of {walk.k} clusters"]


def describe_choice(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Return the numbers of clusters that were tried, as values and as lines; both are empty without a choice."""
    text = [f"{row['k']:>4} clusters: Calinski–Harabasz index {row['score']:,.1f}" for row in rows]
    return {"choice": rows} if rows else {}, text


def describe(model: clusters.ClusterModel) -> dict[str, Any]:
    """Return the key figures of a cluster model."""
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
        "assigns": "nearest centroid" if model.rule is None else model.rule.name,
        "seed": model.seed,
        "encoder": model.encoder,
    }


def ranking_lines(rows: list[dict[str, Any]], best: set[int]) -> list[str]:
    """Format the ranking as a table; a star marks the best clusters."""
    head = "   cluster  stocks  samples   mean return   ± error  win rate  best in draws"
    return [head] + [
        f"{'*' if row['cluster_id'] in best else ' '}  {row['cluster_id']:>7}  "
        f"{row['num_stocks']:>6}  {row['num_samples']:>7,}  "
        f"{row['mean_return']:>11.3%}  {row['mean_error']:>8.3%}  {row['win_rate']:>8.1%}  "
        f"{row['selected_share']:>13.0%}"
        for row in rows
    ]
