"""Gradient-boosted trees on embeddings, by LightGBM; for nonlinear forecasts.

The number of trees is chosen on the fourth of five blocks of sessions, and the skill is measured on the fifth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from encash.arrays import Bool, Float32, Float64
from encash.errors import FormatError, MissingExtraError
from encash.heads.config import HeadConfig
from encash.heads.samples import BLOCKS, EntryReader, Sample, Targets, thinned
from encash.heads.skill import HeldOut

try:
    import lightgbm
except (ImportError, OSError) as error:  # OSError: the system lacks OpenMP's library (libgomp)
    raise MissingExtraError(
        f"a boosted head needs LightGBM ({error}); pip install 'encash[boosted]', or fit a ridge head (--kind ridge)"
    ) from None

MOST_TREES, PATIENCE = 300, 30
"""Trees of a horizon, and how many of them may bring nothing before it stops."""
SETTINGS = {
    "objective": "regression",
    "num_leaves": 15,
    "learning_rate": 0.03,
    "feature_fraction": 0.5,
    "lambda_l2": 10.0,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
LEAST_IN_LEAF = 200
"""Entries in a leaf, or a hundredth of all if that is more: returns are mostly noise."""
_NAME = "trees_{}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Boosted:
    """A forecast of excess returns by trees."""

    dim: int
    """Dimensions of a vector."""
    models: tuple[str, ...]
    """One for each of H horizons, in LightGBM's text format."""

    @cached_property
    def _boosters(self) -> list[Any]:
        try:
            return [lightgbm.Booster(model_str=text) for text in self.models]
        except lightgbm.basic.LightGBMError as error:
            raise FormatError(f"the trees of the head cannot be read ({error}); fit the head again") from None

    def predict(self, vectors: Float32) -> Float64:
        """Return forecasts of shape (n, H) for vectors of shape (n, d)."""
        if not len(vectors):
            return np.empty((0, len(self.models)))
        forecasts: Float64 = np.stack([booster.predict(vectors) for booster in self._boosters], axis=1)
        return forecasts

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that `from_arrays` takes."""
        trees = {_NAME.format(at): np.frombuffer(text.encode(), np.uint8) for at, text in enumerate(self.models)}
        return {"dim": np.int64(self.dim), **trees}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Boosted:
        """Return the forecast with some arrays."""
        names = [_NAME.format(at) for at in range(len(arrays) - 1)]
        return cls(dim=int(arrays["dim"]), models=tuple(arrays[name].tobytes().decode() for name in names))


def fit_boosted(read: EntryReader, targets: Targets, config: HeadConfig) -> tuple[Boosted, list[HeldOut]]:
    """Fit trees for each horizon.

    Args:
        read: reads entries.
        targets: their returns.
        config: the maximum number of entries, and the seed.

    Returns:
        The fit on all entries; and the entries of the last block, forecast by a fit on the earlier blocks.

    Raises:
        InputError: no entries with known returns.
    """
    sample = thinned(read, targets, config.max_entries)
    choosing, measuring = sample.block == BLOCKS - 2, sample.block == BLOCKS - 1
    before = (sample.block >= 0) & ~choosing & ~measuring
    every = np.ones(len(sample), dtype=np.bool_)
    models, held_out = [], []
    for horizon in range(len(targets.level)):
        tried = _train(sample, horizon, before, config.seed, MOST_TREES, stop_on=choosing)
        trees = max(1, tried.best_iteration)
        earlier = _train(sample, horizon, before | choosing, config.seed, trees)
        held_out.append(earlier.predict(sample.vectors[measuring]))
        models.append(_train(sample, horizon, every, config.seed, trees).model_to_string())
    fitted = Boosted(dim=sample.vectors.shape[1], models=tuple(models))
    return fitted, [HeldOut(sample.take(measuring), np.stack(held_out, axis=1))]


def _train(sample: Sample, horizon: int, rows: Bool, seed: int, trees: int, *, stop_on: Bool | None = None) -> Any:
    """Train on some entries; with `stop_on`, until more trees no longer reduce the error on those."""
    settings = {**SETTINGS, "seed": seed, "min_data_in_leaf": max(LEAST_IN_LEAF, int(rows.sum()) // 100)}
    data = lightgbm.Dataset(sample.vectors[rows], sample.excess[rows, horizon])
    if stop_on is None:
        return lightgbm.train(settings, data, num_boost_round=trees)
    other = lightgbm.Dataset(sample.vectors[stop_on], sample.excess[stop_on, horizon], reference=data)
    patience = lightgbm.early_stopping(PATIENCE, verbose=False)
    return lightgbm.train(settings, data, num_boost_round=trees, valid_sets=[other], callbacks=[patience])
