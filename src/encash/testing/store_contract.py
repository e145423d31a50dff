"""Contract tests for stores: subclass `StoreContract`, implement `create` and `reopen`, and let pytest collect it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encash.arrays import to_days
from encash.errors import ConflictError, EncashError, InputError, MissingFileError
from encash.store.base import EmbeddingStore, Entries, StoreSnapshot, StoreSpec, VersionRows
from encash.store.codec import DTYPES, round_vectors

ODD_TICKERS = (
    "../x",
    "/etc/passwd",
    ".",
    "7203.T",
    "BRK.B",
    'O\'NEIL "Q"',
    "^GSPC",
    "a/b",
    "per%cent",
    "x y",
    "ÆTHER",
    "株式",
)


def make_spec(dtype: str = "float32", dim: int = 8, horizons: tuple[int, ...] = (1, 5)) -> StoreSpec:
    """A spec for tests."""
    return StoreSpec(dim=dim, dtype=dtype, horizons=horizons, encoder={"dim": dim}, fingerprint="f" * 64)


def make_entries(
    spec: StoreSpec, days: list[str], tickers: list[str] | tuple[str, ...], seed: int = 0, digest: int = 1
) -> Entries:
    """Entries for each day × ticker, sorted; values drawn from the seed."""
    rng = np.random.default_rng(seed)
    names = np.array(sorted(tickers), dtype=np.str_)
    count = len(days) * len(names)
    vectors = rng.standard_normal((count, spec.dim)).astype(np.float32)
    return Entries(
        days=np.repeat(np.sort(to_days(days)), len(names)),
        tickers=np.tile(names, len(days)),
        digest=np.full(count, digest, dtype=np.uint64),
        embedding=round_vectors(vectors, spec.dtype),
        forecast=rng.standard_normal((count, len(spec.horizons))).astype(np.float32),
        confidence=rng.random((count, len(spec.horizons))).astype(np.float32),
    )


def everything(of: EmbeddingStore | StoreSnapshot, batch_rows: int = 1000) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Return all entries by key; of duplicate keys the last row."""
    snapshot = of.snapshot() if isinstance(of, EmbeddingStore) else of
    return {
        (str(part.days[i]), str(part.tickers[i])): (
            int(part.digest[i]),
            part.embedding[i].tobytes(),
            part.forecast[i].tobytes(),
            part.confidence[i].tobytes(),
        )
        for part in snapshot.scan(batch_rows)
        for i in range(len(part))
    }


class StoreReadContract:
    """Tests for any store. Implement `filled`."""

    dtypes: tuple[str, ...] = DTYPES

    def filled(self, folder: Path, entries: Entries, spec: StoreSpec) -> EmbeddingStore:
        """A store with these entries, opened for reading."""
        raise NotImplementedError

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("dim", [1, 7, 8, 64])
    def test_gives_back_what_was_written(self, tmp_path: Path, dtype: str, dim: int) -> None:
        """Written entries are read back bit for bit, by row, in any order, by scan and by day."""
        spec = make_spec(dtype, dim)
        entries = make_entries(spec, ["2024-01-02", "2024-01-03"], ["A", "B", "C"])
        snapshot = self.filled(tmp_path, entries, spec).snapshot()
        rows = snapshot.index().locate(entries.days, entries.tickers)
        assert sorted(rows) == list(range(6))
        mixed = np.array([5, 0, 3, 3, 1])
        np.testing.assert_array_equal(snapshot.vectors(rows[mixed]), entries.embedding[mixed])
        forecast, confidence = snapshot.forecasts(rows[mixed])
        np.testing.assert_array_equal(forecast, entries.forecast[mixed])
        np.testing.assert_array_equal(confidence, entries.confidence[mixed])
        np.testing.assert_array_equal(snapshot.index().digest[rows], entries.digest)
        assert everything(snapshot, 4) == everything(snapshot, 1000)
        assert len(everything(snapshot)) == 6
        assert snapshot.spec == spec

    def test_what_it_gives_is_the_callers(self, tmp_path: Path) -> None:
        """Writing into vectors that were given out changes nothing in the store."""
        spec = make_spec()
        entries = make_entries(spec, ["2024-01-02"], ["A", "B", "C"])
        snapshot = self.filled(tmp_path, entries, spec).snapshot()
        rows = snapshot.index().locate(entries.days, entries.tickers)
        snapshot.vectors(rows)[:] = 0
        snapshot.forecasts(rows)[0][:] = 0
        np.testing.assert_array_equal(snapshot.vectors(rows), entries.embedding)
        np.testing.assert_array_equal(snapshot.forecasts(rows)[0], entries.forecast)

    def test_scan_numbers_rows_as_the_index_does(self, tmp_path: Path) -> None:
        """The n-th row that scan yields is row n of the index, whatever the size of the batches."""
        spec = make_spec()
        both = make_entries(spec, ["2024-01-03", "2024-01-04", "2024-01-05"], ["A", "B", "C", "D"])
        snapshot = self.filled(tmp_path, both.take(np.array([0, 2, 3, 5, 6, 7, 9, 10])), spec).snapshot()
        for batch_rows in (1, 2, 3, 100):
            parts = list(snapshot.scan(batch_rows))
            assert max(len(part) for part in parts) <= batch_rows
            days, tickers = (np.concatenate([getattr(p, name) for p in parts]) for name in ("days", "tickers"))
            np.testing.assert_array_equal(snapshot.index().locate(days, tickers), np.arange(8))
            vectors = np.concatenate([part.embedding for part in parts])
            np.testing.assert_array_equal(vectors, snapshot.vectors(np.arange(8)))

    def test_by_day_is_sorted_and_whole(self, tmp_path: Path) -> None:
        """By day all entries come once, sorted by day and ticker, in batches of the size asked at most."""
        spec = make_spec()
        entries = make_entries(spec, ["2024-01-03", "2024-01-04", "2024-01-05"], ["A", "B", "C", "D"])
        snapshot = self.filled(tmp_path, entries, spec).snapshot()
        for batch_rows in (1, 3, 5, 8, 100):
            parts = list(snapshot.by_day(batch_rows))
            assert max(len(part) for part in parts) <= batch_rows
            for name in vars(entries):
                together = np.concatenate([getattr(part, name) for part in parts])
                np.testing.assert_array_equal(together, getattr(entries, name))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_what_is_copied_is_checked(self, tmp_path: Path, dtype: str) -> None:
        """Reading with the checksums gives what reading without them gives, in the order asked, all of it sound."""
        spec = make_spec(dtype)
        written = make_entries(spec, ["2024-01-02", "2024-01-03"], ["A", "B", "C"])
        snapshot = self.filled(tmp_path, written, spec).snapshot()
        mixed = np.array([5, 0, 3, 3])
        entries, sound = snapshot.read_checked(snapshot.index().locate(written.days, written.tickers)[mixed])
        for name in vars(written):
            np.testing.assert_array_equal(getattr(entries, name), getattr(written, name)[mixed])
        assert sound.tolist() == [True] * 4
        with pytest.raises(InputError, match="rows"):
            snapshot.read_checked(np.array([6]))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_nearest_are_those_of_a_full_sort(self, tmp_path: Path, dtype: str) -> None:
        """The nearest entries up to a day, by distance, then day, then ticker, whatever the engine searches with."""
        spec = make_spec(dtype=dtype, dim=2)
        days = [f"2024-01-{day:02}" for day in range(2, 12)]
        entries = make_entries(spec, days, ["A", "B", "C", "D", "E"])
        coarse = round_vectors(np.round(entries.embedding).astype(np.float32), dtype)  # many are equally far
        entries = replace(entries, embedding=coarse)
        snapshot = self.filled(tmp_path, entries, spec).snapshot()
        past = entries.days <= np.datetime64("2024-01-07")
        for query in (np.zeros(2, dtype=np.float32), np.array([0.5, -1.25], dtype=np.float32)):
            distance = np.linalg.norm(entries.embedding.astype(np.float64) - query, axis=1)[past]
            order = np.lexsort((entries.tickers[past], entries.days[past], distance))
            for count in (1, 4, 17, 1000):
                rows, found = snapshot.nearest(query, count, last_day=np.datetime64("2024-01-07"))
                np.testing.assert_allclose(found, distance[order[:count]], rtol=1e-12)
                found_days, found_tickers = snapshot.index().keys(rows)
                np.testing.assert_array_equal(found_days, entries.days[past][order[:count]])
                np.testing.assert_array_equal(found_tickers, entries.tickers[past][order[:count]])
        assert len(snapshot.nearest(query, 3, last_day=np.datetime64("2023-01-01"))[0]) == 0

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_nearest_to_each_are_the_nearest_to_one(self, tmp_path: Path, dtype: str) -> None:
        """One pass for many vectors, each up to a day of its own, finds what a search for each of them finds."""
        spec = make_spec(dtype=dtype, dim=2)
        entries = make_entries(spec, [f"2024-01-{day:02}" for day in range(2, 12)], ["A", "B", "C", "D", "E"])
        coarse = round_vectors(np.round(entries.embedding).astype(np.float32), dtype)  # many are equally far
        snapshot = self.filled(tmp_path, replace(entries, embedding=coarse), spec).snapshot()
        queries = np.array([[0, 0], [0.5, -1.25], [1, 0], [1, 0]], dtype=np.float32)
        last_days = np.array(["2024-01-07", "2024-01-11", "2024-01-02", "2023-01-01"], dtype="datetime64[D]")
        for count in (1, 4, 17, 1000):
            found = snapshot.nearest_to_each(queries, count, last_days=last_days, checked=True)
            for (rows, distance), query, day in zip(found, queries, last_days, strict=True):
                expected_rows, expected = snapshot.nearest(query, count, last_day=day)
                np.testing.assert_array_equal(rows, expected_rows)
                np.testing.assert_array_equal(distance, expected)
        assert snapshot.nearest_to_each(queries[:0], 3, last_days=last_days[:0]) == []

    def test_without_forecasts(self, tmp_path: Path) -> None:
        """A store without horizons keeps vectors only."""
        spec = make_spec(horizons=())
        snapshot = self.filled(tmp_path, make_entries(spec, ["2024-01-02"], ["A", "B"]), spec).snapshot()
        assert snapshot.forecasts(np.array([1, 0]))[0].shape == (2, 0)
        assert len(everything(snapshot)) == 2

    def test_odd_tickers(self, tmp_path: Path) -> None:
        """Tickers that look like paths, have quotes, spaces or other letters are stored and found, and nothing
        appears outside the store."""
        spec = make_spec()
        entries = make_entries(spec, ["2024-01-02"], ODD_TICKERS)
        folder = tmp_path / "inside"
        folder.mkdir()
        snapshot = self.filled(folder, entries, spec).snapshot()
        assert snapshot.index().tickers.tolist() == sorted(ODD_TICKERS)
        rows = snapshot.index().locate(entries.days, entries.tickers)
        np.testing.assert_array_equal(snapshot.vectors(rows), entries.embedding)
        assert snapshot.verify().passed
        assert [path.name for path in tmp_path.iterdir()] == ["inside"]

    def test_extreme_values(self, tmp_path: Path) -> None:
        """Zeros, equal rows, tiny and huge finite values come back bit for bit."""
        spec = make_spec()
        entries = make_entries(spec, ["2024-01-02"], list("ABCDE"))
        entries.embedding[:] = np.array([0.0, 1.0, 1e-42, 3.4e38, -3.4e38], dtype=np.float32)[:, None]
        entries.forecast[:] = 0
        snapshot = self.filled(tmp_path, entries, spec).snapshot()
        rows = snapshot.index().locate(entries.days, entries.tickers)
        assert snapshot.vectors(rows).tobytes() == entries.embedding.tobytes()
        assert snapshot.forecasts(rows)[0].tobytes() == entries.forecast.tobytes()

    def test_refuses_rows_it_does_not_have(self, tmp_path: Path) -> None:
        """A row outside the version is an error, −1 among them."""
        spec = make_spec()
        snapshot = self.filled(tmp_path, make_entries(spec, ["2024-01-02"], ["A", "B"]), spec).snapshot()
        for row in (-1, 2):
            with pytest.raises(InputError, match="rows"):
                snapshot.vectors(np.array([row]))
            with pytest.raises(InputError, match="rows"):
                snapshot.forecasts(np.array([0, row]))
            with pytest.raises(InputError, match="rows"):
                snapshot.index().keys(np.array([0, row]))
        with pytest.raises(InputError, match="batch_rows"):
            next(iter(snapshot.scan(0)))


class StoreContract(StoreReadContract):
    """Tests for a store that can be written. Implement `create` and `reopen`."""

    def create(self, folder: Path, spec: StoreSpec) -> EmbeddingStore:
        """A new, empty store."""
        raise NotImplementedError

    def reopen(self, store: EmbeddingStore, version: int | str | None = None) -> EmbeddingStore:
        """The same store, opened anew."""
        raise NotImplementedError

    def filled(self, folder: Path, entries: Entries, spec: StoreSpec) -> EmbeddingStore:
        """A store with these entries, written in two commits."""
        store = self.create(folder, spec)
        half = len(entries) // 2
        store.write(entries.take(slice(half)))
        store.write(entries.take(slice(half, None)))
        return self.reopen(store)

    def test_empty(self, tmp_path: Path) -> None:
        """An empty store has no rows, no days and no tickers, and says so everywhere."""
        store = self.create(tmp_path, make_spec())
        index = store.snapshot().index()
        assert (index.entries, index.row.shape, len(index.days), len(index.tickers)) == (0, (0, 0), 0, 0)
        assert list(store.snapshot().scan(10)) == []
        assert store.snapshot().vectors(np.empty(0, dtype=np.int64)).shape == (0, 8)
        assert store.snapshot().forecasts(np.empty(0, dtype=np.int64))[0].shape == (0, 2)
        assert store.snapshot().index().locate(to_days(["2024-01-02"]), np.array(["A"])).tolist() == [-1]
        assert store.snapshot().verify().passed

    def test_replaces_by_key(self, tmp_path: Path) -> None:
        """Writing a key again replaces its row and leaves all others as they were."""
        spec = make_spec("int8")
        store = self.create(tmp_path, spec)
        first = make_entries(spec, ["2024-01-02", "2024-01-03"], ["A", "B"])
        store.write(first)
        before = everything(store)
        again = make_entries(spec, ["2024-01-03", "2024-01-04"], ["B"], seed=5, digest=7)
        store.write(again)
        after = everything(store)
        assert set(after) == {*before, ("2024-01-04", "B")}
        assert {key for key in before if before[key] != after[key]} == {("2024-01-03", "B")}
        assert store.snapshot().index().entries == 5
        assert after == everything(self.reopen(store))
        assert store.snapshot().verify().passed

    def test_replaces_all(self, tmp_path: Path) -> None:
        """Every row of a store can be replaced in one commit."""
        spec = make_spec()
        store = self.create(tmp_path, spec)
        store.write(make_entries(spec, ["2024-01-02"], ["A", "B"]))
        again = make_entries(spec, ["2024-01-02"], ["A", "B"], seed=3)
        store.write(again)
        rows = store.snapshot().index().locate(again.days, again.tickers)
        np.testing.assert_array_equal(store.snapshot().vectors(rows), again.embedding)
        assert store.snapshot().index().entries == 2

    def test_skips_valid(self, tmp_path: Path) -> None:
        """With skip_valid an entry is left out if its known digest is the stored one, and nothing else is."""
        spec = make_spec()
        store = self.create(tmp_path, spec)
        store.write(make_entries(spec, ["2024-01-02"], ["A", "B"], digest=1))
        before, version = everything(store), store.version
        assert store.write(make_entries(spec, ["2024-01-02"], ["A", "B"], seed=1, digest=1), skip_valid=True) == version
        assert everything(store) == before
        store.write(make_entries(spec, ["2024-01-02"], ["B", "C"], seed=1, digest=2), skip_valid=True)
        after = everything(store)
        assert after[("2024-01-02", "A")] == before[("2024-01-02", "A")]
        assert after[("2024-01-02", "B")][0] == 2
        store.write(make_entries(spec, ["2024-01-03"], ["A"], digest=0), skip_valid=True)
        store.write(make_entries(spec, ["2024-01-03"], ["A"], seed=9, digest=0), skip_valid=True)
        unknown = make_entries(spec, ["2024-01-03"], ["A"], seed=9, digest=0)
        assert everything(store)[("2024-01-03", "A")][1] == unknown.embedding[0].tobytes()

    def test_removes_rows(self, tmp_path: Path) -> None:
        """Rows are taken away in one commit, all others stay as they were; what was taken away can be written anew."""
        spec = make_spec("int8")
        store = self.create(tmp_path, spec)
        first = make_entries(spec, ["2024-01-02", "2024-01-03"], ["A", "B"])
        store.write(first)
        store.write(make_entries(spec, ["2024-01-04"], ["A"]))
        before, version = everything(store), store.version
        gone = first.take(np.array([0, 3]))
        assert store.remove(select(store, gone)) == store.version > version
        left = {key: value for key, value in before.items() if key not in {("2024-01-02", "A"), ("2024-01-03", "B")}}
        assert everything(store) == everything(self.reopen(store)) == left
        assert everything(self.reopen(store, version)) == before
        assert store.snapshot().verify().passed
        store.write(gone)
        assert everything(store) == before
        assert store.remove(VersionRows(version=store.version, rows=np.empty(0, dtype=np.int64))) == store.version
        store.remove(VersionRows(version=store.version, rows=np.arange(5)))
        assert everything(self.reopen(store)) == {}
        with pytest.raises(InputError, match="rows"):
            store.remove(VersionRows(version=store.version, rows=np.array([0])))

    def test_removes_only_rows_of_the_newest_version(self, tmp_path: Path) -> None:
        """Rows are removed only from the version that they were found in: after a commit nothing is removed."""
        spec = make_spec()
        store = self.create(tmp_path, spec)
        entries = make_entries(spec, ["2024-01-02"], ["A", "B"])
        store.write(entries)
        found, old = select(store, entries), self.reopen(store, store.version)
        with pytest.raises(InputError, match="opened as of version"):
            old.remove(found)
        self.reopen(store).write(make_entries(spec, ["2024-01-01"], ["A"]))
        with pytest.raises(ConflictError, match="changed since version"):
            store.remove(found)
        assert self.reopen(store).snapshot().index().entries == 3

    def test_a_snapshot_never_changes(self, tmp_path: Path) -> None:
        """Whatever is committed after a snapshot was taken, it reads the same rows under the same numbers, also in
        iterators that were started before."""
        spec = make_spec()
        store = self.create(tmp_path, spec)
        first = make_entries(spec, ["2024-01-02", "2024-01-04"], ["B", "C"])
        store.write(first)
        snapshot = store.snapshot()
        index, before = snapshot.index(), everything(snapshot)
        rows = index.locate(first.days, first.tickers)
        scanning, by_day = snapshot.scan(1), snapshot.by_day(1)
        begun = [next(scanning), next(by_day)]
        writer = self.reopen(store)
        writer.write(make_entries(spec, ["2024-01-01", "2024-01-02", "2024-01-03"], ["A", "B"], seed=1, digest=2))
        writer.remove(select(writer, first.take(np.array([3]))))
        writer.compact(keep_versions=20)
        writer.write(make_entries(spec, ["2024-01-04"], ["A", "B", "C"], seed=2, digest=3))
        store.refresh()
        assert store.version == writer.version > snapshot.version
        assert store.snapshot() is not snapshot
        assert everything(snapshot) == before != everything(store)
        assert snapshot.index() is index or everything(snapshot) == before
        np.testing.assert_array_equal(snapshot.vectors(rows), first.embedding)
        np.testing.assert_array_equal(snapshot.forecasts(rows)[0], first.forecast)
        for part, rest in ((begun[0], scanning), (begun[1], by_day)):
            seen = {(str(one.days[0]), str(one.tickers[0])): one.embedding[0].tobytes() for one in (part, *rest)}
            assert seen == {key: values[1] for key, values in before.items()}

    def test_an_extended_index_is_the_index(self, tmp_path: Path) -> None:
        """The index that a writer extends commit by commit equals the one that a new reader builds."""
        spec = make_spec()
        writer = self.create(tmp_path, spec)
        commits = [(["2024-01-03"], "BD"), (["2024-01-05"], "BD"), (["2024-01-04"], "ACE"), (["2024-01-01"], "F")]
        for seed, (days, tickers) in enumerate([*commits, (["2024-01-04"], "CB"), (["2024-01-06"], "A")]):
            writer.write(make_entries(spec, days, list(tickers), seed=seed, digest=seed + 1))
            ours, new = writer.snapshot().index(), self.reopen(writer).snapshot().index()
            for name in ("days", "tickers", "row", "digest", "day", "ticker"):
                np.testing.assert_array_equal(getattr(ours, name), getattr(new, name))
            assert (ours.entries, ours.duplicates) == (new.entries, 0)

    def test_threads_read_while_a_writer_commits(self, tmp_path: Path) -> None:
        """Threads that read through one instance, while a second one writes and the first refreshes, get vectors of the
        key that they asked for, of one of the versions that were committed."""
        spec = make_spec(dim=1, horizons=())
        store = self.create(tmp_path, spec)
        days = [f"2024-01-{day:02}" for day in range(1, 13)]
        store.write(_numbered(spec, days, "ABCD", 0))
        writer, wrong, reads = self.reopen(store), list[str](), 0
        stop = threading.Event()

        def read(seed: int) -> int:
            rng, count = np.random.default_rng(seed), 0
            while not stop.is_set():
                snapshot = store.snapshot()
                day, ticker = rng.integers(12), rng.integers(4)
                rows = snapshot.index().locate(to_days([days[day]]), np.array(["ABCD"[ticker]]))
                value = int(snapshot.vectors(rows)[0, 0])
                if value % 100 != day * 4 + ticker:
                    wrong.append(f"({days[day]}, {'ABCD'[ticker]}) gave {value}")
                count += 1
            return count

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read, seed) for seed in range(2)]
            try:
                for version in range(1, 9):
                    changed = days[version % 3 :: 3] if version % 4 else days
                    writer.write(_numbered(spec, changed, "ABCD", version))
                    store.refresh()
                    if version % 4 == 0:
                        writer.compact()
            finally:
                stop.set()
            reads = sum(reader.result() for reader in readers)
        assert reads > 0
        assert wrong == []

    def test_an_instance_sees_one_version(self, tmp_path: Path) -> None:
        """A reader sees the version it opened until it refreshes, whatever is written meanwhile."""
        spec = make_spec()
        writer = self.create(tmp_path, spec)
        writer.write(make_entries(spec, ["2024-01-02"], ["A", "B"]))
        reader = self.reopen(writer, writer.version)
        before = everything(reader)
        writer.write(make_entries(spec, ["2024-01-02", "2024-01-03"], ["A", "B"], seed=1, digest=2))
        assert everything(reader) == before
        reader.refresh()
        assert everything(reader) == before
        assert everything(self.reopen(writer)) == everything(writer) != before
        with pytest.raises(InputError, match="opened as of version"):
            reader.write(make_entries(spec, ["2024-01-02"], ["A"]))

    def test_versions_and_tags(self, tmp_path: Path) -> None:
        """Commits are listed with their entries; a tag opens its version, and is not moved."""
        spec = make_spec()
        store = self.create(tmp_path, spec)
        first = store.write(make_entries(spec, ["2024-01-02"], ["A"]))
        store.tag("run-1")
        second = store.write(make_entries(spec, ["2024-01-03"], ["A"]))
        listed = {version.number: version for version in store.versions()}
        assert (listed[first].entries, listed[second].entries) == (1, 2)
        assert listed[first].tags == ("run-1",)
        assert self.reopen(store, "run-1").version == first
        store.tag("run-1", first)
        with pytest.raises(InputError, match="run-1"):
            store.tag("run-1", second)
        with pytest.raises(InputError, match="cannot name"):
            store.tag("a b")
        for unknown in ("no-such", 99):
            with pytest.raises(MissingFileError):
                self.reopen(store, unknown)

    def test_compact_keeps_everything(self, tmp_path: Path) -> None:
        """Compacting changes no entry, keeps tagged versions, and bounds the history; it never tells more than all."""
        spec = make_spec("float16")
        store = self.create(tmp_path, spec)
        for seed in range(6):
            store.write(make_entries(spec, [f"2024-01-{seed + 1:02}", "2024-02-01"], ["A", "B", "C"], seed=seed))
            if seed == 1:
                store.tag("early")
        before, early = everything(store), everything(self.reopen(store, "early"))
        told: list[tuple[int, int]] = []
        report = store.compact(keep_versions=2, progress=lambda done, total: told.append((done, total)))
        assert report.versions_removed > 0
        assert all(0 < done <= total == report.rows_rewritten for done, total in told)
        assert told or not report.rows_rewritten
        assert everything(store) == before == everything(self.reopen(store))
        assert everything(self.reopen(store, "early")) == early
        assert len(store.versions()) <= 3
        assert store.snapshot().verify().passed
        store.write(make_entries(spec, ["2024-02-01"], ["A"], seed=77, digest=9))
        assert len(everything(store)) == len(before)
        with pytest.raises(InputError, match="keep_versions"):
            store.compact(keep_versions=1)

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("embedding", np.zeros((2, 9), np.float32), "embedding has shape"),
            ("forecast", np.zeros((2, 1), np.float32), "forecast has shape"),
            ("digest", np.zeros(3, np.uint64), "digest has shape"),
            ("embedding", np.full((2, 8), np.nan, np.float32), "NaN"),
            ("forecast", np.full((2, 2), np.inf, np.float32), "forecast is NaN or infinite"),
            ("tickers", np.array(["B", "A"]), "out of order"),
            ("tickers", np.array(["A", "A"]), "twice"),
            ("tickers", np.array(["", "A"]), "ticker is empty"),
            ("days", np.array(["NaT", "2024-01-02"], "datetime64[D]"), "NaT"),
        ],
    )
    def test_refuses_bad_entries(self, tmp_path: Path, field: str, value: np.ndarray, message: str) -> None:
        """Entries of another shape, order or with values that are not finite are refused, and nothing is committed."""
        spec = make_spec()
        store = self.create(tmp_path, spec)
        good = make_entries(spec, ["2024-01-02"], ["A", "B"])
        bad = Entries(**{**{name: getattr(good, name) for name in vars(good)}, field: value})
        with pytest.raises(InputError, match=message):
            store.write(bad)
        assert store.snapshot().index().entries == 0

    @pytest.mark.parametrize("dtype", ["float16", "int8"])
    def test_refuses_vectors_that_are_not_rounded(self, tmp_path: Path, dtype: str) -> None:
        """A vector that the store would change is refused: a hit must be what was encoded."""
        spec = make_spec(dtype)
        store = self.create(tmp_path, spec)
        entries = make_entries(make_spec(), ["2024-01-02"], ["A"])
        with pytest.raises(EncashError, match="not rounded"):
            store.write(entries)


def select(store: EmbeddingStore, entries: Entries) -> VersionRows:
    """Return the rows of these entries in the version that a store sees."""
    rows = store.snapshot().index().locate(entries.days, entries.tickers)
    return VersionRows(version=store.version, rows=rows)


def _numbered(spec: StoreSpec, days: list[str], tickers: str, version: int) -> Entries:
    """Return entries whose vector holds the version and the number of their key."""
    entries = make_entries(spec, days, list(tickers), digest=version + 1)
    day = entries.days.astype(np.int64) - to_days(["2024-01-01"]).astype(np.int64)
    ticker = np.array([tickers.index(name) for name in entries.tickers])
    return replace(entries, embedding=(100 * version + day * 4 + ticker).astype(np.float32)[:, None])
