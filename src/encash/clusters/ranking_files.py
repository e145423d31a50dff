"""Rankings on disk: a table and a list of the best clusters, in the guide's format, and a complete JSON file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from encash.arrays import Int32
from encash.atomic_write import write_whole
from encash.clusters.files import SEAL, check_seal, check_types, read_json, write_json
from encash.clusters.rank import ClusterTable, Ranking, SelectionRule, selection_frequency
from encash.errors import FormatError, InputError, UnknownKeyError
from encash.serialization import identity
from encash.text_files import read_lines, to_whole

_COLUMNS = (
    "cluster_id",
    "num_stocks",
    "mean_return",
    "median_return",
    "win_rate",
    "sharpe",
    "volatility",
    "skewness",
    "num_samples",
)
_RERANK = "encash clusters rank --clusters … --cache … --prices … --end DAY --horizon H"
_MOST_IDS = 2**31
_FACTS = {
    **dict.fromkeys(("horizon", "embargo", "seed"), int),
    **dict.fromkeys(("metric", "rank_start", "rank_end", "fit_end", "model", "encoder"), str),
    "counts": dict[str, int],
}
_OTHERS = {
    "winsorize": tuple[float, float] | None,
    "bootstrap_draws": int,
    "best": list[int],
    "ranking": list[dict[str, Any]],
}


def write_ranking(folder: str | Path, ranking: Ranking, best: Int32, *, rule: SelectionRule) -> list[Path]:
    """Write `cluster_ranking_{h}d.csv`, `best_clusters_{h}d.txt` and `ranking_{h}d.json`, each atomically.

    Returns:
        The three paths.
    """
    paths = table, chosen, facts = _paths(Path(folder), ranking.horizon)
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(ranking.rows())
    write_whole(table, text.getvalue().encode())
    head = [
        f"# best clusters over {ranking.horizon} sessions by {ranking.metric}: {rule}",
        f"# ranked on entries from {ranking.rank_start}, on returns known by {ranking.rank_end}",
        f"# embargo: {ranking.embargo} sessions after that",
    ]
    write_whole(chosen, ("\n".join([*head, *map(str, best.tolist())]) + "\n").encode())
    write_json(facts, describe_ranking(ranking, best, rule=rule), seal=SEAL if ranking.prices else None)
    return list(paths)


def describe_ranking(ranking: Ranking, best: Int32, *, rule: SelectionRule) -> dict[str, Any]:
    """Describe a ranking completely, as plain values; clusters in order, best first."""
    share = selection_frequency(ranking, rule)
    return {
        **{name: getattr(ranking, name) for name in _FACTS},
        **({"prices": ranking.prices} if ranking.prices else {}),
        "winsorize": ranking.winsorize,
        **({} if ranking.delisting is None else {"delisting": ranking.delisting}),
        "bootstrap_draws": len(ranking.draws),
        "rule": identity(rule),
        "best": best.tolist(),
        "ranking": [{**row, "selected_share": share[row["cluster_id"]].item()} for row in ranking.rows()],
    }


def load_ranking(folder: str | Path, horizon: int) -> Ranking:
    """Load what `write_ranking` wrote; the bootstrap draws are not stored, only their number.

    Raises:
        MissingFileError: no ranking of this horizon.
        FormatError: damaged, or edited after it was written.
    """
    path = _paths(Path(folder), horizon)[2]
    facts = read_json(path, remake=_RERANK)
    check_seal(path, facts, required="prices" in facts, remake=_RERANK)
    check_types(path, facts, {**_FACTS, **_OTHERS}, remake=_RERANK)
    try:
        rows = sorted(facts["ranking"], key=lambda row: row["cluster_id"])
        integers = ("num_stocks", "num_samples")
        columns: dict[str, Any] = {
            name: np.array([row[name] for row in rows], dtype=np.int64 if name in integers else np.float64)
            for name in ClusterTable.__dataclass_fields__
        }
        return Ranking(
            **{name: facts[name] for name in _FACTS},
            prices=facts.get("prices", ""),
            winsorize=None if facts["winsorize"] is None else tuple(facts["winsorize"]),
            delisting=facts.get("delisting"),  # earlier versions left such entries out
            table=ClusterTable(**columns),
            order=np.array([row["cluster_id"] for row in facts["ranking"]], dtype=np.int32),
            draws=np.empty((facts["bootstrap_draws"], 0, len(rows))),
            best=tuple(facts["best"]),
            selected_share=np.array([row["selected_share"] for row in rows], dtype=np.float64),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{path} is not a ranking ({error!r}); make it again: {_RERANK}") from None


def load_rankings(folder: str | Path) -> list[Ranking]:
    """Load every ranking of a folder, the shortest horizon first.

    Raises:
        FormatError: one is damaged.
    """
    return [load_ranking(folder, horizon) for horizon in _horizons(Path(folder))]


def remove_rankings(folder: str | Path, *, keep_model: str) -> None:
    """Remove the rankings of clusters that have been replaced, because their ids no longer mean anything.

    Args:
        folder: the folder of the clusters.
        keep_model: fingerprint of the model whose rankings stay.
    """
    for horizon in _horizons(Path(folder)):
        paths = _paths(Path(folder), horizon)
        if read_json(paths[2], remake=_RERANK).get("model") != keep_model:
            for path in paths:
                path.unlink(missing_ok=True)


def read_best_clusters(path: str | Path) -> Int32:
    """Read the ids of a `best_clusters_{h}d.txt`, in the file's order: one per line; lines of ``#`` are comments.

    Raises:
        MissingFileError: no such file.
        InputError: a file without ids.
        FormatError: a malformed line.
    """
    lines = read_lines(path, kind="file", expected=f"one cluster id per line; make it: {_RERANK}")
    ids = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        try:
            ids.append(to_whole(line))
        except InputError:
            raise FormatError(f"line {number} of {path} is {line[:40]!r}; expected a cluster id, such as 7") from None
    if strange := [number for number in ids if not 0 <= number < _MOST_IDS]:
        raise UnknownKeyError(f"{path} names cluster {strange[0]}, which no model has; rank again: {_RERANK}")
    if not ids:
        raise InputError(f"{path} names no cluster, so every stock would be dropped; rank again: {_RERANK}")
    return np.array(ids, dtype=np.int32)


def check_ids(ids: Int32, k: int) -> None:
    """Refuse ids that a model of k clusters does not have.

    Raises:
        UnknownKeyError: an id below 0, or k and above.
        InputError: an id that is given twice.
    """
    if (strange := ids[(ids < 0) | (ids >= k)]).size:
        raise UnknownKeyError(
            f"cluster {strange[0]} does not exist: the model has clusters 0 to {k - 1}, so the best clusters belong to "
            f"a different model; rank again: {_RERANK}"
        )
    if len(np.unique(ids)) != len(ids):
        raise InputError("a cluster id is named twice among the best clusters; name each once")


def _paths(folder: Path, horizon: int) -> tuple[Path, Path, Path]:
    names = (f"cluster_ranking_{horizon}d.csv", f"best_clusters_{horizon}d.txt", f"ranking_{horizon}d.json")
    return folder / names[0], folder / names[1], folder / names[2]


def _horizons(folder: Path) -> list[int]:
    names = [path.stem for path in folder.glob("ranking_*d.json")]
    return sorted(int(name[8:-1]) for name in names if name[8:-1].isdigit())
