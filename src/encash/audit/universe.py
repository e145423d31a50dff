"""The universe of an audit: a list of survivors is a choice that knew the future."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from encash.audit.subject import Check, Subject
from encash.metrics import SESSIONS_PER_YEAR
from encash.progress import Progress

USUAL_DEATHS = 0.02
"""Fraction of listed companies that stop trading per year, by mergers and bankruptcies: at least two percent even among
the largest ones."""
LEAST_EXPECTED = 3.0
"""Number of usual deaths from which on the absence of any is suspicious: it has a probability of 5%."""
RECENT = 20
"""Sessions before the end in which a ticker without a price may only have paused."""


def survivor_check(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Count the tickers that stop trading; a universe in which none ever does was chosen at its end."""
    name, prices = "universe: tickers that stop trading", subject.prices
    traded = np.isfinite(prices.close)
    held = traded.any(axis=0)
    last = len(traded) - 1 - traded[::-1].argmax(axis=0)
    ended = int((held & (last < len(traded) - RECENT)).sum())
    expected = USUAL_DEATHS * float(traded.sum()) / SESSIONS_PER_YEAR
    detail = f"{ended:,} of {int(held.sum()):,} tickers stop trading; at least {expected:.1f} usually do"
    warning = (
        f"no ticker ever stops trading, where {expected:.0f} or more usually do: a list of survivors, chosen with "
        "hindsight? Every strategy on it looks better than it was; add delisted tickers, or give --membership"
    )
    yield Check.judged(name, True, detail, warning=warning if not ended and expected >= LEAST_EXPECTED else "")
