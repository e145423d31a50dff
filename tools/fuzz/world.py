"""Make the files that are mutated: raw prices, features, models, caches, clusters, runs, sweeps and lists."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

import cluster.cache_embeddings
from encash import cli
from encash.encoders import load_encoder
from encash.encoders.torch.export import export_onnx, export_program
from encash.panel import Panel, open_panel, toy_panel, write_panel
from encash.testing import write_checkpoint

LOOKBACK = 8
DAYS = {"fit": 70, "start": 95, "end": 130}
"""Sessions at which clusters end, and between which backtests trade."""
CLUSTERS = "-k 3 --end {fit}"
FILES = "--data f.h5 --prices p.h5"
STEPS = (
    "build --model m.pt --data f.h5 --cache c.lance --end {start}",
    "build --model m.pt --data f.h5 --cache c.lance",
    "cache export c.lance x.h5",
    "clusters fit --cache c.lance -k 3 --end {fit} --out k",
    "clusters rank --clusters k --cache c.lance --prices p.h5 --end {fit} --horizon 5 --top 2",
    "clusters walk --cache c.lance --prices p.h5 --every 20 --horizon 5 --embargo 5 -k 3 --history 60 --top 1 --out w",
    "backtest --data f.h5 --prices p.h5 --cache c.lance --clusters k --start {start} --end {end} --top-k 2 --compare 5 "
    "--num-trials 2 --run-dir run",
    "sweep g.toml --prices p.h5 --cache c.lance --clusters k --workers 1 --out s",
)
"""Commands that make the files, in order."""


def make_world(folder: Path) -> None:
    """Write all files into an empty folder that is the working folder.

    Raises:
        RuntimeError: a command failed.
    """
    panel = toy_panel(seed=1, num_tickers=6, num_sessions=140)
    write_panel(panel, folder / "f.h5", folder / "p.h5")
    _write_models(panel)
    _write_lists(panel)
    _write_raw_prices(panel, Path("raw"))
    for step in STEPS:
        words = step.format(**days(panel)).split()
        if cli.main([*words, "--quiet"]):
            raise RuntimeError(f"encash {step} failed")
    guide = ["--model-path", "m.pt", "--dataset-path", "f.h5", "--output-path", "guide.h5", "--num-months", "3"]
    if cluster.cache_embeddings.main([*guide, "--quiet"]):
        raise RuntimeError("cache_embeddings failed")
    for lock in folder.rglob("*.lock"):
        lock.unlink()


def days(panel: Panel | None = None) -> dict[str, str]:
    """Return the days of the commands; of the working folder if no panel is given."""
    sessions = (panel or open_panel("f.h5", prices="p.h5")).sessions
    return {name: str(sessions[at]) for name, at in DAYS.items()}


def _write_models(panel: Panel) -> None:
    write_checkpoint("m.pt", num_features=panel.num_features, lookback=LOOKBACK)
    shutil.copy("m.pt", "m.pth")
    encoder = load_encoder("m.pt", device="cpu", precision="float32", engine="torch")
    export_onnx(encoder, "m.onnx")
    export_program(encoder, "m.pt2")


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
    wide = {bar[0]: {} for bar in bars}  # type: dict[str, dict[str, float]]
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


def describe_world(folder: Path) -> str:
    """List the files with their sizes, as JSON."""
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
    return json.dumps(sizes, indent=1)


def names_of(path: Path) -> list[str]:
    """Return the names of all objects of an HDF5 file."""
    found: list[str] = []
    with h5py.File(path) as file:
        file.visit(found.append)
    return found
