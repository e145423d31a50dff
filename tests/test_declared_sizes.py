"""Files that declare more than they hold, or that would be read from elsewhere: one line, before memory is taken."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from encash.errors import EncashError
from encash.panel import open_panel, open_prices

MOST_BYTES = 200 << 20
"""More than any refusal takes."""
DATES = np.array([b"2024-01-02", b"2024-01-03", b"2024-01-04"])


@contextmanager
def refused(match: str) -> Iterator[None]:
    """Expect one line, and little memory taken before it."""
    tracemalloc.start()
    try:
        with pytest.raises(EncashError, match=match) as caught:
            yield
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
        assert "\n" not in str(caught.value)
    finally:
        tracemalloc.stop()


def never_written(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any, **options: Any) -> None:
    """Make a dataset of which no chunk is stored."""
    group.create_dataset(name, shape=shape, dtype=dtype, chunks=tuple(min(n, 1000) for n in shape), **options)


def two_tickers(file: h5py.File) -> None:
    for ticker in "AB":
        group = file.create_group(ticker)
        group["dates"] = DATES
        group["features"] = np.ones((3, 2), "f4")
        group["prices"] = np.ones(3, "f4")


def huge_shape(file: h5py.File, folder: Path) -> None:
    for name, width in (("features", (2,)), ("prices", ())):
        del file[f"B/{name}"]
        never_written(file["B"], name, (650_000_000, *width), "f4")
    del file["B/dates"]
    never_written(file["B"], "dates", (650_000_000,), "S10")


def huge_width(file: h5py.File, folder: Path) -> None:
    del file["A/dates"]
    never_written(file["A"], "dates", (3,), "S2000000000")


def huge_chunk(file: h5py.File, folder: Path) -> None:
    del file["B/dates"]
    file["B"].create_dataset("dates", shape=(3,), maxshape=(None,), dtype="S10", chunks=(300_000_000,))


def long_text(file: h5py.File, folder: Path) -> None:
    del file["A/dates"]
    file["A"].create_dataset("dates", data=["2024-01-02"] * 2 + ["2" * 30_000_000], dtype=h5py.string_dtype())


def many_names_of_one(file: h5py.File, folder: Path) -> None:
    one = file.create_group("many")
    one["dates"] = np.arange("1800-01-01", "1960-01-01", dtype="datetime64[D]").astype("S10")
    one["features"] = np.ones((len(one["dates"]), 2), "f4")
    one["prices"] = np.ones(len(one["dates"]), "f4")
    for number in range(2000):
        file[f"T{number}"] = one


def other_file(folder: Path) -> Path:
    with h5py.File(folder / "other.h5", "w") as file:
        two_tickers(file)
    return folder / "other.h5"


def external_link(file: h5py.File, folder: Path) -> None:
    del file["B"]
    file["B"] = h5py.ExternalLink(str(other_file(folder)), "/B")


def external_link_below(file: h5py.File, folder: Path) -> None:
    other = str(other_file(folder))
    for name in ("dates", "features", "prices"):
        del file[f"B/{name}"]
        file[f"B/{name}"] = h5py.ExternalLink(other, f"/B/{name}")


def soft_link(file: h5py.File, folder: Path) -> None:
    del file["B"]
    file["B"] = h5py.SoftLink("/A")


def virtual(file: h5py.File, folder: Path) -> None:
    for name in ("features", "prices"):
        shape = file[f"B/{name}"].shape
        del file[f"B/{name}"]
        layout = h5py.VirtualLayout(shape=shape, dtype="f4")
        layout[:] = h5py.VirtualSource(str(other_file(folder)), f"B/{name}", shape=shape)
        file["B"].create_virtual_dataset(name, layout)


def external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "raw").write_bytes(np.ones(6, "f4").tobytes())
    for name, shape in (("features", (3, 2)), ("prices", (3,))):
        del file[f"B/{name}"]
        file["B"].create_dataset(name, shape=shape, dtype="f4", external=[(str(folder / "raw"), 0, 24)])


def references(file: h5py.File, folder: Path) -> None:
    del file["B/dates"]
    file["B"].create_dataset("dates", data=np.array([file["A"].ref] * 3, dtype=object), dtype=h5py.ref_dtype)


HDF5 = {
    huge_shape: "would take",
    huge_width: "would take",
    huge_chunk: "would take",
    long_text: "has the date",
    many_names_of_one: "would take",
    external_link: "link to a different place",
    external_link_below: "link to a different place",
    soft_link: "link to a different place",
    virtual: "in a different file",
    external_storage: "in a different file",
    references: "the dates of 'B'",
}


@pytest.mark.parametrize("change", HDF5, ids=lambda change: change.__name__)
@pytest.mark.parametrize("reader", ["features", "prices"])
def test_an_hdf5_file_that_declares_more_than_it_holds_is_refused(tmp_path, change, reader):
    """Shapes, texts and chunks larger than the file, and values of different files: refused before they are read."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        two_tickers(file)
        change(file, tmp_path)
    with refused(HDF5[change]):
        if reader == "prices":
            open_prices(tmp_path / "f.h5")
        else:
            with open_panel(tmp_path / "f.h5") as panel:
                for ticker in panel.tickers:
                    panel.days(ticker)
                panel.rows()


# ---- caches


def cache_file(path: Path, *, exported: bool) -> Path:
    """Write a cache of 2 tickers x 3 days: an export, or a file as other tools write it."""
    from encash.cache import export_hdf5, open_cache
    from encash.panel import toy_panel
    from encash.testing import MeanEncoder

    if exported:
        panel = toy_panel(seed=1, num_tickers=2, num_sessions=30)
        cache = open_cache(path.with_suffix(".lance"))
        cache.build(panel, MeanEncoder(panel.num_features, lookback=5))
        export_hdf5(cache, path)
        return path
    with h5py.File(path, "w") as file:
        for ticker in "AB":
            for day in DATES:
                file.create_dataset(f"{ticker}/{day.decode()}", data=np.ones(4, "f4"), compression="gzip")
    return path


def read_cache(path: Path) -> None:
    from encash.store import open_store

    snapshot = open_store(path).snapshot()
    for _ in snapshot.scan(1000):
        pass


def replace_vector(file: h5py.File, make: Callable[[h5py.Group, str], object]) -> None:
    group = file[list(file)[-1]]
    name = next(iter(group))
    del group[name]
    make(group, name)


CACHE_CHANGES: dict[str, tuple[Callable[[h5py.File, Path], object], str]] = {
    "a huge vector": (
        lambda file, _: replace_vector(file, lambda group, name: never_written(group, name, (10**9,), "f4")),
        "expected float32|would take",
    ),
    "a link": (
        lambda file, folder: replace_vector(
            file, lambda group, name: group.__setitem__(name, h5py.ExternalLink(str(folder / "x"), "/x"))
        ),
        "link to a different place",
    ),
    "a linked ticker": (
        lambda file, folder: file.__setitem__("Z", h5py.ExternalLink(str(folder / "x"), "/x")),
        "link to a different place",
    ),
    "values elsewhere": (
        lambda file, folder: replace_vector(
            file, lambda group, name: group.create_dataset(name, (4,), "f4", external=[(str(folder / "x"), 0, 16)])
        ),
        "different file",
    ),
}


@pytest.mark.parametrize("exported", [True, False])
@pytest.mark.parametrize("change", CACHE_CHANGES)
def test_an_hdf5_cache_that_declares_more_than_it_holds_is_refused(tmp_path, change, exported):
    """In exports and in files of other tools: sizes, links and values elsewhere are refused."""
    path = cache_file(tmp_path / "c.h5", exported=exported)
    (tmp_path / "x").write_bytes(bytes(16))
    spoil, expected = CACHE_CHANGES[change]
    with h5py.File(path, "r+") as file:
        spoil(file, tmp_path)
    with refused(expected if not exported else f"{expected}|was written with"):
        read_cache(path)


def test_a_first_vector_of_a_billion_numbers_is_refused(tmp_path):
    """The width of a file of other tools is that of its first vector."""
    with h5py.File(tmp_path / "c.h5", "w") as file:
        never_written(file.create_group("A"), "2024-01-02", (10**9,), "f4")
    with refused("would take"):
        read_cache(tmp_path / "c.h5")


def test_an_export_knows_what_it_was_written_with(tmp_path):
    """A ticker or a vector that was lost is found on reading; a file without the counts stays readable."""
    path = cache_file(tmp_path / "c.h5", exported=True)
    with h5py.File(path, "r+") as file:
        lost = list(file)[-1]
        file.copy(lost, file, name="copy")
    with refused("was written with 2 tickers and has 3"):
        read_cache(path)
    with h5py.File(path, "r+") as file:
        del file["copy"], file[lost]
    with refused("was written with 2 tickers and has 1"):
        read_cache(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["encash_tickers"]
    with refused(r"was written with \d+ entries and has"):
        read_cache(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["encash_entries"]
    read_cache(path)
