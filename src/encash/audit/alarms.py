"""Statistical alarms: features that correlate with single future sessions in a way that no past explains.

A feature of the past has a correlation with the sessions behind it and, if it predicts, a small one with the sessions
ahead, which fades. A feature that has seen the future has a correlation with the sessions that it saw, and none with
the next one: its profile over the lags jumps. Both the size and the jump are required, and significance corrected for
the number of features, lags and tickers (Bonferroni), so that a clean panel rings no alarm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from encash import metrics
from encash.arrays import Bool, Days, Float32, Float64, Int64
from encash.audit.innovations import innovations, session_returns, sizes
from encash.panel import Panel, PriceTable
from encash.significance import student_quantiles

FALSE_ALARMS = 0.002
"""Probability that any statistic of a clean panel is significant."""
LEAST_IC = 0.05
"""Minimum mean rank correlation with one session that is a finding. Good daily signals reach 0.02, and prices that
lag the market by half a session leave 0.04."""
LEAST_TICKER_CORRELATION = 0.1
"""Minimum correlation of one ticker's feature with one of its future sessions that is a finding."""
LEAST_SIZE_CORRELATION = 0.55
"""The same for the size of a return, without its sign. Volatility is predictable: its clusters reach 0.45."""
JUMP = 0.6
"""Fraction of a correlation that is gone in the sessions right after: honest predictability fades, foresight stops."""
TOO_GOOD = {1: 0.2, 5: 0.25, 20: 0.3, 60: 0.35}
"""Number of sessions → rank correlation with the return over them that no honest daily feature reaches, jump or not.
Over several sessions it is the return with its mean: a feature that has seen the whole history knows that."""
LEAST_PART_IC = 0.25
"""Minimum mean rank correlation with one session, in a part of the days only, that is a finding: honest signals are
stronger in some months, but not that strong."""
PART_DAYS = 60
"""Days of a part: a month that leaks is a third of one."""
FEWEST_PART_DAYS = 12
"""Days of a part below which it is not tested."""
FEWEST_TICKERS = 5
"""Tickers of a day that have a cross-section."""
FEWEST_SESSIONS = 60
"""Rows of a ticker, and days of a panel, below which nothing is tested."""
FEWEST_WINDOWS = 5
"""Windows that do not overlap, below which their correlation is not tested: no t of so few is significant."""
MOST_CELLS = 10_000_000
"""Cells (days × tickers × features of the panel) that are ranked: of a larger panel every m-th day, m as small as
possible."""
PROFILE = 10
"""Sessions before and after the day in the profile of a finding."""


@dataclass(frozen=True)
class Window:
    """Sessions t + first … t + last after the day t of a feature."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Number of sessions."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        """Return ``t+1`` or ``t+1 … t+5``."""
        return f"t+{self.first}" if self.length == 1 else f"t+{self.first} … t+{self.last}"


@dataclass(frozen=True)
class Alarm:
    """One pair of windows: a correlation with the near one is a finding unless it goes on in the far one."""

    near: Window
    far: Window | None
    """None: the size decides, not the jump."""
    limits: tuple[float, float, float]
    """Minimum correlation per session that is a finding: in the cross-section, of a ticker, of the size of returns."""


def _jump(first: int, last: int, far: tuple[int, int]) -> Alarm:
    return Alarm(Window(first, last), Window(*far), (LEAST_IC, LEAST_TICKER_CORRELATION, LEAST_SIZE_CORRELATION))


ALARMS = (
    *(_jump(lag, lag, (lag + 1, lag + 10)) for lag in range(1, 11)),
    _jump(11, 15, (16, 25)),
    _jump(16, 20, (21, 30)),
    *(_jump(first, first + 4, (first + 5, first + 24)) for first in range(21, 61, 5)),
    *(Alarm(Window(1, last), None, (limit / last**0.5,) * 2 + (2.0,)) for last, limit in TOO_GOOD.items()),
)
"""All alarms. Correlations are per session: that with a sum of n independent sessions, divided by √n."""
TOTALS = tuple(alarm.near for alarm in ALARMS if alarm.far is None and alarm.near.length > 1)
WINDOWS = tuple(dict.fromkeys(one for alarm in ALARMS for one in (alarm.near, alarm.far) if one is not None))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The correlation that exceeds its limits most, or comes nearest to them."""

    feature: int
    ticker: int | None
    """None for the cross-section."""
    window: Window
    sized: bool
    """True if it is a correlation with the size of the returns."""
    correlation: float
    """Per session."""
    t: float
    critical: float
    """The t above which a correlation is significant."""
    excess: float
    """Above 1 for a finding."""
    part: str = ""
    """The days of the correlation, such as ``on Mondays``; empty for all."""


@dataclass(kw_only=True)
class AlarmPanel:
    """Features beside the unexplained returns of the sessions around them."""

    panel: Panel
    prices: PriceTable
    sampled: Int64 = field(init=False)
    """Sessions of the cross-sections, shape (D,)."""

    def __post_init__(self) -> None:
        cells = len(self.prices.days) * len(self.tickers) * self.panel.num_features
        self.sampled = np.arange(0, len(self.prices.days), max(1, -(-cells // MOST_CELLS)))

    @property
    def num_features(self) -> int:
        """The features of the panel, and the presence of a row."""
        return self.panel.num_features + 1

    def name_of(self, feature: int) -> str:
        """Return the name of a feature by its number."""
        if feature == self.panel.num_features:
            return "the presence of a row"
        names = self.panel.feature_names
        return names[feature] if names else f"feature {feature}"

    @cached_property
    def tickers(self) -> tuple[str, ...]:
        """Tickers with features and prices."""
        priced = set(self.prices.tickers)
        return tuple(ticker for ticker in self.panel.tickers if ticker in priced)

    @cached_property
    def unexplained(self) -> Float64:
        """Innovations of the returns of `tickers`, shape (T, N)."""
        return innovations(self.prices.select(self.tickers).close)

    @cached_property
    def drift(self) -> Float64:
        """Mean return of `tickers` over its deviation, which `unexplained` lacks, shape (N,)."""
        returns = session_returns(self.prices.select(self.tickers).close)
        there = np.isfinite(returns)
        mean = _mean_of_columns(returns)
        deviation = np.sqrt(_mean_of_columns((returns - mean) ** 2))
        usable = (deviation > 0) & there.any(axis=0)
        return np.where(usable, mean / np.where(usable, deviation, 1.0), 0.0)

    @cached_property
    def targets(self) -> dict[tuple[Window, bool], Float32]:
        """Standardized sums of innovations over each window, and their sizes; shape (T, N) each."""
        found: dict[tuple[Window, bool], Float32] = {}
        for values, sized in ((RunningSum(self.unexplained), False), (RunningSum(sizes(self.unexplained)), True)):
            found |= {(window, sized): values.over(window) for window in WINDOWS}
        whole = RunningSum(self.unexplained + self.drift)
        return found | {(window, False): whole.over(window) for window in TOTALS}

    def rows(self, ticker: str) -> tuple[Int64, Float32]:
        """Return the sessions with a price from a ticker's first row to its last, shape (n,), and its features (n, F).

        The last feature is 1 where the panel has a row and 0 where it has none, and all others are NaN: a table that
        leaves out the tickers that will fall knows their future.
        """
        rows = self.panel.rows((ticker,))
        traded = np.flatnonzero(np.isfinite(self.prices.close[:, self.prices.tickers.index(ticker)]))
        place = np.searchsorted(rows.days, self.prices.days[traded])
        inside = (place < len(rows.days)) & ((place > 0) | (self.prices.days[traded] == rows.days[:1]))
        session, place = traded[inside], place[inside]
        there = rows.days[place] == self.prices.days[session]
        values = np.full((len(session), self.num_features), np.nan, dtype=np.float32)
        values[there, :-1] = rows.values[place[there]]
        values[:, -1] = there
        return session, values


class RunningSum:
    """Sums of values of shape (T, N) over windows of sessions."""

    def __init__(self, values: Float64):
        there = np.isfinite(values)
        self._total = np.zeros((len(values) + 1, values.shape[1]))
        self._count = np.zeros(self._total.shape, dtype=np.int32)
        np.cumsum(np.where(there, values, 0.0), axis=0, out=self._total[1:])
        np.cumsum(there, axis=0, out=self._count[1:])

    def over(self, window: Window) -> Float32:
        """Sum over the sessions t + first … t + last, divided by √n; NaN without half of them; shape (T, N).

        >>> RunningSum(np.array([[1.0], [2.0], [3.0]])).over(Window(1, 1)).ravel().tolist()
        [2.0, 3.0, nan]
        """
        rows = len(self._total) - 1
        first, last = max(0, -window.first), max(0, rows - max(window.last, 0))
        result = np.full((rows, self._total.shape[1]), np.nan, dtype=np.float32)
        start = slice(first + window.first, max(first, last) + window.first)
        stop = slice(first + window.last + 1, max(first, last) + window.last + 1)
        known = self._count[stop] - self._count[start]
        sums = (self._total[stop] - self._total[start]) / np.sqrt(np.maximum(known, 1))
        result[first : max(first, last)] = np.where(known >= window.length / 2, sums, np.nan)
        return result


def worst_of_cross_sections(data: AlarmPanel) -> Finding | None:
    """Find the feature whose daily rank correlations with later sessions are the most suspicious; None without a
    cross-section of `FEWEST_TICKERS` on `FEWEST_SESSIONS` days in which a feature varies."""
    grid = np.full((len(data.sampled), data.num_features, len(data.tickers)), np.nan, dtype=np.float32)
    place = np.full(len(data.prices.days), -1)
    place[data.sampled] = np.arange(len(data.sampled))
    for column, ticker in enumerate(data.tickers):
        session, values = data.rows(ticker)
        kept = place[session] >= 0
        grid[place[session[kept]], :, column] = values[kept]
    wide = (np.isfinite(grid).any(axis=1)).sum(axis=1) >= FEWEST_TICKERS
    if int(wide.sum()) < FEWEST_SESSIONS:
        return None
    ranked, step = _centered_ranks(grid[wide]), int(data.sampled[1] - data.sampled[0])
    tests = 2 * data.num_features * len(ALARMS)
    found: dict[tuple[Window, bool], tuple[Float64, Float64, Float64]] = {}
    by_day: dict[Window, Float64] = {}
    for (window, sized), target in data.targets.items():
        daily = _daily_correlations(ranked, _centered_ranks(target[data.sampled[wide]][:, None])[:, 0])
        overlap = -(-window.length // step)
        found[window, sized] = _mean_and_t(daily, overlap, tests)
        if not sized:
            by_day[window] = daily
    return _worse(_worst(found, limit=0, ticker=None), _worst_of_parts(by_day, data.prices.days[data.sampled[wide]]))


def worst_of_tickers(data: AlarmPanel) -> Finding | None:
    """Find the ticker and feature whose correlations with the ticker's own later sessions are the most suspicious;
    None if no ticker has `FEWEST_SESSIONS` rows in which a feature varies."""
    tests = 2 * data.num_features * len(ALARMS) * max(1, len(data.tickers))
    keys, worst = list(data.targets), None
    for column, ticker in enumerate(data.tickers):
        session, values = data.rows(ticker)
        if len(session) < FEWEST_SESSIONS:
            continue
        target = np.stack([data.targets[key][session, column] for key in keys], axis=1)
        lengths = np.array([key[0].length for key in keys])
        correlation, t, critical = _own_correlations(values, target, lengths, tests)
        by_key = {key: (correlation[:, number], t[:, number], critical[:, number]) for number, key in enumerate(keys)}
        finding = _worst(by_key, limit=1, ticker=column)
        worst = _worse(worst, finding)
    return worst


def _worst_of_parts(by_day: dict[Window, Float64], days: Days) -> Finding | None:
    """Find the largest rank correlation with one of the next sessions in a part of the days: a leak of one regime, or
    of one weekday, which the mean of all days dilutes.

    Args:
        by_day: daily correlations with each window, shape (D, F).
        days: shape (D,).
    """
    parts, worst = dict(_parts(days)), None
    singles = [alarm for alarm in ALARMS if alarm.near.length == 1 and alarm.far is not None]
    tests = max(1, 2 * by_day[ALARMS[0].near].shape[1] * len(singles) * len(parts))
    for alarm in singles:
        assert alarm.far is not None
        daily, later = by_day[alarm.near], by_day[alarm.far] / np.sqrt(alarm.far.length)
        spread = np.maximum(np.sqrt(_mean_of_columns((daily - _mean_of_columns(daily)) ** 2)), 1e-6)
        for part, chosen in parts.items():
            count = np.isfinite(daily[chosen]).sum(axis=0)
            each, after = (_mean_of_columns(values[chosen]) for values in (daily, later))
            t, critical = each / spread * np.sqrt(count), critical_t(np.maximum(count - 1.0, 1.0), tests)
            tested = (count >= FEWEST_PART_DAYS) & (np.abs(each - after) >= JUMP * np.abs(each))
            excess = np.where(tested, np.minimum(np.abs(t) / critical, np.abs(each) / LEAST_PART_IC), 0.0)
            at = int(np.argmax(excess))
            finding = Finding(
                feature=at,
                ticker=None,
                window=alarm.near,
                sized=False,
                correlation=float(each[at]),
                t=float(t[at]),
                critical=float(critical[at]),
                excess=float(excess[at]),
                part=part,
            )
            worst = _worse(worst, finding if finding.excess > 1 else None)
    return worst


def _parts(days: Days) -> Iterator[tuple[str, Bool]]:
    """Yield each part of the days: stretches of `PART_DAYS`, and weekdays; shape (D,)."""
    row = np.arange(len(days)) // PART_DAYS
    for number in range(int(row[-1]) + 1):
        inside = row == number
        yield f"from {days[inside][0]} to {days[inside][-1]}", inside
    weekday = (days.astype(np.int64) + 3) % 7
    for number, name in enumerate(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")):
        yield f"on {name}s", weekday == number


def _mean_of_columns(values: Float64) -> Float64:
    """Return the means of the columns of (n, F) without NaN; 0 for a column of NaN."""
    there = np.isfinite(values)
    result: Float64 = np.where(there, values, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return result


def _worse(one: Finding | None, other: Finding | None) -> Finding | None:
    """Return the finding with the larger excess, the first of equal ones."""
    if one is None or other is None:
        return other if one is None else one
    return other if other.excess > one.excess else one


def profile(data: AlarmPanel, finding: Finding) -> list[float]:
    """Return the correlation of a feature with each session from t − `PROFILE` to t + `PROFILE`."""
    sessions = [Window(lag, lag) for lag in range(-PROFILE, PROFILE + 1)]
    returns = RunningSum(data.unexplained)
    if finding.ticker is not None:
        session, values = data.rows(data.tickers[finding.ticker])
        target = np.stack([returns.over(one)[session, finding.ticker] for one in sessions], axis=1)
        found = _own_correlations(values[:, [finding.feature]], target, np.ones(len(sessions)), 1)[0][0]
        return [float(one) for one in found]
    grid = np.full((len(data.prices.days), 1, len(data.tickers)), np.nan, dtype=np.float32)
    for column, ticker in enumerate(data.tickers):
        session, values = data.rows(ticker)
        grid[session, 0, column] = values[:, finding.feature]
    grid = grid[data.sampled]
    ranked = _centered_ranks(grid)
    targets = (_centered_ranks(returns.over(one)[data.sampled][:, None])[:, 0] for one in sessions)
    return [float(_mean_and_t(_daily_correlations(ranked, target), 1, 1)[0][0]) for target in targets]


def _centered_ranks(values: Float32) -> Float32:
    """Rank the last axis of (D, F, N), less the mean rank; 0 for a missing value."""
    days, features, width = values.shape
    ranked = metrics.ranks(values.reshape(days * features, width).astype(np.float64))
    there = np.isfinite(ranked)
    mean = np.where(there, ranked, 0.0).sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1)
    return np.where(there, ranked - mean, 0.0).astype(np.float32).reshape(days, features, width)


def _daily_correlations(ranked: Float32, target: Float32) -> Float64:
    """Correlate centered ranks (D, F, N) with those of a target (D, N) by day; NaN if one is constant; shape (D, F)."""
    products = np.einsum("dfn,dn->df", ranked, target, optimize=True).astype(np.float64)
    known = (target != 0).astype(np.float32)
    squares = np.einsum("dfn,dn->df", ranked**2, known, optimize=True).astype(np.float64)
    others = np.einsum("dfn,dn->df", (ranked != 0).astype(np.float32), target**2, optimize=True).astype(np.float64)
    scale = np.sqrt(squares * others)
    return np.where(scale > 0, products / np.where(scale > 0, scale, 1.0), np.nan)


def _mean_and_t(daily: Float64, overlap: int, tests: int) -> tuple[Float64, Float64, Float64]:
    """Return mean, t and critical t of daily correlations (D, F), t NaN if not tested; shape (F,) each."""
    there = np.isfinite(daily)
    count = there.sum(axis=0)
    mean = np.where(there, daily, 0.0).sum(axis=0) / np.maximum(count, 1)
    spread = np.sqrt(np.where(there, (daily - mean) ** 2, 0.0).sum(axis=0) / np.maximum(count - 1, 1))
    spread = np.maximum(spread, 1e-6)  # the same correlation on each day is not noise
    t = np.where(_enough(count, overlap), mean / spread * np.sqrt(count / overlap), np.nan)
    return mean, t, critical_t(np.maximum(count / overlap - 1, 1), tests)


def _own_correlations(
    values: Float32, target: Float32, lengths: Float64 | Int64, tests: int
) -> tuple[Float64, Float64, Float64]:
    """Correlate features (n, F) with targets (n, W) over time.

    The t is that of the sum of products over the root of its squares, which volatility clusters do not inflate.

    Returns:
        correlation, t (NaN if not tested) and critical t, shape (F, W) each.
    """
    there, known = np.isfinite(values).astype(np.float32), np.isfinite(target).astype(np.float32)
    scaled, other = _standardized(values), _standardized(target)
    count = (there.T @ known).astype(np.float64)
    product = (scaled.T @ other).astype(np.float64)
    squares, others = (scaled**2).T @ known, there.T @ (other**2)
    both = ((scaled**2).T @ (other**2)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = product / np.sqrt(squares * others)
        ratio = product / np.sqrt(both)
        t = ratio * np.sqrt((count - 1) / np.maximum(count - ratio**2, 1e-9)) / np.sqrt(lengths)
    usable = _enough(count, lengths) & np.isfinite(correlation) & np.isfinite(t)
    critical = critical_t(np.maximum(count / lengths - 1, 1), tests)
    return np.where(usable, correlation, 0.0), np.where(usable, t, np.nan), critical


def _enough(count: Float64 | Int64, length: float | Float64 | Int64) -> Bool:
    """Mark correlations of enough sessions, and of enough windows of some length."""
    enough: Bool = (count >= FEWEST_SESSIONS) & (count >= FEWEST_WINDOWS * np.asarray(length))
    return enough


def _standardized(values: Float32) -> Float32:
    """Center and scale the columns of (n, F), clip at ±4, and replace NaN by 0."""
    there = np.isfinite(values)
    filled = np.where(there, values, 0.0).astype(np.float64)
    count = np.maximum(there.sum(axis=0), 1)
    mean = filled.sum(axis=0) / count
    spread = np.sqrt(np.where(there, (filled - mean) ** 2, 0.0).sum(axis=0) / count)
    constant = spread <= 1e-9 * np.maximum(1.0, np.abs(mean))
    scaled = np.where(there & ~constant, (filled - mean) / np.where(constant, 1.0, spread), 0.0)
    return scaled.clip(-4, 4).astype(np.float32)


def critical_t(degrees: Float64, tests: int) -> Float64:
    """Return the two-sided t that one of some tests exceeds with the probability `FALSE_ALARMS`, or less if few degrees
    of freedom."""
    return -student_quantiles(FALSE_ALARMS / tests / 2, degrees)


def _worst(
    found: dict[tuple[Window, bool], tuple[Float64, Float64, Float64]], *, limit: int, ticker: int | None
) -> Finding | None:
    """Return the finding with the largest excess: the smaller of |t| over its critical value and |correlation| over its
    limit, 0 if it goes on in the far window; None if nothing could be tested, such as constant features."""
    worst: Finding | None = None
    for finding in _candidates(found, limit=limit, ticker=ticker):
        worst = _worse(worst, finding)
    return worst


def _candidates(
    found: dict[tuple[Window, bool], tuple[Float64, Float64, Float64]], *, limit: int, ticker: int | None
) -> Iterator[Finding]:
    for alarm in ALARMS:
        for sized in (False, True):
            if sized and alarm.far is None:
                continue
            correlation, t, critical = found[alarm.near, sized]
            each = correlation / np.sqrt(alarm.near.length)
            jumps: Bool = np.ones(len(each), dtype=np.bool_)
            if alarm.far is not None:
                later = found[alarm.far, sized][0] / np.sqrt(alarm.far.length)
                jumps = np.abs(each - later) >= JUMP * np.abs(each)
            least = alarm.limits[2] if sized else alarm.limits[limit]
            excess = np.where(jumps, np.minimum(np.abs(t) / critical, np.abs(each) / least), 0.0)
            if np.isnan(t).all():
                continue
            at = int(np.argmax(np.where(np.isnan(t), -1.0, excess)))
            yield Finding(
                feature=at,
                ticker=ticker,
                window=alarm.near,
                sized=sized,
                correlation=float(each[at]),
                t=float(t[at]),
                critical=float(critical[at]),
                excess=float(excess[at]),
            )
