"""Performance measures, as pure functions of arrays.

Conventions of every function, pinned by tests:

- `sessions_per_year` annualizes: 252 (`SESSIONS_PER_YEAR`) unless given, such as 365 for coins; growth is compounded;
  returns are simple, never logarithmic.
- `equity` holds one value per session; n values are n − 1 sessions of return. A NaN in it makes the result NaN.
- `returns` is one simple return per session; NaN entries are left out and do not count as sessions.
- Means are arithmetic, deviations are those of a sample (ddof = 1), the risk-free rate is 0 unless given.
- An undefined result (too few values, a deviation of zero or of rounding errors) is NaN, never 0 and never infinite.
- Drawdowns are negative: −0.2 is 20% below the highest value so far.

A figure of the equity of a run is a function and an entry in `PATH_METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np

from encash.arrays import Bool, Float64
from encash.errors import InputError
from encash.significance import ROUNDING, Regression, regress, student_quantile

SESSIONS_PER_YEAR = 252
"""Trading sessions per year of a stock exchange."""
Delisting = Literal["last", "-30%", "zero", "flat"]
"""The price at which the position in a ticker that stops trading is sold: its last price, 0.7 of that, nothing, or the
entry price."""
DELISTING_POLICIES: tuple[Delisting, ...] = get_args(Delisting)


def simple_returns(equity: Float64) -> Float64:
    """Return the return of each session, shape (n − 1,); NaN once the equity is 0 or, in debt, below.

    >>> simple_returns(np.array([100.0, 110.0, 99.0])).round(6).tolist()
    [0.1, -0.1]
    """
    equity = np.asarray(equity, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Float64 = np.where(equity[:-1] <= 0, np.nan, equity[1:] / equity[:-1] - 1.0)
    return result


def forward_returns(close: Float64, horizon: int) -> Float64:
    """Return close[t + horizon] / close[t] − 1, in the shape of `close`, whose rows are sessions.

    NaN if a close is missing or not positive, and in the last `horizon` rows, whose returns have not ended.

    >>> forward_returns(np.array([10.0, 11.0, 12.0]), 1).round(4).tolist()
    [0.1, 0.0909, nan]
    """
    result = np.full(close.shape, np.nan)
    if horizon < len(close):
        before, after = close[:-horizon], close[horizon:]
        np.divide(after, before, out=result[:-horizon], where=(before > 0) & (after > 0))
        result -= 1.0
    return result


def settled_returns(close: Float64, horizon: int, delisting: Delisting) -> tuple[Float64, Bool]:
    """Return forward returns as a simulated position earns them, and a mask of those that the policy decides.

    A position is bought at a close and sold `horizon` sessions later; without a price then, at the next price; if its
    ticker has no later price, it stopped trading and is settled under the policy. Returns are NaN if there is no close
    above zero to buy at, and in the last `horizon` rows. Both have the shape of `close`: (sessions, tickers).

    >>> close = np.array([[10.0, 10.0], [9.0, np.nan], [np.nan, 12.0]])
    >>> returns, settled = settled_returns(close, 1, "zero")
    >>> returns[:2].round(2).tolist(), settled[:2].tolist()
    ([[-0.1, 0.2], [-1.0, nan]], [[False, False], [True, False]])
    """
    result, stopped = np.full(close.shape, np.nan), np.zeros(close.shape, dtype=np.bool_)
    if horizon >= len(close):
        return result, stopped
    rows, traded = np.arange(len(close))[:, None], close > 0
    following = np.minimum.accumulate(np.where(traded, rows, len(close))[::-1], axis=0)[::-1][horizon:]
    last = np.where(traded, rows, -1).max(axis=0)[None, :]
    bought = traded[:-horizon]
    stopped[:-horizon] = bought & (following == len(close))
    entry = np.where(bought, close[:-horizon], np.nan)
    sold = np.take_along_axis(close, np.where(stopped[:-horizon], last, np.minimum(following, len(close) - 1)), axis=0)
    sold = np.where(stopped[:-horizon], settlement(sold, entry, delisting), sold)
    result[:-horizon] = sold / entry - 1.0
    return result, stopped


def settlement(last: Float64, entry: Float64, delisting: Delisting) -> Float64:
    """Return the sale prices of positions in tickers that stopped trading, from their last and their entry prices.

    >>> settlement(np.array([8.0]), np.array([10.0]), "-30%").round(6).tolist()
    [5.6]
    """
    by_policy = {"last": last, "-30%": 0.7 * last, "zero": np.zeros_like(last), "flat": entry}
    return by_policy[delisting]


def total_return(equity: Float64) -> float:
    """Return the last value over the first, minus 1; NaN below two values.

    >>> round(total_return(np.array([100.0, 90.0, 121.0])), 6)
    0.21
    """
    return float(equity[-1] / equity[0] - 1.0) if len(equity) > 1 else float("nan")


def cagr(equity: Float64, sessions_per_year: int = SESSIONS_PER_YEAR) -> float:
    """Return the compound annual growth; NaN below three values.

    (last / first) ^ (sessions per year / (values − 1)) − 1.

    One return is not a growth rate: 1% in a session is 1,130% a year. It counts sessions; a library that counts 365.25
    calendar days per year has a different result. A debt counts as a loss of everything.

    >>> round(cagr(np.array([100.0] + [0.0] * 125 + [110.0])), 6)
    0.21
    """
    if len(equity) < 3:
        return float("nan")
    growth = np.maximum(equity[-1] / equity[0], 0.0)
    return float(growth ** (sessions_per_year / (len(equity) - 1)) - 1.0)


def volatility(returns: Float64, sessions_per_year: int = SESSIONS_PER_YEAR) -> float:
    """Return the standard deviation of the returns (ddof 1), times √sessions per year; NaN below two.

    >>> round(volatility(np.array([0.01, -0.01])), 6)
    0.224499
    """
    returns = _without_nan(returns)
    return float(returns.std(ddof=1) * np.sqrt(sessions_per_year)) if len(returns) > 1 else float("nan")


def sharpe(returns: Float64, risk_free: float = 0.0, sessions_per_year: int = SESSIONS_PER_YEAR) -> float:
    """Return the mean excess return over its deviation (ddof 1), times √sessions per year (Sharpe 1994).

    Args:
        returns: one simple return per session.
        risk_free: return of one session, not of a year.
        sessions_per_year: trading sessions per year.

    >>> round(sharpe(np.array([0.02, 0.00, 0.01])), 6)
    15.874508
    """
    excess = _without_nan(returns) - risk_free
    return _ratio_to_deviation(excess) * float(np.sqrt(sessions_per_year))


def sortino(returns: Float64, target: float = 0.0, sessions_per_year: int = SESSIONS_PER_YEAR) -> float:
    """Return the mean excess over the root mean square shortfall of **all** sessions, times √sessions per year.

    >>> round(sortino(np.array([0.02, -0.01, 0.02])), 6)
    27.495454
    """
    excess = _without_nan(returns) - target
    if not len(excess):
        return float("nan")
    shortfall = float(np.sqrt(np.mean(np.minimum(excess, 0.0) ** 2)))
    return float(excess.mean() / shortfall * np.sqrt(sessions_per_year)) if shortfall > 0 else float("nan")


def drawdowns(equity: Float64) -> Float64:
    """Return each value relative to the highest so far: 0 at a high, −0.2 for 20% below it; shape (n,).

    >>> drawdowns(np.array([100.0, 80.0, 120.0])).round(6).tolist()
    [0.0, -0.2, 0.0]
    """
    result: Float64 = equity / np.maximum.accumulate(equity) - 1.0
    return result


def max_drawdown(equity: Float64) -> float:
    """Return the deepest drawdown, 0 or negative; NaN without values.

    >>> round(max_drawdown(np.array([100.0, 120.0, 90.0, 130.0])), 6)
    -0.25
    """
    return float(drawdowns(equity).min()) if len(equity) else float("nan")


class Fall(NamedTuple):
    """A drawdown, as places in the equity."""

    peak: int
    """The last value before it."""
    trough: int
    """The lowest value."""
    recovery: int | None
    """The first value back at the peak; None if it was not reached."""
    depth: float
    """Negative: −0.2 is 20% below the peak."""


def worst_drawdowns(equity: Float64, most: int) -> tuple[Fall, ...]:
    """Return the N deepest drawdowns that do not overlap, deepest first.

    >>> worst_drawdowns(np.array([100.0, 90.0, 101.0, 99.99, 80.8]), 2)[0].depth.__round__(6)
    -0.2
    >>> [(fall.peak, fall.trough, fall.recovery) for fall in worst_drawdowns(np.array([10.0, 8.0, 10.0, 9.0]), 3)]
    [(0, 1, 2), (2, 3, None)]
    """
    below = drawdowns(equity)
    under = np.concatenate([[False], below < 0, [False]])
    starts, ends = (np.flatnonzero(edge) for edge in (~under[:-1] & under[1:], under[:-1] & ~under[1:]))
    found = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        trough = start + int(below[start:end].argmin())
        recovery = end if end < len(equity) else None
        found.append(Fall(peak=start - 1, trough=trough, recovery=recovery, depth=float(below[trough])))
    return tuple(sorted(found, key=lambda fall: (fall.depth, fall.peak))[:most])


def value_at_risk(returns: Float64, level: float = 0.05) -> float:
    """Return the quantile of the returns at a level: the best of the worst 5%, negative for a loss; NaN without values.

    The historical estimate, with linear interpolation between returns.

    >>> round(value_at_risk(np.linspace(-0.1, 0.1, 21)), 6)
    -0.09
    """
    returns = _without_nan(returns)
    return float(np.quantile(returns, level)) if len(returns) else float("nan")


def expected_shortfall(returns: Float64, level: float = 0.05) -> float:
    """Return the mean of the returns up to `value_at_risk`; NaN without values.

    >>> round(expected_shortfall(np.linspace(-0.1, 0.1, 21)), 6)
    -0.095
    """
    returns = _without_nan(returns)
    return float(returns[returns <= value_at_risk(returns, level)].mean()) if len(returns) else float("nan")


def kurtosis(returns: Float64) -> float:
    """Return the fourth standardized moment (divisor n) minus 3, that of a normal distribution; NaN below four.

    >>> round(kurtosis(np.array([-0.02, 0.0, 0.0, 0.02])), 6)
    -1.0
    """
    returns = _without_nan(returns)
    if len(returns) < 4:
        return float("nan")
    centered = returns - returns.mean()
    variance = float(np.mean(centered**2))
    return float(np.mean(centered**4)) / variance**2 - 3.0 if variance > ROUNDING**2 else float("nan")


def skewness(returns: Float64) -> float:
    """Return the third standardized moment (divisor n); negative if losses are larger than gains, NaN below three.

    >>> round(skewness(np.array([-0.02, 0.01, 0.01])), 6)
    -0.707107
    """
    returns = _without_nan(returns)
    if len(returns) < 3:
        return float("nan")
    centered = returns - returns.mean()
    deviation = float(np.sqrt(np.mean(centered**2)))
    return float(np.mean(centered**3)) / deviation**3 if deviation > ROUNDING else float("nan")


def ulcer_index(equity: Float64) -> float:
    """Return the root mean square of the drawdowns, 0 or positive, as a fraction; NaN without values.

    Source: Peter Martin and Byron McCann, The Investor's Guide to Fidelity Funds (1989), there in percent:
    √(Σ drawdown² / n) over all n values, so that it grows with the depth and the length of drawdowns.

    >>> round(ulcer_index(np.array([100.0, 80.0, 120.0])), 6)
    0.11547
    """
    return float(np.sqrt(np.mean(drawdowns(equity) ** 2))) if len(equity) else float("nan")


def win_rate(returns: Float64) -> float:
    """Return the share of returns above 0 (exactly 0 is not a win); NaN without values.

    >>> round(win_rate(np.array([0.1, 0.0, -0.1, 0.2])), 6)
    0.5
    """
    returns = _without_nan(returns)
    return float(np.mean(returns > 0)) if len(returns) else float("nan")


def turnover(traded_value: float, equity: Float64, sessions_per_year: int = SESSIONS_PER_YEAR) -> float:
    """Return the annual turnover: half of the bought plus sold value, over mean equity and years; NaN in debt.

    >>> turnover(400.0, np.full(253, 100.0))
    2.0
    """
    if len(equity) < 2 or np.mean(equity) <= 0:
        return float("nan")
    years = (len(equity) - 1) / sessions_per_year
    return float(traded_value / 2.0 / np.mean(equity) / years)


def information_ratio(returns: Float64, benchmark: Float64, sessions_per_year: int = SESSIONS_PER_YEAR) -> float:
    """Return the mean of return minus benchmark over its deviation (ddof 1), times √sessions per year.

    A session on which either is NaN is left out.

    Raises:
        InputError: the lengths differ.

    >>> round(information_ratio(np.array([0.02, 0.01, 0.03]), np.array([0.01, 0.01, 0.01])), 6)
    15.874508
    """
    if len(returns) != len(benchmark):
        raise InputError(f"{len(returns)} returns and {len(benchmark)} of the benchmark; expected the same sessions")
    active = _without_nan(np.asarray(returns, dtype=np.float64) - np.asarray(benchmark, dtype=np.float64))
    return _ratio_to_deviation(active) * float(np.sqrt(sessions_per_year))


def alpha_beta(returns: Float64, benchmark: Float64, sessions_per_year: float = SESSIONS_PER_YEAR) -> Regression:
    """Return alpha, annualized (× 252), and beta of the returns on those of a benchmark (Jensen 1968).

    >>> line = alpha_beta(np.array([0.021, 0.001, 0.041]), np.array([0.01, 0.0, 0.02]))
    >>> round(line.alpha.value, 6), round(line.beta[0], 6)
    (0.252, 2.0)
    """
    found = regress(returns, benchmark)
    return Regression(alpha=found.alpha.times(sessions_per_year), beta=found.beta)


def ic(forecast: Float64, realized: Float64) -> Float64:
    """Return the information coefficient: the correlation of forecasts and realized returns across tickers, by day.

    Args:
        forecast: shape (days, tickers); NaN if missing.
        realized: the return that followed, same shape; NaN if missing.

    Returns:
        Pearson's correlation over the tickers that have both, shape (days,); NaN with fewer than three of them, or if
        either side is constant.

    >>> ic(np.array([[1.0, 2.0, 3.0]]), np.array([[0.1, 0.3, 0.2]])).round(6).tolist()
    [0.5]
    """
    forecast, realized = _paired(forecast, realized)
    return _row_correlation(forecast, realized)


def rank_ic(forecast: Float64, realized: Float64) -> Float64:
    """Return Spearman's correlation across tickers, by day: `ic` of the ranks, ties at their mean rank.

    >>> rank_ic(np.array([[1.0, 2.0, 9.0]]), np.array([[0.1, 0.3, 0.2]])).round(6).tolist()
    [0.5]
    """
    forecast, realized = _paired(forecast, realized)
    return _row_correlation(ranks(forecast), ranks(realized))


def ranks(values: Float64) -> Float64:
    """Return the rank of each value within its row, from 1; ties share their mean rank, NaN stays NaN.

    >>> ranks(np.array([[3.0, 1.0, 3.0]])).tolist()
    [[2.5, 1.0, 2.5]]
    """
    rows, width = values.shape
    if width == 0:
        return np.empty_like(values, dtype=np.float64)
    order = np.argsort(values, axis=1, kind="stable")
    in_order = np.take_along_axis(values, order, axis=1)
    new_group = np.ones((rows, width), dtype=bool)
    new_group[:, 1:] = in_order[:, 1:] != in_order[:, :-1]
    group = np.cumsum(new_group.ravel()) - 1
    rank = np.tile(np.arange(1.0, width + 1.0), rows)
    mean_rank = np.bincount(group, weights=rank) / np.bincount(group)
    result = np.empty((rows, width), dtype=np.float64)
    np.put_along_axis(result, order, mean_rank[group].reshape(rows, width), axis=1)
    return np.where(np.isnan(values), np.nan, result)


def right_signs(forecast: Float64, excess: Float64) -> Float64:
    """Return 1 where forecast and return are on the same side of the average, else 0; ties are half right, NaN stays.

    Both are relative to the average.

    >>> right_signs(np.array([0.1, -0.1, 0.0]), np.array([0.2, 0.2, 0.2])).tolist()
    [1.0, 0.0, 0.5]
    """
    product = np.sign(forecast) * np.sign(excess)
    result: Float64 = (product + 1.0) / 2.0
    return result


def reliability(confidence: Float64, right: Float64, groups: int = 5) -> list[dict[str, float]]:
    """Compare claimed and realized frequencies in groups of equal size by confidence, lowest first.

    >>> reliability(np.array([0.5, 0.6]), np.array([0.0, 1.0]), groups=2)
    [{'confidence': 0.5, 'right': 0.0, 'count': 1}, {'confidence': 0.6, 'right': 1.0, 'count': 1}]
    """
    order = np.argsort(confidence, kind="stable")
    return [
        {"confidence": float(confidence[part].mean()), "right": float(right[part].mean()), "count": len(part)}
        for part in np.array_split(order, groups)
        if len(part)
    ]


def icir(coefficients: Float64) -> float:
    """Return the mean of the daily coefficients over their deviation (ddof 1); not annualized.

    >>> round(icir(np.array([0.02, 0.00, 0.01])), 6)
    1.0
    """
    return _ratio_to_deviation(_without_nan(coefficients))


def newey_west_t(series: Float64, lags: int) -> float:
    """Return the t-statistic of the mean of an autocorrelated series (Newey and West 1987, Bartlett weights).

    Args:
        series: shape (n,); NaN entries are left out.
        lags: number of autocovariances; 2 · (horizon − 1) for daily coefficients of an h-session return: half as many
            capture only two thirds of the variance added by the overlap. 0 is the t-statistic of the mean with the
            variance of the population (ddof 0).

    With critical values of a normal distribution it rejects too often where the lags are not few against the values:
    15% instead of 5% at a horizon of 20 sessions in a year. The results of runs use `significance.mean_of`.

    Raises:
        InputError: lags below 0.

    >>> round(newey_west_t(np.array([1.0, 2.0, 3.0]), lags=0), 6)
    4.242641
    """
    if lags < 0:
        raise InputError(f"lags is {lags}; expected 0 or more")
    series = _without_nan(series)
    count = len(series)
    if count < 2:
        return float("nan")
    centered = series - series.mean()
    variance = float(centered @ centered) / count
    for lag in range(1, min(lags, count - 1) + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float(centered[lag:] @ centered[:-lag]) / count
    return float(series.mean() / np.sqrt(variance / count)) if variance > 0 else float("nan")


def block_bootstrap(
    series: Float64,
    statistic: Callable[[Float64], Float64],
    *,
    block: int,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the interval of a statistic under the circular block bootstrap (Politis and Romano 1992).

    The percentiles of the draws cover too rarely with few blocks, because a resampled mean varies as if its blocks were
    the population. Their distance from the statistic is stretched from the deviation of n / block blocks and a normal
    distribution to the sample deviation and Student's t of n / block − 1 degrees of freedom.

    Args:
        series: shape (n,); NaN entries are left out.
        statistic: maps resampled series of shape (draws, n) to values of shape (draws,), such as
            ``lambda x: x.mean(axis=1)``.
        block: sessions per block; at least the horizon if returns overlap.
        draws: number of resampled series.
        level: share of the draws within the interval.
        seed: the same seed gives the same interval.

    Returns:
        Lower and upper bound; NaN below two values.

    Raises:
        InputError: block or draws below 1, level outside (0, 1).

    >>> block_bootstrap(np.array([1.0, 1.0, 1.0]), lambda x: x.mean(axis=1), block=2)
    (1.0, 1.0)
    """
    if block < 1 or draws < 1 or not 0 < level < 1:
        raise InputError(f"block {block}, draws {draws}, level {level}; expected block and draws ≥ 1, level in (0, 1)")
    series = _without_nan(series)
    if len(series) < 2:
        return float("nan"), float("nan")
    count = len(series)
    starts = np.random.default_rng(seed).integers(0, count, size=(draws, -(-count // block)))
    indices = (starts[:, :, None] + np.arange(block)) % count  # whole blocks of a circle
    values = statistic(series[indices.reshape(draws, -1)[:, :count]])
    tail = (1.0 - level) / 2.0 * 100.0
    center = statistic(series[None, :])[0]
    blocks = max(count / block, 2.0)
    normal = student_quantile(0.5 + level / 2.0, 1_000_000)
    stretch = student_quantile(0.5 + level / 2.0, int(blocks) - 1) / normal * np.sqrt(blocks / (blocks - 1.0))
    low, high = center + stretch * (np.nanpercentile(values, [tail, 100.0 - tail]) - center)
    return float(low), float(high)


class PathMetric(NamedTuple):
    """A figure of net equity and benchmark, both shape (n,) from the initial capital on."""

    measure: Callable[[Float64, Float64, int], float]
    """Maps (net equity, benchmark, sessions per year) to the figure."""
    term: str = ""
    """Its name on the page of a run; empty for a figure of `result.json` only."""
    format: Literal["percent", "signed_percent", "number"] = "number"
    """The function of `encash.report.formatting` that formats it."""
    meaning: str = ""
    """One sentence for the glossary of the page."""


PATH_METRICS = {
    "cagr": PathMetric(
        lambda net, _, year: cagr(net, year),
        "CAGR",
        "signed_percent",
        "Compound annual growth rate: (last / first) ^ (sessions per year / sessions) − 1.",
    ),
    "volatility": PathMetric(lambda net, _, year: volatility(simple_returns(net), year)),
    "sharpe": PathMetric(
        lambda net, _, year: sharpe(simple_returns(net), sessions_per_year=year),
        "Sharpe ratio",
        "number",
        "Mean over standard deviation of the daily net returns, times √sessions per year; the risk-free rate is 0.",
    ),
    "sortino": PathMetric(lambda net, _, year: sortino(simple_returns(net), sessions_per_year=year)),
    "max_drawdown": PathMetric(
        lambda net, *_: max_drawdown(net), "Max drawdown", "percent", "The largest drawdown of the net equity."
    ),
    "information_ratio": PathMetric(
        lambda net, base, year: information_ratio(simple_returns(net), simple_returns(base), year)
    ),
    "alpha": PathMetric(
        lambda net, base, year: _against(net, base, year).alpha.value,
        "Alpha",
        "signed_percent",
        "Intercept of the regression of the daily net returns on those of the benchmark, times the sessions per year: "
        "the yearly return that the exposure to the benchmark does not explain (Jensen 1968).",
    ),
    "beta": PathMetric(
        lambda net, base, year: _against(net, base, year).beta[0],
        "Beta",
        "number",
        "Slope of the same regression: 1.2 rises and falls by a fifth more than the benchmark.",
    ),
    "alpha_t": PathMetric(lambda net, base, _: _against(net, base, 1).alpha.t),
    "ulcer_index": PathMetric(
        lambda net, *_: ulcer_index(net),
        "Ulcer index",
        "percent",
        "Root mean square of the drawdowns of all sessions (Martin and McCann 1989).",
    ),
    "value_at_risk": PathMetric(
        lambda net, *_: value_at_risk(simple_returns(net)),
        "Value at risk",
        "percent",
        "The 5% quantile of the daily net returns: on one session in twenty the loss is at least as large.",
    ),
    "skewness": PathMetric(
        lambda net, *_: skewness(simple_returns(net)),
        "Skewness",
        "number",
        "Third standardized moment of the daily net returns: below 0 if large losses outweigh large gains.",
    ),
}
"""Key in `result.json` → figure. Add yours here: results, sweeps, the page and its glossary follow from it."""


def _against(net: Float64, benchmark: Float64, sessions_per_year: int) -> Regression:
    """Return the regression of the returns of an equity on those of a benchmark."""
    return alpha_beta(simple_returns(net), simple_returns(benchmark), sessions_per_year=sessions_per_year)


def _without_nan(values: Float64) -> Float64:
    """Return the values that are not NaN."""
    values = np.asarray(values, dtype=np.float64)
    return values[~np.isnan(values)]


def _ratio_to_deviation(values: Float64) -> float:
    """Return the mean over the sample deviation; NaN if that is zero or undefined."""
    if len(values) < 2:
        return float("nan")
    deviation = float(values.std(ddof=1))
    return float(values.mean()) / deviation if deviation > ROUNDING else float("nan")


def _paired(left: Float64, right: Float64) -> tuple[Float64, Float64]:
    """Return both with NaN wherever either is NaN."""
    left, right = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 2:
        raise InputError(f"shapes {left.shape} and {right.shape}; expected two of (days, tickers)")
    gap = np.isnan(left) | np.isnan(right)
    return np.where(gap, np.nan, left), np.where(gap, np.nan, right)


def _row_correlation(left: Float64, right: Float64) -> Float64:
    """Return Pearson's correlation of each row over the columns that are not NaN."""
    present = ~np.isnan(left)
    count = present.sum(axis=1)
    enough = np.maximum(count, 1)

    def centered(values: Float64) -> Float64:
        filled = np.where(present, values, 0.0)
        return np.where(present, filled - (filled.sum(axis=1) / enough)[:, None], 0.0)

    a, b = centered(left), centered(right)
    product = (a * b).sum(axis=1)
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    defined = (count >= 3) & (size > 0)
    result: Float64 = np.where(defined, product / np.where(defined, size, 1.0), np.nan)
    return result
