import subprocess
import sys

import numpy as np
import pytest

from encash.cache import Selection, State, make_plan, open_cache, renewal
from encash.cache.plan import BlockSize, cut_blocks
from encash.errors import MismatchError
from encash.panel.load import ArraySource
from encash.panel.panel import Panel

EVERYTHING = Selection()


def test_without_a_cache_every_window_is_missing_and_other_cells_have_a_reason(panel, encoder, windows):
    """Cells without a window because of a late listing, an early end, a gap or NaN are counted by reason."""
    plan = make_plan(panel, encoder.spec, None, EVERYTHING)
    missing = {(str(plan.days[day]), plan.tickers[ticker]) for day, ticker in np.argwhere(plan.state == State.MISSING)}
    assert missing == set(windows)
    assert (plan.valid, plan.stale, plan.missing) == (0, 0, len(windows))
    assert sum(plan.reasons.values()) == plan.unavailable == plan.state.size - len(windows)
    assert min(plan.reasons.values()) > 0, "the irregular tickers have all three reasons"


def test_the_plan_of_a_full_cache_computes_nothing(panel, encoder, cache, windows):
    plan = cache.plan(panel, encoder)
    assert (plan.valid, plan.to_compute, plan.blocks, plan.bytes_estimate) == (len(windows), 0, 0, 0)


def test_a_restated_row_makes_exactly_its_windows_stale(panel, encoder, cache, restate):
    """A row is part of as many windows as the lookback has sessions: only those are stale."""
    days = panel.days("T0001")
    plan = cache.plan(restate({"T0001": {40: 9.0}}), encoder)
    stale = [(plan.tickers[ticker], str(plan.days[day])) for day, ticker in np.argwhere(plan.state == State.STALE)]
    assert stale == [("T0001", str(day)) for day in days[40:48]]


def test_a_row_that_becomes_nan_withdraws_its_windows(panel, encoder, cache, restate):
    plan = cache.plan(restate({"T0001": {40: np.nan}}), encoder)
    assert (plan.stale, plan.missing, plan.withdrawn) == (0, 0, 8)


def test_estimates_follow_the_work(panel, encoder, cache, restate, tmp_path):
    """Bytes and seconds are proportional to the work; seconds are unknown if the rate is."""
    new = make_plan(panel, encoder.spec, None, EVERYTHING, rate=10.0)
    assert new.seconds_estimate == pytest.approx(new.missing / 10)
    assert new.bytes_estimate == new.missing * (6 * 4 + 8 * 4 + 14)
    assert make_plan(panel, encoder.spec, None, EVERYTHING, dtype="int8").bytes_estimate < new.bytes_estimate
    assert make_plan(panel, encoder.spec, None, EVERYTHING).seconds_estimate is None


def test_the_summary_has_the_keys_of_the_command(panel, encoder):
    keys = {"valid", "stale", "missing", "unavailable", "bytes_estimate", "seconds_estimate", "peak_memory_bytes"}
    assert keys <= set(make_plan(panel, encoder.spec, None, EVERYTHING).summary())


def test_a_panel_with_different_features_is_refused(panel, make_encoder):
    """A panel whose features are not the encoder's is refused before anything is read."""
    rows = {name: (panel.days(name), panel.rows((name,)).values[:, 1:]) for name in panel.tickers}
    with pytest.raises(MismatchError, match=r"\d features"):
        make_plan(Panel(ArraySource(rows)), make_encoder().spec, None, EVERYTHING)


def test_an_update_covers_the_tickers_of_the_cache_and_new_ones(panel, encoder, windows, path):
    """An update covers, from the cache's first day, its tickers and those without a window up to its last day. Tickers
    left out of the build stay out and are counted. A selection by the user takes precedence."""
    first_window = {name: min(day for day, ticker in windows if ticker == name) for name in panel.tickers}
    *old, new = sorted(panel.tickers, key=first_window.__getitem__)
    last = panel.sessions[np.searchsorted(panel.sessions, np.datetime64(first_window[new])) - 1]
    cache = open_cache(path)
    cache.build(panel, encoder, start=panel.sessions[20], end=last, tickers=tuple(old[:2]))
    chosen, left_out = renewal(panel, encoder.spec, cache.index(), EVERYTHING)
    cache.build(panel, encoder, chosen)
    cells = {
        (str(day), name) for entries in cache.scan() for day, name in zip(entries.days, entries.tickers, strict=True)
    }
    of_the_cache = {(day, name) for day, name in windows if name in [*old[:2], new] and day >= str(cache.first_day)}
    assert cells == of_the_cache
    assert left_out == len(old) - 2 > 0
    requested = Selection(tickers=(old[3],), start=panel.sessions[0])
    assert renewal(panel, encoder.spec, cache.index(), requested) == (requested, 0)


def test_blocks_are_whole_months_and_bounded():
    """Blocks grow by whole months to the least size, never exceed the largest, and have each cell once, in order."""
    days = np.arange("2024-01-01", "2024-05-01", dtype="datetime64[D]")
    state = np.full((len(days), 3), State.MISSING, dtype=np.int8)
    state[5:9] = State.VALID
    blocks = list(cut_blocks(days, state, least=100, most=150))
    assert blocks[0][0] == 0
    assert [start for start, _ in blocks[1:]] == [stop for _, stop in blocks[:-1]]
    assert blocks[-1][1] == int((state == State.MISSING).sum())
    assert max(stop - start for start, stop in blocks) <= 150
    assert blocks[0] == (0, 81 + 87 - 18), "cut at 150, before the second month ends"
    assert next(cut_blocks(days, state, least=100, most=1000)) == (0, (31 + 29 - 4) * 3)


def test_a_block_is_bounded_in_bytes_and_in_seconds():
    size = BlockSize(vector_bytes=4_000, seconds=60)
    assert size.most_entries(dim=10, rate=None) == 100
    assert size.most_entries(dim=10, rate=0.5) == 30
    assert size.most_entries(dim=10, rate=1e-9) == 1


MEMORY = """
import sys
from encash.cache import open_cache
from encash.cache.plan import process_peak_bytes
from encash.panel.toy import toy_panel
from encash.testing import MeanEncoder
panel = toy_panel(seed=1, num_tickers=60, num_sessions=400)
encoder = MeanEncoder(panel.num_features, lookback=8, dim=512, batch_size=64)
cache = open_cache(sys.argv[1])
planned = cache.plan(panel, encoder).peak_memory_bytes
cache.build(panel, encoder)
print(planned, process_peak_bytes())
"""


def test_the_planned_memory_is_that_of_the_whole_process(tmp_path):
    """A build in the process that planned it takes at most the planned memory, and at least a third of it."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "c.lance")], capture_output=True, text=True, check=True
    )
    planned, used = map(int, done.stdout.split())
    assert used <= planned < 3 * used
