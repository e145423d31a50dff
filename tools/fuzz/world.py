"""Make the files that are mutated: raw prices, features, models, caches, clusters, runs, sweeps and lists."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import torch
import transformers
from safetensors.torch import save_file

import cluster.cache_embeddings
from encash import cli
from encash.encoders import load_encoder
from encash.encoders.torch import TorchEncoder
from encash.encoders.torch.export import export_onnx, export_program
from encash.panel import Panel, open_panel, toy_panel, write_panel
from encash.testing import write_checkpoint

LOOKBACK = 8
DAYS = {"fit": 70, "start": 95, "end": 130}
"""Sessions at which clusters end, and between which backtests trade."""
STEPS = {
    "m.onnx": "",
    "m.pt2": "",
    "c.lance": "build --model m.pt --data f.h5 --cache c.lance",
    "x.h5": "cache export c.lance x.h5",
    "guide.h5": "cluster.cache_embeddings --model-path m.pt --dataset-path f.h5 --output-path guide.h5 --num-months 3",
    "k": "clusters fit --cache c.lance -k 3 --end {fit} --out k",
    "km": "clusters fit --cache c.lance -k 2 --end {fit} --clusterer mixture --pca-components 2 --out km",
    "kd": "clusters fit --cache c.lance -k 2 --end {fit} --clusterer hdbscan?min_cluster_size=5 --pca-components 2 "
    "--out kd",
    "w": "clusters walk --cache c.lance --prices p.h5 --every 20 --horizon 5 --embargo 5 -k 3 --history 60 --top 1 "
    "--out w",
    "h": "head fit --cache c.lance --prices p.h5 --end {fit} --horizon 1 5 --every 5 --history 60 --out h",
    "hb": "head fit --cache c.lance --prices p.h5 --end {fit} --horizon 5 --kind boosted --out hb",
    "run": "backtest --data f.h5 --prices p.h5 --cache c.lance --clusters k --start {start} --end {end} --top-k 2 "
    "--compare 5 --num-trials 2 --run-dir run",
    "s": "sweep g.toml --prices p.h5 --cache c.lance --clusters k --workers 1 --out s",
}
"""The command that makes each file or folder, in order; those without a command are exported."""
BEFORE = {"c.lance": "build --model m.pt --data f.h5 --cache c.lance --end {start}"}
"""Commands that come first, so that a cache has several versions."""
AFTER = {
    name: f"clusters rank --clusters {name} --cache c.lance --prices p.h5 --end {{fit}} --horizon 5 --top {top}"
    for name, top in (("k", 2), ("km", 1), ("kd", 1))
}


def make_world(folder: Path, wanted: set[str]) -> None:
    """Write all files into an empty folder that is the working folder.

    Args:
        folder: the working folder.
        wanted: those of `STEPS` that are made, with what they are made from.

    Raises:
        RuntimeError: a command failed.
    """
    panel = toy_panel(seed=1, num_tickers=6, num_sessions=140)
    write_panel(panel, folder / "f.h5", folder / "p.h5")
    write_checkpoint("m.pt", num_features=panel.num_features, lookback=LOOKBACK)
    shutil.copy("m.pt", "m.pth")
    _write_other_forms()
    _write_pretrained()
    _write_lists(panel)
    _write_scores(panel)
    _write_raw_prices(panel, Path("raw"))
    needed = with_sources(wanted)
    for name in filter(needed.__contains__, STEPS):
        for steps in (BEFORE, STEPS, AFTER):
            if step := steps.get(name):
                _run(step.format(**days(panel)))
    _export_models(needed)
    for lock in folder.rglob("*.lock"):
        lock.unlink()


def with_sources(wanted: set[str]) -> set[str]:
    """Return names of `STEPS`, and of those that they are made from."""
    found = set(wanted)
    for name in reversed(STEPS):
        if name in found:
            found |= set(f"{STEPS[name]} {AFTER.get(name, '')}".split()) & set(STEPS)
    return found & set(STEPS)


def _run(step: str) -> None:
    words = step.split()
    called = cluster.cache_embeddings if words[0] == "cluster.cache_embeddings" else cli
    if called.main([*words[called is not cli :], "--quiet"]):
        raise RuntimeError(f"{step} failed")


def days(panel: Panel | None = None) -> dict[str, str]:
    """Return the days of the commands; of the working folder if no panel is given."""
    sessions = (panel or open_panel("f.h5", prices="p.h5")).sessions
    return {name: str(sessions[at]) for name, at in DAYS.items()}


def _export_models(needed: set[str]) -> None:
    for name, export in {"m.onnx": export_onnx, "m.pt2": export_program}.items():
        if name in needed:
            encoder = load_encoder("m.pt", device="cpu", precision="float32", engine="torch")
            assert isinstance(encoder, TorchEncoder)
            export(encoder, name)


def _write_other_forms() -> None:
    """Write the weights of the model as a Lightning file, as safetensors, and as a folder."""
    content = torch.load("m.pt", weights_only=True)
    state = {f"model.{name}": value for name, value in content["model_state_dict"].items()}
    torch.save({"state_dict": state, "hyper_parameters": content["config"], "callbacks": {}}, "m.ckpt")
    config = json.dumps(content["config"])
    save_file(state, "m.safetensors", metadata={"config": config, "train_end": "2015-12-31"})
    Path("reference").mkdir()
    save_file(state, "reference/model.safetensors")
    Path("reference/config.json").write_text(config)


def _write_pretrained() -> None:
    """Write a pretrained model with random weights, as transformers saves it."""
    torch.manual_seed(0)
    config = transformers.PatchTSTConfig(
        context_length=LOOKBACK, patch_length=4, patch_stride=4, d_model=8, num_attention_heads=2, ffn_dim=16
    )
    transformers.PatchTSTForPretraining(config).save_pretrained("patchtst")


def _write_lists(panel: Panel) -> None:
    named, day = panel.tickers, days(panel)
    Path("t.txt").write_text("# tickers\n" + "\n".join(named[:4]) + "\n")
    rows = [f"{name},{panel.sessions[0]},{'' if number else day['end']}" for number, name in enumerate(named)]
    Path("members.csv").write_text("\n".join(["ticker,from,until", *rows]) + "\n")
    Path("groups.csv").write_text("\n".join(["ticker,group", *(f"{n},{'ab'[i % 2]}" for i, n in enumerate(named))]))
    Path("g.toml").write_text(
        f'[base]\nstart = "{day["start"]}"\nend = {day["end"]}\nfilter = "hard"\nbuy_fee = 0.001\n'
        "[grid]\ntop_k = [1, 2]\nlag = [0, 1]\n"
    )
    Path("e.toml").write_text(
        f'[[encoder]]\ncache = "c.lance"\nclusters = "k"\ntrain_end = "{panel.sessions[40]}"\n'
        f'[[encoder]]\ncache = "c.lance"\nclusters = "k"\nhead = "h"\nmodel = "m.pt"\ntrain_end = {day["fit"]}\n'
    )


def _write_scores(panel: Panel) -> None:
    """Write scores of all tickers and days, with a confidence, in three formats, and shares that are held."""
    days, tickers = [str(day) for day in panel.sessions], panel.tickers
    random = np.random.default_rng(0)
    count = len(days) * len(tickers)
    scores = pa.table(
        {
            "date": [day for day in days for _ in tickers],
            "ticker": list(tickers) * len(days),
            "score": np.round(random.normal(0, 0.02, count), 5),
            "confidence": np.round(random.uniform(0.4, 1, count), 3),
        }
    )
    pa.csv.write_csv(scores, "scores.csv")
    pa.parquet.write_table(scores, "scores.parquet", row_group_size=200)
    pa.feather.write_feather(scores, "scores.feather")
    held = [f"{name},{10 * number}" for number, name in enumerate(tickers[:4], 1)]
    Path("positions.csv").write_text("\n".join(["ticker,shares", *held]) + "\n")


def _bars(panel: Panel) -> Iterator[tuple[str, str, float, float, float, float, int]]:
    """Yield date, ticker, open, high, low, close and volume of each bar."""
    random = np.random.default_rng(0)
    table = panel.prices
    assert table is not None
    for ticker in table.tickers:
        close = np.round(table.close[:, table.tickers.index(ticker)], 2)
        for day, price in zip(table.days, close, strict=True):
            first = round(float(price * random.uniform(0.99, 1.01)), 2)
            high, low = round(max(first, float(price)) * 1.01, 2), round(min(first, float(price)) * 0.99, 2)
            yield str(day), ticker, first, high, low, float(price), int(random.integers(1000, 100_000))


def _write_raw_prices(panel: Panel, folder: Path) -> None:
    folder.mkdir()
    bars = list(_bars(panel))
    names = ("date", "ticker", "open", "high", "low", "close", "volume")
    long = pa.table({name: [bar[at] for bar in bars] for at, name in enumerate(names)})
    pa.csv.write_csv(long, folder / "long.csv")
    typed = long.set_column(0, "date", long["date"].cast(pa.date32()))
    pa.parquet.write_table(typed, folder / "long.parquet", row_group_size=200)
    pa.feather.write_feather(typed, str(folder / "long.feather"))
    (folder / "long.csv.gz").write_bytes(gzip.compress((folder / "long.csv").read_bytes(), mtime=0))
    with zipfile.ZipFile(folder / "long.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "long.csv", "long.csv")
    wide: dict[str, dict[str, float]] = {bar[0]: {} for bar in bars}
    for bar in bars:
        wide[bar[0]][bar[1]] = bar[5]
    rows = [",".join([day, *(str(price) for price in closes.values())]) for day, closes in wide.items()]
    (folder / "wide.csv").write_text("\n".join([f"Date,{','.join(next(iter(wide.values())))}", *rows]) + "\n")
    _write_vendors(bars, folder)


def _write_vendors(bars: list[tuple[str, str, float, float, float, float, int]], folder: Path) -> None:
    """Write the bars in the layouts of three vendors."""
    stooq = ["<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"]
    crsp = ["PERMNO,date,BIDLO,ASKHI,PRC,VOL,OPENPRC,CFACPR,CFACSHR"]
    yahoo: dict[str, list[str]] = {}
    numbers = {name: 10001 + at for at, name in enumerate(sorted({bar[1] for bar in bars}))}
    for day, name, first, high, low, close, volume in bars:
        stooq.append(f"{name}.US,D,{day.replace('-', '')},000000,{first},{high},{low},{close},{volume},0")
        crsp.append(f"{numbers[name]},{day},{low},{high},{close},{volume},{first},1,1")
        own = yahoo.setdefault(name, ["Date,Open,High,Low,Close,Adj Close,Volume"])
        own.append(f"{day},{first},{high},{low},{close},{close},{volume}")
    (folder / "stooq.txt").write_text("\n".join(stooq) + "\n")
    (folder / "crsp.csv").write_text("\n".join(crsp) + "\n")
    (folder / "yahoo").mkdir()
    for name, lines in yahoo.items():
        (folder / "yahoo" / f"{name}.csv").write_text("\n".join(lines) + "\n")
