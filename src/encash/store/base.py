"""The seam of the stores: rows of (day, ticker) with an embedding, forecasts and two digests, in atomic commits.
Knows no panel, no model and no plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from encash.arrays import Days, Float32, Int32, Int64, Text, UInt64


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """What every row of a store has in common; fixed when it is created."""

    dim: int
    dtype: str
    """How vectors are stored: float32, float16 or int8 (with a scale a row)."""
    horizons: tuple[int, ...]
    encoder: dict[str, Any]
    """The encoder's description (`EncoderSpec.describe`), empty for a foreign file without provenance."""
    fingerprint: str
    """Identity of encoder and dtype together; empty where it is unknown."""
    forecast_fingerprint: str = ""
    notes: dict[str, Any] | None = None
    """Provenance that is no identity: digests of checkpoint files, versions, "unverified", measured agreement."""


@dataclass(frozen=True, kw_only=True)
class Entries:
    """n rows in memory, sorted by (day, ticker), vectors already rounded as the store keeps them."""

    days: Days
    """shape (n,)."""
    tickers: Text
    """shape (n,)."""
    digest: UInt64
    """Digest of each entry's input window; 0 where it is unknown. Shape (n,)."""
    embedding: Float32
    """shape (n, dim)."""
    forecast: Float32
    """Expected returns as fractions, shape (n, H)."""
    confidence: Float32
    """shape (n, H)."""


@dataclass(frozen=True, kw_only=True)
class EntryIndex:
    """The keys of all rows of one version of a store, on a grid of days × tickers."""

    days: Days
    """Distinct days, ascending; shape (T,)."""
    tickers: Text
    """Distinct tickers, ascending; shape (N,)."""
    row: Int32
    """The row of each cell, −1 where there is none; shape (T, N). Rows number the entries 0 … n−1 in an order that
    is the store's own and holds for this version alone."""
    digest: UInt64
    """The input digest of each row, shape (n,)."""

    @property
    def entries(self) -> int:
        """Number of entries."""
        return len(self.digest)


class EmbeddingStore(ABC):
    """One store of embeddings of one encoder. An instance sees one version until `refresh`.

    `encash.testing.StoreContract` is the test that every implementation passes.
    """

    spec: StoreSpec
    version: int

    @abstractmethod
    def index(self) -> EntryIndex:
        """Keys and digests of this version; read once, then kept."""

    @abstractmethod
    def vectors(self, rows: Int64) -> Float32:
        """The embeddings of these rows in the order asked, shape (n, dim)."""

    @abstractmethod
    def forecasts(self, rows: Int64) -> tuple[Float32, Float32]:
        """Forecasts and confidences of these rows in the order asked, each of shape (n, H)."""

    @abstractmethod
    def scan(self, batch_rows: int) -> Iterator[Entries]:
        """All entries in batches with bounded memory, in the store's own order."""

    @abstractmethod
    def write(self, entries: Entries) -> int:
        """Commit entries atomically and durably: all of them or none; an entry with the same key is replaced.

        Returns:
            The new version, which this instance then sees.

        Raises:
            ConflictError: another writer holds the store.
        """

    @abstractmethod
    def refresh(self) -> None:
        """See the newest version."""

    @abstractmethod
    def size_bytes(self) -> int:
        """Bytes on disk of this version."""
