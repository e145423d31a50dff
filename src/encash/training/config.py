"""Configuration of a training run: sizes of the model, split by date, limits of the work."""

from __future__ import annotations

from dataclasses import dataclass

from encash.arrays import day_text
from encash.errors import InputError
from encash.metrics import DELISTING_POLICIES, Delisting


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Sizes of a model and its learning schedule."""

    hidden_dim: int
    num_layers: int
    num_heads: int
    learning_rate: float
    batch_size: int
    samples_per_epoch: int
    epochs: int
    dropout: float = 0.15


PRESETS = {
    "tiny": Preset(
        hidden_dim=96,
        num_layers=2,
        num_heads=4,
        learning_rate=1e-3,
        batch_size=128,
        samples_per_epoch=4096,
        epochs=6,
        dropout=0.0,  # early stopping regularizes so small a model; dropout would double its time on a CPU
    ),
    "small": Preset(
        hidden_dim=256,
        num_layers=4,
        num_heads=8,
        learning_rate=3e-4,
        batch_size=128,
        samples_per_epoch=32768,
        epochs=10,
    ),
    "100m": Preset(
        hidden_dim=1024,
        num_layers=10,
        num_heads=16,
        learning_rate=1e-4,
        batch_size=64,
        samples_per_epoch=131072,
        epochs=10,
    ),
}
"""Sizes and training settings by name: tiny, small, 100m."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run, limited by epochs and samples rather than time, so that it is reproducible bit by bit."""

    train_end: str
    """Last day seen by training, YYYY-MM-DD; nothing after it is read."""
    preset: str = "tiny"
    """tiny, small or 100m."""
    seed: int = 0
    lookback: int = 60
    """Sessions in a window."""
    epochs: int | None = None
    """Maximum number of epochs, before early stopping; None uses the preset's."""
    samples_per_epoch: int | None = None
    """Windows drawn per epoch; None uses the preset's."""
    validation_samples: int = 4096
    """Approximate number of windows to choose on, and to report on: of sessions spread evenly over either period."""
    validation_share: float = 0.15
    """Fraction of the sessions up to `train_end` that is held out at its end: the first half chooses the epoch and
    calibrates, the second half is for the reported figures."""
    embargo_sessions: int = 20
    """Sessions between the end of the last training target and the first validation day."""
    patience: int = 2
    """Epochs without an improvement after which training stops."""
    weight_decay: float = 0.01
    device: str = "auto"
    delisting: Delisting = "last"
    """Policy for returns of tickers that stop trading within the horizon."""
    tickers: tuple[str, ...] | None = None
    """Only these; None takes all with features and prices."""
    num_stocks: int | None = None
    """The last N of them by name."""

    def __post_init__(self) -> None:
        """Refuse invalid settings.

        Raises:
            InputError: an unknown preset, an invalid day, a limit below 1, a seed below 0, or a share outside (0, 1).
        """
        object.__setattr__(self, "train_end", day_text(self.train_end))
        if self.preset not in PRESETS:
            raise InputError(f"invalid preset {self.preset!r}: expected one of {', '.join(PRESETS)}")
        for name in ("lookback", "epochs", "samples_per_epoch", "validation_samples", "patience", "num_stocks"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name} is {value}; expected 1 or more")
        if self.delisting not in DELISTING_POLICIES:
            raise InputError(f"invalid delisting policy {self.delisting!r}: expected {', '.join(DELISTING_POLICIES)}")
        if not 0 < self.validation_share < 1:
            raise InputError(f"validation_share is {self.validation_share}; expected a number between 0 and 1")
        for name in ("embargo_sessions", "seed"):
            if (value := getattr(self, name)) < 0:
                raise InputError(f"{name} is {value}; expected 0 or more")

    @property
    def sizes(self) -> Preset:
        """Preset of the run."""
        return PRESETS[self.preset]

    @property
    def max_epochs(self) -> int:
        """Maximum number of epochs of the run."""
        return self.epochs or self.sizes.epochs

    @property
    def epoch_samples(self) -> int:
        """Windows per epoch of the run."""
        return self.samples_per_epoch or self.sizes.samples_per_epoch
