"""The interface of encoders: windows in, embeddings and forecasts out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from encash.arrays import Bool, Float32, Int64, runs_of_rows
from encash.errors import MismatchError
from encash.fingerprint import fingerprint
from encash.serialization import added_in, describe, from_description, identity


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """Everything that determines the output of an encoder for a window: encoders with equal specs have equal outputs.

    Holds no path and no time. `fingerprint` is the identity of the embeddings, `forecast_fingerprint` that of the
    forecasts, which also depend on `forecast_rule` (the bin edges of a classifier, the members of an ensemble).
    """

    architecture: str
    """Kind and sizes in one readable line: ``transformer hidden=64 layers=2 heads=4 head=regression``."""
    weights: str
    """SHA-256 of the weights used by inference (name, dtype, shape, bytes), in order of their names."""
    lookback: int
    """Sessions in a window including its last day (L)."""
    num_features: int
    """Features of one session (F)."""
    dim: int
    """Length of an embedding (D)."""
    horizons: tuple[int, ...]
    """Sessions ahead of each forecast (H of them); empty for an encoder without forecasts."""
    pooling: str = "mean"
    """How the states of a window become one vector: mean, last or cls; or model, if the model pools them itself."""
    normaliser: str = "none"
    """The normalization of a window before the first layer."""
    feature_names: tuple[str, ...] | None = None
    """The features in order; None if unknown."""
    forecast_rule: str = "none"
    """How the output of the model becomes an expected return."""
    engine: str = "torch"
    precision: str = "float32"
    train_end: str | None = None
    """Last day of training data, YYYY-MM-DD; None if not recorded. Not part of the identity."""
    feature_set: str | None = added_in(2, default=None)
    """Name of the feature set of `encash prepare`; None if not recorded. Not part of the identity."""

    @property
    def fingerprint(self) -> str:
        """Identity of the embeddings (64 hexadecimal digits)."""
        return fingerprint(self.identity())

    @property
    def forecast_fingerprint(self) -> str:
        """Identity of the forecasts; empty for an encoder without forecasts."""
        if not self.horizons:
            return ""
        return fingerprint({**self.identity(), "rule": self.forecast_rule, "horizons": self.horizons})

    def identity(self) -> dict[str, Any]:
        """Return the fields that determine the embedding."""
        other = ("horizons", "forecast_rule", "train_end", "feature_set")
        return {name: value for name, value in identity(self).items() if name not in other}

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
        """Refuse features other than those of the encoder.

        Raises:
            MismatchError: a different number of features, or different names or order if both are known.
        """
        if num_features != self.num_features:
            raise MismatchError(
                f"the data have {num_features} features per session, the model was trained on {self.num_features}; "
                f"give the file that the model was trained on, or a different model; {self._how_to_prepare}"
            )
        if feature_names and self.feature_names and feature_names != self.feature_names:
            at = next(i for i, (a, b) in enumerate(zip(feature_names, self.feature_names, strict=True)) if a != b)
            raise MismatchError(
                f"feature {at} is {feature_names[at]!r} in the data and {self.feature_names[at]!r} in the model; "
                f"give the features of the model, in its order; {self._how_to_prepare}"
            )

    @property
    def _how_to_prepare(self) -> str:
        if self.feature_set is None:
            return "for a model of an earlier version: encash prepare --feature-set prices-1"
        return f"the model's are those of encash prepare --feature-set {self.feature_set}"

    def check_windows(self, windows: Float32) -> None:
        """Refuse arrays that are not windows of this encoder.

        Raises:
            MismatchError: the shape is not (n ≥ 1, lookback, num_features).
        """
        if windows.ndim != 3 or not len(windows) or windows.shape[1:] != (self.lookback, self.num_features):
            raise MismatchError(
                f"invalid windows of shape {windows.shape}: expected (n, {self.lookback}, {self.num_features}) with "
                "n ≥ 1; gather windows with the lookback and features of the encoder"
            )


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Output of one forward pass for n windows."""

    embedding: Float32
    """shape (n, D)."""
    forecast: Float32
    """Expected return per horizon as a fraction (0.01 is +1%), shape (n, H)."""
    confidence: Float32
    """In [0, 1] per horizon, shape (n, H)."""

    @classmethod
    def join(cls, parts: Sequence[Encoded]) -> Encoded:
        """Concatenate the outputs of one or more passes."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            embedding=np.concatenate([part.embedding for part in parts]),
            forecast=np.concatenate([part.forecast for part in parts]),
            confidence=np.concatenate([part.confidence for part in parts]),
        )

    def take(self, windows: Bool | slice) -> Encoded:
        """Return the output for some windows, by a mask or a slice (a view)."""
        return Encoded(
            embedding=self.embedding[windows], forecast=self.forecast[windows], confidence=self.confidence[windows]
        )

    def finite(self) -> Bool:
        """Return a mask of the windows for which all outputs are finite, shape (n,)."""
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
    """The number of windows for which one call of `encode` is most efficient."""
    callers: int = 1
    """Threads whose calls of `encode_rows` keep the device busy: 2 if one prepares while the other computes."""
    source_digest: str | None = None
    """SHA-256 of its file, by which a cache recognizes a checkpoint without loading it."""
    entries_per_second: float | None = None
    """Measured speed on this machine; None if not measured."""
    choice: str = ""
    """Precision, engine and batch, and the measurements that led to them, in one line:
    ``bfloat16, torch, batch 64: 16.6 entries/s; float32 3.7``."""
    notify: Callable[[str], None] | None = None
    """Called with one line if something changes during the work: memory ran out and the batch was halved."""

    def __repr__(self) -> str:
        """Show what goes in and comes out."""
        spec = self.spec
        ahead = f"forecasts over {', '.join(map(str, spec.horizons))} sessions" if spec.horizons else "no forecasts"
        return (
            f"{type(self).__name__}: windows of {spec.lookback} sessions × {spec.num_features} features, embeddings of "
            f"{spec.dim}, {ahead}; {spec.precision}, {spec.engine}"
        )

    @abstractmethod
    def encode(self, windows: Float32) -> Encoded:
        """Encode windows.

        Args:
            windows: shape (n, L, F), finite; any n ≥ 1.

        Returns:
            Embeddings (n, D), forecasts and confidences (n, H), float32. A window with an output that is not finite has
            failed; it is dropped and the others are kept.

        Raises:
            MismatchError: the shape is not (n, L, F) of `spec`.
        """

    def encode_rows(self, rows: Float32, starts: Int64) -> Generator[Encoded, None, None]:
        """Encode windows of shared rows, a batch at a time, in order.

        Windows of consecutive days overlap, so that an encoder on a device can copy each row there once.

        Args:
            rows: feature rows, shape (R, F); rows outside all windows may hold NaN.
            starts: the first row of each window, shape (n,); any n ≥ 1.

        Yields:
            the outputs of the next windows; consume all of them, or close the generator.
        """
        first = 0
        while first < len(starts):
            part = starts[first : first + self.batch_size]
            yield self.encode(runs_of_rows(rows, part, self.spec.lookback))
            first += len(part)

    def replicas(self) -> tuple[Encoder, ...]:
        """Return this encoder and its copies on other devices of this machine, which may work at the same time."""
        return (self,)
