import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import numpy as np
import pytest

from encash.cache import Cache, Selection, open_cache
from encash.cache.build import Work, build
from encash.cache.executors.local import LocalExecutor
from encash.cache.identity import store_spec
from encash.cache.plan import BlockSize, make_plan
from encash.encoders.base import Encoded
from encash.errors import MismatchError, WorkError
from encash.testing import BrokenEncoder, MeanEncoder, MemoryStore, RaiseIfRun

SMALL = BlockSize(entries=50, feature_bytes=4_000)


def run(panel, encoder, store, *, block=SMALL, progress=None, executor=None, rate=None):
    """Build into a store with small blocks."""
    plan = make_plan(panel, encoder.spec, store.snapshot(), Selection(), block=block)
    with LocalExecutor(encoder) as local:
        work = Work(
            panel=panel,
            spec=encoder.spec,
            store=store,
            plan=plan,
            executor=executor or local,
            block=block,
            rate=rate,
        )
        return build(work, progress)


@pytest.fixture
def store(encoder):
    return MemoryStore(store_spec(encoder.spec, "float32"))


def contents(cache_or_store):
    """Return (day, ticker) → the bytes of its embedding and forecasts."""
    found = {}
    store = cache_or_store.store if isinstance(cache_or_store, Cache) else cache_or_store
    for entries in store.snapshot().scan(64):
        for at in range(len(entries)):
            key = str(entries.days[at]), str(entries.tickers[at])
            assert key not in found, "duplicate key"
            found[key] = tuple(getattr(entries, name)[at].tobytes() for name in ("embedding", "forecast", "confidence"))
    return found


def test_a_build_encodes_every_window_and_a_second_one_nothing(panel, encoder, path, windows):
    """A build encodes each window once, and pads and skips nothing; a second build has nothing to do."""
    cache = open_cache(path)
    first = cache.build(panel, encoder)
    assert (first.computed, first.reused, first.failed) == (len(windows), 0, 0)
    assert encoder.windows_encoded == len(windows)
    assert set(contents(cache)) == set(windows)
    again = open_cache(path).build(panel, encoder, executor=RaiseIfRun())
    assert (again.computed, again.reused, again.unavailable) == (0, len(windows), first.unavailable)


def test_an_entry_is_the_output_for_its_own_window(panel, encoder, cache, windows, make_encoder):
    """Each stored vector equals the encoder's output for its window, bit for bit."""
    keys = list(windows)
    stacked = np.stack([np.frombuffer(windows[key], np.float32).reshape(8, -1) for key in keys])
    expected = make_encoder().encode(stacked)
    stored = contents(cache)
    for at, key in enumerate(keys):
        assert stored[key] == (
            expected.embedding[at].tobytes(),
            expected.forecast[at].tobytes(),
            expected.confidence[at].tobytes(),
        )


def test_small_blocks_and_tasks_give_the_same_entries(panel, encoder, cache, store):
    """The sizes of blocks and tasks do not change the entries."""
    report = run(panel, encoder, store)
    assert store.version > 4, "expected several commits"
    assert report.computed == len(contents(store))
    assert contents(store) == contents(cache)


def test_after_a_restatement_only_affected_windows_are_encoded(panel, encoder, cache, restate, make_encoder):
    """After two rows of one ticker and one of a second are restated, exactly 8 + 3 + 8 windows are encoded."""
    before = contents(cache)
    changed = restate({"T0001": {40: 9.0, 43: -9.0}, "LATE": {15: 1.0}})
    report = cache.build(changed, encoder)
    assert (report.computed, encoder.windows_encoded) == (19, 19)
    assert report.reused == len(before) - 19
    fresh = MemoryStore(store_spec(encoder.spec, "float32"))
    run(changed, make_encoder(), fresh)
    assert contents(cache) == contents(fresh)


def test_stages_add_up(panel, encoder, path, windows):
    """Builds by dates, tickers and counts, in any order, encode no window twice and leave none out."""
    cache = open_cache(path)
    stages: list[dict[str, Any]] = [
        {"end": "2020-03-31"},
        {"num_stocks": 3, "skip": 0},
        {"tickers": ("T0003",)},
        {"num_stocks": 2},
        {},
    ]
    computed = [cache.build(panel, encoder, **stage).computed for stage in stages]
    assert sum(computed) == encoder.windows_encoded == len(windows)
    assert min(computed[:2]) > 0
    assert set(contents(cache)) == set(windows)


def test_only_new_sessions_are_encoded(panel, encoder, path, windows):
    """A nightly build with one more session encodes only the windows of that session."""
    cache = open_cache(path)
    last = panel.sessions[-2]
    yesterday = cache.build(panel.as_of(last), encoder).computed
    assert cache.build(panel, encoder).computed == len(windows) - yesterday > 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seed": 1}, "weights"),
        ({"lookback": 9}, "lookback"),
        ({"dim": 7}, "dim"),
    ],
)
def test_a_different_encoder_is_refused_field_by_field(panel, cache, make_encoder, change, field):
    """An encoder that differs from the cache's is refused, even with the same dimension, and the field is named."""
    with pytest.raises(MismatchError, match=f"{field}: "):
        cache.build(panel, make_encoder(**change))


def test_a_different_dtype_is_refused(panel, cache, encoder):
    with pytest.raises(MismatchError, match="dtype: float32 here, float16 there"):
        cache.build(panel, encoder, dtype="float16")


def test_different_forecasts_are_refused(panel, cache, make_encoder):
    """A different forecast rule has the same embeddings, but its entries cannot be mixed with those of the cache."""
    other = make_encoder()
    object.__setattr__(other.spec, "forecast_rule", "something else")
    with pytest.raises(MismatchError, match="forecast_rule: "):
        cache.build(panel, other)


def test_a_failing_task_is_named_and_does_not_stop_the_others(panel, store, windows):
    """A task that fails is reported with ticker, days and cause; all other tasks are committed."""

    class Picky(MeanEncoder):
        def encode(self, batch: np.ndarray) -> Encoded:
            if (batch[:, -1] == poison).all(axis=1).any():
                raise WorkError("the model does not like this window")
            return super().encode(batch)

    poison = panel.rows(("T0002",)).values[30]
    encoder = Picky(panel.num_features, lookback=8, dim=6, batch_size=32)
    report = run(panel, encoder, store)
    (failure,) = report.failures
    assert failure.tickers == ("T0002",)
    assert failure.first <= str(panel.days("T0002")[30]) <= failure.last
    assert "the model does not like this window" in failure.cause
    assert "T0002" in str(failure)
    assert report.failed == failure.entries > 0
    assert report.computed == len(windows) - report.failed == len(contents(store))


def test_the_seconds_of_a_build_include_its_planning(panel, encoder, path, monkeypatch):
    """With a clock that only planning advances, a build that computes nothing takes exactly the time of its plan."""
    cache = open_cache(path)
    cache.build(panel, encoder)
    now, plan = [0.0], Cache.plan

    def slowly(*args, **how):
        now[0] += 7.0
        return plan(*args, **how)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Cache, "plan", slowly)
    report = cache.build(panel, encoder)
    assert (report.computed, report.seconds) == (0, 7.0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_only_the_window_whose_output_is_not_finite_fails(panel, windows, dtype):
    """The rest of its batch and block is kept, bit for bit; the failure names its ticker and day."""
    extreme = panel.rows(("T0002",)).values[30]

    class Overflowing(MeanEncoder):
        def encode(self, batch):
            encoded = super().encode(batch)
            encoded.forecast[(batch[:, -1] == extreme).all(axis=1)] = np.inf
            return encoded

    sound = MeanEncoder(panel.num_features, lookback=8)
    whole, part = (MemoryStore(store_spec(sound.spec, dtype)) for _ in range(2))
    run(panel, sound, whole)
    report = run(panel, Overflowing(panel.num_features, lookback=8), part)
    (failure,) = report.failures
    day = str(panel.days("T0002")[30])
    assert (failure.entries, failure.tickers, failure.first, failure.last) == (1, ("T0002",), day, day)
    assert "NaN or infinity" in str(failure)
    assert report.computed == len(windows) - 1
    kept, expected = contents(part), contents(whole)
    assert set(expected) - set(kept) == {(day, "T0002")}
    assert all(repr(kept[key]) == repr(expected[key]) for key in kept)


def test_outputs_that_are_not_finite_are_refused(panel, store):
    report = run(panel, BrokenEncoder(panel.num_features, "nan", lookback=8), MemoryStore(_spec_of(panel, "nan")))
    assert report.computed == 0
    assert report.failed > 0
    assert "NaN" in report.failures[0].cause


def test_outputs_of_a_wrong_shape_are_refused(panel):
    """A task fails if the output has a wrong shape, which numpy would broadcast silently."""
    report = run(panel, BrokenEncoder(panel.num_features, "narrow", lookback=8), MemoryStore(_spec_of(panel, "narrow")))
    assert (report.computed, report.failures[0].cause.split(":")[0]) == (0, "MismatchError")


def _spec_of(panel, fault):
    return store_spec(BrokenEncoder(panel.num_features, fault, lookback=8).spec, "float32")


def test_progress_ends_at_the_total(panel, encoder, store, windows):
    calls = []
    run(panel, encoder, store, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (len(windows), len(windows))
    assert calls == sorted(calls)


def test_a_failed_commit_ends_the_build_and_keeps_earlier_blocks(panel, encoder, windows):
    class FullDisk(MemoryStore):
        full = True

        def write(self, entries, *, skip_valid=False):
            if self.full and self.version == 4:
                raise WorkError("the disk is full")
            return super().write(entries, skip_valid=skip_valid)

    store = FullDisk(store_spec(encoder.spec, "float32"))
    with pytest.raises(WorkError, match="disk is full") as refused:
        run(panel, encoder, store)
    committed = len(contents(store))
    assert committed > 0
    assert f"the {committed} before it are kept" in str(refused.value)
    store.full = False
    assert run(panel, encoder, store).computed == len(windows) - committed


def test_a_block_is_no_longer_than_the_known_rate_allows(panel, encoder, store):
    """At 1 entry per second and 30 seconds per block, the first commit has at most 30 entries."""
    sizes = []
    write = store.write

    def record(entries, *, skip_valid=False):
        sizes.append(len(entries))
        return write(entries, skip_valid=skip_valid)

    store.write = record
    run(panel, encoder, store, block=BlockSize(entries=50), rate=1.0)
    assert sizes[0] <= 30


def test_an_interrupt_keeps_committed_blocks(panel, encoder, store, windows):
    """Ctrl-C during a build is raised again; committed blocks are complete, and the next build does the rest."""

    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stop:
        run(panel, encoder, store, progress=interrupt)
    kept = len(contents(store))
    assert 0 < kept < len(windows)
    assert str(stop.value) == f"{kept} entries are kept, {kept} of them from this run: the same command resumes"
    encoder.windows_encoded = 0
    assert run(panel, encoder, store).computed == encoder.windows_encoded == len(windows) - kept
    assert threading.active_count() < 20, "a thread was left running"


BUILDER = """
    import sys
    from encash.cache import Cache, Selection, open_cache
    from encash.cache.build import Work, build
    from encash.cache.executors.local import LocalExecutor
    from encash.cache.identity import store_spec
    from encash.cache.plan import BlockSize, make_plan
    from encash.panel.toy import toy_panel
    from encash.store.locator import ensure_store
    from encash.testing import MeanEncoder

    panel = toy_panel(seed=1, num_tickers=8, num_sessions=120, odd=True)
    encoder = MeanEncoder(panel.num_features, lookback=8, dim=6, batch_size=32)
    store = ensure_store(sys.argv[1], store_spec(encoder.spec, "float32"))
    block = BlockSize(entries=20, vector_bytes=20 * 6 * 4)
    plan = make_plan(panel, encoder.spec, store.snapshot(), Selection(), block=block)
    print("begin", flush=True)
    with LocalExecutor(encoder) as executor:
        build(Work(panel=panel, spec=encoder.spec, store=store, plan=plan, executor=executor, block=block))
    print("end", flush=True)
"""


def test_a_killed_build_is_resumed_and_computes_no_block_twice(panel, encoder, path, windows):
    """After SIGKILL during a build the cache opens, its entries are right, and the next build computes the rest."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(BUILDER), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    while open_cache(path).index().entries < 60:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    cache = open_cache(path)
    kept = cache.index().entries
    assert kept >= 60
    assert cache.verify(panel, encoder).passed
    encoder.windows_encoded = 0
    assert cache.build(panel, encoder).computed == encoder.windows_encoded == len(windows) - kept
    assert set(contents(cache)) == set(windows)
