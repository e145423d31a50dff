"""The kinds of files, the commands that read them, and where their results are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

WITH = "--prices p.h5 --cache c.lance"
TRADE = "--start {start} --end {end} --top-k 2 --no-report --run-dir out"
PREPARE = "prepare {file} --features-out out.h5 --prices-out outp.h5"
BACKTEST = f"backtest --data f.h5 {WITH} --clusters k {TRADE}"
WALKED = f"backtest {WITH} --clusters w {TRADE}"
SWEEP = f"sweep g.toml {WITH} --clusters k --workers 1 --out s"
PICKS = f"picks --date latest {WITH} --clusters k --top-k 2"
HEAD = f"backtest --data f.h5 {WITH} --horizon 5 --filter none {TRADE}"
SCORES = f"backtest --prices p.h5 --scores {{file}} --horizon 5 {TRADE}"
ENCODERS = f"backtest --data f.h5 --prices p.h5 --encoders e.toml {TRADE}"
ORDERS = f"{PICKS} --orders out.csv --positions positions.csv --cash 25000"
BUILD = "build --model m.pt --data f.h5 --cache out.lance --months 1"
RANK = f"clusters rank --clusters k {WITH} --end {{fit}} --horizon 5 --top 2"
FIT = "clusters fit --cache c.lance -k 3 --end {fit} --out out"
GUIDE = "--model m.pt --data f.h5 --prices p.h5 --cluster-dir k --best-clusters-file k/best_clusters_5d.txt"
SIMULATE = f"inference.backtest_simulation {GUIDE} --embeddings-cache guide.h5 --test-months 2 --top-k 2 --output out"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file."""

    name: str
    files: tuple[str, ...]
    """Patterns of paths; one file is mutated per case."""
    commands: tuple[str, ...]
    """One is run per case: the words after ``encash``, or a module of the guide and its flags."""
    checked: bool = False
    """Whether the content has checksums or is ours alone, so that no reading of it explains a different result."""
    removable: str = ""
    """Pattern of the files that may be missing, so that their removal explains a different result."""
    verify: str | None = None
    """The command that finds damage which the others may overlook."""

    def files_below(self, folder: Path) -> list[str]:
        """List the files, relative to the folder and sorted."""
        found = {path for pattern in self.files for path in folder.glob(pattern) if path.is_file()}
        return sorted(str(path.relative_to(folder)) for path in found)


_CACHE_COMMANDS = (
    "cache info {cache}",
    "cache coverage {cache} --data f.h5",
    "cache verify {cache}",
    "cache verify {cache} --model m.pt --data f.h5",
    "cache list .",
    f"backtest --data f.h5 --prices p.h5 --cache {{cache}} --clusters k {TRADE}",
    "similar T0001 {end} --cache {cache} --prices p.h5",
    "clusters fit --cache {cache} -k 3 --end {fit} --out out",
)


def _cache(name: str) -> tuple[str, ...]:
    return tuple(command.replace("{cache}", name) for command in _CACHE_COMMANDS)


KINDS = (
    Kind(
        name="prices-text",
        files=("raw/*.csv", "raw/*.txt", "raw/*.gz", "raw/*.zip"),
        commands=(PREPARE, PREPARE, PREPARE + " --drop-bad --feature-set prices-1"),
    ),
    Kind(
        name="prices-folder", files=("raw/yahoo/*.csv",), commands=(PREPARE.replace("{file}", "raw/yahoo"),)
    ),
    Kind(name="prices-columns", files=("raw/*.parquet", "raw/*.feather"), commands=(PREPARE,)),
    Kind(
        name="features.h5",
        files=("f.h5",),
        commands=(
            BUILD, BACKTEST, "cache coverage c.lance --data f.h5", "plan --model m.pt --data f.h5 --cache c.lance",
            "update --model m.pt --data f.h5 --cache c.lance", SIMULATE,
        ),
    ),
    Kind(
        name="prices.h5",
        files=("p.h5",),
        commands=(BACKTEST, BACKTEST, RANK, PICKS, SWEEP.replace("--out s", "--out out"), SIMULATE,
                  "similar T0001 {end} --cache c.lance --prices p.h5"),
    ),
    Kind(name="model.pt", files=("m.pt", "m.pth", "m.ckpt", "m.safetensors"), commands=(BUILD.replace("m.pt", "{file}"),
         "plan --model {file} --data f.h5 --cache c.lance", "cache verify c.lance --model {file} --data f.h5",
         "cluster.cache_embeddings --model-path {file} --dataset-path f.h5 --output-path out.h5 --num-months 2")),
    Kind(name="model-folder", files=("reference/*",), commands=(BUILD.replace("m.pt", "reference"),)),
    Kind(name="pretrained", files=("patchtst/config.json", "patchtst/model.safetensors"),
         commands=(BUILD.replace("m.pt", "transformers:patchtst?feature=return_1,return_10"),)),
    Kind(name="model.onnx", files=("m.onnx",), commands=(BUILD.replace("m.pt", "{file}"),)),
    Kind(name="model.pt2", files=("m.pt2",), commands=(BUILD.replace("m.pt", "{file}"),)),
    Kind(
        name="cache.lance",
        files=("c.lance/**/*",),
        commands=(
            *_cache("c.lance"), "build --model m.pt --data f.h5 --cache c.lance", "cache export c.lance out.h5",
            "cache compact c.lance", "cache versions c.lance", "cache merge c.lance --into out.lance", PICKS,
            "cache rollback c.lance", SWEEP.replace("--out s", "--out out"),
        ),
        checked=True,
        verify="cache verify c.lance",
    ),
    Kind(
        name="cache.h5",
        files=("x.h5",),
        commands=(*_cache("x.h5"), "cache import x.h5 out.lance", "cache merge x.h5 c.lance --into out.lance"),
        checked=True,
        verify="cache verify x.h5",
    ),
    Kind(
        name="guide-cache",
        files=("guide.h5",),
        commands=(SIMULATE, SIMULATE, "cache import guide.h5 out.lance --trust", "cache info guide.h5",
                  "cluster.cache_embeddings --model-path m.pt --dataset-path f.h5 --output-path guide.h5 "
                  "--num-months 3"),
        verify="cache verify guide.h5",
    ),
    Kind(
        name="clusters",
        files=("k/clusters.json", "k/clusters.npz", "k/map.npz"),
        commands=(BACKTEST, RANK, PICKS, "clusters show k", "clusters assign --clusters k --cache c.lance",
                  "report run --clusters k --out out.html"),
        checked=True,
        removable="k/map.npz",
    ),
    Kind(
        name="clusterers",
        files=("km/clusters.json", "km/clusters.npz", "kd/clusters.json", "kd/clusters.npz"),
        commands=tuple(
            command.replace("clusters k", f"clusters {name}") + more
            for name in ("km", "kd")
            for command, more in ((BACKTEST, " --filter nearest"), (RANK, " --min-return -1"), (PICKS, ""))
        ),
        checked=True,
    ),
    Kind(
        name="rankings",
        files=("k/ranking_5d.json", "k/best_clusters_5d.txt", "k/cluster_ranking_5d.csv"),
        commands=(BACKTEST, BACKTEST, PICKS, "clusters show k", SIMULATE, "report run --clusters k --out out.html"),
        checked=True,
    ),
    Kind(
        name="assignments",
        files=("k/assignments/*/*",),
        commands=(BACKTEST, RANK, PICKS, "clusters assign --clusters k --cache c.lance"),
        checked=True,
    ),
    Kind(
        name="walk",
        files=("w/**/*",),
        commands=(WALKED, WALKED, PICKS.replace("clusters k", "clusters w"), "clusters show w",
                  "clusters assign --clusters w --cache c.lance",
                  f"clusters walk {WITH} --every 20 --horizon 5 --embargo 5 -k 3 --history 60 --top 1 --out w"),
        checked=True,
    ),
    Kind(
        name="run",
        files=("run/*.json", "run/*.parquet", "run/*.csv"),
        commands=("report run --out out.html", "report run s/best --out out.html"),
        checked=True,
        removable="*",
    ),
    Kind(
        name="sweep",
        files=("s/*.json*", "s/*.f8", "s/*.parquet", "s/best/*.json", "s/best/*.parquet", "s/best/*.csv"),
        commands=(SWEEP, SWEEP, "report s/best --out out.html"),
        checked=True,
    ),
    Kind(name="grid.toml", files=("g.toml",), commands=(SWEEP, SWEEP.replace("--out s", "--out out"))),
    Kind(
        name="members",
        files=("members.csv",),
        commands=(BACKTEST + " --membership members.csv", PICKS + " --membership members.csv",
                  PREPARE.replace("{file}", "raw/long.csv") + " --membership members.csv"),
    ),
    Kind(
        name="heads",
        files=("h/**/*", "hb/**/*"),
        commands=(
            *(HEAD + f" --head {name}" for name in ("h", "h", "hb")), "head show h", "head show hb",
            f"picks --date latest {WITH} --head h --horizon 5 --top-k 2", ENCODERS,
        ),
        checked=True,
    ),
    Kind(
        name="scores",
        files=("scores.csv", "scores.parquet", "scores.feather"),
        commands=(SCORES, SCORES, "picks --date {end} --prices p.h5 --scores {file} --horizon 5 --top-k 2"),
    ),
    Kind(
        name="encoders.toml",
        files=("e.toml",),
        commands=(ENCODERS, "picks --date latest --data f.h5 --prices p.h5 --encoders e.toml --top-k 2"),
    ),
    Kind(name="positions", files=("positions.csv",), commands=(ORDERS,)),
    Kind(name="groups", files=("groups.csv",), commands=(BACKTEST + " --compare 5 --groups groups.csv",)),
    Kind(name="tickers", files=("t.txt",), commands=(BACKTEST + " --tickers @t.txt",
         "plan --model m.pt --data f.h5 --cache c.lance --tickers @t.txt", BUILD + " --tickers @t.txt")),
)  # fmt: skip


LISTED = {"e.toml": ("c.lance", "k", "h", "m.pt")}
"""What a file names that a command reads."""


def needs(command: str, world: Path) -> set[str]:
    """Return the files and folders at the top of the world that a command needs."""
    if " . " in f"{command} ":
        return {path.name for path in world.iterdir()}
    command = " ".join([command, *(name for file in LISTED if file in command for name in LISTED[file])])
    named = {re.sub(r"^@|^[a-z]+:|[?].*$", "", word).split("/")[0] for word in command.split()}
    return {path.name for path in world.iterdir() if path.name in named}
