"""Robustness of a store in one process: damage, full disks, read-only folders, changes by other tools."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from encash.errors import ConflictError, EncashError, FormatError
from encash.store import VersionRows, create_store, ensure_store, export_hdf5, merge, open_store
from encash.store.lance.columns import table
from encash.store.lance.snapshot import LanceSnapshot
from encash.store.local.lock import writer_lock
from encash.store.rows import encode_entries
from encash.testing.store_contract import everything, make_entries, make_spec

DAYS = ["2024-01-02", "2024-01-03", "2024-01-04"]


@pytest.fixture
def store(tmp_path):
    """A store with two data files, replaced rows and a tag."""
    spec = make_spec("int8", 16)
    filled = create_store(tmp_path / "a.lance", spec)
    filled.write(make_entries(spec, DAYS, ["A", "B", "C"]))
    filled.write(make_entries(spec, DAYS[2:], ["B", "D"], seed=3, digest=5))
    filled.tag("run")
    return filled


def data_files(store) -> list[Path]:
    """List the data files of a store, oldest first."""
    return sorted(Path(store.location, "data").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def maps_of(store) -> list:
    """Return the mapped columns of each fragment of a store."""
    seen = store.snapshot()
    return [seen.files.columns(seen.dataset, fragment, seen.spec) for fragment in seen.fragments]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("dim", [1, 3, 8, 100])
def test_memory_maps_and_lance_read_the_same(tmp_path, monkeypatch, dtype, dim):
    """The memory map is used and returns the same as Lance's own reader, also for replaced rows."""
    spec = make_spec(dtype, dim)
    store = create_store(tmp_path / "a.lance", spec)
    rng = np.random.default_rng(1)
    for seed in range(3):
        store.write(make_entries(spec, DAYS, [f"T{i:03}" for i in rng.choice(200, 80, replace=False)], seed=seed))
    rows = rng.integers(0, store.snapshot().index().entries, 300)
    assert all(map_of is not None for map_of in maps_of(store))
    mapped = store.snapshot().vectors(rows), *store.snapshot().forecasts(rows), everything(store)
    monkeypatch.setattr("encash.store.lance.fragments.plain_pages", lambda *_: None)
    other = open_store(store.location)
    assert all(map_of is None for map_of in maps_of(other))
    taken = other.snapshot().vectors(rows), *other.snapshot().forecasts(rows), everything(other)
    for ours, theirs in zip(mapped[:3], taken[:3], strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert mapped[3] == taken[3]


def test_many_batches_become_one_page(tmp_path, monkeypatch):
    """Rows that were written in many batches are stored in few pages, and are read back in any order."""
    monkeypatch.setattr("encash.store.lance.commit._BATCH_BYTES", 64 * 32)
    spec = make_spec(dim=8)
    store = create_store(tmp_path / "a.lance", spec)
    entries = make_entries(spec, DAYS, [f"T{i:03}" for i in range(200)])
    store.write(entries)
    np.testing.assert_array_equal(store.snapshot().vectors(np.arange(600)), entries.embedding)
    np.testing.assert_array_equal(store.snapshot().vectors(np.arange(600)[::-7]), entries.embedding[::-7])
    assert len(list(store.snapshot().scan(10**6))) < 5


def test_flipped_bits_are_noticed(store, tmp_path):
    """After any bit of a store flips, reading is right, or raises a clear error, or `verify` reports the damage."""
    truth, rng, outcomes = everything(store), random.Random(0), set()
    files = [path for path in Path(store.location).rglob("*") if path.is_file() and path.stat().st_size]
    for number in range(120):
        path = rng.choice(files)
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        copy = tmp_path / f"{number}.lance"
        shutil.copytree(store.location, copy)
        (copy / path.relative_to(store.location)).write_bytes(data)
        outcomes.add(judge(copy, truth))
        shutil.rmtree(copy)
    assert {"right", "error"} <= outcomes <= {"right", "error", "found"}


def judge(path: Path, truth) -> str:
    """Return how the damage of a store shows."""
    try:
        damaged = open_store(path)
        passed = damaged.snapshot().verify().passed
        right = everything(damaged) == truth
    except FormatError as error:
        return "error" if "\n" not in str(error) else "an error of many lines"
    return "right" if right else "wrong and passed" if passed else "found"


@pytest.mark.parametrize("engine", ["lance", "h5"])
@pytest.mark.parametrize("part", ["forecasts", "vectors"])
def test_a_flipped_bit_never_changes_what_a_backtest_reads(store, tmp_path, engine, part):
    """After any bit of the data flips, forecasts, and vectors that are checked at reading, are those that were written,
    or are refused."""
    source = Path(store.location, "data")
    if engine == "h5":
        source = tmp_path / "a.h5"
        export_hdf5(store.snapshot(), source)
    home = Path(store.location) if engine == "lance" else source
    truth, rng, outcomes = what_is_read(home, part), random.Random(1), set()
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    for _ in range(150):
        path = rng.choice(files)
        sound = path.read_bytes()
        at = rng.randrange(len(sound))
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << rng.randrange(8)]) + sound[at + 1 :])
        try:
            assert what_is_read(home, part) == truth, f"byte {at} of {path.name}"
            outcomes.add("right")
        except EncashError:
            outcomes.add("refused")
        path.write_bytes(sound)
    assert "refused" in outcomes


def what_is_read(path: Path, part: str) -> dict[tuple[str, str], bytes]:
    """Return the bytes that a backtest reads of each entry."""
    snapshot = open_store(path).snapshot()
    rows = snapshot.index().rows()
    days, tickers = snapshot.index().keys(rows)
    if part == "vectors":
        values = snapshot.reader_of_vectors(checked=True)(rows)
    else:
        values = np.concatenate(snapshot.forecasts(rows), axis=1)
    keys = zip(days.astype(str).tolist(), tickers.tolist(), strict=True)
    return dict(zip(keys, [row.tobytes() for row in values], strict=True))


def test_one_damaged_forecast_costs_no_other_entry(store):
    """Of a file with one damaged forecast, only that entry is refused; once it is removed, the others can be read."""
    path, snapshot = data_files(store)[0], store.snapshot()
    row = snapshot.index().locate(np.array([DAYS[1]], "datetime64[D]"), np.array(["C"]))
    data, code = path.read_bytes(), snapshot.forecasts(row)[0].tobytes()
    at = data.index(code)
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    damaged = open_store(store.location)
    others = np.setdiff1d(damaged.snapshot().index().rows(), row)
    expected = snapshot.stored_forecasts(others)
    for found, written in zip(damaged.snapshot().forecasts(others), expected, strict=True):
        np.testing.assert_array_equal(found, written)
    with pytest.raises(FormatError, match=r"1 of 8 entries read are damaged.*2024-01-03, 'C'"):
        damaged.snapshot().forecasts(damaged.snapshot().index().rows())
    damaged.remove(damaged.snapshot().verify().damaged)
    kept = open_store(store.location).snapshot()
    assert kept.forecasts(kept.index().rows())[0].shape == (9, 2)


def test_verify_names_the_vector_that_changed(store):
    """A flipped bit of one vector is found by its row's checksum, with day and ticker; all other rows pass."""
    path = data_files(store)[0]
    data = path.read_bytes()
    vector = store.snapshot().vectors(
        store.snapshot().index().locate(np.array([DAYS[1]], "datetime64[D]"), np.array(["C"]))
    )
    codes, _ = encode_entries(store.spec, make_entries(store.spec, DAYS, ["A", "B", "C"]))
    at = data.index(codes[5].tobytes())
    assert vector.shape == (1, 16)
    path.write_bytes(data[: at + 3] + bytes([data[at + 3] ^ 1]) + data[at + 4 :])
    check = open_store(store.location).snapshot().verify()
    assert (check.checked, check.corrupt) == (10, 1)
    assert "2024-01-03, 'C'" in check.findings[0]


def flip_in_vector(store, day: str, ticker: str) -> None:
    """Change one bit of the stored vector of an entry."""
    row = store.snapshot().index().locate(np.array([day], "datetime64[D]"), np.array([ticker]))
    code = store.snapshot().stored(row)[1][0].tobytes()
    for path in data_files(store):
        data = path.read_bytes()
        if (at := data.find(code)) >= 0:
            path.write_bytes(data[: at + 3] + bytes([data[at + 3] ^ 1]) + data[at + 4 :])


COPIES = {
    "compact": lambda store, folder: store.compact(),
    "export": lambda store, folder: export_hdf5(store.snapshot(), folder / "x.h5"),
    "merge": lambda store, folder: merge([store.snapshot()], create_store(folder / "into.lance", store.spec)),
}


@pytest.mark.parametrize("copy", COPIES)
def test_damaged_entries_are_not_copied(store, tmp_path, copy):
    """A changed vector never gets a new checksum: compacting, exporting and merging refuse it, name the first entry and
    the number of entries, and commit nothing; `verify` still finds them."""
    flip_in_vector(store, DAYS[1], "C")
    flip_in_vector(store, DAYS[2], "D")
    damaged = open_store(store.location)
    with pytest.raises(
        FormatError,
        match=r"2 of 10 entries read are damaged .*, the first \(2024-01-03, 'C'\).*--drop",
    ):
        COPIES[copy](damaged, tmp_path)
    assert open_store(store.location).version == store.version
    assert open_store(store.location).snapshot().verify().corrupt == 2
    assert not (tmp_path / "x.h5").exists()


def test_damaged_entries_can_be_removed(store):
    """The rows that `verify` found are removed in one commit; the others stay, and can then be copied."""
    before = everything(store)
    flip_in_vector(store, DAYS[1], "C")
    damaged = open_store(store.location)
    damaged.remove(damaged.snapshot().verify().damaged)
    assert everything(damaged) == {key: value for key, value in before.items() if key != (DAYS[1], "C")}
    assert open_store(store.location).snapshot().verify().passed
    damaged.compact()
    assert damaged.snapshot().index().entries == 9


@pytest.mark.parametrize("harm", ["cut", "gone", "checksums"])
def test_the_entries_of_a_damaged_file_can_be_removed(store, harm):
    """If a data file is truncated or missing, or its checksum file is damaged, its rows are removed without reading
    them, and the store is sound again."""
    path = data_files(store)[0]
    if harm == "cut":
        os.truncate(path, 100)
    elif harm == "gone":
        path.unlink()
    else:
        (Path(store.location) / "_seals" / f"{path.name}.json").write_text("{}")
    damaged = open_store(store.location)
    check = damaged.snapshot().verify()
    assert (check.corrupt, len(check.damaged)) == (8, 8)
    assert "8 entries" in check.findings[0]
    assert "--drop" in check.findings[0]
    damaged.remove(check.damaged)
    again = open_store(store.location)
    assert again.snapshot().verify().passed
    assert {key[1] for key in everything(again)} == {"B", "D"}
    again.write(make_entries(store.spec, DAYS, ["A"]))
    again.compact()
    assert open_store(store.location).snapshot().index().entries == 5


def test_nothing_is_removed_after_a_newer_commit(store):
    """Row numbers of an older version are refused if the store has changed meanwhile, and nothing is removed."""
    late = open_store(store.location)
    late.snapshot().index()
    store.write(make_entries(store.spec, DAYS[:1], ["Z"]))
    with pytest.raises(ConflictError, match="has changed"):
        late.remove(VersionRows(version=late.version, rows=np.array([0])))
    assert open_store(store.location).snapshot().index().entries == 11


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_data_file(store, share):
    """A truncated data file is an error when it is read and a finding of `verify`, which reads the other rows."""
    path = data_files(store)[0]
    os.truncate(path, int(path.stat().st_size * share))
    again = open_store(store.location)
    with pytest.raises(FormatError, match="were written"):
        again.snapshot().index()
    check = again.snapshot().verify()
    assert (check.checked, check.passed) == (2, False)
    assert "fragment 0" in check.findings[0]


def test_a_missing_data_file(store):
    """A missing data file is an error when it is read and a finding of `verify`."""
    data_files(store)[1].unlink()
    again = open_store(store.location)
    with pytest.raises(FormatError, match="is gone"):
        again.snapshot().index()
    assert not again.snapshot().verify().passed


def test_a_missing_newest_version_is_found(store):
    """Without the newest manifest the store opens at the version before, and `verify` reports the lost commit; versions
    removed by compaction do not count as lost."""
    newest = min(Path(store.location, "_versions").glob("*.manifest"))
    content = newest.read_bytes()
    newest.unlink()
    check = open_store(store.location).snapshot().verify()
    assert not check.passed
    assert newest.name in check.findings[0]
    newest.write_bytes(content)
    store = open_store(store.location)
    store.compact(keep_versions=2)
    assert open_store(store.location).snapshot().verify().passed


def test_a_reader_of_a_removed_version_is_asked_to_refresh(store):
    """If others commit and compact until a reader's version is removed, the error asks for a refresh; afterwards all
    entries are there."""
    store.write(make_entries(store.spec, ["2024-03-01"], ["A"]))  # the version before has a tag
    reader = open_store(store.location)
    for day in ("2024-03-04", "2024-03-05"):
        store.write(make_entries(store.spec, [day], ["A"]))
        store.compact(keep_versions=2)
    with pytest.raises(FormatError, match=r"is gone .*compacted the cache, refresh to the newest version"):
        reader.snapshot().index()
    reader.refresh()
    assert everything(reader) == everything(store)


def test_a_truncated_manifest(store):
    """A truncated newest manifest is a clear error; an older version can still be opened."""
    newest = min(Path(store.location, "_versions").glob("*.manifest"))
    os.truncate(newest, 100)
    with pytest.raises(FormatError, match=r"a\.lance"):
        open_store(store.location)
    assert open_store(store.location, version=2).snapshot().index().entries == 9


def test_a_duplicate_key_from_a_different_tool(store):
    """If a different tool appends an existing key, its last row is read, and the duplicate is counted, found by
    `verify`, and removed by compaction."""
    spec = store.spec
    duplicate = make_entries(spec, DAYS[:1], ["A"], seed=42, digest=99)
    codes, scale = encode_entries(spec, duplicate)
    rows = table(lance.dataset(store.location).schema, duplicate, codes, scale)
    lance.write_dataset(rows, store.location, mode="append")
    store.refresh()
    index = store.snapshot().index()
    assert (index.duplicates, index.entries) == (1, 10)
    assert everything(store)[DAYS[0], "A"][0] == 99
    assert sum(len(batch) for batch in store.snapshot().by_day(3)) == 10
    assert store.snapshot().verify().duplicates == 1
    store.compact()
    assert store.snapshot().verify().passed
    assert everything(store)[DAYS[0], "A"][0] == 99
    assert store.snapshot().index().entries == 10


def test_a_column_from_a_different_tool(store):
    """A store to which a different tool has added a column is refused."""
    dataset = lance.dataset(store.location)
    dataset.add_columns({"twice": "digest * 2"})
    with pytest.raises(FormatError, match="columns"):
        open_store(store.location)


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code in a new process."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


FULL = """
import resource, sys
from encash.errors import WorkError
from encash.store import open_store
from encash.testing.store_contract import everything, make_entries
store = open_store(sys.argv[1])
before = everything(store)
entries = make_entries(store.spec, ["2024-02-01", "2024-01-02"], [f"T{i}" for i in range(3000)], seed=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    store.write(entries)
except WorkError as error:
    print("WorkError", "\\n" in str(error), error)
assert everything(open_store(sys.argv[1])) == before
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.write(entries)
assert len(everything(open_store(sys.argv[1]))) == len(before) + 6000
print("recovered")
"""


@pytest.mark.parametrize("limit", [0, 300, 5_000, 100_000])
def test_a_write_to_a_full_disk(store, limit):
    """If the disk is full, a write is a clear error and all committed entries stay; with free space it succeeds."""
    done = run_python(FULL, store.location, limit)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("WorkError False"), done.stdout
    assert done.stdout.endswith("recovered\n")


FULL_EXPORT = """
import resource, sys
from encash.errors import WorkError
from encash.store import export_hdf5, open_store
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    export_hdf5(open_store(sys.argv[1]).snapshot(), sys.argv[2])
except WorkError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 100, 1_000, 2_500])
def test_an_export_to_a_full_disk(store, tmp_path, limit):
    """If the disk is full, an export reports the system's error rather than HDF5's, and the older file is kept."""
    out = tmp_path / "x.h5"
    out.write_bytes(b"old")
    done = run_python(FULL_EXPORT, store.location, out, limit)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        f"{out} could not be written: File too large; what was there is kept: free disk space"
    )
    assert out.read_bytes() == b"old"


READ_ONLY = """
import os, sys
from encash.errors import WorkError
from encash.store import export_hdf5, lance, hdf5, open_store
from encash.testing.store_contract import everything, make_entries
if os.geteuid() == 0:  # the superuser may write anywhere: use an ordinary user
    os.setegid(65534)
    os.seteuid(65534)
store = open_store(sys.argv[1])
print(len(everything(store)), store.snapshot().verify().passed)
for attempt in (
    lambda: store.write(make_entries(store.spec, ["2024-01-02"], ["Z"])),
    lambda: store.tag("x"),
    store.compact,
    lambda: export_hdf5(store.snapshot(), sys.argv[1] + "/x.h5"),
):
    try:
        attempt()
    except WorkError as error:
        print("WorkError", len(str(error).splitlines()))
"""


def test_a_store_in_a_read_only_folder(store):
    """A store in a read-only folder can be read; writing to it is a clear error."""
    with tempfile.TemporaryDirectory() as outside:  # readable by any user
        copy = Path(outside, "a.lance")
        shutil.copytree(store.location, copy)
        paths = [Path(outside), copy, *copy.rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            done = run_python(READ_ONLY, copy)
        finally:
            for path in paths:
                path.chmod(0o755 if path.is_dir() else 0o644)
    assert done.stdout == "10 True\n" + "WorkError 1\n" * 4, done.stderr


def test_a_lock_held_by_a_different_writer(store, monkeypatch):
    """A writer that waits too long for the lock gets an error that names the process holding it, and writes nothing."""
    before = everything(store)
    monkeypatch.setattr("encash.store.lance.location._LOCK_SECONDS", 0.05)
    with (
        writer_lock(Path(store.location, "_encash.lock")),
        pytest.raises(ConflictError, match=f"written by process {os.getpid()}"),
    ):
        open_store(store.location).write(make_entries(store.spec, DAYS, ["Z"]))
    assert everything(open_store(store.location)) == before


@pytest.mark.parametrize("name", ["with space", "ümläut 株", "100% #1?", "a&b=c", "quote'\"s"])
def test_paths_with_special_characters(tmp_path, monkeypatch, name):
    """Stores work at absolute and relative paths with spaces, signs and non-ASCII letters; nothing else is written."""
    folder = tmp_path / name
    folder.mkdir()
    spec = make_spec()
    store = ensure_store(folder / f"{name}.lance", spec)
    store.write(make_entries(spec, DAYS, ["A"]))
    store.write(make_entries(spec, DAYS[:1], ["A"], seed=1))
    monkeypatch.chdir(folder)
    again = open_store(f"{name}.lance")
    again.write(make_entries(spec, DAYS[:1], ["B"], seed=1))
    assert len(everything(open_store(folder / f"{name}.lance"))) == 4
    assert [path.name for path in folder.iterdir()] == [f"{name}.lance"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_number_of_mapped_files_is_bounded(tmp_path, monkeypatch):
    """A store of many small files is read with a bounded number of mapped files."""
    monkeypatch.setattr("encash.store.lance.fragments._MAPPED_FILES", 3)
    spec = make_spec()
    store = create_store(tmp_path / "a.lance", spec)
    for seed in range(8):
        store.write(make_entries(spec, [f"2024-01-{seed + 1:02}"], ["A", "B"], seed=seed))
    truth = np.concatenate([part.embedding for part in store.snapshot().scan(2)])
    np.testing.assert_array_equal(store.snapshot().vectors(np.arange(16)), truth)
    snapshot = store.snapshot()
    assert isinstance(snapshot, LanceSnapshot)
    assert len(snapshot.files._mapped) <= 3


def test_compacting_twice_rewrites_nothing(tmp_path, monkeypatch):
    """A second compaction rewrites nothing, for any number of full fragments, and so does one of an empty store."""
    monkeypatch.setattr("encash.store.lance.commit._FRAGMENT_ROWS", 64)
    spec = make_spec()
    store = create_store(tmp_path / "a.lance", spec)
    assert store.compact().rows_rewritten == 0
    for seed in range(5):
        store.write(make_entries(spec, [f"2024-01-{seed + 1:02}"], [f"T{i:02}" for i in range(30)], seed=seed))
    truth = everything(store)
    assert store.compact().rows_rewritten == 150
    snapshot = store.snapshot()
    assert isinstance(snapshot, LanceSnapshot)
    assert [fragment.rows for fragment in snapshot.fragments] == [64, 64, 22]
    assert store.compact().rows_rewritten == 0
    assert everything(store) == truth


def test_compacting_deletes_files_of_killed_writers(store):
    """A data file that belongs to no version is deleted after as many commits as versions are kept; all other files
    stay."""
    left = Path(store.location, "data", "left.lance")
    left.write_bytes(b"half")
    store.compact(keep_versions=2)
    assert left.exists()
    for day in ("2024-05-01", "2024-05-02"):
        store.write(make_entries(store.spec, [day], ["A"]))
    truth = everything(store)
    store.compact(keep_versions=2)
    assert not left.exists()
    assert everything(open_store(store.location)) == truth
    assert open_store(store.location, version="run").snapshot().verify().passed


@pytest.mark.parametrize("jump", [-400, 400])
def test_a_clock_that_jumps_deletes_nothing(store, jump):
    """Compaction keeps the newest versions by number, not by age."""
    for day in ("2024-05-01", "2024-05-02", "2024-05-03"):
        store.write(make_entries(store.spec, [day], ["A"]))
        when = time.time() + jump * 86_400
        for path in Path(store.location).rglob("*"):
            os.utime(path, (when, when))
        jump = -jump
    numbers = [version.number for version in store.versions() if not version.tags]
    store.compact(keep_versions=4)
    kept = [version.number for version in store.versions() if not version.tags]
    assert kept == [*numbers, store.version][-4:]
    assert all(open_store(store.location, version=number).snapshot().verify().passed for number in kept)


def test_a_deleted_store_raises_only_encash_errors(store):
    """If a store is deleted while a reader is open, only errors of encash are raised."""
    again = open_store(store.location)
    shutil.rmtree(store.location)
    snapshot = again.snapshot()
    for attempt in (
        snapshot.index,
        again.refresh,
        again.versions,
        again.compact,
        lambda: snapshot.vectors(np.arange(2)),
    ):
        with pytest.raises(EncashError):
            attempt()


def test_arrow_sees_plain_columns(store):
    """Other tools read the same files: keys, digests and vectors are ordinary Arrow columns."""
    rows = lance.dataset(store.location).to_table(columns=["date", "ticker", "embedding"])
    assert rows.schema.field("date").type == pa.date32()
    assert rows.schema.field("ticker").type == pa.string()
    assert rows.num_rows == 10
