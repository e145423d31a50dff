import numpy as np
import pytest

from encash.cache import Lookup, Selection, cache_paths, open_cache
from encash.errors import InputError, MismatchError, MissingFileError, UnknownKeyError
from encash.store.base import Entries


@pytest.fixture
def expected(cache):
    """(day, ticker) → vector, forecast and confidence, read by a scan."""
    found = {}
    for entries in cache.scan(50):
        for at in range(len(entries)):
            key = str(entries.days[at]), str(entries.tickers[at])
            found[key] = entries.embedding[at], entries.forecast[at], entries.confidence[at]
    return found


def test_get_returns_the_vector_of_each_ticker_in_order(cache, expected, panel):
    """Tickers may come in any order; those without an entry, and unknown ones, are NaN and not found."""
    random = np.random.default_rng(0)
    for day in panel.sessions.tolist():
        names = random.permutation([*panel.tickers, "UNKNOWN"])[: random.integers(1, 10)].tolist()
        vectors, found = cache.get(str(day), names)
        forecast, confidence, also = cache.forecasts(day, names)
        assert found.tolist() == also.tolist() == [(str(day), name) in expected for name in names]
        for at, name in enumerate(names):
            for values, part in ((vectors, 0), (forecast, 1), (confidence, 2)):
                if found[at]:
                    assert np.array_equal(values[at], expected[str(day), name][part])
                else:
                    assert np.isnan(values[at]).all()


def test_a_day_can_be_given_in_three_types(cache):
    import datetime as dt

    days = ("2020-05-04", dt.date(2020, 5, 4), np.datetime64("2020-05-04"))
    first, *others = [cache.get(day, np.asarray(["T0001"]))[0] for day in days]
    assert all(np.array_equal(first, other) for other in others)
    with pytest.raises(InputError, match="is not a day"):
        cache.get("tomorrow", ["T0001"])


def test_days_are_cross_sections_in_order(cache, expected):
    seen: dict[tuple[str, str], np.ndarray] = {}
    for day, tickers, vectors in cache.days("2020-04-01", "2020-04-30"):
        seen |= {(str(day), str(name)): vector for name, vector in zip(tickers, vectors, strict=True)}
    wanted = {key: value[0] for key, value in expected.items() if "2020-04-01" <= key[0] <= "2020-04-30"}
    assert list(seen) == sorted(wanted)
    assert all(np.array_equal(seen[key], wanted[key]) for key in wanted)


def test_leaving_days_early_leaves_no_thread(cache):
    import threading

    before = threading.active_count()
    for _ in cache.days():
        break
    assert threading.active_count() <= before + 1
    assert cache.get("2020-05-04", ["T0001"])[1].all()


def test_a_history_has_the_entries_of_one_ticker_by_day(cache, expected):
    days, vectors = cache.history("LATE")
    wanted = sorted(key for key in expected if key[1] == "LATE")
    assert [str(day) for day in days] == [key[0] for key in wanted]
    assert all(np.array_equal(vector, expected[key][0]) for vector, key in zip(vectors, wanted, strict=True))
    with pytest.raises(UnknownKeyError, match="'UNKNOWN'"):
        cache.history("UNKNOWN")


def test_info_summarizes_the_contents(cache, encoder, expected):
    info = cache.info()
    assert (info.engine, info.entries, info.dim, info.dtype) == ("lance", len(expected), 6, "float32")
    assert (info.first, info.last) == (min(expected)[0], max(expected)[0])
    assert info.encoder == encoder.spec.fingerprint
    assert info.tickers == len({key[1] for key in expected})
    assert info.sessions == len({key[0] for key in expected})
    assert info.bytes_per_entry == pytest.approx(info.bytes / info.entries)
    assert info.verified


def test_coverage_counts_each_cell_once(cache, panel, restate, windows):
    """Coverage counts each cell by state and by ticker, and shows a restatement as stale."""
    coverage = cache.coverage(restate({"T0001": {40: 9.0}}))
    assert coverage.counts() == {
        "valid": len(windows) - 8,
        "stale": 8,
        "missing": 0,
        "unavailable": coverage.state.size - len(windows),
    }
    assert coverage.by_ticker()["T0001"]["stale"] == 8
    assert {sum(counts.values()) for counts in coverage.by_ticker().values()} == {len(panel.sessions)}
    assert len(cache.coverage(panel, months=1, tickers=("LATE",)).days) < len(panel.sessions)


def test_a_reader_sees_one_version_until_it_refreshes(cache, panel, path, restate, encoder):
    """A build in a different instance does not change what a reader sees until it refreshes."""
    reader = open_cache(path)
    before = reader.get("2020-05-04", ["T0001"])[0]
    row = int(np.searchsorted(panel.days("T0001"), np.datetime64("2020-05-04")))
    cache.build(restate({"T0001": {row: 9.0}}), encoder)
    assert np.array_equal(reader.get("2020-05-04", ["T0001"])[0], before)
    reader.refresh()
    assert np.array_equal(reader.get("2020-05-04", ["T0001"])[0], cache.get("2020-05-04", ["T0001"])[0])
    assert not np.array_equal(reader.get("2020-05-04", ["T0001"])[0], before)


def test_a_tagged_version_can_be_read_again(cache, panel, path, restate, encoder):
    before = cache.get("2020-05-04", ["T0001"])[0]
    cache.tag("run-1")
    row = int(np.searchsorted(panel.days("T0001"), np.datetime64("2020-05-04")))
    cache.build(restate({"T0001": {row: 9.0}}), encoder)
    cache.compact(keep_versions=2)
    old = open_cache(path, version="run-1")
    assert np.array_equal(old.get("2020-05-04", ["T0001"])[0], before)
    assert any("run-1" in version.tags for version in cache.versions())


def test_reading_before_the_first_build_is_an_error(tmp_path):
    cache = open_cache(tmp_path / "none.lance")
    assert not cache.exists
    for read in (cache.info, cache.index, lambda: cache.spec, lambda: cache.get("2020-01-01", ["A"])):
        with pytest.raises(MissingFileError, match="build it first"):
            read()
    with pytest.raises(MissingFileError):
        open_cache(tmp_path / "none.lance", version=3)


def test_a_folder_may_have_caches_of_several_encoders(tmp_path, panel, make_encoder):
    """The encoder, or the first digits of its fingerprint, selects its cache in a folder."""
    encoders = [make_encoder(seed=seed) for seed in range(2)]
    for number, encoder in enumerate(encoders):
        open_cache(tmp_path / f"{number}.lance").build(panel, encoder, months=1)
    (tmp_path / "features.h5").write_bytes(b"no cache")
    assert len(cache_paths(tmp_path)) == 3
    for number, encoder in enumerate(encoders):
        assert open_cache(tmp_path, encoder=encoder).path.endswith(f"{number}.lance")
        assert open_cache(tmp_path, encoder=encoder.spec.fingerprint[:10]).path.endswith(f"{number}.lance")
    with pytest.raises(MissingFileError, match=r"no cache of the encoder .*features\.h5"):
        open_cache(tmp_path, encoder=make_encoder(seed=9))
    with pytest.raises(MismatchError, match="weights"):
        open_cache(tmp_path / "0.lance", encoder=encoders[1])
    with pytest.raises(MissingFileError, match="no folder"):
        cache_paths(tmp_path / "nowhere")


def test_a_model_file_is_recognized_by_its_bytes(tmp_path, panel, make_encoder):
    """The checkpoint that the cache was built from is recognized without loading it; other files are not."""
    from encash.fingerprint import file_digest

    model, other = tmp_path / "model.pt", tmp_path / "other.pt"
    model.write_bytes(b"weights")
    other.write_bytes(b"weightz")
    encoder = make_encoder()
    encoder.source_digest = file_digest(model)
    cache = open_cache(tmp_path / "c.lance")
    cache.build(panel, encoder, months=1)
    reopened = open_cache(cache.path)
    assert reopened.recognizes(model)
    assert not reopened.recognizes(other)
    assert not reopened.recognizes(tmp_path / "gone.pt")


def test_a_narrow_dtype_is_refused_below_the_required_agreement(tmp_path, panel, make_encoder):
    """The measured agreement is stored with the cache; a type that changes too much leaves no cache."""
    cache = open_cache(tmp_path / "half.lance")
    cache.build(panel, make_encoder(), dtype="float16")
    notes = open_cache(cache.path).spec.notes
    assert notes is not None
    agreement = notes["agreement"]
    assert agreement["dtype"] == "float16"
    assert agreement["clusters"] >= 0.99
    with pytest.raises(MismatchError, match="int8 keeps"):
        open_cache(tmp_path / "byte.lance").build(panel, make_encoder(), dtype="int8", least_agreement=1.0)
    assert not (tmp_path / "byte.lance").exists()


def test_a_selection_is_not_given_twice(cache, panel, encoder):
    with pytest.raises(InputError, match="give one of them"):
        cache.plan(panel, encoder, Selection(months=1), months=2)


def test_tickers_that_look_like_paths_stay_inside_the_cache(tmp_path, panel, make_encoder):
    """Tickers such as ``../x`` and ``ÆTHER`` are stored and found, and nothing is written outside the cache."""
    from encash.panel.load import ArraySource
    from encash.panel.panel import Panel

    names = ("../x", "/etc/passwd", "7203.T", "BRK.B", "^GSPC", "ÆTHER")
    rows = panel.rows(("T0001",))
    odd = Panel(ArraySource({name: (rows.days, rows.values) for name in names}))
    cache = open_cache(tmp_path / "o.lance")
    cache.build(odd, make_encoder())
    assert cache.get("2020-05-04", names)[1].all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["o.lance"]
    assert isinstance(next(cache.scan(1)), Entries)


def test_invalid_arguments_are_refused(cache):
    """A text in place of a list of tickers, None as a day, and a range that ends before its start are refused."""
    day, ticker = cache.index().days[-1], str(cache.index().tickers[0])
    with pytest.raises(InputError, match="expected a list"):
        cache.get(day, ticker)
    with pytest.raises(InputError, match="expected a list"):
        Lookup(cache=cache).get(day, ticker)
    for no_day in (None, np.datetime64("NaT", "D")):
        with pytest.raises(InputError, match="is not a day"):
            cache.get(no_day, [ticker])
    with pytest.raises(InputError, match="is after end"):
        list(cache.days(day, day - np.timedelta64(5, "D")))
    with pytest.raises(InputError, match="is after end"):
        cache.count(day, day - np.timedelta64(5, "D"))


def test_the_hint_for_a_missing_cache_depends_on_its_format(tmp_path):
    """The error for a missing .lance cache suggests a build, the one for a missing .h5 file an export."""
    with pytest.raises(MissingFileError, match="encash build"):
        open_cache(tmp_path / "no.lance").info()
    with pytest.raises(MissingFileError, match="encash cache export"):
        open_cache(tmp_path / "no.h5").info()
