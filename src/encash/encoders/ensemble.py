"""An ensemble of encoders: the embedding of the first, the mean forecast of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from encash.arrays import Float32
from encash.encoders.base import Encoded, Encoder, EncoderSpec
from encash.errors import InputError, MismatchError
from encash.fingerprint import fingerprint


class Ensemble(Encoder):
    """Encoders whose forecasts are averaged.

    The embedding and its identity are those of the first encoder. Forecast and confidence are means over the members.
    An expected value is linear in the probabilities, so the mean of the members' expected returns is the expected
    return under the mean of their probabilities, even if their bins differ. The identity of the forecasts is that of
    all members in order.
    """

    def __init__(self, encoders: Sequence[Encoder]):
        if not encoders:
            raise InputError("an ensemble of no encoders; give at least one")
        first = encoders[0]
        for number, other in enumerate(encoders[1:], start=2):
            _check_member(first.spec, other.spec, number)
        self.members = tuple(encoders)
        self.batch_size = first.batch_size
        self.spec = _joint_spec([encoder.spec for encoder in encoders])
        digests = [encoder.source_digest for encoder in encoders]
        self.source_digest = fingerprint(digests) if all(digests) else None
        self._notify: Callable[[str], None] | None = None
        self.choice = "; ".join(f"{at}: {member.choice}" for at, member in enumerate(encoders, start=1))

    @property
    def device(self) -> str:
        """The device of the first member."""
        return str(getattr(self.members[0], "device", "cpu"))

    @property
    def notify(self) -> Callable[[str], None] | None:
        """Called by the members if something changes during the work."""
        return self._notify

    @notify.setter
    def notify(self, notify: Callable[[str], None] | None) -> None:
        self._notify = notify
        for member in self.members:
            member.notify = notify

    def encode(self, windows: Float32) -> Encoded:
        """Encode windows of shape (n, lookback, num_features); see `Encoder.encode`."""
        results = [member.encode(windows) for member in self.members]
        return Encoded(
            embedding=results[0].embedding,
            forecast=_mean([result.forecast for result in results]),
            confidence=_mean([result.confidence for result in results]),
        )


def _check_member(first: EncoderSpec, other: EncoderSpec, number: int) -> None:
    for name in ("lookback", "horizons"):
        if (ours := getattr(first, name)) != (theirs := getattr(other, name)):
            raise MismatchError(
                f"encoder {number} of the ensemble has {name} {theirs}, the first has {ours}; expected the same"
            )
    other.check_features(first.num_features, first.feature_names)


def _joint_spec(specs: list[EncoderSpec]) -> EncoderSpec:
    ends = [spec.train_end for spec in specs]
    known = [end for end in ends if end is not None]
    return replace(
        specs[0],
        forecast_rule=f"mean over {len(specs)} models, {fingerprint([spec.forecast_fingerprint for spec in specs])}",
        train_end=max(known) if len(known) == len(ends) else None,
    )


def _mean(values: list[Float32]) -> Float32:
    return np.asarray(np.mean(values, axis=0, dtype=np.float64), dtype=np.float32)
