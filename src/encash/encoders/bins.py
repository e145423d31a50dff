"""Bin edges of a classifier and their unit.

A classifier forecasts Σ softmax(logits) · midpoint of the bin, and the forecast is always a return: 0.01 is +1%. Edges
are price ratios (around 1) in some files, returns (around 0) or percentages (−25 to 25) in others. The unit is given,
or inferred once by a rule that refuses ambiguous edges, and is stored with the encoder in its forecast rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from encash.arrays import Float32, Float64
from encash.errors import FormatError, InputError
from encash.fingerprint import fingerprint

NO_EDGES = "none: no bin edges"
"""The forecast rule of a classifier without known edges."""
UNIFORM = "uniform"
"""The name of edges from −25% to +25% in equal steps, for a classifier whose own edges are lost."""


class Unit(NamedTuple):
    """A unit of bin edges: ``return = value / scale − shift``."""

    scale: float
    shift: float
    lowest: float
    """The edge of a total loss."""
    unchanged: float
    """The edge of an unchanged price."""


UNITS = {
    "return": Unit(scale=1.0, shift=0.0, lowest=-1.0, unchanged=0.0),
    "ratio": Unit(scale=1.0, shift=1.0, lowest=0.0, unchanged=1.0),
    "percent": Unit(scale=100.0, shift=0.0, lowest=-100.0, unchanged=0.0),
}
"""Units of bin edges by name: a return (0.01 is +1%), a price ratio (1.01) or a percentage (1)."""
_ROUNDING = 1e-6
"""Relative tolerance of the lowest edge, which files hold in float32."""


@dataclass(frozen=True, kw_only=True)
class BinEdges:
    """Edges of the bins of a classifier, unchanged, and their unit."""

    edges: Float64
    """Ascending, shape (bins + 1,)."""
    convention: str
    """One of `UNITS`: ratio (price then / price now), return (ratio − 1) or percent (100 · return)."""

    @property
    def returns(self) -> Float32:
        """The midpoint of each bin as a return, shape (bins,).

        >>> settle_edges([0.9, 1.0, 1.1]).returns
        array([-0.05,  0.05], dtype=float32)
        """
        midpoints, unit = (self.edges[:-1] + self.edges[1:]) / 2, UNITS[self.convention]
        return (midpoints / unit.scale - unit.shift).astype(np.float32)

    @property
    def rule(self) -> str:
        """Forecast rule in one line, with the fingerprint of the edges."""
        bins = len(self.edges) - 1
        return f"sum of softmax times midpoint, {bins} bins of {self.convention}s, edges {fingerprint(self.edges)}"


def settle_edges(edges: ArrayLike, *, num_bins: int | None = None, unit: str | None = None) -> BinEdges:
    """Check edges, and their unit or infer it.

    Without a unit, edges that are all above 0 with a median within 0.5 of 1 are price ratios. Edges from −1 or above,
    some below 0, with a median and a median magnitude of at most 0.5 are returns: a lower edge would be a loss of more
    than 100%, and if half of the bins are beyond ±50%, they are percentages. Anything else is refused rather than
    guessed. Edges of a given unit must be on both sides of an unchanged price, and not below a total loss.

    Args:
        edges: shape (num_bins + 1,), ascending.
        num_bins: bins of the model; None accepts any number.
        unit: return, ratio or percent; None infers return or ratio.

    Raises:
        FormatError: a different shape or number of edges, not finite, not ascending, of no unit, or impossible in the
            given one.
        InputError: an unknown unit.

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
    return BinEdges(edges=found, convention=_inferred(found) if unit is None else _checked(found, unit))


def unit_of_rule(rule: str) -> str | None:
    """Return the unit of the edges in a forecast rule; None without edges.

    >>> unit_of_rule(uniform_edges(100).rule), unit_of_rule(NO_EDGES)
    ('return', None)
    """
    found = re.match(r"sum of softmax times midpoint, \d+ bins of (\w+)s, ", rule)
    return found[1] if found else None


def uniform_edges(num_bins: int) -> BinEdges:
    """Return edges from −25% to +25% in equal steps; a forecast based on them should be labeled as such."""
    return BinEdges(edges=np.linspace(-0.25, 0.25, num_bins + 1), convention="return")


def _checked(edges: Float64, unit: str) -> str:
    """Return the unit if the edges are possible in it."""
    if unit not in UNITS:
        raise InputError(f"invalid unit of bin edges {unit!r}: expected one of {', '.join(UNITS)}")
    _, _, lowest, unchanged = UNITS[unit]
    if edges[0] < lowest - _ROUNDING * max(1.0, abs(lowest)) or not edges[0] < unchanged < edges[-1]:
        raise FormatError(
            f"the bin edges run from {edges[0]:.4g} to {edges[-1]:.4g}, which cannot be in the unit {unit!r}: expected "
            f"edges from {lowest:g} or above, on both sides of {unchanged:g}; give a different --bin-unit or file"
        )
    return unit


def _inferred(edges: Float64) -> str:
    """Return ratio or return."""
    median = float(np.median(edges))
    if edges[0] > 0 and abs(median - 1) <= 0.5:
        return "ratio"
    if -1 - _ROUNDING <= edges[0] < 0 and abs(median) < 0.5 and float(np.median(np.abs(edges))) <= 0.5:
        return "return"
    raise FormatError(
        f"the bin edges run from {edges[0]:.4g} to {edges[-1]:.4g} with a median of {median:.4g}: neither price ratios "
        "(all above 0, median near 1) nor returns (from -1 to 0 or above, sizes of at most 0.5 in half of the bins); "
        "if they are percentages, give --bin-unit percent, else the right --bin-edges or --bin-unit"
    )
