from dataclasses import replace

import h5py
import numpy as np
import pytest

from encash.cache import Lookup, adopt, export_hdf5, import_hdf5, merge_caches, open_cache
from encash.errors import EncashError, FormatError, InputError, MismatchError


@pytest.fixture
def exported(cache, tmp_path):
    path = tmp_path / "out.h5"
    assert export_hdf5(cache, path) == cache.index().entries
    return path


@pytest.fixture
def foreign(exported, tmp_path):
    """The same vectors as the seed's own tool writes them, without provenance."""
    path = tmp_path / "foreign.h5"
    with h5py.File(exported) as ours, h5py.File(path, "w") as theirs:
        for ticker in ours:
            for day in ours[ticker]:
                theirs.create_dataset(f"{ticker}/{day}", data=ours[ticker][day][:], compression="gzip")
    return path


def equal(ours, theirs):
    """Return whether two caches have the same entries, bit for bit."""
    a, b = (list(cache.store.snapshot().by_day(10_000)) for cache in (ours, theirs))
    names = ("days", "tickers", "digest", "embedding", "forecast", "confidence")
    return len(a) == len(b) and all(
        np.array_equal(getattr(x, name), getattr(y, name)) for x, y in zip(a, b, strict=True) for name in names
    )


def test_an_export_is_imported_unchanged_with_its_provenance(cache, exported, panel, encoder, tmp_path):
    back = open_cache(tmp_path / "back.lance")
    import_hdf5(exported, back.path)
    back = open_cache(back.path)
    assert equal(cache, back)
    assert back.build(panel, encoder).computed == 0
    assert back.info().verified


def test_an_export_is_read_like_any_cache(cache, exported, panel):
    """A lookup reads vectors and forecasts directly from the .h5 file, checks staleness, and loads no model."""
    lookup = Lookup(cache=open_cache(exported), panel=panel)
    names = np.asarray(panel.tickers)
    days = np.full(len(names), np.datetime64("2020-05-04"))
    (signals,) = lookup.read(days, names, embeddings=True)
    vectors, found = cache.get("2020-05-04", panel.tickers)
    assert signals.embedding is not None
    assert np.array_equal(signals.embedding, vectors, equal_nan=True)
    assert np.array_equal(signals.found, found)
    assert (lookup.stats.stale, lookup.stats.unchecked) == (0, 0)


def test_a_file_without_provenance_needs_trust(foreign, tmp_path):
    """Reading or importing a file that does not record which model made it is refused, and no cache is created."""
    with pytest.raises(MismatchError, match="--trust"):
        Lookup(cache=open_cache(foreign))
    with pytest.raises(MismatchError, match="--trust"):
        import_hdf5(foreign, tmp_path / "t.lance")
    assert not (tmp_path / "t.lance").exists()


def test_a_trusted_import_is_marked_and_can_be_verified(foreign, cache, panel, encoder, tmp_path):
    """A trusted import is unverified until its entries equal the model's output; then it is like any other cache."""
    path = tmp_path / "t.lance"
    import_hdf5(foreign, path, trust=True)
    trusted = open_cache(path)
    assert not trusted.info().verified
    with pytest.raises(MismatchError, match="does not record which model"):
        trusted.build(panel, encoder)
    lookup = Lookup(cache=trusted, panel=panel)
    assert lookup.get("2020-05-04", ["T0001"])[1].all()
    assert (lookup.stats.verified, lookup.stats.stale) == (False, None)
    report = trusted.verify(panel, encoder)
    assert report.verified
    assert (report.differing, report.max_abs_diff) == (0, 0.0)
    adopt(trusted.store, panel, encoder, report)
    adopted = open_cache(path)
    assert adopted.info().verified
    assert np.array_equal(np.sort(adopted.index().digest), np.sort(cache.index().digest))
    assert adopted.build(panel, encoder).computed == 0
    assert adopted.spec.horizons == ()


def test_a_trusted_import_is_verified_by_all_entries(foreign, panel, encoder, tmp_path):
    """A sample that agrees does not verify the cache; the report says how many entries were not compared."""
    path = tmp_path / "t.lance"
    import_hdf5(foreign, path, trust=True)
    trusted = open_cache(path)
    report = trusted.verify(panel, encoder, sample=100)
    assert (report.passed, report.verified, report.sampled, report.not_compared) == (True, False, 100, 516)
    assert "516 of 616 entries were not compared" in report.notes[0]
    assert "--sample all" in report.notes[0]
    with pytest.raises(MismatchError, match="not shown"):
        adopt(trusted.store, panel, encoder, report)
    (entries,) = trusted.store.snapshot().by_day(9_999)
    wrong = entries.take(np.array([300]))
    trusted.store.write(replace(wrong, embedding=wrong.embedding + 1))
    assert not trusted.verify(panel, encoder).verified, "one entry is not from this model"


def test_a_trusted_import_with_more_days_than_the_data_stays_unverified(foreign, panel, encoder, tmp_path):
    """Entries for which the data have no window cannot be verified, and neither can the cache."""
    path = tmp_path / "t.lance"
    import_hdf5(foreign, path, trust=True)
    shorter = panel.as_of("2020-05-04")
    report = open_cache(path).verify(shorter, encoder)
    assert not report.verified
    assert report.not_compared is not None
    assert report.not_compared > 0
    assert "no window for them" in report.notes[0]


def test_a_foreign_file_can_be_verified_but_not_adopted(foreign, panel, encoder):
    """A file that is verified in place names the next step; nothing can be written into it."""
    file = open_cache(foreign)
    report = file.verify(panel, encoder)
    assert report.verified
    assert "--trust" in report.notes[0]
    with pytest.raises(InputError, match="cannot be written"):
        adopt(file.store, panel, encoder, report)


def test_a_trusted_import_of_a_different_model_stays_unverified(foreign, panel, make_encoder, tmp_path):
    """With the same dimension but different weights the sample differs, and nothing is recorded."""
    path = tmp_path / "t.lance"
    import_hdf5(foreign, path, trust=True)
    trusted, other = open_cache(path), make_encoder(seed=9)
    report = trusted.verify(panel, other)
    assert not report.passed
    assert report.differing == report.sampled > 0
    with pytest.raises(MismatchError, match="not shown"):
        adopt(trusted.store, panel, other, report)
    assert not open_cache(path).info().verified


def test_an_import_may_narrow_but_not_widen(exported, cache, panel, make_encoder, tmp_path):
    """Importing float32 as float16 gives the cache of a float16 build; importing float16 as float32 is refused."""
    narrow = tmp_path / "n.lance"
    import_hdf5(exported, narrow, dtype="float16")
    assert open_cache(narrow).build(panel, make_encoder()).computed == 0
    agreement = open_cache(narrow).info().agreement
    assert agreement is not None
    assert agreement["vectors"] == 256
    export_hdf5(open_cache(narrow), tmp_path / "n.h5")
    with pytest.raises(MismatchError, match="more precise"):
        import_hdf5(tmp_path / "n.h5", tmp_path / "w.lance", dtype="float32")


def test_a_narrower_import_must_agree_enough(exported, tmp_path):
    """A narrower dtype is measured on the vectors of the file; if it is refused, no cache is left behind."""
    with pytest.raises(MismatchError, match="int8 keeps"):
        import_hdf5(exported, tmp_path / "n.lance", dtype="int8", least_agreement=1.0)
    with pytest.raises(InputError, match="fraction"):
        import_hdf5(exported, tmp_path / "n.lance", least_agreement=2.0)
    assert not (tmp_path / "n.lance").exists()


def test_trust_does_not_drop_provenance(exported, cache, tmp_path):
    """Trust applies to files without provenance; an export imported with trust stays verified."""
    import_hdf5(exported, tmp_path / "b.lance", trust=True)
    assert open_cache(tmp_path / "b.lance").verified
    assert open_cache(tmp_path / "b.lance").spec == cache.spec


@pytest.mark.parametrize("harm", ["nan", "width", "overwritten"])
def test_a_refused_import_leaves_no_cache_behind(exported, foreign, tmp_path, harm):
    """A refused import creates nothing, so that the path is free for the next attempt."""
    with h5py.File(exported if harm == "overwritten" else foreign, "r+") as file:
        day = min(day for ticker in file for day in file[ticker])
        ticker = min(ticker for ticker in file if day in file[ticker])
        if harm == "width":
            del file[ticker][day]
            file[ticker][day] = np.zeros(9, dtype=np.float32)
        else:
            file[ticker][day][...] = np.nan if harm == "nan" else 0.5
    with pytest.raises(EncashError):
        import_hdf5(exported if harm == "overwritten" else foreign, tmp_path / "b.lance", trust=True)
    assert not (tmp_path / "b.lance").exists()


def test_a_repeated_import_writes_nothing_twice(exported, cache, tmp_path):
    path = tmp_path / "b.lance"
    import_hdf5(exported, path)
    version = open_cache(path).version
    import_hdf5(exported, path)
    assert open_cache(path).version == version, "an entry was written twice"


def test_an_import_replaces_nothing(exported, panel, restate, encoder, tmp_path):
    """An old export does not undo a restatement: it is refused if the cache has entries of different windows."""
    path, restated = tmp_path / "kept.lance", restate({panel.tickers[0]: {40: 9.0}})
    kept = open_cache(path)
    kept.build(restated, encoder)
    with pytest.raises(MismatchError, match=r"entries of .*out.h5 differ .* nothing was written"):
        import_hdf5(exported, path)
    assert open_cache(path).plan(restated, encoder).to_compute == 0


def test_trusted_imports_are_joined_unless_they_differ(foreign, cache, tmp_path):
    """Two files of unknown origin are imported into one cache if their common entries are equal, bit for bit."""
    path, other = tmp_path / "c.lance", tmp_path / "other.h5"
    import_hdf5(foreign, path, trust=True)
    other.write_bytes(foreign.read_bytes())
    assert import_hdf5(other, path, trust=True) == cache.index().entries
    with h5py.File(other, "a") as file:
        ticker = next(iter(file))
        day = next(iter(file[ticker]))
        file[ticker][day][0] += 1.0
    before = open_cache(path).get(day, [ticker])[0]
    with pytest.raises(MismatchError, match="1 entries"):
        import_hdf5(other, path, trust=True)
    assert np.array_equal(open_cache(path).get(day, [ticker])[0], before)


def test_entries_of_unknown_and_known_models_are_not_mixed(foreign, exported, cache, tmp_path):
    """In both directions the import is refused, and the error names the side that does not record its model."""
    with pytest.raises(MismatchError, match=r"foreign.h5 does not record which model made it, and .* does"):
        import_hdf5(foreign, cache.path, trust=True)
    import_hdf5(foreign, tmp_path / "c.lance", trust=True)
    with pytest.raises(MismatchError, match=r"c.lance does not record which model made it, and .*out.h5 does"):
        import_hdf5(exported, tmp_path / "c.lance")


def test_a_changed_export_is_not_imported(exported, tmp_path):
    """An export has one checksum per row: a vector that was overwritten is refused by name, never given a new one."""
    with h5py.File(exported, "r+") as file:
        file["T0001/2020-05-04"][...] = 0.0
    with pytest.raises(
        FormatError,
        match=r"1 of \d+ entries read are damaged .*, the first \(2020-05-04, 'T0001'\).*export it again",
    ):
        import_hdf5(exported, tmp_path / "b.lance")


def test_partial_caches_are_merged_and_each_entry_kept_once(panel, cache, make_encoder, tmp_path):
    """Merging two caches that overlap gives every entry once, bit for bit as one build."""
    open_cache(tmp_path / "a.lance").build(panel, make_encoder(), num_stocks=5, skip=0)
    open_cache(tmp_path / "b.lance").build(panel, make_encoder(), skip=3)
    report = merge_caches([tmp_path / "a.lance", tmp_path / "b.lance"], tmp_path / "c.lance")
    assert (report.conflicts, report.replaced) == (0, 0)
    assert report.same > 0
    assert report.added == cache.index().entries
    assert equal(cache, open_cache(tmp_path / "c.lance"))


def test_caches_of_different_models_are_not_merged(panel, make_encoder, foreign, tmp_path):
    for seed in range(2):
        open_cache(tmp_path / f"{seed}.lance").build(panel, make_encoder(seed=seed), months=1)
    with pytest.raises(MismatchError, match="weights"):
        merge_caches([tmp_path / "0.lance", tmp_path / "1.lance"], tmp_path / "c.lance")
    assert not (tmp_path / "c.lance").exists()
    with pytest.raises(MismatchError, match="does not record which model"):
        merge_caches([foreign], tmp_path / "d.lance")
    with pytest.raises(InputError, match="one or more"):
        merge_caches([], tmp_path / "d.lance")


def test_conflicts_are_reported_and_nothing_is_written_unless_resolved(panel, restate, make_encoder, tmp_path):
    """Entries from two versions of the data are refused by default; on request, the last cache wins."""
    open_cache(tmp_path / "a.lance").build(panel, make_encoder())
    open_cache(tmp_path / "b.lance").build(restate({"T0001": {40: 9.0}}), make_encoder())
    both = [tmp_path / "a.lance", tmp_path / "b.lance"]
    with pytest.raises(MismatchError, match="8 entries differ"):
        merge_caches(both, tmp_path / "c.lance")
    assert not (tmp_path / "c.lance").exists()
    report = merge_caches(both, tmp_path / "d.lance", on_conflict="last")
    assert (report.conflicts, report.replaced) == (8, 8)
    assert equal(open_cache(tmp_path / "b.lance"), open_cache(tmp_path / "d.lance"))
