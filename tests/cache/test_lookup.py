from dataclasses import replace

import numpy as np
import pytest

from encash.cache import Lookup, open_cache
from encash.cache import lookup as lookup_module
from encash.cache import window_digests as digests_module
from encash.encoders.base import EncoderSpec
from encash.errors import InputError, MismatchError, WorkError
from encash.panel import ArraySource, Panel
from encash.testing import BrokenEncoder


def every_cell(panel, *names):
    """Return all sessions × tickers as two parallel arrays, with a ticker that the panel does not have."""
    names = names or (*panel.tickers, "UNKNOWN")
    days = np.repeat(panel.sessions, len(names))
    return days, np.tile(np.asarray(names), len(panel.sessions))


def read(lookup, days, tickers, **how):
    """Read all chunks and join them: embedding, forecast, confidence, found."""
    parts = list(lookup.read(days, tickers, **{"embeddings": True, **how}))
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == len(days)
    names = ("embedding", "forecast", "confidence", "found")
    return tuple(np.concatenate([getattr(part, name) for part in parts]) for name in names)


def raises():
    raise AssertionError("the model must not be loaded")


@pytest.fixture
def reference(panel, make_encoder):
    """The model's output for every cell without a cache, and the statistics of the lookup."""
    lookup = Lookup(panel=panel, encoder=make_encoder)
    return read(lookup, *every_cell(panel)), lookup.stats


def same(ours, theirs):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(ours, theirs, strict=True))


def test_a_full_cache_needs_no_model(panel, cache, reference, windows):
    """Every value read from the cache equals the model's output, bit for bit, and the model is not loaded."""
    lookup = Lookup(cache=cache, panel=panel, encoder=raises)
    days, tickers = every_cell(panel)
    assert same(read(lookup, days, tickers), reference[0])
    stats = lookup.stats
    assert (stats.hits, stats.misses, stats.stale, stats.computed) == (len(windows), 0, 0, 0)
    assert stats.unavailable == len(days) - len(windows)
    assert not stats.model_loaded


def test_cells_are_found_exactly_if_they_have_a_window(panel, reference, windows):
    """Cells without a window because of a late listing, an early end, a gap or NaN are unavailable, and counted."""
    (_, _, _, found), stats = reference
    days, tickers = every_cell(panel)
    assert {(str(day), str(name)) for day, name in zip(days[found], tickers[found], strict=True)} == set(windows)
    assert (stats.misses, stats.computed, stats.stale) == (len(windows), len(windows), 0)
    assert (stats.unavailable, stats.unserved) == (len(days) - len(windows), 0)


def test_cells_without_a_window_are_nan(reference):
    (embedding, forecast, confidence, found), _ = reference
    for values in (embedding, forecast, confidence):
        assert np.isnan(values[~found]).all()
        assert np.isfinite(values[found]).all()


def test_a_day_without_cached_rows_is_encoded_and_counted(panel, path, encoder, make_encoder, reference, windows):
    """Each cell is looked up separately, so that a day without cached rows is encoded too (the seed skipped it)."""
    cache = open_cache(path)
    part = cache.build(panel, encoder, end="2020-04-15", skip=0, num_stocks=5).computed
    lookup = Lookup(cache=cache, panel=panel, encoder=make_encoder)
    assert same(read(lookup, *every_cell(panel)), reference[0])
    stats = lookup.stats
    assert (stats.hits, stats.misses, stats.computed) == (part, len(windows) - part, len(windows) - part)
    assert stats.model_loaded
    assert cache.index().entries == part, "an entry was written without write_back"


def test_without_a_model_misses_are_not_found_and_counted(panel, path, encoder, windows):
    cache = open_cache(path)
    part = cache.build(panel, encoder, end="2020-04-15").computed
    lookup = Lookup(cache=cache, panel=panel)
    found = read(lookup, *every_cell(panel))[-1]
    assert (lookup.stats.hits, lookup.stats.misses, lookup.stats.unserved) == (
        part,
        len(windows) - part,
        len(windows) - part,
    )
    assert found.sum() == part


def test_without_a_panel_staleness_is_unknown(panel, cache, windows):
    lookup = Lookup(cache=cache)
    read(lookup, *every_cell(panel))
    assert (lookup.stats.hits, lookup.stats.stale, lookup.stats.unavailable) == (len(windows), None, 0)


def test_a_stale_entry_is_never_used(panel, cache, restate, make_encoder):
    """Entries of restated windows are encoded again with a model, not found without one, and counted in both cases."""
    changed = restate({"T0001": {40: 9.0}})
    days, tickers = every_cell(panel)
    truth = read(Lookup(panel=changed, encoder=make_encoder), days, tickers)
    lookup = Lookup(cache=cache, panel=changed, encoder=make_encoder)
    assert same(read(lookup, days, tickers), truth)
    assert (lookup.stats.stale, lookup.stats.misses, lookup.stats.computed) == (8, 0, 8)
    without_model = Lookup(cache=cache, panel=changed)
    found = read(without_model, days, tickers)[-1]
    assert (without_model.stats.stale, without_model.stats.unserved) == (8, 8)
    assert truth[-1].sum() - found.sum() == 8


def test_an_entry_without_a_window_in_the_panel_is_not_used(panel, cache, restate):
    lookup = Lookup(cache=cache, panel=restate({"T0001": {40: np.nan}}), encoder=raises)
    day = panel.days("T0001")[40:41]
    found = read(lookup, day, np.array(["T0001"]))[-1]
    assert (found.tolist(), lookup.stats.unavailable) == ([False], 1)


def test_cells_may_come_in_any_order_and_twice(panel, cache, path, make_encoder, reference):
    """The result of cell i is at position i; a repeated miss is encoded once."""
    days, tickers = every_cell(panel)
    order = np.random.default_rng(0).integers(0, len(days), 3 * len(days))
    lookup = Lookup(panel=panel, encoder=make_encoder)
    shuffled = read(lookup, days[order], tickers[order])
    assert same(shuffled, tuple(values[order] for values in reference[0]))
    assert lookup.stats.computed <= reference[1].computed


def test_the_size_of_chunks_changes_nothing(panel, cache, make_encoder, reference, monkeypatch):
    """Reading in chunks of 7 cells gives the same values."""
    monkeypatch.setattr(lookup_module, "MOST_CELLS", 7)
    lookup = Lookup(cache=cache, panel=panel, encoder=make_encoder)
    assert same(read(lookup, *every_cell(panel)), reference[0])


def test_write_back_makes_the_next_read_a_hit(panel, path, encoder, make_encoder, reference, monkeypatch, windows):
    """Encoded entries are written back, even while later chunks are still read from the same cache."""
    monkeypatch.setattr(lookup_module, "MOST_CELLS", 100)
    cache = open_cache(path)
    cache.build(panel, encoder, tickers=("T0000", "T0002"))
    lookup = Lookup(cache=cache, panel=panel, encoder=make_encoder, write_back=True)
    assert same(read(lookup, *every_cell(panel)), reference[0])
    assert cache.index().entries == len(windows)
    again = Lookup(cache=open_cache(path), panel=panel, encoder=raises)
    assert same(read(again, *every_cell(panel)), reference[0])


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_miss_is_rounded_like_a_hit(panel, path, make_encoder, dtype, windows):
    """If half of the cells are misses of a narrow cache, every vector is as if it came from the cache."""
    cache = open_cache(path)
    cache.build(panel, make_encoder(), dtype=dtype, least_agreement=0.5, end="2020-04-15")
    mixed = read(Lookup(cache=cache, panel=panel, encoder=make_encoder), *every_cell(panel))
    cache.build(panel, make_encoder())
    assert same(mixed, read(Lookup(cache=cache, panel=panel, encoder=raises), *every_cell(panel)))
    live = Lookup(panel=panel, encoder=make_encoder, dtype=dtype)
    assert same(mixed, read(live, *every_cell(panel)))


def test_embeddings_and_forecasts_can_be_read_separately(panel, cache, reference):
    days, tickers = every_cell(panel)
    (part,) = Lookup(cache=cache, panel=panel).read(days, tickers, embeddings=False)
    assert part.embedding is None
    assert np.array_equal(part.forecast, reference[0][1], equal_nan=True)
    (part,) = Lookup(cache=cache, panel=panel).read(days, tickers, embeddings=True, forecasts=False)
    assert part.forecast.shape == (len(days), 0)
    assert part.embedding is not None
    assert np.array_equal(part.embedding, reference[0][0], equal_nan=True)


def test_a_cache_of_a_different_model_is_refused_once_the_model_is_known(panel, path, encoder, make_encoder):
    """A model with the same dimension but different weights is an error, never mixed with the cache."""
    cache = open_cache(path)
    cache.build(panel, encoder, end="2020-04-15")
    other = make_encoder(seed=5)
    with pytest.raises(MismatchError, match="weights"):
        Lookup(cache=cache, panel=panel, encoder=lambda: other, spec=other.spec)
    with pytest.raises(MismatchError, match="weights"):
        read(Lookup(cache=cache, panel=panel, encoder=lambda: other), *every_cell(panel))


def test_forecasts_of_a_different_rule_are_not_used(panel, cache, make_encoder, windows):
    """With a different forecast rule, embeddings are read from the cache, and forecasts come from the model."""
    other = make_encoder()
    other.spec = EncoderSpec.from_description({**other.spec.describe(), "forecast_rule": "different"})
    lookup = Lookup(cache=cache, panel=panel, encoder=lambda: other, spec=other.spec)
    read(lookup, *every_cell(panel))
    assert (lookup.stats.hits, lookup.stats.computed) == (len(windows), len(windows))


def test_forecasts_of_two_rules_are_never_mixed(panel, path, encoder, make_encoder):
    """If cached forecasts were returned before the model was loaded, a model with a different rule is an error."""
    cache = open_cache(path)
    cache.build(panel, encoder, end="2020-04-15")
    other = make_encoder()
    other.spec = EncoderSpec.from_description({**other.spec.describe(), "forecast_rule": "different"})
    lookup = Lookup(cache=cache, panel=panel, encoder=lambda: other)
    days, tickers = every_cell(panel, "T0001")
    old = days <= np.datetime64("2020-04-15")
    read(lookup, days[old], tickers[old])
    with pytest.raises(MismatchError, match="forecast_rule"):
        read(lookup, days[~old], tickers[~old])


def test_a_cache_without_forecasts_takes_them_from_the_model(panel, path, make_encoder, windows):
    """Without a model, forecasts are an error, and embeddings can still be read."""
    silent = make_encoder(horizons=())
    cache = open_cache(path)
    cache.build(panel, silent)
    with pytest.raises(MismatchError, match="neither the cache nor a model"):
        read(Lookup(cache=cache, panel=panel), *every_cell(panel))
    lookup = Lookup(cache=cache, panel=panel)
    assert lookup.horizons == ()
    found = read(lookup, *every_cell(panel), forecasts=False)[-1]
    assert found.sum() == len(windows)


def test_a_hit_without_a_forecast_is_not_found(panel, tmp_path, make_encoder, restate):
    """If forecasts come from the model, a cached vector whose cell has no window in the panel is not found."""
    silent = open_cache(tmp_path / "s.lance")
    silent.build(panel, make_encoder(horizons=()))
    object.__setattr__(silent.store.spec, "notes", {"unverified": "for this test"})
    changed = restate({"T0001": {40: np.nan}})
    lookup = Lookup(cache=silent, panel=changed, encoder=make_encoder)
    lookup._digests = None
    days = panel.days("T0001")[38:42]
    _, forecast, _, found = read(lookup, days, np.repeat("T0001", 4))
    assert found.tolist() == [True, True, False, False]
    assert np.isfinite(forecast[:2]).all()
    assert (lookup.stats.hits, lookup.stats.unavailable, lookup.stats.computed) == (2, 2, 2)


def test_nothing_to_read_from_is_refused(panel, cache, make_encoder, tmp_path):
    with pytest.raises(InputError, match="neither a cache nor a model"):
        Lookup(panel=panel)
    with pytest.raises(InputError, match="give the panel"):
        Lookup(cache=cache, encoder=make_encoder)
    with pytest.raises(FileNotFoundError, match="no cache at"):
        Lookup(cache=open_cache(tmp_path / "none.lance"))


def test_a_model_that_fails_names_tickers_and_days(panel):
    broken = BrokenEncoder(panel.num_features, "nan", lookback=8)
    with pytest.raises(WorkError, match=r"T0001 … T0001, 2020-05-04 to 2020-05-04.*NaN"):
        Lookup(panel=panel, encoder=lambda: broken).get("2020-05-04", ["T0001"])


def test_get_gives_one_day(panel, cache, make_encoder):
    """`get` of a lookup returns the same as `get` of the cache."""
    names = ["T0002", "UNKNOWN", "T0000"]
    live = cache.with_fallback(panel, make_encoder())
    vectors, found = live.get("2020-05-04", names)
    expected, _ = cache.get("2020-05-04", names)
    assert np.array_equal(vectors, expected, equal_nan=True)
    assert found.tolist() == [True, False, True]
    assert cache.with_fallback(panel, make_encoder).get("2020-05-04", [])[0].shape == (0, 6)


def test_progress_ends_at_the_total(panel, make_encoder):
    calls = []
    days, tickers = every_cell(panel)
    read(Lookup(panel=panel, encoder=make_encoder), days, tickers, progress=lambda *done: calls.append(done))
    assert calls[-1] == (len(days), len(days))
    assert calls == sorted(calls)


def test_window_digests_are_computed_once_per_day(panel, cache, monkeypatch):
    """A second read of the same days compares entries with digests that are already known."""
    lookup = Lookup(cache=cache, panel=panel)
    read(lookup, *every_cell(panel))
    monkeypatch.setattr(digests_module, "window_digests", None)
    read(lookup, *every_cell(panel))
    monkeypatch.undo()
    assert isinstance(lookup.get("2020-05-04", ["T0001"])[1][0], np.bool_)


def test_reading_day_by_day_gives_the_same_as_one_read(panel, cache, restate, monkeypatch):
    """Days may be read forward, backward or in random order, with different tickers each day. Forward, the digests of
    each ticker are computed once per quarter, not once per day."""
    changed = restate({"T0001": {40: 7.0}})
    days, tickers = every_cell(changed)
    hits = Lookup(cache=cache, panel=changed).valid(days, tickers).tolist()
    whole = dict(zip(zip(days.tolist(), tickers.tolist(), strict=True), hits, strict=True))
    random = np.random.default_rng(0)
    made = []
    real = digests_module.window_digests

    def record(*args):
        made.append(args[1])
        return real(*args)

    monkeypatch.setattr(digests_module, "window_digests", record)
    for order in (changed.sessions, changed.sessions[::-1], random.permutation(changed.sessions)):
        walker = Lookup(cache=cache, panel=changed)
        made.clear()
        for day in order:
            some = random.permutation([*changed.tickers, "UNKNOWN"])[:4]
            assert walker.valid(np.full(4, day), some).tolist() == [whole[day.item(), name] for name in some.tolist()]
        if order is changed.sessions:
            quarters = -(-int((order[-1] - order[0]).astype(int)) // 91)
            assert sum(map(len, made)) <= quarters * len(changed.tickers)


def test_a_full_cache_refuses_a_panel_with_different_features(panel, cache, make_encoder):
    """A panel with a different number of features, or different names, is refused before anything is read, as by
    a build."""
    rows = {name: (part.days, part.values) for name in panel.tickers for part in [panel.rows((name,))]}
    narrow = Panel(ArraySource({name: (days, values[:, 1:].copy()) for name, (days, values) in rows.items()}))
    with pytest.raises(MismatchError, match=f"{panel.num_features - 1} features"):
        Lookup(cache=cache, panel=narrow)
    spec = replace(make_encoder().spec, feature_names=tuple(f"f{number}" for number in range(panel.num_features)))
    renamed = Panel(ArraySource(rows, tuple(f"g{number}" for number in range(panel.num_features))))
    with pytest.raises(MismatchError, match="'g0' in the data and 'f0'"):
        Lookup(panel=renamed, encoder=raises, spec=spec)


def test_hits_without_a_forecast_are_counted_separately(panel, path, make_encoder, windows):
    """With a cache without forecasts, every cell is a hit and is also encoded; the statistics show both."""
    silent = open_cache(path)
    silent.build(panel, make_encoder(horizons=()))
    object.__setattr__(silent.store.spec, "notes", {"unverified": "for this test"})
    lookup = Lookup(cache=silent, panel=panel, encoder=make_encoder)
    read(lookup, *every_cell(panel))
    stats = lookup.stats
    assert (stats.hits, stats.computed, stats.forecasts_computed) == (len(windows),) * 3
