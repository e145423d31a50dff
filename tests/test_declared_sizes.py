"""Files that declare more than they hold, or that would be read from elsewhere: one line, before memory is taken."""

import gzip
import os
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from encash.errors import EncashError, FormatError, InputError
from encash.input_files import ALWAYS_BYTES, check_declared, check_regular
from encash.panel import open_panel, open_prices
from encash.panel.tables.read import read_bars

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
    for number, (change, expected) in enumerate(
        [
            (lambda file, last: file.copy(last, file, name="copy"), "was written with 2 tickers and has 3"),
            (lambda file, last: file.__delitem__(last), "was written with 2 tickers and has 1"),
            (
                lambda file, last: (file.__delitem__(last), file.attrs.__delitem__("encash_tickers")),
                r"\d+ entries and has",
            ),
        ]
    ):
        changed = Path(shutil.copy(path, tmp_path / f"{number}.h5"))
        with h5py.File(changed, "r+") as file:
            change(file, list(file)[-1])
        with refused(expected):
            read_cache(changed)
    with h5py.File(path, "r+") as file:
        del file.attrs["encash_tickers"], file.attrs["encash_entries"]
    read_cache(path)


# ---- arrays, weights, tables


def npy(shape: tuple[int, ...], dtype: str = "<f4", *, data: bytes = b"", order: bool = False) -> bytes:
    """Return an .npy file with a header of any content."""
    head = f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data


@pytest.mark.parametrize(
    "member",
    [
        npy((10**12,)),
        npy((1 << 40, 1 << 40)),
        npy((-1, -4), data=bytes(16)),
        npy((2,), data=bytes(400_000_000)),
        npy((3,), data=bytes(8)),
        npy((1,), dtype="|O", data=b"cos\nsystem\n."),
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"",
    ],
    ids=["huge", "overflow", "negative", "bomb", "short", "objects", "header", "empty"],
)
def test_arrays_that_declare_more_than_they_hold_are_refused(tmp_path, member):
    """Sizes of members and of headers of an .npz file, and pickled objects."""
    from encash.clusters.files import read_arrays

    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("centroids.npy", member)
    del member
    with refused("would take|damaged"):
        read_arrays(tmp_path / "a.npz", remake="encash clusters fit")


def test_a_flipped_bit_of_the_header_of_an_array_is_refused(tmp_path):
    """The header is a Python literal; every bit of it, with the checksum of the archive made right again."""
    from encash.clusters.files import read_arrays

    whole, path = npy((2,), data=bytes(8)), tmp_path / "a.npz"
    for place in range(8 * (len(whole) - 8)):
        member = bytearray(whole)
        member[place // 8] ^= 1 << place % 8
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", bytes(member))
        try:
            assert read_arrays(path, remake="fit")["a"].nbytes == 8
        except FormatError as error:
            assert "damaged" in str(error)  # noqa: PT017 - most bits are refused, some give a different type


def archives():
    """Return the names of archives of each kind, and what reads them."""
    from encash.clusters.files import read_arrays
    from encash.encoders.torch.files import load_tensors
    from encash.encoders.torch.program import check_archive
    from encash.panel.scores import read_scores

    return {
        "a.npz": partial(read_arrays, remake="fit"),
        "a.pt": load_tensors,
        "a.pt2": check_archive,
        "a.zip": read_scores,
    }


@pytest.mark.parametrize("name", ["a.npz", "a.pt", "a.pt2", "a.zip"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_archive_of_any_compression_is_one_line(tmp_path, name, method):
    """Names that are no UTF-8, damaged packed bytes, and every byte of the directory."""
    read, path = archives()[name], tmp_path / name
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("ä/archive_format", b"pt2" * 50)
        archive.writestr("b.npy", npy((2,), data=bytes(8)))
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xD5]) + whole[place + 1 :])
        with suppress(InputError):
            read(path)


def test_arrays_come_back_as_they_were_written(tmp_path):
    """Types, shapes, empty arrays, columns first, and arrays that are compressed."""
    from encash.clusters.files import read_arrays, write_arrays

    arrays: dict[str, Any] = {
        "a": np.arange(6, dtype="i8").reshape(2, 3),
        "b": np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)),
        "c": np.empty((0, 4)),
        "d": np.array(3.0),
        "e": np.array(["x", "yz"]),
    }
    write_arrays(tmp_path / "a.npz", arrays)
    np.savez_compressed(tmp_path / "b.npz", **arrays)
    for name in "ab":
        found = read_arrays(tmp_path / f"{name}.npz", remake="")
        assert found.keys() == arrays.keys()
        for key, values in found.items():
            assert values.dtype == arrays[key].dtype
            assert values.shape == arrays[key].shape
            assert values.flags.writeable
            np.testing.assert_array_equal(values, arrays[key])


def checkpoint(path: Path, **config: Any) -> Path:
    import torch

    from encash.testing import write_checkpoint

    write_checkpoint(path, num_features=3, lookback=5)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "config": {**content["config"], **config}}, path)
    return path


@pytest.mark.parametrize(
    "config",
    [
        {"num_layers": 10**7},
        {"num_layers": 10**30},
        {"hidden_dim": 10**6},
        {"hidden_dim": 2**62, "num_heads": 1},
        {"num_heads": 10**9},
        {"dropout": "x"},
        {"dropout": float("nan")},
        {"dropout": 2},
    ],
    ids=str,
)
def test_a_config_of_other_sizes_than_the_weights_is_refused(tmp_path, config):
    """Layers, widths and heads of a config are compared with the weights before anything is made from them."""
    from encash.encoders.torch.files import read_checkpoint

    path = checkpoint(tmp_path / "m.pt", **config)
    with refused("config"):
        read_checkpoint(path)


def test_a_weight_is_as_large_as_it_is_stored(tmp_path):
    """A few stored values under a huge shape, a sparse weight, and a bomb in the archive are refused."""
    import torch

    from encash.encoders.torch.files import read_checkpoint

    content = torch.load(checkpoint(tmp_path / "m.pt"), weights_only=True)
    name = "input_proj.0.weight"  # the config does not say how many features there are
    for odd, match in (
        (torch.zeros(1, 1).expand(16, 1 << 40), "would take"),
        (
            torch.sparse_coo_tensor(
                torch.tensor([[0], [0]]), torch.tensor([1.0]), (16, 1 << 30), check_invariants=True
            ),
            "sparse",
        ),
    ):
        torch.save({**content, "model_state_dict": {**content["model_state_dict"], name: odd}}, tmp_path / "odd.pt")
        with refused(match):
            read_checkpoint(tmp_path / "odd.pt")
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}.")
        archive.writestr("m/data/0", bytes(300_000_000))
    with refused("would take"):
        read_checkpoint(tmp_path / "bomb.pt")


def test_a_flipped_bit_of_a_weight_is_found(tmp_path):
    """torch compares no checksums; each member of the archive is compared here, and one without checksums is read."""
    import torch

    from encash.encoders.torch.files import read_checkpoint

    content = bytearray(checkpoint(tmp_path / "m.pt").read_bytes())
    with zipfile.ZipFile(tmp_path / "m.pt") as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        values = archive.read(largest)
    content[content.index(values) + len(values) // 2] ^= 1
    (tmp_path / "flipped.pt").write_bytes(content)
    with refused("not what was written"):
        read_checkpoint(tmp_path / "flipped.pt")
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(torch.load(tmp_path / "m.pt", weights_only=True), tmp_path / "without.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    read_checkpoint(tmp_path / "without.pt")


def test_a_bomb_in_an_exported_program_is_refused(tmp_path):
    """A .pt2 archive is checked before any member is unpacked."""
    from encash.encoders.torch.program import check_archive

    with zipfile.ZipFile(tmp_path / "m.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/archive_format", bytes(300_000_000))
    with refused("would take"):
        check_archive(tmp_path / "m.pt2")


def constant_table(rows: int) -> pa.Table:
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, "i1")), ["2024-01-02"])
    return pa.table({"date": words, "ticker": words, "close": pa.array(np.ones(rows, "f4"))})


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".csv.gz", ".csv.zip"])
def test_a_table_that_unpacks_to_far_more_than_its_file_is_refused(tmp_path, suffix, monkeypatch):
    """Rows of Parquet and Arrow, and bytes of compressed text; the limits are lowered so that the test is fast."""
    monkeypatch.setattr("encash.input_files.ALWAYS_BYTES", 1 << 20)
    path = tmp_path / f"p{suffix}"
    if suffix == ".parquet":
        pq.write_table(constant_table(3_000_000), path, compression="zstd")
    elif suffix == ".feather":
        feather.write_feather(constant_table(3_000_000), path, compression="zstd", chunksize=300_000)
    elif suffix == ".csv.gz":
        path.write_bytes(gzip.compress(b"date,close\n" + b"2024-01-02,1\n" * 1_000_000))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("p.csv", b"date,close\n" + b"2024-01-02,1\n" * 1_000_000)
    with refused("would take"):
        read_bars(path)


def parquet_with_rows(path: Path, count: int) -> Path:
    """Write a Parquet file whose footer declares a different number of rows (a thrift varint of the same length)."""
    pq.write_table(pa.table({"date": ["2024-01-02"] * 3, "close": [1.0, 2.0, 3.0]}), path)
    content = path.read_bytes()
    path.write_bytes(content.replace(bytes([0x16, 6]), bytes([0x16, count])))
    return path


def test_rows_that_a_parquet_file_does_not_have_are_one_line(tmp_path):
    """A footer of other numbers of rows than the columns."""
    for count in (4, 5, 7, 126):
        with refused("rows|cannot be read|damaged"):
            read_bars(parquet_with_rows(tmp_path / "p.parquet", count))


@pytest.mark.parametrize("column", ["date", "close"])
@pytest.mark.parametrize(
    "values",
    [
        [[1.0], [2.0]],
        [{"a": 1}, {"a": 2}],
        pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    ],
    ids=["list", "struct", "map"],
)
@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_nested_columns_are_one_line(tmp_path, column, values, suffix):
    """A column of lists, structs or maps where dates or prices are needed."""
    columns = {"date": ["2024-01-02", "2024-01-03"], "ticker": ["A", "A"], "close": [1.0, 2.0], column: values}
    write = pq.write_table if suffix == ".parquet" else feather.write_feather
    write(pa.table(columns), tmp_path / f"p{suffix}")
    with refused(column):
        read_bars(tmp_path / f"p{suffix}")


def test_one_line_of_two_hundred_megabytes_is_bounded(tmp_path):
    """A CSV file without line breaks is refused after its first block."""
    with open(tmp_path / "p.csv", "wb") as file:
        file.write(b"date,ticker,close\n" + b"2024-01-02,A,1\n" * 10_000)
        file.truncate(200 << 20)
    with refused("cannot be read"):
        read_bars(tmp_path / "p.csv")


# ---- pipes and devices


@pytest.mark.parametrize("kind", ["a named pipe", "a device"])
def test_a_pipe_or_a_device_is_refused_without_waiting(tmp_path, kind):
    """Reading either could wait forever; a stream of the process is left alone."""
    path = tmp_path / "f.h5"
    if kind == "a named pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for read in (open_panel, open_prices, read_cache, check_regular):
        with pytest.raises(InputError, match=kind):
            read(path)
    check_regular("/dev/stdin")
    check_regular(tmp_path / "none")


@pytest.mark.parametrize("size", [0, 1, ALWAYS_BYTES, 256 << 20])
def test_the_limit_is_a_multiple_of_the_file(size):
    """A small file may hold 64 MiB; a larger one 256 times its size; nothing below zero."""
    check_declared("f", max(ALWAYS_BYTES, 256 * size), size)
    for declared in (max(ALWAYS_BYTES, 256 * size) + 1, -1):
        with pytest.raises(FormatError, match="would take"):
            check_declared("f", declared, size)
