import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encash.cache import export_hdf5, open_cache
from encash.cache.identity import store_spec
from encash.errors import EncashError, FormatError, InputError, MismatchError
from encash.store import create_store


def test_a_sound_cache_passes(cache, panel, encoder):
    """Every row is read, every digest is compared, and a sample encoded again is equal, bit for bit."""
    report = cache.verify(panel, encoder, sample=50)
    assert report.passed
    assert (report.checked, report.stale, report.sampled) == (cache.index().entries, 0, 50)
    assert report.max_abs_diff == 0


def test_without_data_only_the_rows_are_checked(cache):
    report = cache.verify()
    assert report.passed
    assert (report.stale, report.max_abs_diff, report.sampled) == (None, None, 0)


def test_stale_entries_are_found(cache, restate):
    assert cache.verify(restate({"T0001": {40: 9.0}})).stale == 8
    report = cache.verify(restate({"T0001": {40: 9.0}}))
    assert "8 entries, the first (2020-03-25, 'T0001')," in report.findings[0]
    assert "encash update" in report.findings[0]


def test_withdrawn_entries_can_be_dropped(cache, restate, make_encoder):
    """Entries whose window now has a NaN are counted separately from stale ones, can be removed in one commit, and are
    not built again."""
    spoiled, version, entries = restate({"T0001": {40: float("nan")}}), cache.version, cache.index().entries
    report = cache.verify(spoiled)
    assert (report.stale, report.withdrawn, report.dropped, report.passed) == (0, 8, 0, False)
    assert "8 entries, the first (2020-03-25, 'T0001')," in report.findings[0]
    assert "--drop" in report.findings[0]
    report = cache.verify(spoiled, drop=True)
    assert (report.withdrawn, report.dropped, cache.version) == (8, 8, version + 1)
    assert cache.verify(spoiled).passed
    assert cache.index().entries == entries - 8
    assert cache.build(spoiled, make_encoder()).computed == 0


def test_corrupt_entries_can_be_dropped_and_built_again(cache, panel, encoder):
    """An entry with a flipped bit is found, dropped and built again; then the cache is as before."""
    vectors, _ = cache.get("2020-05-04", ["T0001"])
    for file in Path(cache.path).glob("data/*.lance"):
        if (at := (data := file.read_bytes()).find(vectors[0].tobytes())) >= 0:
            file.write_bytes(data[: at + 3] + bytes([data[at + 3] ^ 1]) + data[at + 4 :])
    harmed = open_cache(cache.path)
    assert harmed.build(panel, encoder).computed == 0
    report = harmed.verify(panel, drop=True)
    assert (report.corrupt, report.dropped, report.stale) == (1, 1, 0)
    assert harmed.build(panel, encoder).computed == 1
    assert harmed.verify(panel, encoder).passed
    assert np.array_equal(harmed.get("2020-05-04", ["T0001"])[0], vectors)


def test_the_entries_of_a_truncated_file_can_be_dropped_and_built_again(cache, panel, encoder):
    """A build on a truncated file suggests `--drop`; after that, the build succeeds."""
    file = min(Path(cache.path).glob("data/*.lance"))
    os.truncate(file, 50)
    with pytest.raises(FormatError, match="--drop"):
        open_cache(cache.path).build(panel, encoder)
    harmed = open_cache(cache.path)
    dropped = harmed.verify(panel, drop=True).dropped
    assert dropped > 0
    assert harmed.build(panel, encoder).computed == dropped
    assert harmed.verify(panel, encoder).passed


def test_nothing_is_dropped_from_an_interchange_file(cache, panel, tmp_path):
    export_hdf5(cache, tmp_path / "x.h5")
    with pytest.raises(InputError, match="import it"):
        open_cache(tmp_path / "x.h5").verify(panel, drop=True)


def test_an_empty_cache_passes(path, panel, encoder):
    """A cache without entries passes: there is nothing to compare."""
    create_store(path, store_spec(encoder.spec, "float32"))
    report = open_cache(path).verify(panel, encoder)
    assert (report.passed, report.checked, report.sampled) == (True, 0, 0)


def test_a_negative_sample_is_refused(cache, panel, encoder):
    with pytest.raises(InputError, match="1 or more"):
        cache.verify(panel, encoder, sample=-1)


def test_differing_entries_are_named(cache, panel, encoder):
    """The report names the number of entries that differ from the model's output, and the worst of them."""
    (entries,) = cache.store.snapshot().by_day(9_999)
    changed = entries.take(np.array([5, 6]))
    cache.store.write(replace(changed, embedding=changed.embedding + np.array([[0.5], [2.0]], dtype=np.float32)))
    report = cache.verify(panel, encoder, sample="all")
    worst = (
        f"2 of {len(entries)} entries encoded again differ, the worst ({changed.days[1]}, '{changed.tickers[1]}') by 2;"
    )
    assert worst in report.findings[0]
    assert report.max_abs_diff == pytest.approx(2)


def test_a_different_model_is_found(cache, panel, make_encoder):
    """A cache fails against a different model, and the report names the fields and counts the differing entries."""
    report = cache.verify(panel, make_encoder(seed=3))
    assert not report.passed
    assert report.differing > 0
    assert "weights" in report.findings[0]
    assert not cache.verify(panel, make_encoder(dim=7)).passed


def test_a_model_without_data_is_refused(cache, encoder):
    with pytest.raises(MismatchError, match="give --data"):
        cache.verify(None, encoder)


def test_any_flipped_byte_of_the_data_is_found_or_refused(cache, path, panel):
    """After one byte of a data file changes, opening fails or `verify` finds it; it is never read as sound."""
    file = min(Path(path).glob("data/*.lance"))
    sound = file.read_bytes()
    missed = []
    for at in range(7, len(sound), len(sound) // 40):
        file.write_bytes(sound[:at] + bytes([sound[at] ^ 0x10]) + sound[at + 1 :])
        try:
            if open_cache(path).verify().passed and not same_entries(cache, path):
                missed.append(at)
        except EncashError:
            continue
    file.write_bytes(sound)
    assert open_cache(path).verify().passed
    assert missed == []


def same_entries(cache, path):
    """Return whether all entries are equal: a flipped bit in padding does no harm."""
    return all(
        (a.embedding == b.embedding).all() and (a.digest == b.digest).all() and (a.forecast == b.forecast).all()
        for a, b in zip(
            cache.store.snapshot().by_day(9_999), open_cache(path).store.snapshot().by_day(9_999), strict=True
        )
    )


def test_reading_a_truncated_file_is_an_error(cache, path):
    file = min(Path(path).glob("data/*.lance"))
    sound = file.read_bytes()
    file.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(FormatError, match=r"(?s)\.lance"):
        open_cache(path).get("2020-05-04", ["T0001"])
