"""What a training run is told: sizes, split, bounds of work. Knows no data and no framework."""

from __future__ import annotations

from dataclasses import dataclass

from encash.arrays import day_text
from encash.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Sizes of a model and the pace at which it learns."""

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
        samples_per_epoch=6144,
        epochs=6,
        dropout=0.0,  # early stopping holds so small a model back; dropout would double its time on a CPU
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


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. Work is bounded by epochs and samples, not by the clock: same run, same bytes."""

    train_end: str
    """Last day that training may see, YYYY-MM-DD; nothing after it is read."""
    preset: str = "tiny"
    """tiny, small or 100m."""
    seed: int = 0
    lookback: int = 60
    """Sessions in a window."""
    epochs: int | None = None
    """At most this many; None takes the preset's. Early stopping may end before."""
    samples_per_epoch: int | None = None
    """Windows drawn for an epoch; None takes the preset's."""
    validation_samples: int = 4096
    """About how many windows the validation takes, in whole sessions spread evenly over its period."""
    validation_share: float = 0.15
    """The last part of the sessions up to `train_end` on which early stopping looks."""
    embargo_sessions: int = 20
    """Sessions between the end of the last training target and the first validation day."""
    patience: int = 2
    """Epochs without a better validation loss after which training stops."""
    weight_decay: float = 0.01
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what no run can be made of.

        Raises:
            InputError: an unknown preset, a day that is none, a bound below 1, a seed below 0, or a share outside
                (0, 1).
        """
        object.__setattr__(self, "train_end", day_text(self.train_end))
        if self.preset not in PRESETS:
            raise InputError(f"preset {self.preset!r} came; expected one of {', '.join(PRESETS)}")
        for name in ("lookback", "epochs", "samples_per_epoch", "validation_samples", "patience"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name} is {value}; expected 1 or more")
        if not 0 < self.validation_share < 1:
            raise InputError(f"validation_share is {self.validation_share}; expected a share between 0 and 1")
        for name in ("embargo_sessions", "seed"):
            if (value := getattr(self, name)) < 0:
                raise InputError(f"{name} is {value}; expected 0 or more")

    @property
    def sizes(self) -> Preset:
        """The preset of that name."""
        return PRESETS[self.preset]

    @property
    def max_epochs(self) -> int:
        """Epochs of this run, if nothing stops it before."""
        return self.epochs or self.sizes.epochs

    @property
    def epoch_samples(self) -> int:
        """Windows in an epoch of this run."""
        return self.samples_per_epoch or self.sizes.samples_per_epoch
