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
    """The same vectors as the seed's own tool would have written them: no provenance at all."""
    path = tmp_path / "foreign.h5"
    with h5py.File(exported) as ours, h5py.File(path, "w") as theirs:
        for ticker in ours:
            for day in ours[ticker]:
                theirs.create_dataset(f"{ticker}/{day}", data=ours[ticker][day][:], compression="gzip")
    return path


def equal(ours, theirs):
    """Every entry of two caches, bit for bit."""
    a, b = (list(cache.store.snapshot().by_day(10_000)) for cache in (ours, theirs))
    names = ("days", "tickers", "digest", "embedding", "forecast", "confidence")
    return len(a) == len(b) and all(
        np.array_equal(getattr(x, name), getattr(y, name)) for x, y in zip(a, b, strict=True) for name in names
    )


def test_an_export_comes_back_bit_for_bit_with_its_provenance(cache, exported, panel, encoder, tmp_path):
    back = open_cache(tmp_path / "back.lance")
    import_hdf5(exported, back.path)
    back = open_cache(back.path)
    assert equal(cache, back)
    assert back.build(panel, encoder).computed == 0
    assert back.info().verified


def test_an_export_is_read_through_like_any_cache(cache, exported, panel):
    """Directly from the .h5: hits with forecasts, staleness checked, no model."""
    lookup = Lookup(cache=open_cache(exported), panel=panel)
    names = np.asarray(panel.tickers)
    days = np.full(len(names), np.datetime64("2020-05-04"))
    (signals,) = lookup.read(days, names, embeddings=True)
    vectors, found = cache.get("2020-05-04", panel.tickers)
    assert np.array_equal(signals.embedding, vectors, equal_nan=True)
    assert np.array_equal(signals.found, found)
    assert (lookup.stats.stale, lookup.stats.unchecked) == (0, 0)


def test_a_file_without_provenance_needs_trust(foreign, tmp_path):
    """Read directly or imported: without a word of who made it, it is refused; nothing is made of it."""
    with pytest.raises(MismatchError, match="--trust"):
        Lookup(cache=open_cache(foreign))
    with pytest.raises(MismatchError, match="--trust"):
        import_hdf5(foreign, tmp_path / "t.lance")
    assert not (tmp_path / "t.lance").exists()


def test_a_trusted_import_is_marked_and_can_be_proven(foreign, cache, panel, encoder, tmp_path):
    """Unverified until a sample is what this model makes of these data; then it is like any other cache."""
    path = tmp_path / "t.lance"
    import_hdf5(foreign, path, trust=True)
    trusted = open_cache(path)
    assert not trusted.info().verified
    with pytest.raises(MismatchError, match="does not say which model"):
        trusted.build(panel, encoder)
    lookup = Lookup(cache=trusted, panel=panel)
    assert lookup.get("2020-05-04", ["T0001"])[1].all()
    assert (lookup.stats.verified, lookup.stats.stale) == (False, None)
    report = trusted.verify(panel, encoder)
    assert report.verified
    assert (report.differing, report.max_abs_diff) == (0, 0.0)
    adopt(trusted.store, panel, encoder, report)
    proven = open_cache(path)
    assert proven.info().verified
    assert np.array_equal(np.sort(proven.index().digest), np.sort(cache.index().digest))
    assert proven.build(panel, encoder).computed == 0
    assert proven.spec.horizons == ()


def test_a_trusted_import_is_proven_by_every_entry(foreign, panel, encoder, tmp_path):
    """A sample that agrees proves nothing of the entries that were not encoded again; it says how many these are."""
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
    assert not trusted.verify(panel, encoder).verified, "one entry among all is another model's"


def test_a_trusted_import_of_more_than_the_data_have_stays_unverified(foreign, panel, encoder, tmp_path):
    """Entries for which the data have no window cannot be proven, and are not taken on trust for the others' sake."""
    path = tmp_path / "t.lance"
    import_hdf5(foreign, path, trust=True)
    shorter = panel.as_of("2020-05-04")
    report = open_cache(path).verify(shorter, encoder)
    assert (report.verified, report.not_compared > 0) == (False, True)
    assert "no window for them" in report.notes[0]


def test_a_foreign_file_can_be_compared_but_not_be_told(foreign, panel, encoder):
    """Verified in place, it says what to do; nothing can be written into it."""
    file = open_cache(foreign)
    report = file.verify(panel, encoder)
    assert report.verified
    assert "--trust" in report.notes[0]
    with pytest.raises(InputError, match="cannot be written"):
        adopt(file.store, panel, encoder, report)


def test_a_trusted_import_of_another_model_stays_unverified(foreign, panel, make_encoder, tmp_path):
    """Same dimension, other weights: the sample differs, and nothing is written down."""
    path = tmp_path / "t.lance"
    import_hdf5(foreign, path, trust=True)
    trusted, other = open_cache(path), make_encoder(seed=9)
    report = trusted.verify(panel, other)
    assert not report.passed
    assert report.differing == report.sampled > 0
    with pytest.raises(MismatchError, match="not shown"):
        adopt(trusted.store, panel, other, report)
    assert not open_cache(path).info().verified


def test_an_import_may_narrow_but_not_pretend(exported, cache, panel, make_encoder, tmp_path):
    """float32 → float16 is the cache that a float16 build makes; float16 → float32 is refused."""
    narrow = tmp_path / "n.lance"
    import_hdf5(exported, narrow, dtype="float16")
    assert open_cache(narrow).build(panel, make_encoder()).computed == 0
    assert open_cache(narrow).info().agreement["vectors"] == 256
    export_hdf5(open_cache(narrow), tmp_path / "n.h5")
    with pytest.raises(MismatchError, match="pretend"):
        import_hdf5(tmp_path / "n.h5", tmp_path / "w.lance", dtype="float32")


def test_a_narrower_import_must_keep_enough(exported, tmp_path):
    """Measured on the file's own vectors as a build does; refused, it leaves no cache behind."""
    with pytest.raises(MismatchError, match="int8 keeps"):
        import_hdf5(exported, tmp_path / "n.lance", dtype="int8", least_agreement=1.0)
    with pytest.raises(InputError, match="fraction"):
        import_hdf5(exported, tmp_path / "n.lance", least_agreement=2.0)
    assert not (tmp_path / "n.lance").exists()


def test_provenance_is_kept_without_need_of_trust(exported, cache, tmp_path):
    """Trust is for files that say nothing of themselves; ours is not made unverified by it."""
    import_hdf5(exported, tmp_path / "b.lance", trust=True)
    assert open_cache(tmp_path / "b.lance").verified
    assert open_cache(tmp_path / "b.lance").spec == cache.spec


@pytest.mark.parametrize("harm", ["nan", "width", "overwritten"])
def test_a_refused_import_leaves_no_cache_behind(exported, foreign, tmp_path, harm):
    """The name stays free for the next try."""
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


def test_an_import_begun_again_goes_on(exported, cache, tmp_path):
    path = tmp_path / "b.lance"
    import_hdf5(exported, path)
    version = open_cache(path).version
    import_hdf5(exported, path)
    assert open_cache(path).version == version, "nothing was written twice"


def test_an_import_replaces_nothing(exported, panel, restate, encoder, tmp_path):
    """An old export does not undo a restatement: where the cache has entries of other windows it is refused."""
    path, restated = tmp_path / "kept.lance", restate({panel.tickers[0]: {40: 9.0}})
    kept = open_cache(path)
    kept.build(restated, encoder)
    with pytest.raises(MismatchError, match=r"entries of .*out.h5 differ .* nothing was written"):
        import_hdf5(exported, path)
    assert open_cache(path).plan(restated, encoder).to_compute == 0


def test_trusted_imports_are_joined_unless_they_differ(foreign, cache, tmp_path):
    """Two parts of unknown origin may share entries that are equal in every bit, and no others."""
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


def test_entries_of_unknown_origin_do_not_join_a_known_model(foreign, exported, cache, tmp_path):
    """Neither way: one line says which side does not say which model made it."""
    with pytest.raises(MismatchError, match=r"foreign.h5 does not say which model made it, and .* does"):
        import_hdf5(foreign, cache.path, trust=True)
    import_hdf5(foreign, tmp_path / "c.lance", trust=True)
    with pytest.raises(MismatchError, match=r"c.lance does not say which model made it, and .*out.h5 does"):
        import_hdf5(exported, tmp_path / "c.lance")


def test_an_export_that_another_tool_changed_is_not_imported(exported, tmp_path):
    """Our export carries a checksum a row: a vector that was written over is refused by name, not sealed anew."""
    with h5py.File(exported, "r+") as file:
        file["T0001/2020-05-04"][...] = 0.0
    with pytest.raises(
        FormatError, match=r"1 entries are not what was written, the first \(2020-05-04, 'T0001'\).*export it again"
    ):
        import_hdf5(exported, tmp_path / "b.lance")


def test_partial_caches_are_merged_and_each_entry_kept_once(panel, cache, make_encoder, tmp_path):
    """Two halves that overlap: everything once, bit for bit what one build would have made."""
    for name, choice in (("a", {"num_stocks": 5, "skip": 0}), ("b", {"skip": 3})):
        open_cache(tmp_path / f"{name}.lance").build(panel, make_encoder(), **choice)
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
    with pytest.raises(MismatchError, match="does not say which model"):
        merge_caches([foreign], tmp_path / "d.lance")
    with pytest.raises(InputError, match="one or more"):
        merge_caches([], tmp_path / "d.lance")


def test_conflicts_are_reported_and_nothing_is_written_unless_settled(panel, restate, make_encoder, tmp_path):
    """The same key from two versions of the data: refused by default, decided by name if asked."""
    open_cache(tmp_path / "a.lance").build(panel, make_encoder())
    open_cache(tmp_path / "b.lance").build(restate({"T0001": {40: 9.0}}), make_encoder())
    both = [tmp_path / "a.lance", tmp_path / "b.lance"]
    with pytest.raises(MismatchError, match="8 entries differ"):
        merge_caches(both, tmp_path / "c.lance")
    assert not (tmp_path / "c.lance").exists()
    report = merge_caches(both, tmp_path / "d.lance", on_conflict="last")
    assert (report.conflicts, report.replaced) == (8, 8)
    assert equal(open_cache(tmp_path / "b.lance"), open_cache(tmp_path / "d.lance"))
