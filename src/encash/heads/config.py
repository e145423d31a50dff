"""Settings of a forecast head."""

from __future__ import annotations

from dataclasses import dataclass

from encash.arrays import DayLike
from encash.errors import InputError
from encash.metrics import Delisting


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Settings of a forecast head. `end` has no default: it limits the data that a head may use.

    Raises:
        InputError: an invalid value; the message names it and what was expected.
    """

    end: DayLike
    """Last day of data: an entry counts only if its longest forward return has ended by then."""
    horizons: tuple[int, ...] = (1, 5, 10, 20)
    """Sessions ahead, ascending."""
    kind: str = "ridge"
    """A name of `encash.heads.registry.KINDS`."""
    start: DayLike | None = None
    """First day of entries; None takes all."""
    every: int | None = None
    """Sessions from one refit to the next, up to `end`; None fits once."""
    history: int = 504
    """Sessions before the end of the first refit."""
    embargo: int | None = None
    """Sessions from the last data of a head to the first day on which it is used; None takes the longest horizon,
    which is also the minimum."""
    delisting: Delisting = "last"
    """Policy for entries whose ticker stops trading within the horizon."""
    winsorize: tuple[float, float] | None = (0.005, 0.995)
    """Forward returns are winsorized at these quantiles; None does not winsorize."""
    max_entries: int = 200_000
    """Maximum number of entries that a boosted head is fitted on; every n-th session is taken."""
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizons", tuple(sorted(set(self.horizons))))
        if not self.horizons or self.horizons[0] < 1:
            raise InputError(f"horizons are {list(self.horizons)}; expected one or more numbers of sessions from 1")
        least = {"every": 1, "history": 1, "embargo": self.longest, "max_entries": 1000}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise InputError(f"{name} is {value}; expected {smallest} or more")

    @property
    def longest(self) -> int:
        """The longest horizon."""
        return self.horizons[-1]

    @property
    def gap(self) -> int:
        """Sessions between the last data of a head and its first use."""
        return self.longest if self.embargo is None else self.embargo
