"""Checks of the features: computed again from prices, and unchanged by the prices after a day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

import numpy as np

from encash.arrays import Bool, Days, Float32
from encash.audit.makers import MakerFailed, features_of, maker_of
from encash.audit.poison import cut_bars, poisoned_bars, rescaled_bars
from encash.audit.subject import Check, FeatureMaker, Features, Subject
from encash.panel import Bars, PriceTable
from encash.progress import Progress

TOLERANCE = 1e-6
"""Largest difference of two computations of one value, relative to values above 1: the order of a sum."""
STORED = 1e-3
"""The same if the features come from stored prices, which are rounded to float32: 6e-8 of a price, a thousand times as
much of a session's usual move."""
STORED_RANK = 0.02
"""The same of a rank, which rounding can swap with its neighbors'."""
SWAPPED = 1e-3
"""Fraction of a ticker's ranks that may differ by more, because rounding separates equal values."""
LEVEL = 1e-3
"""A feature depends on the level of prices if a factor on all prices changes at least this fraction of its values."""
MOST_OWN_DAYS, MOST_REPEATS = 200, 8
"""Days of single tickers at which the future is replaced, and calls of the function for that, at most."""
_NEVER = np.datetime64("0001-01-01")
_SAME, _PAST, _LEVEL = "features: reproduced from prices", "features: truncation and poison", "features: later splits"
FIX = "give the table from which yours were prepared (--raw PRICES), or the function (--features-by module:function)"


def feature_checks(subject: Subject, progress: Progress | None = None) -> Iterator[Check]:
    """Compute the features of the panel again; without the prices after a day, and with poisoned ones.

    The proof is about the features of the panel: if these cannot be computed again, it is not tried. A function that
    the caller names is tested in any case.
    """
    bars = _closes(subject.prices) if subject.bars is None else subject.bars
    make = subject.make_features or maker_of(subject.panel, bars)
    if make is None:
        detail = f"encash prepare computes different features from these prices; {FIX}"
        yield from (Check.not_tried(name, detail) for name in (_SAME, _PAST))
        return
    with suppress(MakerFailed):  # a function that remembers the first prices it sees must not see all of them first
        features_of(make, cut_bars(bars, subject.cut_days()[0]))
    try:
        whole = features_of(make, bars)
    except MakerFailed as error:
        yield from (Check.not_tried(name, f"{error}; {FIX}") for name in (_SAME, _PAST))
        return
    reproduced = _reproduction(subject, whole)
    yield reproduced
    if reproduced.passed or subject.make_features is not None:
        yield _truncation(subject, make, bars, whole, theirs=bool(reproduced.passed))
        yield _level(subject, make, bars, whole)
    else:
        yield Check.not_tried(_PAST, f"the features of the panel are not those of these prices; {FIX}")


def _reproduction(subject: Subject, made: Features) -> Check:
    """Compare the features of the panel with those that are made again: up to rounding if the table behind them is
    given, otherwise up to the precision of stored prices."""
    panel, exact = subject.panel, subject.bars is not None
    different, rounded = list[str](), 0
    ranks = np.array([name.startswith("rank_") for name in panel.feature_names or [""] * panel.num_features])
    for ticker in panel.tickers:
        rows = panel.rows((ticker,))
        days, values = made.get(ticker, (rows.days[:0], rows.values[:0]))
        known = days <= (rows.days[-1] if len(rows.days) else _NEVER)  # the prices may have grown since
        days, values = days[known], values[known]
        if rows.values.tobytes() == values.tobytes() and np.array_equal(rows.days, days):
            continue
        rounded += 1
        if (
            not np.array_equal(rows.days, days)
            or rows.values.shape != values.shape
            or not (_agree(rows.values, values).all() if exact else _agree_as_stored(rows.values, values, ranks))
        ):
            different.append(ticker)
    if not different:
        how = "bit for bit" if not rounded else f"{rounded} of them up to the rounding of stored prices"
        return Check.judged(_SAME, True, f"the features of {len(panel.tickers)} tickers are the same, {how}")
    detail = f"{len(different)} of {len(panel.tickers)} tickers differ, {different[0]} first"
    if exact or subject.make_features is not None:
        return Check.judged(_SAME, False, f"{detail}: this function does not reproduce the features from these prices")
    return Check.not_tried(_SAME, f"{detail}, from those that encash prepare makes of the closes; {FIX}")


def _truncation(
    subject: Subject, make: FeatureMaker, bars: Mapping[str, Bars], whole: Features, *, theirs: bool
) -> Check:
    """Compare the features up to random days with those of prices that end there, or are noise from there on."""
    extra = list[np.datetime64]()
    if subject.make_features is not None:
        extra = [*_suspicious_days(subject, make, bars, whole), *_days_of_change(subject, bars)]
    chosen, moved = set(subject.cut_days()), list[str]()
    days = np.unique([*chosen, *extra])
    alive = np.zeros(max(values.shape[1] for _, values in whole.values()), dtype=np.bool_)
    for day in days:
        for how, changed in (("cut", cut_bars(bars, day)), ("poisoned", poisoned_bars(bars, day, subject.seed))):
            try:
                again = features_of(make, changed)
            except MakerFailed as error:
                if day not in chosen:  # a function may need more history than it has on an extra day
                    continue
                return Check.not_tried(_PAST, f"{error} (prices {how} at {day}); make it work on a shorter history")
            moved += [f"{ticker} {how} at {day}: {why}" for ticker, why in _moved(whole, again, day, cut=how == "cut")]
            if how == "poisoned":
                alive |= _changed_after(whole, again, day, len(alive))
    if moved:
        return Check.judged(_PAST, False, f"changed: {'; '.join(moved[:3])}, {len(moved)} in total")
    return _unmoved(subject, days, alive, theirs=theirs)


def _unmoved(subject: Subject, days: Days, alive: Bool, *, theirs: bool) -> Check:
    """Judge features that did not change; `alive` marks those that noise changes at all, shape (F,)."""
    if not alive.any():
        return Check.not_tried(_PAST, "noise in the prices changes no feature at all: the function does not use them")
    if not theirs:
        return Check.not_tried(_PAST, "the function uses the past only, and the features of the panel are not its own")
    detail = f"no feature changed up to {', '.join(map(str, days))}"
    if subject.make_features is not None:
        detail += ", nor up to a random day of each ticker"
    return Check.judged(_PAST, True, detail, warning=_not_of_prices(subject, alive))


def _not_of_prices(subject: Subject, alive: Bool) -> str:
    """Describe the features that no price changes, of which the proof says nothing; empty without any."""
    names = subject.panel.feature_names
    dead = [names[at] if names and at < len(names) else f"number {at}" for at in np.flatnonzero(~alive)]
    if not dead:
        return ""
    return (
        f"{', '.join(dead[:5])}{', …' if len(dead) > 5 else ''} do not depend on the prices that the function is "
        "called with (a file, a constant, the calendar?): truncation proves nothing about them"
    )


def _days_of_change(subject: Subject, bars: Mapping[str, Bars]) -> list[np.datetime64]:
    """Draw days on the eve of a change of the universe: the last one of a ticker, or the one before its first."""
    days = np.unique(np.concatenate([own.days for own in bars.values()]))
    last = {own.days[-1] for own in bars.values()} - {days[-1]}
    first = {days[np.searchsorted(days, own.days[0]) - 1] for own in bars.values() if own.days[0] > days[0]}
    eves = np.array(sorted(last | first), dtype=days.dtype)
    random = np.random.default_rng(subject.seed)
    return list(random.choice(eves, size=min(subject.days, len(eves)), replace=False))


def _suspicious_days(
    subject: Subject, make: FeatureMaker, bars: Mapping[str, Bars], whole: Features
) -> list[np.datetime64]:
    """Poison each ticker after a random day of its own, and return days up to which a ticker's features changed.

    A leak of one month is missed by a few common days, and found by hundreds of these. A feature may also have changed
    by the past of other tickers, such as a rank; the common cut at these days tells one from the other.
    """
    random, found = np.random.default_rng(subject.seed), list[np.datetime64]()
    for repeat in range(min(MOST_REPEATS, -(-MOST_OWN_DAYS // len(bars)))):
        own = {ticker: one.days[random.integers(len(one.days))] for ticker, one in bars.items()}
        try:
            again = features_of(make, poisoned_bars(bars, own, subject.seed + repeat))
        except MakerFailed:
            continue
        nothing = (np.empty(0, dtype="datetime64[D]"), np.empty((0, 0), dtype=np.float32))
        found += [
            day
            for ticker, day in own.items()
            if ticker in whole and _difference(whole[ticker], again.get(ticker, nothing), day)
        ]
        if len(found) >= subject.days:
            break
    return found[: subject.days]


def _level(subject: Subject, make: FeatureMaker, bars: Mapping[str, Bars], whole: Features) -> Check:
    """Find features that change if a ticker's whole history is rescaled, as a later split rescales adjusted prices."""
    try:
        again = features_of(make, rescaled_bars(bars))
    except MakerFailed as error:
        return Check.not_tried(_LEVEL, f"{error} (prices divided by 2); the function must work on any level of prices")
    changed = np.zeros(0)
    for ticker, (days, values) in whole.items():
        other = again.get(ticker)
        if other is not None and np.array_equal(days, other[0]) and values.shape == other[1].shape:
            scale = np.maximum(1.0, np.abs(values))
            moved = np.abs(values - other[1]) > LEVEL * scale
            changed = moved.mean(axis=0) if not changed.size else np.maximum(changed, moved.mean(axis=0))
    names = subject.panel.feature_names
    found = [names[at] if names and at < len(names) else f"number {at}" for at in np.flatnonzero(changed > LEVEL)]
    if not found:
        return Check.judged(_LEVEL, True, "no feature depends on the level of prices, which later splits rescale")
    detail = f"{', '.join(found[:5])} depend on the level of prices"
    knows = "prices that are adjusted for later splits and dividends tell it about them"
    if subject.adjusted:
        return Check.judged(_LEVEL, False, f"{detail}, and these prices are adjusted: {knows}")
    return Check.judged(_LEVEL, True, detail, warning=f"{detail}: {knows}; are these prices adjusted?")


def _moved(whole: Features, again: Features, day: np.datetime64, *, cut: bool) -> Iterator[tuple[str, str]]:
    """Yield each ticker whose features up to a day differ, and how; one that is missing on either side differs."""
    nothing = (np.empty(0, dtype="datetime64[D]"), np.empty((0, 0), dtype=np.float32))
    for ticker in sorted({*whole, *again}):
        one, other = whole.get(ticker, nothing), again.get(ticker, nothing)
        if cut and (other[0] > day).any():
            yield ticker, "rows of days that it was not given"
        elif difference := _difference(one, other, day):
            yield ticker, difference


def _changed_after(whole: Features, again: Features, day: np.datetime64, width: int) -> Bool:
    """Mark the features that differ on some ticker and day after a day, shape (width,)."""
    changed = np.zeros(width, dtype=np.bool_)
    for ticker, (days, values) in again.items():
        own_days, own = whole.get(ticker, (days[:0], values[:0]))
        mine, theirs = own[own_days > day], values[days > day]
        if mine.shape != theirs.shape:
            changed[:] = True
        else:
            changed[: theirs.shape[1]] |= ~_agree(mine, theirs, 0.0).all(axis=0)
    return changed


def _difference(one: tuple[Days, Float32], other: tuple[Days, Float32], day: np.datetime64) -> str:
    """Say how two tables of feature rows differ up to a day; empty if they agree up to rounding."""
    (days, values), (other_days, other_values) = one, other
    known, also = days <= day, other_days <= day
    if not known.any() and not also.any():
        return ""
    if not also.any() or not known.any():
        return "missing" if known.any() else "only there without the future"
    if not np.array_equal(days[known], other_days[also]):
        return "different days"
    mine, theirs = values[known], other_values[also]
    return "" if mine.shape == theirs.shape and _agree(mine, theirs).all() else "different values"


def _agree(one: Float32, other: Float32, tolerance: float | np.ndarray = TOLERANCE) -> Bool:
    """Compare values up to a tolerance, relative to values above 1; NaN agrees with NaN."""
    with np.errstate(invalid="ignore"):
        near = np.abs(one.astype(np.float64) - other) <= tolerance * np.maximum(1.0, np.abs(one))
    result: Bool = near | (one == other) | (np.isnan(one) & np.isnan(other))
    return result


def _agree_as_stored(one: Float32, other: Float32, ranks: Bool) -> bool:
    """Compare the features of prices with those of the same prices in float32; `ranks` marks ranks, shape (F,)."""
    near = _agree(one, other, np.where(ranks, STORED_RANK, STORED))
    return bool(near[:, ~ranks].all() and (not ranks.any() or (~near[:, ranks]).mean() <= SWAPPED))


def _closes(prices: PriceTable) -> dict[str, Bars]:
    """Return the closes of each ticker on its own days."""
    bars = {}
    for column, ticker in enumerate(prices.tickers):
        traded = np.isfinite(prices.close[:, column])
        bars[ticker] = Bars(days=prices.days[traded], close=prices.close[traded, column])
    return bars
