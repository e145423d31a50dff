"""An LRU cache of blocks of rows, in bounded memory: for stores with slow access."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from encash.arrays import Int64

Fetch = Callable[[Int64], np.ndarray]
"""Reads rows by number, given ascending and distinct."""


class BlockCache:
    """Blocks of consecutive rows of some columns; the least recently used is dropped first."""

    def __init__(self, *, block_rows: int, capacity_bytes: int):
        self._block_rows = block_rows
        self._capacity_bytes = capacity_bytes
        self._blocks: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self._held_bytes = 0

    def read(self, column: str, rows: Int64, count: int, fetch: Fetch) -> np.ndarray:
        """Read rows in the order requested; whole blocks are fetched, all missing ones at once.

        Args:
            column: its name.
            rows: at least one, each within 0 … count − 1; shape (n,).
            count: number of rows of the column.
            fetch: reads the missing rows.

        Returns:
            shape (n,) or (n, width), like the column.

        >>> cache = BlockCache(block_rows=4, capacity_bytes=1000)
        >>> cache.read("x", np.array([5, 1]), 6, lambda rows: rows * 10)
        array([50, 10])
        """
        block_of_row = rows // self._block_rows
        numbers = np.unique(block_of_row).tolist()
        blocks = self._with_missing(column, numbers, count, fetch)
        out = np.empty((len(rows), *blocks[numbers[0]].shape[1:]), dtype=blocks[numbers[0]].dtype)
        for number in numbers:
            here = np.flatnonzero(block_of_row == number)
            out[here] = blocks[number][rows[here] - number * self._block_rows]
        return out

    def _with_missing(self, column: str, numbers: list[int], count: int, fetch: Fetch) -> dict[int, np.ndarray]:
        blocks = {number: self._blocks[column, number] for number in numbers if (column, number) in self._blocks}
        spans = {
            number: np.arange(number * self._block_rows, min((number + 1) * self._block_rows, count))
            for number in numbers
            if number not in blocks
        }
        if spans:
            values = fetch(np.concatenate(list(spans.values())))
            parts = np.split(values, np.cumsum([len(span) for span in spans.values()])[:-1])
            blocks |= {number: part.copy() for number, part in zip(spans, parts, strict=True)}
        for number in numbers:
            self._keep(column, number, blocks[number])
        return blocks

    def _keep(self, column: str, number: int, block: np.ndarray) -> None:
        """Make a block the most recent, and drop the oldest until the rest fits."""
        if (column, number) not in self._blocks:
            self._held_bytes += block.nbytes
        self._blocks[column, number] = block
        self._blocks.move_to_end((column, number))
        while self._held_bytes > self._capacity_bytes and self._blocks:
            self._held_bytes -= self._blocks.popitem(last=False)[1].nbytes
