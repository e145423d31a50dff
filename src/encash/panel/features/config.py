"""The choice of features."""

from __future__ import annotations

from dataclasses import dataclass

from encash.errors import InputError
from encash.panel.membership import Membership


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Choice of features."""

    feature_set: str = "prices-2"
    """Name in `FEATURE_SETS`. A set never changes; an improvement is a new set."""
    spans: tuple[int, ...] = (1, 2, 3, 5, 10, 20, 60, 120)
    """Lookbacks, in sessions, of returns, volatilities and the like; ascending."""
    scale_span: int = 60
    """Sessions over which the volatility that scales the other features is measured."""
    ranks: bool | None = None
    """Add ranks among the tickers of the day; None for the default of the set: ``prices-1`` ranks among all tickers,
    ``prices-2`` only within a membership."""
    membership: Membership | None = None
    """The universe, point in time, within which ranks are taken; ``prices-2`` and later."""
    max_gap: int | None = None
    """Maximum number of weekdays (Monday to Friday) without a bar within one history; None for no limit. After a longer
    gap, a ticker starts anew: its features warm up again, and no window spans the gap."""

    def __post_init__(self) -> None:
        """Refuse invalid spans.

        Raises:
            InputError: spans that are not ascending, below 1, or all shorter than `scale_span`; a gap below 1.
        """
        if self.spans != tuple(sorted(set(self.spans))) or min(self.spans, default=0) < 1:
            raise InputError(f"spans are {self.spans}; expected ascending numbers of sessions, 1 or more")
        if not 2 <= self.scale_span <= self.longest:
            raise InputError(f"scale_span is {self.scale_span}; expected 2 to {self.longest}, the longest span")
        if self.max_gap is not None and self.max_gap < 1:
            raise InputError(f"max_gap is {self.max_gap}; expected 1 or more weekdays without a bar")

    @property
    def longest(self) -> int:
        """The longest span, which is also the number of a history's first sessions without features (warm-up)."""
        return self.spans[-1]

    def between(self, least: int, below: int | None = None) -> tuple[int, ...]:
        """Return the spans from `least` to below `below` sessions."""
        return tuple(span for span in self.spans if least <= span and (below is None or span < below))
