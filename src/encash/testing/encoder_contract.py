"""The contract test of encoders: subclass it, return your encoder, and run pytest.

class TestMyEncoder(EncoderContract):
    def make_encoder(self):
        return MyEncoder(...)
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod

import numpy as np

from encash.arrays import Float32
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.errors import MismatchError


class EncoderContract(ABC):
    """Behavior of an encoder that a cache relies on.

    A subclass implements `make_encoder`, and `make_other` if weights can differ.
    """

    tolerance = 0.0
    """Largest difference allowed between a window encoded separately and in a batch; 0 requires the same bits."""
    num_windows = 7

    @abstractmethod
    def make_encoder(self) -> Encoder:
        """Return the encoder under test; each call returns one with the same weights."""

    def make_other(self) -> Encoder | None:
        """Return such an encoder with different weights; None if there is none."""
        return None

    def make_windows(self, spec: EncoderSpec) -> Float32:
        """Return windows that differ clearly, shape (num_windows, L, F)."""
        shape = (self.num_windows, spec.lookback, spec.num_features)
        return np.random.default_rng(7).standard_normal(shape).astype(np.float32)

    def test_outputs_have_the_shapes_and_types_of_the_spec(self) -> None:
        """Windows give float32 arrays of (n, D), (n, H) and (n, H)."""
        encoder = self.make_encoder()
        spec, result = encoder.spec, self._encode(encoder)
        sizes = {"embedding": spec.dim, "forecast": len(spec.horizons), "confidence": len(spec.horizons)}
        for name, size in sizes.items():
            array = getattr(result, name)
            assert isinstance(array, np.ndarray), f"{name} is a {type(array).__name__}, not a numpy array"
            assert array.dtype == np.float32, f"{name} is {array.dtype}, not float32"
            assert array.shape == (self.num_windows, size), f"{name}: {array.shape}, not {(self.num_windows, size)}"

    def test_outputs_are_finite_and_confidence_is_a_fraction(self) -> None:
        """All outputs are finite, and confidences are in [0, 1]."""
        result = self._encode(self.make_encoder())
        assert np.isfinite(result.embedding).all(), "an embedding is not finite"
        assert np.isfinite(result.forecast).all(), "a forecast is not finite"
        assert ((result.confidence >= 0) & (result.confidence <= 1)).all(), "a confidence is outside [0, 1]"

    def test_different_windows_get_different_embeddings(self) -> None:
        """The embedding depends on the window."""
        embedding = self._encode(self.make_encoder()).embedding
        assert len(np.unique(embedding, axis=0)) == len(embedding), "two different windows have the same embedding"

    def test_the_same_windows_give_the_same_bits_again(self) -> None:
        """Two calls, and two encoders with the same weights, agree bit for bit (no dropout, no sampling)."""
        encoder = self.make_encoder()
        first = self._encode(encoder)
        _assert_close(first, self._encode(encoder), 0.0, "a second call")
        _assert_close(first, self._encode(self.make_encoder()), 0.0, "a second encoder with the same weights")

    def test_a_window_does_not_depend_on_the_others(self) -> None:
        """A window has the same result separately, in reverse order, and among different windows.

        BatchNorm in training mode fails this test.
        """
        encoder = self.make_encoder()
        windows = self.make_windows(encoder.spec)
        whole = encoder.encode(windows)
        single = [encoder.encode(windows[i : i + 1]) for i in range(len(windows))]
        _assert_close(whole, Encoded.join(single), self.tolerance, "each window separately")
        reversed_result = encoder.encode(np.ascontiguousarray(windows[::-1]))
        _assert_close(
            whole, reversed_result.take(slice(None, None, -1)), self.tolerance, "the windows in reverse order"
        )
        mixed = np.concatenate([windows[:2], 100 * windows[2:]])
        _assert_close(whole.take(slice(2)), encoder.encode(mixed).take(slice(2)), self.tolerance, "a different batch")

    def test_the_number_of_windows_does_not_matter(self) -> None:
        """One window more than a full batch gives the same results."""
        encoder = self.make_encoder()
        windows = self.make_windows(encoder.spec)
        whole = encoder.encode(windows)
        many = np.resize(windows, (min(encoder.batch_size, 64) + 1, *windows.shape[1:]))
        again = encoder.encode(many).take(slice(len(windows)))
        _assert_close(whole, again, self.tolerance, f"{len(many)} windows at once")

    def test_windows_are_not_changed(self) -> None:
        """Encoding accepts read-only windows, which may be views of a panel, and does not change them."""
        encoder = self.make_encoder()
        windows = self.make_windows(encoder.spec)
        before = windows.copy()
        windows.setflags(write=False)
        encoder.encode(windows)
        assert (windows == before).all(), "encoding changed its input"

    def test_wrong_shapes_are_refused(self) -> None:
        """A wrong lookback or number of features, a missing axis, or no window is a MismatchError, never repaired."""
        encoder = self.make_encoder()
        windows = self.make_windows(encoder.spec)
        wrong = {
            "a longer window": np.concatenate([windows, windows], axis=1),
            "one more feature": np.concatenate([windows, windows[:, :, :1]], axis=2),
            "a missing axis": windows[0],
            "no window": windows[:0],
        }
        for name, bad in wrong.items():
            try:
                encoder.encode(bad)
            except MismatchError:
                continue
            raise AssertionError(f"{name} ({bad.shape}) was accepted without a MismatchError")

    def test_the_spec_survives_json(self) -> None:
        """The description written as JSON and read back is the same spec with the same fingerprints."""
        spec = self.make_encoder().spec
        again = EncoderSpec.from_description(json.loads(json.dumps(spec.describe())))
        assert again == spec, f"{again} is not {spec}"
        assert (again.fingerprint, again.forecast_fingerprint) == (spec.fingerprint, spec.forecast_fingerprint)

    def test_the_fingerprint_follows_the_weights(self) -> None:
        """The same weights have the same fingerprint, different weights a different one."""
        spec = self.make_encoder().spec
        assert spec.fingerprint == self.make_encoder().spec.fingerprint, "the same weights have two fingerprints"
        if (other := self.make_other()) is not None:
            assert spec.fingerprint != other.spec.fingerprint, "two different models have the same fingerprint"

    def _encode(self, encoder: Encoder) -> Encoded:
        return encoder.encode(self.make_windows(encoder.spec))


def _assert_close(ours: Encoded, theirs: Encoded, tolerance: float, what: str) -> None:
    for name in ("embedding", "forecast", "confidence"):
        a, b = getattr(ours, name).astype(np.float64), getattr(theirs, name).astype(np.float64)
        assert a.shape == b.shape, f"{what}: {name} has shape {b.shape}, not {a.shape}"
        difference = float(np.abs(a - b).max(initial=0.0))
        assert difference <= tolerance, f"{what}: {name} differs by {difference:.3g}, allowed is {tolerance:.3g}"
