"""Random selections and restatements, compared with a simple model of the cache."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.cache import Lookup, open_cache
from encash.panel.load import ArraySource
from encash.panel.panel import Panel
from encash.testing import MeanEncoder

DAYS = np.arange("2024-01-01", "2024-01-25", dtype="datetime64[D]")
NAMES = ("A", "B", "C", "D")
FEATURES, LOOKBACK = 2, 3

rows_kept = st.lists(st.booleans(), min_size=len(DAYS), max_size=len(DAYS))
edit = st.tuples(st.sampled_from(NAMES), st.integers(0, len(DAYS) - 1), st.sampled_from([1.5, -2.5, float("nan")]))
span = st.tuples(st.integers(0, len(DAYS) - 1), st.integers(0, len(DAYS) - 1)).map(sorted)
names = st.sets(st.sampled_from(NAMES), min_size=1)
step = st.one_of(
    st.tuples(st.just("edit"), st.lists(edit, min_size=1, max_size=3)),
    st.tuples(st.just("build"), span, names),
    st.tuples(st.just("read"), st.lists(st.tuples(st.integers(0, len(DAYS) - 1), st.sampled_from(NAMES)), max_size=12)),
)


class Data:
    """Feature rows by ticker, and their windows by a slow and simple algorithm."""

    def __init__(self, kept):
        random = np.random.default_rng(0)
        self.rows = {}
        for name, keep in zip(NAMES, kept, strict=True):
            values = random.standard_normal((len(DAYS), FEATURES)).astype(np.float32)
            self.rows[name] = (DAYS[keep], values[keep])
        sessions = (DAYS, np.zeros((len(DAYS), FEATURES), dtype=np.float32))
        self.rows["ZZ"] = sessions

    def panel(self):
        return Panel(ArraySource({name: (days, values.copy()) for name, (days, values) in self.rows.items()}))

    def edit(self, name, day, value):
        days, values = self.rows[name]
        values[days == DAYS[day], 0] = value

    def window(self, name, day):
        days, values = self.rows[name]
        at = int(np.searchsorted(days, DAYS[day]))
        if at >= len(days) or days[at] != DAYS[day] or at + 1 < LOOKBACK:
            return None
        window = values[at + 1 - LOOKBACK : at + 1]
        return window if np.isfinite(window).all() else None


@settings(max_examples=25)
@given(kept=st.tuples(*[rows_kept] * len(NAMES)), steps=st.lists(step, min_size=1, max_size=6))
def test_a_cache_behaves_like_a_simple_model(kept, steps):
    """After any restatements, builds and reads, counts are exact and values are those of the current windows."""
    data = Data(kept)
    held: dict[tuple[int, str], bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = open_cache(Path(folder, "c.lance"))
        for kind, *what in steps:
            if kind == "edit":
                for name, day, value in what[0]:
                    data.edit(name, day, value)
            elif kind == "build":
                check_build(cache, data, held, *what)
            elif cache.exists and what[0]:
                check_read(cache, data, held, what[0])


def make():
    return MeanEncoder(FEATURES, lookback=LOOKBACK, dim=3, batch_size=5)


def check_build(cache, data, held, span, chosen):
    """Build, and check that exactly the cells whose window has changed are computed."""
    first, last = span
    wanted = {}
    for name in chosen:
        for day in range(first, last + 1):
            if (window := data.window(name, day)) is not None:
                wanted[day, name] = window.tobytes()
    new = {key for key, window in wanted.items() if held.get(key) != window}
    encoder = make()
    choice = {"start": DAYS[first], "end": DAYS[last], "tickers": tuple(chosen)}
    plan = cache.plan(data.panel(), encoder, **choice)
    report = cache.build(data.panel(), encoder, **choice)
    cells = (last - first + 1) * len(chosen)
    assert (report.computed, encoder.windows_encoded, plan.to_compute) == (len(new), len(new), len(new))
    assert (report.reused, plan.valid) == (len(wanted) - len(new),) * 2
    assert report.unavailable == plan.unavailable == cells - len(wanted)
    held.update(wanted)
    assert cache.index().entries == len(held)


def check_read(cache, data, held, cells):
    """Read, and check that each cell is counted once and its value is the encoder's for its current window."""
    days, tickers = DAYS[[day for day, _ in cells]], np.array([name for _, name in cells])
    lookup = Lookup(cache=cache, panel=data.panel(), encoder=make)
    signals = next(lookup.read(days, tickers, embeddings=True))
    windows = [data.window(name, day) for day, name in cells]
    kinds = [kind_of(held.get(cell), window) for cell, window in zip(cells, windows, strict=True)]
    stats = lookup.stats
    counts = [stats.hits, stats.misses, stats.stale, stats.unavailable]
    assert counts == [kinds.count(kind) for kind in ("hit", "miss", "stale", "none")]
    assert stats.computed == len({cell for cell, kind in zip(cells, kinds, strict=True) if kind in ("miss", "stale")})
    assert signals.embedding is not None
    for at, window in enumerate(windows):
        assert signals.found[at] == (window is not None)
        if window is None:
            assert np.isnan(signals.embedding[at]).all()
        else:
            expected = make().encode(window[None])
            assert np.array_equal(signals.embedding[at], expected.embedding[0])
            assert np.array_equal(signals.forecast[at], expected.forecast[0])


def kind_of(held, window):
    if window is None:
        return "none"
    if held is None:
        return "miss"
    return "hit" if held == window.tobytes() else "stale"
