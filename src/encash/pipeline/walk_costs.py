"""The costs of a walk over encoders, before it starts."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encash import training
from encash.pipeline.caches import load_measured
from encash.pipeline.encoder_walk import EncoderWalk, EncoderWork
from encash.pipeline.walk_schedule import Stretch

if TYPE_CHECKING:
    from encash.encoders import Encoder
    from encash.panel import Panel


@dataclass(frozen=True, kw_only=True)
class EncoderCosts:
    """Costs of one encoder of a walk."""

    stretch: Stretch
    windows: int
    """Most windows that its training draws; 0 if it is trained."""
    entries: int
    """Entries to encode."""
    valid: int
    """Entries that are there."""
    bytes_estimate: int
    """Size of the new entries on disk."""
    train_seconds: float
    """Of the most windows; the fit of the ridge regression at the start, and of the clusters, are not counted."""
    encode_seconds: float


@dataclass(frozen=True, kw_only=True)
class WalkCosts:
    """Costs of a walk, measured on an untrained model of the same sizes."""

    encoders: tuple[EncoderCosts, ...]
    train_rate: float
    """Windows per second in training."""
    encode_rate: float
    """Entries per second."""
    peak_memory_bytes: int
    """The largest of the builds."""

    def totals(self) -> dict[str, Any]:
        """Return the sums over the encoders, under the keys of ``encash walk --plan --json``."""
        names = ("windows", "entries", "valid", "bytes_estimate", "train_seconds", "encode_seconds")
        sums = {name: sum(getattr(one, name) for one in self.encoders) for name in names}
        seconds = sums["train_seconds"] + sums["encode_seconds"]
        return {**sums, "seconds_estimate": seconds, "peak_memory_bytes": self.peak_memory_bytes}

    def rows(self) -> list[dict[str, Any]]:
        """Return the days and costs of each encoder."""
        rows = [asdict(one) for one in self.encoders]
        return [{**row.pop("stretch"), **row} for row in rows]


def plan_walk(walk: EncoderWalk) -> WalkCosts:
    """Plan a walk: nothing is trained or encoded, and what is there and still valid costs nothing."""
    config = walk.encoders[0].config.train
    with tempfile.TemporaryDirectory() as folder:
        untrained = Path(folder) / "untrained.pt"
        train_rate = training.measure_training(config, walk.panel.num_features, untrained)
        encoder = load_measured(replace(walk.sources, model=str(untrained)))
    found = [_costs(work, walk.panel, encoder, train_rate) for work in walk.encoders]
    assert encoder.entries_per_second is not None
    return WalkCosts(
        encoders=tuple(costs for costs, _ in found),
        train_rate=train_rate,
        encode_rate=encoder.entries_per_second,
        peak_memory_bytes=max(peak for _, peak in found),
    )


def _costs(work: EncoderWork, panel: Panel, encoder: Encoder, train_rate: float) -> tuple[EncoderCosts, int]:
    """Return the costs of one encoder, and the peak memory of its build."""
    from encash.cache import Cache

    cache = Cache.at(str(work.cache))
    spec = cache.encoder_spec if work.trained and cache.exists else None
    plan = (cache if spec else Cache(str(work.cache), None)).plan(
        panel, encoder if spec is None else spec, work.selection, dtype=work.config.dtype
    )
    windows = 0 if work.trained else work.config.train.epoch_samples * work.config.train.max_epochs
    rate = encoder.entries_per_second or 1.0
    costs = EncoderCosts(
        stretch=work.stretch,
        windows=windows,
        entries=plan.to_compute,
        valid=plan.valid,
        bytes_estimate=plan.bytes_estimate,
        train_seconds=windows / train_rate,
        encode_seconds=plan.to_compute / rate,
    )
    return costs, plan.peak_memory_bytes
