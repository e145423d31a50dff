"""The interchange format: other tools read our exports, and we read their files."""

import contextlib
import io
import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from encash.arrays import to_days
from encash.errors import FormatError, InputError, MissingFileError, WorkError
from encash.store import create_store, export_hdf5, open_store
from encash.store.base import EmbeddingStore, Entries, StoreSpec
from encash.store.hdf5 import escape_ticker, unescape_ticker, write_hdf5
from encash.testing import StoreReadContract
from encash.testing.store_contract import ODD_TICKERS, everything, make_entries, make_spec

DAYS = ["2024-01-02", "2024-01-03", "2024-01-04"]


class TestHdf5Store(StoreReadContract):
    """An exported file passes the contract of readers."""

    def filled(self, folder: Path, entries: Entries, spec: StoreSpec) -> EmbeddingStore:
        write_hdf5(folder / "out ü.h5", spec, [entries.take(slice(3)), entries.take(slice(3, None))])
        return open_store(folder / "out ü.h5")


def seed_file(path: Path, dim: int = 16, tickers: tuple[str, ...] = ("AAPL", "GOOGL")) -> dict[tuple[str, str], bytes]:
    """Write a file as the seed's own code does, and return its contents."""
    rng = np.random.default_rng(0)
    held = {}
    with h5py.File(path, "w") as file:
        for ticker in tickers:
            group = file.create_group(ticker)
            for day in reversed(DAYS):
                vector = rng.standard_normal(dim).astype(np.float32)
                group.create_dataset(day, data=vector, compression="gzip")
                held[day, ticker] = vector.tobytes()
    return held


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """A store, and its export under the path that the guide uses."""
    spec = make_spec(dim=1024)
    (tmp_path / "data").mkdir()
    store = create_store(tmp_path / "c.lance", spec)
    store.write(make_entries(spec, ["2024-01-01", *DAYS], ["AAPL", "GOOGL", "MSFT"]))
    export_hdf5(store.snapshot(), tmp_path / "data" / "embeddings_cache.h5")
    monkeypatch.chdir(tmp_path / "data")
    os.symlink(tmp_path / "data", tmp_path / "data" / "data")
    return store


CONTENTS = """
import h5py

with h5py.File('data/embeddings_cache.h5', 'r') as f:
    print(f"Tickers in cache: {len(f.keys())}")

    # Check specific ticker
    if 'AAPL' in f:
        dates = list(f['AAPL'].keys())
        print(f"AAPL has {len(dates)} cached dates")
        print(f"Date range: {dates[0]} to {dates[-1]}")
"""
COMPRESSION = """
import h5py
with h5py.File('embeddings_cache.h5', 'r') as f:
    # Check compression
    dataset = f['AAPL']['2024-01-01']
    print(f"Compression: {dataset.compression}")  # Should be 'gzip'
"""
MISSES = """
import h5py

with h5py.File('data/embeddings_cache.h5', 'r') as f:
    # Check if ticker exists
    if 'AAPL' not in f:
        print("AAPL not in cache!")

    # Check if date exists
    elif '2024-01-01' not in f['AAPL']:
        print("2024-01-01 not cached for AAPL!")
"""


@pytest.mark.parametrize(
    ("snippet", "printed"),
    [
        (CONTENTS, "Tickers in cache: 3\nAAPL has 4 cached dates\nDate range: 2024-01-01 to 2024-01-04\n"),
        (COMPRESSION, "Compression: gzip\n"),
        (MISSES, ""),
    ],
)
def test_the_snippets_of_the_guide_run_on_an_export(exported, snippet, printed):
    """The guide's three Python snippets run unchanged on an export and print the expected lines."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(snippet, "guide", "exec"), {})
    assert out.getvalue() == printed


def test_an_export_is_read_back_unchanged(exported):
    """Exporting and reading back changes neither entries, forecasts and digests nor the spec."""
    again = open_store("embeddings_cache.h5")
    assert everything(again) == everything(exported)
    assert again.spec == exported.spec
    assert again.snapshot().verify().passed


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_narrow_types_survive_a_round_trip(tmp_path, dtype):
    """A store of a narrow type has the same entries after it was exported and written to a new store."""
    spec = make_spec(dtype)
    store = create_store(tmp_path / "a.lance", spec)
    store.write(make_entries(spec, DAYS, ODD_TICKERS))
    export_hdf5(store.snapshot(), tmp_path / "b.h5")
    back = create_store(tmp_path / "c.lance", spec)
    for batch in open_store(tmp_path / "b.h5").snapshot().by_day(7):
        back.write(batch)
    assert everything(back) == everything(store)


def test_an_export_is_compact(tmp_path):
    """A vector of 1,024 floats takes about 4,170 bytes in an export, not the 6,311 of the default layout."""
    spec = make_spec(dim=1024, horizons=())
    entries = make_entries(
        spec, [str(day) for day in np.arange("2024-01-01", "2024-04-30", dtype="datetime64[D]")], ["A", "B"]
    )
    write_hdf5(tmp_path / "a.h5", spec, [entries])
    assert os.path.getsize(tmp_path / "a.h5") / len(entries) < 4_250


def test_a_foreign_file_is_read(tmp_path):
    """A file without provenance is read without fingerprint, forecasts and digests."""
    held = seed_file(tmp_path / "seed.h5")
    store = open_store(tmp_path / "seed.h5")
    assert (store.spec.fingerprint, store.spec.horizons, store.spec.dim) == ("", (), 16)
    assert {key: entry[1] for key, entry in everything(store).items()} == held
    assert (store.snapshot().index().digest == 0).all()
    assert store.snapshot().index().days.tolist() == to_days(DAYS).tolist()
    assert store.snapshot().verify().passed


def test_names_in_foreign_files_are_taken_literally(tmp_path):
    """A percent sign in a ticker of a foreign file is only a percent sign."""
    seed_file(tmp_path / "seed.h5", tickers=("A%2FB",))
    assert open_store(tmp_path / "seed.h5").snapshot().index().tickers.tolist() == ["A%2FB"]


@pytest.mark.parametrize("ticker", [*ODD_TICKERS, "%2F", "..", "...", "%", "a%2Eb"])
def test_escaping_a_ticker_is_reversible(ticker):
    """An escaped ticker is a single path component in a file, and unescaping returns the ticker."""
    name = escape_ticker(ticker)
    assert "/" not in name
    assert not name.startswith(".")
    assert unescape_ticker(name) == ticker


def test_a_file_is_not_written_in_place(tmp_path):
    """Writing, tagging and compacting an interchange file are refused, and the error names an alternative."""
    seed_file(tmp_path / "seed.h5")
    store = open_store(tmp_path / "seed.h5")
    for attempt in (lambda: store.write(next(iter(store.snapshot().scan(9)))), lambda: store.tag("x"), store.compact):
        with pytest.raises(InputError, match="interchange file"):
            attempt()
    with pytest.raises(InputError, match=r"build a \.lance cache"):
        create_store(tmp_path / "new.h5", make_spec())


def test_a_missing_file_is_named(tmp_path):
    """A missing file is an error with its name."""
    with pytest.raises(MissingFileError, match="does not exist"):
        open_store(tmp_path / "none.h5")


@pytest.mark.parametrize("content", [b"", b"not an HDF5 file at all", b"\x89HDF\r\n\x1a\n"])
def test_a_file_in_a_different_format_is_refused(tmp_path, content):
    """A file that is not HDF5 is refused in one line."""
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(FormatError) as caught:
        open_store(tmp_path / "x.h5")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    """A truncated file is refused in one line; it is never read as if it were complete."""
    seed_file(tmp_path / "x.h5", dim=512)
    data = (tmp_path / "x.h5").read_bytes()
    (tmp_path / "x.h5").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FormatError) as caught:
        open_store(tmp_path / "x.h5")
    assert "\n" not in str(caught.value)


def test_files_with_different_contents_are_refused(tmp_path):
    """HDF5 files with different contents are refused, and the error names the part that is wrong."""
    cases = {
        "holds no vectors": lambda f: f.create_group("AAPL"),
        "at the root is not a group": lambda f: f.create_dataset("AAPL", data=np.zeros(3, np.float32)),
        "not a float32 vector": lambda f: f.create_dataset("AAPL/2024-01-02", data=np.zeros((2, 3), np.float32)),
        "'AAPL': 'features' is not a day; expected YYYY-MM-DD": lambda f: [
            f.create_dataset(f"AAPL/{name}", data=np.zeros(3, np.float32)) for name in ("2024-01-02", "features")
        ],
    }
    for number, (message, fill) in enumerate(cases.items()):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            fill(file)
        with pytest.raises(FormatError, match=message):
            open_store(path).snapshot().index()


def test_vectors_of_different_lengths_are_refused(tmp_path):
    """A vector whose length differs from the first is refused by day and ticker."""
    seed_file(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file.create_dataset("MSFT/2024-01-02", data=np.zeros(8, np.float32))
    store = open_store(tmp_path / "x.h5")
    with pytest.raises(FormatError, match=r"2024-01-02, MSFT"):
        store.snapshot().vectors(np.arange(7))
    check = store.snapshot().verify()
    assert (check.checked, check.corrupt) == (7, 1)


def test_verify_finds_a_changed_vector(exported):
    """A vector of an export that a different tool has overwritten is found by its checksum."""
    with h5py.File("embeddings_cache.h5", "a") as file:
        file["AAPL"]["2024-01-03"][7] += 1
    check = open_store("embeddings_cache.h5").snapshot().verify()
    assert (check.corrupt, check.passed) == (1, False)
    assert "2024-01-03" in check.findings[0]


def test_a_failed_export_keeps_the_old_file(tmp_path):
    """A failed export leaves the complete older file unchanged, and no partial file."""
    spec = make_spec()
    entries = make_entries(spec, DAYS, ["A", "B"])
    write_hdf5(tmp_path / "x.h5", spec, [entries])
    before = (tmp_path / "x.h5").read_bytes()

    def broken():
        yield entries
        raise WorkError("the source broke")

    with pytest.raises(WorkError, match="the source broke"):
        write_hdf5(tmp_path / "x.h5", spec, broken())
    with pytest.raises(InputError, match="duplicate key"):
        write_hdf5(tmp_path / "x.h5", spec, [entries, entries])
    assert (tmp_path / "x.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    """A file in place of the target's folder is an error in one line."""
    (tmp_path / "file").touch()
    with pytest.raises(WorkError, match="could not be written"):
        write_hdf5(tmp_path / "file" / "x.h5", make_spec(), [])


def test_the_same_entries_give_the_same_bytes(tmp_path):
    """Two exports of one store, and of a store that was written in other blocks, are one file bit for bit: no time of
    creation, no order of commits."""
    spec = make_spec(dim=64)
    entries = make_entries(spec, DAYS, ["AAPL", "GOOGL", "MSFT"])
    for name, parts in {"whole": [slice(None)], "parts": [slice(5, None), slice(2), slice(2, 5)]}.items():
        store = create_store(tmp_path / f"{name}.lance", spec)
        for part in parts:
            store.write(entries.take(part))
        export_hdf5(store.snapshot(), tmp_path / f"{name}.h5")
    time.sleep(1.1)  # HDF5 counts seconds
    export_hdf5(store.snapshot(), tmp_path / "again.h5")
    assert len({(tmp_path / f"{name}.h5").read_bytes() for name in ("whole", "parts", "again")}) == 1
