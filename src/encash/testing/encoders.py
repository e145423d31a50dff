"""Small encoders in pure numpy for tests, and faulty ones that the contract detects."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from encash.arrays import Float32, Float64
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.fingerprint import fingerprint

HORIZONS = (1, 5, 10, 20)


class MeanEncoder(Encoder):
    """An encoder that returns a seeded random projection of the mean of a window.

    The result for a window has the same bits in any batch. `windows_encoded` counts the encoded windows, so that a test
    can distinguish a hit from a miss.

    >>> encoder = MeanEncoder(num_features=3, lookback=2, dim=4)
    >>> encoder.encode(np.zeros((5, 2, 3), dtype=np.float32)).embedding.shape
    (5, 4)
    """

    def __init__(
        self,
        num_features: int,
        *,
        lookback: int = 8,
        dim: int = 16,
        seed: int = 0,
        horizons: tuple[int, ...] = HORIZONS,
        batch_size: int = 64,
    ):
        random = np.random.default_rng(seed)
        self._projection = random.standard_normal((num_features, dim + 2 * len(horizons))) / np.sqrt(num_features)
        self.batch_size = batch_size
        self.windows_encoded = 0
        self.spec = EncoderSpec(
            architecture=f"random projection of the window mean, dim={dim}",
            weights=fingerprint(self._projection),
            lookback=lookback,
            num_features=num_features,
            dim=dim,
            horizons=horizons,
            forecast_rule="0.02 · tanh" if horizons else "none",
            engine="numpy",
        )

    def encode(self, windows: Float32) -> Encoded:
        """Encode windows of shape (n, lookback, num_features)."""
        self.spec.check_windows(windows)
        self.windows_encoded += len(windows)
        outputs = self._project(windows.astype(np.float64).mean(axis=1))
        dim, horizons = self.spec.dim, len(self.spec.horizons)
        return Encoded(
            embedding=outputs[:, :dim].astype(np.float32),
            forecast=(0.02 * np.tanh(outputs[:, dim : dim + horizons])).astype(np.float32),
            confidence=(1 / (1 + np.exp(-outputs[:, dim + horizons :]))).astype(np.float32),
        )

    def _project(self, means: Float64) -> Float64:
        """Project means term by term: the rounding of a matrix product would depend on the size of the batch."""
        outputs = np.zeros((len(means), self._projection.shape[1]))
        for column, weights in zip(means.T, self._projection, strict=True):
            outputs += column[:, None] * weights
        return outputs


class BrokenEncoder(MeanEncoder):
    """A `MeanEncoder` with one fault that `EncoderContract` detects.

    ``batch``: the output depends on the other windows; ``nan``: an output is not finite; ``narrow``: embeddings are
    one number too short; ``random``: no two calls agree; ``lenient``: windows of any shape are accepted; ``raise``: any
    call is an error (to prove that no model is run).
    """

    def __init__(
        self,
        num_features: int,
        fault: Literal["batch", "nan", "narrow", "random", "lenient", "raise"],
        *,
        lookback: int = 8,
    ):
        super().__init__(num_features, lookback=lookback)
        self.fault = fault
        self._random = np.random.default_rng(0)

    def encode(self, windows: Float32) -> Encoded:
        """Encode windows with the fault."""
        if self.fault == "raise":
            raise AssertionError("this encoder must not be run")
        if self.fault == "lenient":
            windows = np.resize(windows, (len(windows), self.spec.lookback, self.spec.num_features))
        result = super().encode(windows)
        return replace(result, embedding=self._spoil(result.embedding))

    def _spoil(self, embedding: Float32) -> Float32:
        """Return the embeddings with the fault."""
        match self.fault:
            case "batch":
                mean: Float32 = embedding.mean(axis=0)
                return embedding - mean
            case "nan":
                spoiled = embedding.copy()
                spoiled[:, 0] = np.nan
                return spoiled
            case "narrow":
                return embedding[:, 1:]
            case "random":
                noise: Float32 = self._random.standard_normal(embedding.shape).astype(np.float32)
                return embedding + noise
        return embedding
