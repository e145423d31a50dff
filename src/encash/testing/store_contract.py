"""What every store does, as tests: subclass `StoreContract`, give it a store, let pytest collect it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encash.arrays import to_days
from encash.errors import EncashError, InputError, MissingFileError
from encash.store.base import EmbeddingStore, Entries, StoreSpec
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


def everything(store: EmbeddingStore, batch_rows: int = 1000) -> dict[tuple[str, str], tuple[Any, ...]]:
    """All entries by key; a doubled key shows its last row."""
    return {
        (str(part.days[i]), str(part.tickers[i])): (
            int(part.digest[i]),
            part.embedding[i].tobytes(),
            part.forecast[i].tobytes(),
            part.confidence[i].tobytes(),
        )
        for part in store.scan(batch_rows)
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
        """What is written is read back bit for bit, by row, in any order, by scan and by day."""
        spec = make_spec(dtype, dim)
        entries = make_entries(spec, ["2024-01-02", "2024-01-03"], ["A", "B", "C"])
        store = self.filled(tmp_path, entries, spec)
        rows = store.index().locate(entries.days, entries.tickers)
        assert sorted(rows) == list(range(6))
        mixed = np.array([5, 0, 3, 3, 1])
        np.testing.assert_array_equal(store.vectors(rows[mixed]), entries.embedding[mixed])
        forecast, confidence = store.forecasts(rows[mixed])
        np.testing.assert_array_equal(forecast, entries.forecast[mixed])
        np.testing.assert_array_equal(confidence, entries.confidence[mixed])
        np.testing.assert_array_equal(store.index().digest[rows], entries.digest)
        assert everything(store, 4) == everything(store, 1000)
        assert len(everything(store)) == 6
        assert store.spec == spec

    def test_what_it_gives_is_the_callers(self, tmp_path: Path) -> None:
        """Writing into vectors that were given out changes nothing in the store."""
        spec = make_spec()
        entries = make_entries(spec, ["2024-01-02"], ["A", "B", "C"])
        store = self.filled(tmp_path, entries, spec)
        rows = store.index().locate(entries.days, entries.tickers)
        store.vectors(rows)[:] = 0
        store.forecasts(rows)[0][:] = 0
        np.testing.assert_array_equal(store.vectors(rows), entries.embedding)
        np.testing.assert_array_equal(store.forecasts(rows)[0], entries.forecast)

    def test_scan_numbers_rows_as_the_index_does(self, tmp_path: Path) -> None:
        """The n-th row that scan yields is row n of the index, whatever the size of the batches."""
        spec = make_spec()
        both = make_entries(spec, ["2024-01-03", "2024-01-04", "2024-01-05"], ["A", "B", "C", "D"])
        store = self.filled(tmp_path, both.take(np.array([0, 2, 3, 5, 6, 7, 9, 10])), spec)
        for batch_rows in (1, 2, 3, 100):
            parts = list(store.scan(batch_rows))
            assert max(len(part) for part in parts) <= batch_rows
            days, tickers = (np.concatenate([getattr(p, name) for p in parts]) for name in ("days", "tickers"))
            np.testing.assert_array_equal(store.index().locate(days, tickers), np.arange(8))
            vectors = np.concatenate([part.embedding for part in parts])
            np.testing.assert_array_equal(vectors, store.vectors(np.arange(8)))

    def test_by_day_is_sorted_and_whole(self, tmp_path: Path) -> None:
        """By day all entries come once, sorted by day and ticker, in batches of the size asked at most."""
        spec = make_spec()
        entries = make_entries(spec, ["2024-01-03", "2024-01-04", "2024-01-05"], ["A", "B", "C", "D"])
        store = self.filled(tmp_path, entries, spec)
        for batch_rows in (1, 3, 5, 8, 100):
            parts = list(store.by_day(batch_rows))
            assert max(len(part) for part in parts) <= batch_rows
            for name in vars(entries):
                together = np.concatenate([getattr(part, name) for part in parts])
                np.testing.assert_array_equal(together, getattr(entries, name))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_what_is_copied_is_checked(self, tmp_path: Path, dtype: str) -> None:
        """Reading with the checksums gives what reading without them gives, in the order asked, all of it sound."""
        spec = make_spec(dtype)
        written = make_entries(spec, ["2024-01-02", "2024-01-03"], ["A", "B", "C"])
        store = self.filled(tmp_path, written, spec)
        mixed = np.array([5, 0, 3, 3])
        entries, sound = store.read_checked(store.index().locate(written.days, written.tickers)[mixed])
        for name in vars(written):
            np.testing.assert_array_equal(getattr(entries, name), getattr(written, name)[mixed])
        assert sound.tolist() == [True] * 4
        with pytest.raises(InputError, match="rows"):
            store.read_checked(np.array([6]))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_nearest_are_those_of_a_full_sort(self, tmp_path: Path, dtype: str) -> None:
        """The nearest entries up to a day, by distance, then day, then ticker, whatever the engine searches with."""
        spec = make_spec(dtype=dtype, dim=2)
        days = [f"2024-01-{day:02}" for day in range(2, 12)]
        entries = make_entries(spec, days, ["A", "B", "C", "D", "E"])
        coarse = round_vectors(np.round(entries.embedding).astype(np.float32), dtype)  # many are equally far
        entries = replace(entries, embedding=coarse)
        store = self.filled(tmp_path, entries, spec)
        past = entries.days <= np.datetime64("2024-01-07")
        for query in (np.zeros(2, dtype=np.float32), np.array([0.5, -1.25], dtype=np.float32)):
            distance = np.linalg.norm(entries.embedding.astype(np.float64) - query, axis=1)[past]
            order = np.lexsort((entries.tickers[past], entries.days[past], distance))
            for count in (1, 4, 17, 1000):
                rows, found = store.nearest(query, count, last_day=np.datetime64("2024-01-07"))
                np.testing.assert_allclose(found, distance[order[:count]], rtol=1e-12)
                found_days, found_tickers = store.index().keys(rows)
                np.testing.assert_array_equal(found_days, entries.days[past][order[:count]])
                np.testing.assert_array_equal(found_tickers, entries.tickers[past][order[:count]])
        assert len(store.nearest(query, 3, last_day=np.datetime64("2023-01-01"))[0]) == 0

    def test_without_forecasts(self, tmp_path: Path) -> None:
        """A store without horizons keeps vectors alone."""
        spec = make_spec(horizons=())
        store = self.filled(tmp_path, make_entries(spec, ["2024-01-02"], ["A", "B"]), spec)
        assert store.forecasts(np.array([1, 0]))[0].shape == (2, 0)
        assert len(everything(store)) == 2

    def test_odd_tickers(self, tmp_path: Path) -> None:
        """Tickers that look like paths, have quotes, spaces or other letters are stored and found, and nothing
        appears outside the store."""
        spec = make_spec()
        entries = make_entries(spec, ["2024-01-02"], ODD_TICKERS)
        folder = tmp_path / "inside"
        folder.mkdir()
        store = self.filled(folder, entries, spec)
        assert store.index().tickers.tolist() == sorted(ODD_TICKERS)
        rows = store.index().locate(entries.days, entries.tickers)
        np.testing.assert_array_equal(store.vectors(rows), entries.embedding)
        assert store.verify().passed
        assert [path.name for path in tmp_path.iterdir()] == ["inside"]

    def test_extreme_values(self, tmp_path: Path) -> None:
        """Zeros, equal rows, tiny and huge finite values come back bit for bit."""
        spec = make_spec()
        entries = make_entries(spec, ["2024-01-02"], list("ABCDE"))
        entries.embedding[:] = np.array([0.0, 1.0, 1e-42, 3.4e38, -3.4e38], dtype=np.float32)[:, None]
        entries.forecast[:] = 0
        store = self.filled(tmp_path, entries, spec)
        rows = store.index().locate(entries.days, entries.tickers)
        assert store.vectors(rows).tobytes() == entries.embedding.tobytes()
        assert store.forecasts(rows)[0].tobytes() == entries.forecast.tobytes()

    def test_refuses_rows_it_does_not_have(self, tmp_path: Path) -> None:
        """A row outside the version is an error, −1 among them."""
        spec = make_spec()
        store = self.filled(tmp_path, make_entries(spec, ["2024-01-02"], ["A", "B"]), spec)
        for row in (-1, 2):
            with pytest.raises(InputError, match="rows"):
                store.vectors(np.array([row]))
            with pytest.raises(InputError, match="rows"):
                store.forecasts(np.array([0, row]))
        with pytest.raises(InputError, match="batch_rows"):
            next(iter(store.scan(0)))


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
        index = store.index()
        assert (index.entries, index.row.shape, len(index.days), len(index.tickers)) == (0, (0, 0), 0, 0)
        assert list(store.scan(10)) == []
        assert store.vectors(np.empty(0, dtype=np.int64)).shape == (0, 8)
        assert store.forecasts(np.empty(0, dtype=np.int64))[0].shape == (0, 2)
        assert store.index().locate(to_days(["2024-01-02"]), np.array(["A"])).tolist() == [-1]
        assert store.verify().passed

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
        assert store.index().entries == 5
        assert after == everything(self.reopen(store))
        assert store.verify().passed

    def test_replaces_all(self, tmp_path: Path) -> None:
        """Every row of a store can be replaced in one commit."""
        spec = make_spec()
        store = self.create(tmp_path, spec)
        store.write(make_entries(spec, ["2024-01-02"], ["A", "B"]))
        again = make_entries(spec, ["2024-01-02"], ["A", "B"], seed=3)
        store.write(again)
        rows = store.index().locate(again.days, again.tickers)
        np.testing.assert_array_equal(store.vectors(rows), again.embedding)
        assert store.index().entries == 2

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
        assert store.remove(store.index().locate(gone.days, gone.tickers)) == store.version > version
        left = {key: value for key, value in before.items() if key not in {("2024-01-02", "A"), ("2024-01-03", "B")}}
        assert everything(store) == everything(self.reopen(store)) == left
        assert everything(self.reopen(store, version)) == before
        assert store.verify().passed
        store.write(gone)
        assert everything(store) == before
        assert store.remove(np.empty(0, dtype=np.int64)) == store.version
        store.remove(np.arange(5))
        assert everything(self.reopen(store)) == {}
        with pytest.raises(InputError, match="rows"):
            store.remove(np.array([0]))

    def test_removes_only_what_it_has_seen(self, tmp_path: Path) -> None:
        """Rows number one version: where another writer has committed meanwhile, nothing is removed."""
        spec = make_spec()
        store = self.create(tmp_path, spec)
        store.write(make_entries(spec, ["2024-01-02"], ["A", "B"]))
        old = self.reopen(store, store.version)
        with pytest.raises(InputError, match="opened as of version"):
            old.remove(np.array([0]))

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
        assert store.verify().passed
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
        assert store.index().entries == 0

    @pytest.mark.parametrize("dtype", ["float16", "int8"])
    def test_refuses_vectors_that_are_not_rounded(self, tmp_path: Path, dtype: str) -> None:
        """A vector that the store would change is refused: a hit must be what was encoded."""
        spec = make_spec(dtype)
        store = self.create(tmp_path, spec)
        entries = make_entries(make_spec(), ["2024-01-02"], ["A"])
        with pytest.raises(EncashError, match="not rounded"):
            store.write(entries)
