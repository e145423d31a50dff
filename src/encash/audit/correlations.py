"""Checks of features by their correlation with future sessions, which need no code that computes the features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from encash.audit.alarms import (
    FEWEST_SESSIONS,
    FEWEST_TICKERS,
    JUMP,
    PROFILE,
    AlarmPanel,
    Finding,
    profile,
    worst_of_cross_sections,
    worst_of_tickers,
)
from encash.audit.subject import Check, Subject
from encash.errors import InputError
from encash.panel import ArraySource, Panel, PriceTable, ScoreTable
from encash.progress import Progress

_ACROSS, _WITHIN = "correlation with future returns", "each ticker's own future"


def correlation_checks(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Correlate each feature with later sessions, across the tickers of a day and over time within each ticker."""
    yield from _checks("features", AlarmPanel(panel=subject.panel, prices=subject.prices))


def score_checks(scores: ScoreTable, prices: PriceTable) -> Iterator[Check]:
    """Correlate a table of scores with later sessions, as features are, and its confidences if they vary.

    Raises:
        InputError: no ticker has both scores and prices.
    """
    columns = {"score": scores.score}
    if (scores.confidence[np.isfinite(scores.score)] != 1).any():
        columns |= {"confidence": scores.confidence, "score × confidence": scores.score * scores.confidence}
    values, finite, priced = np.stack(list(columns.values()), axis=-1), np.isfinite(scores.score), set(prices.tickers)
    rows = {
        ticker: (scores.days[finite[:, at]], values[finite[:, at], at])
        for at, ticker in enumerate(scores.tickers.tolist())
        if finite[:, at].any() and ticker in priced
    }
    if not rows:
        raise InputError("no ticker has both scores and prices; give files of the same tickers")
    yield from _checks("scores", AlarmPanel(panel=Panel(ArraySource(rows, tuple(columns))), prices=prices))
    yield Check.not_tried(
        "scores: truncation and poison",
        "a table does not say how its scores are computed, so they were not computed again on prices that end earlier: "
        "a leak from the whole history, such as a mean over it, or from a few days, correlates too little to be found "
        "(--allow-untried)",
    )


def forecast_checks(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Test the scores that rank, if the forecasts are scores."""
    if isinstance(subject.forecasts, ScoreTable):
        yield from score_checks(subject.forecasts, subject.prices)


def _checks(what: str, data: AlarmPanel) -> Iterator[Check]:
    across, within = (f"{what}: {rest}" for rest in (_ACROSS, _WITHIN))
    found = worst_of_cross_sections(data)
    if found is None:
        detail = f"fewer than {FEWEST_SESSIONS} days on which {FEWEST_TICKERS} tickers vary"
        yield Check.not_applicable(across, detail)
    else:
        yield _judged(across, data, found)
    found = worst_of_tickers(data)
    if found is None:
        detail = f"no ticker has {FEWEST_SESSIONS} sessions over which it varies; give a longer history"
        yield Check.not_tried(within, detail)
    else:
        yield _judged(within, data, found)


def _judged(name: str, data: AlarmPanel, found: Finding) -> Check:
    """Describe the finding that comes nearest to its limits, and the profile of one that exceeds them."""
    feature = data.name_of(found.feature)
    owner = "" if found.ticker is None else f" of {data.tickers[found.ticker]}"
    target = "the size of the return" if found.sized else "the return"
    kind = "mean daily rank correlation" if found.ticker is None else "correlation"
    text = (
        f"{feature}{owner} has a {kind} of {found.correlation:+.3f} per session with {target} of {found.window}"
        f"{f' {found.part}' if found.part else ''} "
        f"(t {found.t:+.1f}, significant above {found.critical:.1f})"
    )
    if found.excess <= 1:
        return Check.judged(name, True, f"no jump at a later session; the nearest to one: {text}")
    values = " ".join(f"{value:+.2f}" for value in profile(data, found))
    stops = f"; more than {JUMP:.0%} of it is gone right after" if found.window.length == 1 else ""
    detail = (
        f"{text}, which its past does not explain{stops}: look-ahead bias; profile from t-{PROFILE} to "
        f"t+{PROFILE}: {values}"
    )
    return Check.judged(name, False, detail)
