"""The page of files lists exactly what real files hold."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import lance
import numpy as np
import pyarrow.parquet as pq
import pytest

from encash.cli import main
from encash.training import PRESETS
from tests.docs.pages import PAGES, copy_workflow

SECTION = re.compile(r"^## [^\n`]*`(?P<file>[^`]+)`\n(?P<text>.*?)(?=^## |\Z)", flags=re.MULTILINE | re.DOTALL)
START = "2016-02-01"
FOLDERS = ("trained", "run", "clusters", "sweep", "walk", "head", ".")


def listed() -> dict[str, dict[str, bool]]:
    """Return the names in the table of each file, and whether each must be there."""
    page = (PAGES / "reference" / "files.md").read_text(encoding="utf-8")
    return {found["file"]: dict(names_of(found["text"])) for found in SECTION.finditer(page)}


def names_of(section: str) -> Iterator[tuple[str, bool]]:
    for row in re.findall(r"^\| (`.*)\|$", section, flags=re.MULTILINE):
        first, *_, meaning = row.split(" | ")
        names = re.findall(r"`([^`]+)`", first)
        if "…" in first:
            stem, last = names[0].rpartition("_")[0], int(names[-1].rpartition("_")[2])
            names = [f"{stem}_{number}" for number in range(1, last + 1)]
        yield from ((name, not meaning.startswith("only")) for name in names)


@pytest.fixture(scope="module")
def folder(made_workflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a file of each kind."""
    home = tmp_path_factory.mktemp("files")
    copy_workflow(made_workflow, home)
    home.joinpath("grid.toml").write_text(f'[base]\nstart = "{START}"\n[grid]\ntop_k = [1, 2]\n')
    home.joinpath("index.csv").write_text("date,value\n2016-02-01,10\n2016-12-30,11\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], samples_per_epoch=128, epochs=1, hidden_dim=32))
        for line in (
            "train --data features.h5 --prices prices.h5 --out trained/model.pt --preset tiny --train-end 2016-06-30",
            f"backtest --data features.h5 --prices prices.h5 --cache cache.lance --clusters clusters --start {START} "
            "--top-k 2 --run-dir run --compare 20 --num-trials 2 --no-report",
            "cache export cache.lance embeddings_cache.h5",
            "clusters walk --cache cache.lance --prices prices.h5 --every 60 --horizon 5 --embargo 5 -k 3 "
            "--history 120 --out walk",
            "head fit --cache cache.lance --prices prices.h5 --end 2015-12-31 --horizon 5 --out head",
            f"backtest --prices prices.h5 --cache cache.lance --head head --start {START} --top-k 2 --short bottom "
            "--reference index.csv --run-dir book --no-report",
            "sweep grid.toml --prices prices.h5 --cache cache.lance --clusters clusters --out sweep",
        ):
            assert main([*line.split(), "--quiet"]) == 0
        yield home


def hdf5_names(path: Path) -> set[str]:
    """Return datasets and attributes of the root and of the first ticker."""
    with h5py.File(path) as file:
        group = file[next(iter(file))]
        days = "DAY" if path.name == "embeddings_cache.h5" else ""
        inside = {f"TICKER/{days or name}" for name in group} | {f"TICKER@{name}" for name in group.attrs}
        return {f"@{name}" for name in file.attrs} | inside


def checkpoint_names(path: Path) -> set[str]:
    import torch

    return set(torch.load(path, weights_only=True))


READERS: dict[str, Callable[[Path], Iterable[str]]] = {
    "": lambda path: (member.name for member in next(path.iterdir()).iterdir()),
    ".csv": lambda path: next(csv.reader(path.open(encoding="utf-8"))),
    ".h5": hdf5_names,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".lance": lambda path: lance.dataset(str(path)).schema.names,
    ".npz": lambda path: np.load(path).files,
    ".parquet": lambda path: pq.read_schema(path).names,
    ".pt": checkpoint_names,
}
"""Suffix → columns, keys or members of such a file."""


def real_names(home: Path, name: str, folders: Sequence[str] = FOLDERS) -> set[str]:
    """Return the columns, keys or members of a file in one of some folders."""
    path = next(home / one / name for one in folders if (home / one / name).exists())
    return set(READERS[path.suffix](path))


TABLES = {name: names for name, names in listed().items() if names}


@pytest.mark.parametrize("name", TABLES)
def test_the_page_lists_what_the_file_holds(name: str, folder: Path) -> None:
    """Each name of the file has its row, and each row its name, unless it says "only"."""
    found, names = real_names(folder, name), TABLES[name]
    if name == "sweep.parquet":
        found -= {"top_k"}  # the setting that this sweep varies
    assert found - names.keys() == set()
    assert {one for one, needed in names.items() if needed} - found == set()


@pytest.mark.parametrize("name", ["result.json", "equity.parquet", "ledger.csv", "picks.parquet"])
def test_a_book_with_shorts_a_head_and_a_reference_is_listed_too(name: str, folder: Path) -> None:
    """Names that are only there with these have their rows."""
    found = real_names(folder, name, ["book"])
    assert found - TABLES[name].keys() == set()


def test_every_file_of_a_run_is_on_the_page(folder: Path) -> None:
    """And every file of a sweep, of clusters, of a walk and of a head."""
    page = (PAGES / "reference" / "files.md").read_text(encoding="utf-8")
    for part in ("run", "sweep", "clusters", "walk", "head"):
        for path in (folder / part).iterdir():
            if not path.name.startswith(".") and not re.fullmatch(r"\d{4}", path.name):
                assert path.name in page, f"{part}/{path.name}"
