"""What a page may show beside the run itself, as plain values. Knows no file and no other room: whoever compared,
ranked or timed hands over numbers, and what nobody handed over is said to be unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from encash.errors import FormatError


@dataclass(frozen=True, kw_only=True)
class ClusterReturn:
    """What the entries of one cluster earned in the ranking period."""

    cluster: int
    mean_return: float
    """As a fraction, over the horizon."""
    error: float | None = None
    """Standard error of the mean."""
    samples: int | None = None
    best: bool = False
    """Whether the filter keeps it."""


@dataclass(frozen=True, kw_only=True)
class Skill:
    """How well the forecasts of one horizon ranked what followed."""

    horizon: int
    """In sessions."""
    rank_ic: float
    """Mean of the daily rank correlations."""
    t: float | None = None
    """Its t-statistic, robust to overlapping horizons."""
    ic: float | None = None
    icir: float | None = None
    days: int | None = None


@dataclass(frozen=True, kw_only=True)
class Extras:
    """Comparisons on the same days and costs, and whatever else is known. All of it is optional.

    Capitals are final capitals after costs, in the currency of the run.
    """

    no_filter: float | None = None
    """The same strategy without a filter."""
    random_filters: Sequence[float] = ()
    """One capital a draw: filters that keep as many candidates each day as the run did, at random."""
    shuffled_labels: Sequence[float] = ()
    """One capital a draw: the run with its cluster labels shuffled."""
    phases: Sequence[float] = ()
    """The run begun 0, 1, … horizon − 1 sessions later."""
    phase_days: Any = None
    """Sessions of `phase_low` and `phase_high`, days of shape (n,)."""
    phase_low: Any = None
    """Lowest equity over all phases on each session, shape (n,)."""
    phase_high: Any = None
    """Highest equity over all phases on each session, shape (n,)."""
    next_session: float | None = None
    """The run filled one session later."""
    trials: int | None = None
    """Configurations tried before this one was shown."""
    deflated_sharpe: float | None = None
    """Probability that the true Sharpe ratio is above 0, given that many trials (Bailey and López de Prado 2014)."""
    ranking: Sequence[ClusterReturn] = ()
    ranking_horizon: int | None = None
    """Sessions of the returns in `ranking`."""
    skill: Sequence[Skill] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds of the same work done in several ways, as ``{"live": 61.0, "cached": 0.4}``."""
    same_picks: bool | None = None
    """Whether the live and the cached run picked the same."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Extras:
        """Extras from plain JSON values, as a run folder keeps them.

        Raises:
            FormatError: a key that is none of these.

        >>> Extras.from_plain({"no_filter": 101_000.0}).no_filter
        101000.0
        """
        names = {one.name for one in fields(cls)}
        if unknown := sorted(set(plain) - names):
            raise FormatError(f"{unknown[0]!r} is no comparison; expected some of {', '.join(sorted(names))}")
        parts: dict[str, Any] = dict(plain)
        for name, kind in (("ranking", ClusterReturn), ("skill", Skill)):
            parts[name] = tuple(_read(kind, one) for one in parts.get(name, ()))
        return cls(**parts)


def _read(kind: type[Any], plain: Any) -> Any:
    """One row of a table, from a mapping of its fields."""
    try:
        return plain if isinstance(plain, kind) else kind(**plain)
    except TypeError as problem:
        raise FormatError(f"{plain!r} is no {kind.__name__}: {problem}") from None
