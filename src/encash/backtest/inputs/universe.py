"""Sessions, universe, membership, daily draw and rebalances of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encash.arrays import Bool, Days, Int64, UInt64, day_text, to_day
from encash.backtest.inputs.config import BacktestConfig
from encash.clusters.draw import draw_scores
from encash.errors import InputError, UnknownKeyError
from encash.panel import membership
from encash.panel.panel import PriceTable

_SUBSET_STREAM = 0x5B5E7  # so that the daily draw differs from a random filter with the same seed

Membership = membership.Membership
read_membership = membership.read_membership
Candidates = Sequence[str] | Membership | None
"""All tickers of the prices (None), a list of them, or members by day."""


def session_span(config: BacktestConfig, days: Days) -> slice:
    """Return the rows of the sessions of a run.

    Raises:
        InputError: no session in range, or fewer than `test_sessions`.
    """
    if not len(days):
        raise InputError("the prices have no sessions; expected at least one")
    stop = len(days) if config.end is None else int(np.searchsorted(days, to_day(config.end), side="right"))
    first = 0 if config.start is None else int(np.searchsorted(days, to_day(config.start)))
    if config.test_sessions is not None:
        first = stop - config.test_sessions
    if first < 0:
        raise InputError(f"test_sessions is {config.test_sessions}, but there are only {stop} sessions; give fewer")
    if first >= stop:
        wanted = f"{day_text(config.start) if config.start else '…'} to {day_text(config.end) if config.end else '…'}"
        raise InputError(f"no session from {wanted}; the prices run from {day_text(days[0])} to {day_text(days[-1])}")
    return slice(first, stop)


def universe_tickers(prices: PriceTable, candidates: Candidates) -> tuple[str, ...]:
    """Return the tickers that may ever be candidates, sorted by name.

    Raises:
        UnknownKeyError: a listed ticker has no prices.
        InputError: no ticker is left.
    """
    priced = set(prices.tickers)
    if candidates is None:
        tickers = sorted(priced)
    elif isinstance(candidates, Membership):
        tickers = sorted(priced.intersection(candidates.tickers.tolist()))
    else:
        tickers = sorted(set(candidates))
        if unknown := [ticker for ticker in tickers if ticker not in priced]:
            raise UnknownKeyError(
                f"no prices for candidate {unknown[0]!r} ({len(unknown)} of {len(tickers)} have none)"
            )
    if not tickers:
        raise InputError("no candidates: no ticker of the universe has prices; give others, or their prices")
    return tuple(tickers)


def last_by_name(number: int | None, member: Bool) -> Bool:
    """Keep the last N members of each day by name; the columns are sorted by name.

    Args:
        number: N; None keeps all.
        member: shape (days, N).

    >>> last_by_name(2, np.array([[True, True, True], [True, True, False]])).tolist()
    [[False, True, True], [True, True, False]]
    """
    if number is None:
        return member
    after = np.cumsum(member[:, ::-1], axis=1)[:, ::-1]
    return member & (after <= number)


def check_width(config: BacktestConfig, num_tickers: int) -> None:
    """Refuse more picks than candidates.

    Raises:
        InputError: `top_k` is above the number of tickers of a day.
    """
    limits = (config.subset_size, config.num_test_stocks)
    drawn = min([num_tickers, *(limit for limit in limits if limit is not None)])
    if config.top_k > drawn:
        raise InputError(
            f"top_k is {config.top_k}, but there are only {drawn} candidates a day; pick fewer or admit more"
        )


def candidate_mask(config: BacktestConfig, days: Days, keys: UInt64, priced: Bool, member: Bool | None) -> Bool:
    """Return the candidates of each signal day, drawn among the members that have a price on that day.

    The draw takes the `subset_size` of them with the lowest hash of (seed, day, ticker): it depends on nothing else,
    a smaller subset is part of a larger one, and neither a ticker that lists later nor one that no longer trades takes
    up a place.

    Args:
        config: the settings.
        days: signal days, shape (R,).
        keys: of the tickers of the universe, from `ticker_keys`; shape (N,).
        priced: True if a ticker has a price on the day, shape (R, N).
        member: membership on the day, shape (R, N); None if every ticker is a member.

    Returns:
        shape (R, N).
    """
    there = priced if member is None else member & priced
    size = config.subset_size
    if size is None or size >= len(keys):
        return there
    scores = draw_scores(config.seed ^ _SUBSET_STREAM, np.repeat(days, len(keys)), np.tile(keys, len(days))).reshape(
        priced.shape
    )
    scores = np.where(there, scores, np.iinfo(np.uint64).max)
    drawn = np.zeros(priced.shape, dtype=bool)
    np.put_along_axis(drawn, np.argpartition(scores, size - 1, axis=1)[:, :size], True, axis=1)
    return drawn & there


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Rebalances of a run as rows of its sessions, counted from 0; all arrays have shape (R,)."""

    signal: Int64
    fill: Int64
    exit: Int64
    tranche: Int64
    """Account of each rebalance."""
    num_tranches: int


def make_schedule(config: BacktestConfig, num_sessions: int) -> Schedule:
    """Return the rebalances of a run, in order of time.

    Raises:
        InputError: no holding period fits.
    """
    every, horizon, last = (1 if config.tranches else config.horizon), config.horizon, num_sessions - 1
    signal = np.arange(config.phase, num_sessions, every, dtype=np.int64)
    fill = signal + config.lag
    fits = fill + horizon <= last if config.last_period == "full" else fill < last
    if not fits.any():
        raise InputError(
            f"a horizon of {horizon} sessions{f' with a lag of {config.lag}' if config.lag else ''} goes beyond the "
            f"data: {num_sessions} sessions in range; take more sessions or a shorter horizon"
        )
    signal, fill = signal[fits], fill[fits]
    num_tranches = horizon if config.tranches else 1
    return Schedule(
        signal=signal,
        fill=fill,
        exit=np.minimum(fill + horizon, last),
        tranche=np.arange(len(signal), dtype=np.int64) % num_tranches,
        num_tranches=num_tranches,
    )
