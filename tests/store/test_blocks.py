import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.store.lance.block_cache import BlockCache
from encash.store.local.mapped_columns import PagedColumn


@given(
    requests=st.lists(st.lists(st.integers(0, 36), min_size=1, max_size=9), max_size=8),
    block_rows=st.integers(1, 10),
    capacity=st.integers(0, 400),
)
def test_reads_return_the_requested_rows_in_order(requests, block_rows, capacity):
    """For any earlier reads and any capacity, a read returns the requested rows in order, and memory stays bounded."""
    column, cache = np.arange(37 * 2).reshape(37, 2), BlockCache(block_rows=block_rows, capacity_bytes=capacity)
    for request in requests:
        rows = np.array(request)
        np.testing.assert_array_equal(cache.read("x", rows, 37, column.__getitem__), column[rows])
        assert sum(block.nbytes for block in cache._blocks.values()) == cache._held_bytes <= capacity


def test_a_block_is_fetched_once():
    """A block in memory is not fetched again; columns have separate blocks."""
    fetched = []

    def fetch(rows):
        fetched.append(rows.tolist())
        return rows * 10

    cache = BlockCache(block_rows=4, capacity_bytes=1000)
    cache.read("x", np.array([1, 9]), 10, fetch)
    cache.read("x", np.array([0, 8, 3]), 10, fetch)
    assert fetched == [[0, 1, 2, 3, 8, 9]]
    cache.read("y", np.array([0]), 10, fetch)
    assert len(fetched) == 2


@pytest.mark.parametrize("ascending", [True, False])
def test_rows_are_gathered_from_many_pages(ascending):
    """Rows are gathered from pages of any length in the order requested, duplicates included."""
    whole, rng = np.arange(300, dtype=np.float32).reshape(100, 3), np.random.default_rng(0)
    column = PagedColumn(np.split(whole, [7, 8, 30, 31, 99]))
    for count in (1, 2, 50, 200):
        rows = rng.integers(0, 100, count)
        rows = np.sort(rows) if ascending else rows
        out = np.empty((count, 3), dtype=np.float32)
        column.gather(rows, (int(rows.min()), int(rows.max())), out)
        np.testing.assert_array_equal(out, whole[rows])
