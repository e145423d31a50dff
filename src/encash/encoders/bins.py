"""Bin edges of a classifier and their convention.

A classifier forecasts Σ softmax(logits) · midpoint of the bin. Edges are price ratios (around 1) in some files and
returns (around 0) in others; the convention is inferred once from the edges and stored with the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from encash.arrays import Float32, Float64
from encash.errors import FormatError
from encash.fingerprint import fingerprint

NO_EDGES = "none: no bin edges"
"""The forecast rule of a classifier without known edges."""
UNIFORM = "uniform"
"""The name of edges from −25% to +25% in equal steps, for a classifier whose own edges are lost."""


@dataclass(frozen=True, kw_only=True)
class BinEdges:
    """Edges of the bins of a classifier, unchanged, and their convention."""

    edges: Float64
    """Ascending, shape (bins + 1,)."""
    convention: str
    """ratio (price then / price now) or return (ratio − 1)."""

    @property
    def returns(self) -> Float32:
        """The midpoint of each bin as a return, shape (bins,).

        >>> settle_edges([0.9, 1.0, 1.1]).returns
        array([-0.05,  0.05], dtype=float32)
        """
        midpoints = (self.edges[:-1] + self.edges[1:]) / 2
        return (midpoints - (1.0 if self.convention == "ratio" else 0.0)).astype(np.float32)

    @property
    def rule(self) -> str:
        """Forecast rule in one line, with the fingerprint of the edges."""
        bins = len(self.edges) - 1
        return f"sum of softmax times midpoint, {bins} bins of {self.convention}s, edges {fingerprint(self.edges)}"


def settle_edges(edges: ArrayLike, *, num_bins: int | None = None) -> BinEdges:
    """Check edges and infer their convention.

    Edges that are all above 0 with a median within 0.5 of 1 are price ratios; edges with a median within 0.5 of 0, some
    below 0, are returns. Anything else is refused rather than guessed.

    Args:
        edges: shape (num_bins + 1,), ascending.
        num_bins: bins of the model; None accepts any number.

    Raises:
        FormatError: a different shape or number of edges, not finite, not ascending, or in neither convention.

    >>> settle_edges([-0.1, 0.0, 0.1]).convention
    'return'
    """
    try:
        found = np.asarray(edges, dtype=np.float64)
    except (TypeError, ValueError):
        raise FormatError(
            f"invalid bin edges of type {type(edges).__name__}: expected one row of numbers, such as 101 edges"
        ) from None
    if found.ndim != 1 or len(found) < 2 or (num_bins is not None and len(found) != num_bins + 1):
        wanted = "2 or more" if num_bins is None else f"{num_bins + 1} ({num_bins} bins of the model)"
        raise FormatError(f"invalid bin edges of shape {found.shape}: expected one row of {wanted}")
    if not np.isfinite(found).all() or (np.diff(found) < 0).any() or found[0] == found[-1]:
        raise FormatError("the bin edges are not finite and ascending; compute them again from the training data")
    return BinEdges(edges=found, convention=_convention(found))


def uniform_edges(num_bins: int) -> BinEdges:
    """Return edges from −25% to +25% in equal steps; a forecast based on them should be labeled as such."""
    return BinEdges(edges=np.linspace(-0.25, 0.25, num_bins + 1), convention="return")


def _convention(edges: Float64) -> str:
    median = float(np.median(edges))
    if edges[0] > 0 and abs(median - 1) <= 0.5:
        return "ratio"
    if edges[0] < 0 and abs(median) < 0.5:
        return "return"
    raise FormatError(
        f"the bin edges run from {edges[0]:.4g} to {edges[-1]:.4g} with a median of {median:.4g}: neither price ratios "
        "(all above 0, median near 1) nor returns (some below 0, median near 0); give the right file with --bin-edges"
    )
