"""Centers and scales of features, estimated so that a few extreme values do not matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encash.arrays import Float32, Float64

LIMIT = 6.0
"""Standard deviations at which a standardized feature is clipped."""
TAIL = 0.005
"""Fraction of the values at either end that are clipped to their quantile before mean and deviation are estimated."""
MOST_ROWS = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Standardizer:
    """Center and scale of each feature."""

    center: Float64
    """shape (F,)."""
    scale: Float64
    """Above 0, shape (F,); 1 for a feature that is constant."""

    def apply(self, values: Float32) -> Float32:
        """Return standardized values, clipped; rows with NaN become 0, because no window holds them."""
        standard = (values - self.center.astype(np.float32)) / self.scale.astype(np.float32)
        return np.clip(np.nan_to_num(standard, nan=0.0), -LIMIT, LIMIT)


def fit_standardizer(values: Float32) -> Standardizer:
    """Estimate center and scale from finite rows, winsorized; shape (n, F).

    >>> found = fit_standardizer(np.array([[1.0]] * 500 + [[3.0]] * 500 + [[1e9]], dtype=np.float32))
    >>> found.center.round(3).tolist(), found.scale.round(3).tolist()
    ([2.001], [1.0])
    """
    some = values[:: max(1, len(values) // MOST_ROWS)].astype(np.float64)
    low, high = np.quantile(some, [TAIL, 1 - TAIL], axis=0)
    some = np.clip(some, low, high)
    center, scale = some.mean(axis=0), some.std(axis=0)
    tiny = 1e-6 * np.maximum(np.abs(center), 1e-6)
    return Standardizer(center=center, scale=np.where(scale > tiny, scale, 1.0))
