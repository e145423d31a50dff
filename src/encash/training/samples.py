"""Samples of a training run: windows, the returns after them, and the split by date.

The target of (ticker, day, h) is the return that a position held for h sessions earns, with tickers that stop trading
settled under the delisting policy (`metrics.settled_returns`), minus the mean of its session, in standard deviations. A
target belongs to a part of the split only if it has ended there.

To limit the effect of wrong prices, closes that jump and revert in the next session are left out of the targets, and
returns are winsorized at quantiles of the training returns before any mean or standard deviation is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, Days, Float32, Float64, Int64, day_text
from encash.errors import InputError, UnknownKeyError
from encash.metrics import Delisting, settled_returns
from encash.panel import FeatureRows, Panel, PriceTable, gather_windows, window_grid
from encash.training.config import TrainConfig

FEWEST_FOR_A_MEAN = 5
"""A session with fewer tickers uses the mean return of all sessions."""
WINSORIZED_TO = (0.005, 0.995)
"""Quantiles of the training returns that all returns are limited to."""
WINSORIZED_AT = 4.0
"""Standard deviations at which targets are clipped for the loss."""
MOST_PER_SESSION = 100
"""Tickers of a session that the validation takes, if it has more."""
ROTATION = 7919
"""Tickers by which this selection shifts from session to session."""
OUTLIER_FACTOR = 2.0
"""An outlier moves by at least this factor in a session, up or down, …"""
OUTLIER_DEVIATIONS = 10.0
"""… and by at least this many robust deviations of its ticker's log returns."""
SPIKE_RETURN = 1.5
"""A close is a spike if it is an outlier, and the next close is an outlier back to within this factor."""


@dataclass(frozen=True, kw_only=True)
class Outlier:
    """A close that looks like a wrong price."""

    ticker: str
    day: str
    """YYYY-MM-DD."""
    move: float
    """Return since the ticker's previous close."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """n windows and the returns after them."""

    end_rows: Int64
    """The last feature row of each window, shape (n,)."""
    session: Int64
    """The session on which each window ends, shape (n,)."""
    ticker: Int64
    """shape (n,)."""
    returns: Float64
    """Forward returns, NaN if they have not ended within the part; shape (n, H)."""
    excess: Float64
    """Winsorized forward returns minus their mean over the tickers of the session, shape (n, H)."""
    settled: Bool
    """True if the delisting policy decides the return, shape (n, H)."""

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.end_rows)

    def take(self, chosen: Int64) -> Samples:
        """Return some of the samples, in the given order."""
        return Samples(
            end_rows=self.end_rows[chosen],
            session=self.session[chosen],
            ticker=self.ticker[chosen],
            returns=self.returns[chosen],
            excess=self.excess[chosen],
            settled=self.settled[chosen],
        )

    @property
    def complete(self) -> Samples:
        """The samples whose returns have ended at every horizon."""
        return self.take(np.flatnonzero(np.isfinite(self.excess).all(axis=1)))


@dataclass(frozen=True, kw_only=True)
class Split:
    """A panel split by date into training, choosing and reporting sessions."""

    rows: FeatureRows
    sessions: Days
    lookback: int
    train: Samples
    choosing: Samples
    """Samples that choose the epoch and calibrate the forecasts."""
    validation: Samples
    """Samples for the reported figures, used for no other choice."""
    choosing_all: Samples
    """All windows of the choosing sessions; `choosing` is a part of them."""
    validation_all: Samples
    """All windows of the reporting sessions."""
    validation_start: np.datetime64
    """First session of `choosing`, at least the embargo after the last training target."""
    mean_return: Float64
    """Mean of the winsorized forward returns of the training samples, shape (H,)."""
    scale: Float64
    """Standard deviation of the excess over the training samples, shape (H,)."""
    outliers: tuple[Outlier, ...] = ()
    """Suspicious closes up to the end of the training period, the largest move first."""

    def windows(self, samples: Samples) -> Float32:
        """Return the windows of samples, shape (n, L, F)."""
        return gather_windows(self.rows, samples.end_rows, self.lookback)

    def targets(self, samples: Samples) -> Float32:
        """Return excess returns in standard deviations, winsorized; NaN if missing. Shape (n, H)."""
        return np.clip(samples.excess / self.scale, -WINSORIZED_AT, WINSORIZED_AT).astype(np.float32)

    def period(self) -> dict[str, str]:
        """Return the first and last days of the parts."""
        return {
            "train_start": day_text(self.sessions[self.train.session.min()]),
            "train_last_window": day_text(self.sessions[self.train.session.max()]),
            "choosing_start": day_text(self.sessions[self.choosing.session.min()]),
            "choosing_last_window": day_text(self.sessions[self.choosing.session.max()]),
            "validation_start": day_text(self.sessions[self.validation.session.min()]),
            "validation_last_window": day_text(self.sessions[self.validation.session.max()]),
        }


def split_by_date(panel: Panel, config: TrainConfig, horizons: Sequence[int]) -> Split:
    """Split the panel as of `train_end` into training, choosing and reporting sessions, in this order.

    The last part of the sessions is for the latter two. Training targets end at least `embargo_sessions` before them,
    choosing targets before the first reporting session. No row or price after `train_end` is read.

    Raises:
        InputError: no prices, or too little history before `train_end` for any part.
        UnknownKeyError: a listed ticker without features or prices.
    """
    seen = panel.as_of(config.train_end)
    if seen.prices is None:
        raise InputError("the panel has no prices; training needs them for its targets: open it with prices")
    tickers = _tickers(seen, seen.prices, config)
    rows, prices = seen.rows(tickers), seen.prices.select(tickers)
    end_row = window_grid(rows, prices.days, config.lookback).end_row

    count = len(prices.days)
    first = count - int(np.ceil(count * config.validation_share))
    reporting = first + max(2, (count - first - max(horizons)) // 2)
    outliers, spikes = find_outliers(prices)
    close = np.where(spikes, np.nan, prices.close)
    policy, known_for_training = config.delisting, max(0, first - config.embargo_sessions)
    returns, settled = _returns(close[:known_for_training], horizons, policy)
    limits = _limits(returns, horizons)
    parts = {"training": _samples(end_row, returns, settled, 0, limits)}
    for name, start, stop in (("choosing", first, reporting), ("validation", reporting, count)):
        parts[name] = _samples(end_row, *_returns(close[:stop], horizons, policy), start, limits)
    for name, samples in parts.items():
        known = np.isfinite(samples.returns).any(axis=0)
        if not len(samples) or not (known.any() if name == "choosing" else known.all()):
            raise InputError(
                f"no {name} samples for every horizon: {count} sessions up to {config.train_end} contain "
                f"too few windows of {config.lookback} sessions; give more history, a later train_end or a shorter "
                "lookback"
            )
    train = parts["training"]
    return Split(
        rows=rows,
        sessions=prices.days,
        lookback=config.lookback,
        train=train,
        choosing=_some_sessions(parts["choosing"], config.validation_samples),
        validation=_some_sessions(parts["validation"], config.validation_samples),
        choosing_all=parts["choosing"],
        validation_all=parts["validation"],
        validation_start=prices.days[first],
        mean_return=np.nanmean(np.clip(train.returns, *limits), axis=0),
        scale=np.maximum(np.nanstd(train.excess, axis=0), np.finfo(np.float32).tiny),
        outliers=outliers,
    )


def find_outliers(prices: PriceTable) -> tuple[tuple[Outlier, ...], Bool]:
    """Find closes that moved by a factor of two and ten robust deviations since the close before.

    Returns:
        the outliers, largest first; and a mask of the spikes, shape (T, N): closes that moved like this and moved back
        with the next one, and so are likely errors.

    >>> days = np.arange("2024-01-01", "2024-01-07", dtype="datetime64[D]")
    >>> close = np.array([[10.0], [10.1], [9.9], [1000.0], [10.0], [10.1]])
    >>> outliers, spikes = find_outliers(PriceTable(days=days, tickers=("A",), close=close))
    >>> [(one.day, round(one.move, 2)) for one in outliers], np.flatnonzero(spikes).tolist()
    ([('2024-01-04', 100.01), ('2024-01-05', -0.99)], [3])
    """
    found, spikes = [], np.zeros(prices.close.shape, dtype=np.bool_)
    for column, ticker in enumerate(prices.tickers):
        own = np.flatnonzero(prices.close[:, column] > 0)
        steps = np.diff(np.log(prices.close[own, column]))
        if not len(steps):
            continue
        deviation = 1.4826 * np.median(np.abs(steps - np.median(steps)))
        large = np.abs(steps) >= max(np.log(OUTLIER_FACTOR), OUTLIER_DEVIATIONS * deviation)
        back = np.abs(steps[:-1] + steps[1:]) < np.log(SPIKE_RETURN)
        spikes[own[1:-1][large[:-1] & large[1:] & back], column] = True
        for at in np.flatnonzero(large):
            day = day_text(prices.days[own[at + 1]])
            found.append((abs(steps[at]), Outlier(ticker=ticker, day=day, move=float(np.expm1(steps[at])))))
    ordered = sorted(found, key=lambda item: (-item[0], item[1].day, item[1].ticker))
    return tuple(one for _, one in ordered), spikes


def _tickers(seen: Panel, prices: PriceTable, config: TrainConfig) -> tuple[str, ...]:
    """Return the tickers to train on: those selected by the config that have features and prices by now.

    Tickers that are listed later are left out, because draws depend on the number of tickers and on their order.
    """
    both = [ticker for ticker in seen.tickers if ticker in set(prices.tickers)]
    if config.tickers is not None:
        if unknown := sorted(set(config.tickers) - set(both)):
            raise UnknownKeyError(
                f"{unknown[0]!r} has no features or no prices ({len(unknown)} of {len(config.tickers)} tickers have "
                "not); leave it out"
            )
        both = [ticker for ticker in both if ticker in set(config.tickers)]
    priced = {prices.tickers[column] for column in np.flatnonzero((~np.isnan(prices.close)).any(axis=0))}
    both = [ticker for ticker in both if ticker in priced and len(seen.days(ticker))]
    return tuple(both if config.num_stocks is None else sorted(both)[-config.num_stocks :])


def _returns(close: Float64, horizons: Sequence[int], delisting: Delisting) -> tuple[Float64, Bool]:
    """Return the returns over each horizon, and a mask of the settled ones; both of shape (T, N, H)."""
    found = [settled_returns(close, horizon, delisting) for horizon in horizons]
    return np.stack([returns for returns, _ in found], axis=2), np.stack([settled for _, settled in found], axis=2)


def _limits(returns: Float64, horizons: Sequence[int]) -> tuple[Float64, Float64]:
    """Return the quantiles that returns are limited to, each of shape (H,); none for a horizon without returns."""
    limits = np.tile([[-np.inf], [np.inf]], len(horizons))
    for at in range(len(horizons)):
        values = returns[:, :, at]
        if (values := values[np.isfinite(values)]).size:
            limits[:, at] = np.quantile(values, WINSORIZED_TO)
    return limits[0], limits[1]


def _samples(end_row: Int64, returns: Float64, settled: Bool, first: int, limits: tuple[Float64, Float64]) -> Samples:
    """Return the windows from a session on that have a return."""
    kept, rows = returns[first:].copy(), end_row[first : len(returns)]
    kept[rows < 0] = np.nan
    limited = np.clip(kept, *limits)
    excess = limited - _session_means(limited)
    session, ticker = np.nonzero(np.isfinite(kept).any(axis=2))
    return Samples(
        end_rows=rows[session, ticker],
        session=session + first,
        ticker=ticker,
        returns=kept[session, ticker],
        excess=excess[session, ticker],
        settled=settled[first:][session, ticker],
    )


def _session_means(returns: Float64) -> Float64:
    """Return the mean over the tickers of each session, shape (T, 1, H); the overall mean if there are too few."""
    finite = np.isfinite(returns)
    counts = finite.sum(axis=1, keepdims=True)
    sums = np.where(finite, returns, 0.0).sum(axis=1, keepdims=True)
    overall = sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
    means: Float64 = np.where(counts >= FEWEST_FOR_A_MEAN, sums / np.maximum(counts, 1), overall)
    return means


def _some_sessions(samples: Samples, wanted: int) -> Samples:
    """Return about `wanted` samples: evenly spread sessions, each with all its tickers or `MOST_PER_SESSION` of them.

    Many sessions with some tickers each are more informative than a few sessions with all: returns of one session are
    correlated.
    """
    sessions, place, sizes = np.unique(samples.session, return_inverse=True, return_counts=True)
    number = np.arange(len(samples)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # sorted by session
    number = (number + ROTATION * place) % sizes[place]  # so that every ticker has its turn
    own = np.minimum(sizes, MOST_PER_SESSION)[place]
    spread = (number * own) // sizes[place] != ((number - 1) * own) // sizes[place]
    per_session = np.minimum(sizes, MOST_PER_SESSION).mean()
    count = min(len(sessions), max(1, round(wanted / per_session)))
    chosen = np.linspace(0, len(sessions) - 1, count).round().astype(int)
    return samples.take(np.flatnonzero(np.isin(place, chosen) & spread))
