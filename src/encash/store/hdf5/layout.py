"""Names in an interchange file, shared by its writer and its reader."""

from __future__ import annotations

from urllib.parse import unquote

import numpy as np
import xxhash

from encash.arrays import Float32

SPEC_KEY = "encash"
"""Root attribute with the spec as JSON."""
ENTRIES_KEY, TICKERS_KEY = "encash_entries", "encash_tickers"
"""Root attributes with the number of entries and of groups that an export wrote."""

SIGNALS_KEY = "signals_checksum"
"""Attribute of a ticker with the checksum of its forecasts and confidences."""


def signals_checksum(forecast: Float32, confidence: Float32) -> np.uint64:
    """Return a 64-bit checksum (XXH3) of forecasts and confidences in the order of their days, shape (n, H) each."""
    return np.uint64(xxhash.xxh3_64_intdigest(forecast.tobytes() + confidence.tobytes()))


def escape_ticker(ticker: str) -> str:
    """Return a ticker as the name of a group: characters that HDF5 would take for a path are percent-encoded.

    >>> escape_ticker("BRK.B"), escape_ticker("../x"), escape_ticker("100%")
    ('BRK.B', '%2E.%2Fx', '100%25')
    """
    escaped = ticker.replace("%", "%25").replace("/", "%2F")
    return "%2E" + escaped[1:] if escaped.startswith(".") else escaped


def unescape_ticker(name: str) -> str:
    """Return the ticker of a group's name; the inverse of `escape_ticker`.

    >>> unescape_ticker("%2E.%2Fx")
    '../x'
    """
    return unquote(name)
