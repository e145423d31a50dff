from pathlib import Path

import pytest

from encash.cache import open_cache
from encash.errors import EncashError, FormatError, MismatchError


def test_a_sound_cache_passes(cache, panel, encoder):
    """Every row is read, every digest compared, and a sample encoded again is bit for bit the same."""
    report = cache.verify(panel, encoder, sample=50)
    assert report.passed
    assert not report.found
    assert (report.checked, report.stale, report.sampled) == (cache.index().entries, 0, 50)
    assert report.max_abs_diff == 0


def test_without_data_the_rows_alone_are_checked(cache):
    report = cache.verify()
    assert report.passed
    assert (report.stale, report.max_abs_diff, report.sampled) == (None, None, 0)


def test_stale_entries_are_found(cache, restate):
    assert cache.verify(restate({"T0001": {40: 9.0}})).stale == 8
    assert cache.verify(restate({"T0001": {40: float("nan")}})).stale == 8


def test_another_model_is_found(cache, panel, make_encoder):
    """Field by field, and in the numbers."""
    report = cache.verify(panel, make_encoder(seed=3))
    assert report.found
    assert report.differing > 0
    assert "weights" in report.findings[0]
    assert cache.verify(panel, make_encoder(dim=7)).found


def test_a_model_alone_is_refused(cache, encoder):
    with pytest.raises(MismatchError, match="give --data"):
        cache.verify(None, encoder)


def test_any_flipped_byte_of_the_data_is_found_or_refused(cache, path, panel):
    """One byte changed in a data file: opening says so, or verify finds it; it is never served as sound."""
    file = min(Path(path).glob("data/*.lance"))
    sound = file.read_bytes()
    missed = []
    for place in range(7, len(sound), len(sound) // 40):
        file.write_bytes(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :])
        try:
            if open_cache(path).verify().passed and not same_entries(cache, path):
                missed.append(place)
        except EncashError:
            continue
    file.write_bytes(sound)
    assert open_cache(path).verify().passed
    assert missed == []


def same_entries(cache, path):
    """A flip in padding harms nobody."""
    return all(
        (a.embedding == b.embedding).all() and (a.digest == b.digest).all() and (a.forecast == b.forecast).all()
        for a, b in zip(cache.store.by_day(9_999), open_cache(path).store.by_day(9_999), strict=True)
    )


def test_a_file_cut_short_is_an_error_or_a_finding(cache, path):
    file = min(Path(path).glob("data/*.lance"))
    sound = file.read_bytes()
    file.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(FormatError, match=r"(?s)\.lance"):
        open_cache(path).get("2020-05-04", ["T0001"])
