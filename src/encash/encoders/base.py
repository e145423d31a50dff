"""The seam of the encoders: windows in, embeddings and forecasts out. Knows no panel, no cache and no framework."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encash.arrays import Bool, Float32
from encash.errors import MismatchError
from encash.fingerprint import fingerprint
from encash.serialization import describe, from_description, identity


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Everything that decides what an encoder says about a window; two encoders with one spec say the same.

    Holds no path and no time. `fingerprint` is the identity of the embeddings; `forecast_fingerprint` that of the
    forecasts, which depend on `forecast_rule` besides (the bin edges of a classifier, the members of an ensemble).
    """

    architecture: str
    """Kind and sizes in one readable line: ``transformer hidden=64 layers=2 heads=4 head=regression``."""
    weights: str
    """SHA-256 of the weights that inference uses (name, dtype, shape, bytes), in order of their names."""
    lookback: int
    """Sessions in a window, the day itself included (L)."""
    num_features: int
    """Features of one session (F)."""
    dim: int
    """Length of an embedding (D)."""
    horizons: tuple[int, ...]
    """Sessions ahead of each forecast (H of them); empty for an encoder without forecasts."""
    pooling: str = "mean"
    """How the states of a window become one vector: mean, last or cls; or model, where it does so by itself."""
    normaliser: str = "none"
    """What is done to a window before the first layer."""
    feature_names: tuple[str, ...] | None = None
    """The features in order, where they are known."""
    forecast_rule: str = "none"
    """How the model's output becomes an expected return."""
    engine: str = "torch"
    precision: str = "float32"
    train_end: str | None = None
    """Last day that training has seen, YYYY-MM-DD; None where nobody wrote it down. Not part of the identity."""

    @property
    def fingerprint(self) -> str:
        """Identity of the embeddings (64 hexadecimal digits)."""
        return fingerprint(self.identity())

    @property
    def forecast_fingerprint(self) -> str:
        """Identity of the forecasts; empty for an encoder without."""
        return (
            fingerprint({**self.identity(), "rule": self.forecast_rule, "horizons": self.horizons})
            if self.horizons
            else ""
        )

    def identity(self) -> dict[str, Any]:
        """Return the fields that decide the embedding."""
        return {
            name: value
            for name, value in identity(self).items()
            if name not in ("horizons", "forecast_rule", "train_end")
        }

    def describe(self) -> dict[str, Any]:
        """Return all fields as plain JSON values, with their format version."""
        return describe(self)

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any], *, what: str = "the encoder's description"
    ) -> EncoderSpec:
        """Return the spec that `describe` described.

        Args:
            description: from this or an earlier version of encash.
            what: the subject of an error message.

        Raises:
            FormatError: a newer encash wrote it, or a field is unknown, missing or of a different type.
        """
        return from_description(cls, description, what=what)

    def check_features(self, num_features: int, feature_names: tuple[str, ...] | None) -> None:
        """Refuse features that are not the ones this encoder was made for.

        Raises:
            MismatchError: another number of features, or other names or another order where both are known.
        """
        if num_features != self.num_features:
            raise MismatchError(
                f"the data have {num_features} features a session, the model was trained on {self.num_features}; "
                "give the file that the model was trained on, or another model"
            )
        if feature_names and self.feature_names and feature_names != self.feature_names:
            at = next(i for i, (a, b) in enumerate(zip(feature_names, self.feature_names, strict=True)) if a != b)
            raise MismatchError(
                f"feature {at} is {feature_names[at]!r} in the data and {self.feature_names[at]!r} in the model; "
                "prepare the data again with the features of the model, in its order"
            )

    def check_windows(self, windows: Float32) -> None:
        """Refuse anything but windows of this encoder.

        Raises:
            MismatchError: the shape is not (n ≥ 1, lookback, num_features).
        """
        if windows.ndim != 3 or not len(windows) or windows.shape[1:] != (self.lookback, self.num_features):
            raise MismatchError(
                f"windows of shape {windows.shape} came; this encoder takes (n, {self.lookback}, {self.num_features}) "
                "with n ≥ 1: windows of its lookback, with its features"
            )


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What one forward pass says of n windows."""

    embedding: Float32
    """shape (n, D)."""
    forecast: Float32
    """Expected return per horizon as a fraction (0.01 is +1 %), shape (n, H)."""
    confidence: Float32
    """In [0, 1] per horizon, shape (n, H)."""

    @classmethod
    def join(cls, parts: Sequence[Encoded]) -> Encoded:
        """What several passes said, one after the other; there is at least one."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            embedding=np.concatenate([part.embedding for part in parts]),
            forecast=np.concatenate([part.forecast for part in parts]),
            confidence=np.concatenate([part.confidence for part in parts]),
        )

    def take(self, windows: Bool | slice) -> Encoded:
        """What it says of some windows, by mask or as a slice (a view)."""
        return Encoded(
            embedding=self.embedding[windows], forecast=self.forecast[windows], confidence=self.confidence[windows]
        )

    def finite(self) -> Bool:
        """For which windows all outputs are finite, shape (n,)."""
        outputs = (self.embedding, self.forecast, self.confidence)
        finite: Bool = np.all([np.isfinite(output).all(axis=1) for output in outputs], axis=0)
        return finite


class Encoder(ABC):
    """A model that turns windows into embeddings and forecasts.

    A subclass sets `spec` and `batch_size` and implements `encode`. The output for a window must not depend on the
    other windows of its batch; `encash.testing.EncoderContract` checks that and the rest.
    """

    spec: EncoderSpec
    batch_size: int
    """Windows that one call of `encode` takes best."""
    source_digest: str | None = None
    """SHA-256 of the file it was read from: lets a cache recognise a checkpoint without loading it."""
    entries_per_second: float | None = None
    """How fast it is here, where that was measured."""
    choice: str = ""
    """How it runs, and what was measured to decide that, in one line:
    ``bfloat16, torch, batch 64: 16.6 entries/s; float32 3.7``."""
    notify: Callable[[str], None] | None = None
    """Told in one line when something changes on the way: memory ran out and the batch was halved."""

    @abstractmethod
    def encode(self, windows: Float32) -> Encoded:
        """Encode windows.

        Args:
            windows: shape (n, L, F), finite; any n ≥ 1.

        Returns:
            Embeddings (n, D), forecasts and confidences (n, H), float32. A window of which an output is not finite has
            failed: it is not kept, and the others are.

        Raises:
            MismatchError: the shape is not (n, L, F) of `spec`.
        """
