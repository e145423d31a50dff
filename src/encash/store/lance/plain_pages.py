"""Recognize plain pages of a Lance file: only the values, row by row, without compression.

A page with a different description, of a newer Lance for example, counts as not plain and is read by Lance.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from encash.store.local.mapped_columns import Page


def plain_pages(pages: list[Any], dtype: np.dtype[np.generic], width: int) -> list[Page] | None:
    """Return the byte ranges of pages that hold only the values, row by row; None if one of them is not plain."""
    row_bytes = dtype.itemsize * max(width, 1)
    value = rf"Flat\( Flat \{{ bits_per_value: {dtype.itemsize * 8}, data: None, \}}, \), \), \}}, \), "
    if width:
        item = r"values: Some\( CompressiveEncoding \{ compression: Some\( "
        head = rf"FixedSizeList\( FixedSizeList \{{ items_per_value: {width}, has_validity: false, "
        value = rf"{head}{item}{value}\}}, \), \), \}}, \), "
    plain = re.compile(
        r"PageLayout \{ layout: Some\( FullZipLayout\( FullZipLayout \{ bits_rep: 0, bits_def: 0, "
        r"num_items: (?P<items>\d+), num_visible_items: (?P=items), "
        rf"value_compression: Some\( CompressiveEncoding \{{ compression: Some\( {value}"
        rf"layers: \[ RepdefAllValidItem, \], details: Some\( BitsPerValue\( {row_bytes * 8}, \), \), "
    )
    found = []
    for page in pages:
        match = plain.match(re.sub(r"\s+", " ", page.encoding))
        if match is None or len(page.buffers) != 1:
            return None
        rows = int(match["items"])
        if page.buffers[0].size != rows * row_bytes:
            return None
        found.append(Page(position=page.buffers[0].position, rows=rows))
    return found
