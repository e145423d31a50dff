"""Read columns of fixed width, whose pages are plain row-major matrices in a file, through memory maps."""

from __future__ import annotations

import bisect
import itertools
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from encash.arrays import Int64
from encash.errors import FormatError

Bounds = tuple[int, int]
"""The smallest and the largest of some row numbers: computed once, used at each step."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Position of one page in a file."""

    position: int
    """Byte offset of the first row."""
    rows: int


class MappedFile:
    """One immutable file, mapped into memory as long as an array of it exists."""

    def __init__(self, path: str, expected_bytes: int | None):
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size == 0 or (expected_bytes is not None and size != expected_bytes):
                    raise FormatError(
                        f"{path} has {size:,} bytes; expected {expected_bytes or 'more'}: it was truncated; "
                        "restore it from a copy, or remove its entries with `encash cache verify CACHE --drop`"
                    )
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise FormatError(f"{path} is gone; refresh to the newest version, or restore it from a copy") from None
        self.path, self.size = path, size

    def column(self, pages: list[Page], dtype: np.dtype[np.generic], width: int) -> PagedColumn:
        """Return the column of these pages; width 0 means one value per row.

        Raises:
            FormatError: a page that is not within the file.
        """
        row_bytes = dtype.itemsize * max(width, 1)
        parts = []
        for page in join_pages(pages, row_bytes):
            if page.position < 0 or page.position + page.rows * row_bytes > self.size:
                raise FormatError(f"a page of {self.path} is outside the file; restore it from a copy")
            flat = np.frombuffer(self._map, dtype, count=page.rows * max(width, 1), offset=page.position)
            parts.append(flat.reshape(page.rows, width) if width else flat)
        return PagedColumn(parts)


class PagedColumn:
    """The rows of a column, page after page."""

    def __init__(self, pages: list[np.ndarray]):
        self._pages = pages
        self._starts = [0, *itertools.accumulate(len(page) for page in pages)]

    def __len__(self) -> int:
        """Number of rows."""
        return self._starts[-1]

    def gather(self, rows: Int64, bounds: Bounds, out: np.ndarray) -> None:
        """Copy these rows, in this order, to `out`.

        Args:
            rows: at least one, within the column.
            bounds: the smallest and the largest of them.
            out: shape (n, width), or (n,).
        """
        first, last = page_of(self._starts, bounds[0]), page_of(self._starts, bounds[1])
        if first == last:
            return _copy(self._pages[first], rows - self._starts[first], out)
        for page, here in by_start(self._starts, rows):
            local = rows[here] - self._starts[page]
            if isinstance(here, slice):
                _copy(self._pages[page], local, out[here])
            else:
                out[here] = self._pages[page][local]

    def blocks(self, first: int, stop: int) -> Iterator[np.ndarray]:
        """Iterate over rows first … stop − 1 without a copy, one block per page."""
        for page, start in zip(self._pages, self._starts[:-1], strict=True):
            if first < start + len(page) and start < stop:
                yield page[max(first - start, 0) : stop - start]


def page_of(starts: list[int], row: int) -> int:
    """Return the position of the last start that is not beyond a row.

    >>> page_of([0, 10, 20], 10)
    1
    """
    return bisect.bisect_right(starts, row) - 1


def by_start(starts: list[int] | Int64, rows: Int64) -> Iterator[tuple[int, slice | Int64]]:
    """Group rows by the start that they follow: iterate over (position of the start, positions among the rows).

    The latter are slices if the rows ascend, so that the values need no second copy.

    >>> list(by_start([0, 10, 20], np.array([3, 4, 12])))
    [(0, slice(0, 2, None)), (1, slice(2, 3, None))]
    >>> list(by_start([0, 10, 20], np.array([12, 3])))
    [(0, array([1])), (1, array([0]))]
    """
    if (rows[1:] >= rows[:-1]).all():
        cuts = np.searchsorted(rows, starts).tolist()
        yield from ((page, slice(*cut)) for page, cut in enumerate(itertools.pairwise(cuts)) if cut[0] < cut[1])
    else:
        pages = np.searchsorted(starts, rows, side="right") - 1
        yield from ((page, np.flatnonzero(pages == page)) for page in np.unique(pages).tolist())


def join_pages(pages: list[Page], row_bytes: int) -> list[Page]:
    """Join pages that follow each other in the file without a gap."""
    joined: list[Page] = []
    for page in pages:
        if joined and joined[-1].position + joined[-1].rows * row_bytes == page.position:
            joined[-1] = Page(position=joined[-1].position, rows=joined[-1].rows + page.rows)
        else:
            joined.append(page)
    return joined


def is_run(rows: Int64) -> bool:
    """Return whether rows follow each other without a gap.

    >>> is_run(np.array([4, 5, 6])), is_run(np.array([4, 6, 5]))
    (True, False)
    """
    count = len(rows)
    return bool(rows[-1] - rows[0] == count - 1) and (count == 1 or bool((np.diff(rows) == 1).all()))


def _copy(page: np.ndarray, rows: Int64, out: np.ndarray) -> None:
    """Copy rows of one page to `out`; as one block if they follow each other."""
    if is_run(rows):
        out[:] = page[rows[0] : rows[0] + len(rows)]
    else:
        np.take(page, rows, axis=0, out=out, mode="clip")
