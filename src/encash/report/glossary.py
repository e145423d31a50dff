"""Definitions of the terms and conventions of the page."""

from __future__ import annotations

from collections.abc import Iterable

from encash.metrics import PATH_METRICS

GLOSSARY = {
    **{metric.term: metric.meaning for metric in PATH_METRICS.values() if metric.term},
    "Deflated Sharpe ratio": "Probability that the true Sharpe ratio of a run chosen among N trials exceeds the Sharpe "
    "ratio that the best of N runs without skill is expected to have.",
    "Drawdown": "Distance of the equity below its highest value so far, as a fraction of that value.",
    "Turnover": "Half of all value traded, over mean equity and years: how often a year the portfolio is replaced.",
    "Win rate": "Share of holdings sold for more than they cost, including slippage and proportional fees; "
    "of shorts, those bought back for less than they were sold for.",
    "Trades": "Orders in the ledger; a buy and the sale of the same shares count as two.",
    "Keep-rate": "Share of the candidates with an entry that the filter kept for ranking.",
    "Long exposure": "Mean value of the positions that are held, over the equity at each close.",
    "Short exposure": "Mean value of the positions that are sold short, over the equity at each close.",
    "Borrow fees": "Paid for shares sold short, by the calendar day; not among the fees of trades.",
    "Margin calls": "Times that an account's equity fell below the margin, so that all its positions were closed.",
    "Limited by volume": "Orders that the volume of their session cut or put off.",
    "Benchmark": "All candidates in equal weights, rebalanced every session, without costs.",
    "Gross": "The same picks without fees, slippage and borrow fees.",
    "Hit": "A valid entry in the cache: computed from the same input by the same encoder.",
    "Miss": "An entry that was missing from the cache or stale: it was encoded, or it had no complete window.",
    "Computed": "Encoded during the run. A failed encoding ends the run, so a completed run has no failures.",
    "Stale": "In the cache, but the input of its window has changed since.",
    "Unavailable": "The panel has no complete window of finite features that ends on that day.",
    "Random filter": "A filter that keeps, each day, as many candidates as the run's filter did, and for as long, "
    "drawn at random: the history of the filter with the tickers permuted.",
    "Percentile": "Share of the random filters below the run.",
    "Rank IC": "Spearman correlation of forecasts and later returns across the tickers of a day; mean over days.",
    "IC": "Pearson correlation of forecasts and later returns across the tickers of a day; mean over days.",
    "Rank ICIR": "Mean over standard deviation of the daily rank ICs; not annualized.",
    "Horizon": "Number of sessions ahead, of a forecast or of a holding period.",
    "Phase": "Sessions from the start to the first signal. A rebalance every H sessions has H phases.",
    "Tranches": "H overlapping portfolios, one started each session, each with an equal share of the capital.",
    "Embargo": "Sessions between the last return that a ranking used and the first signal of the run.",
    "Look-ahead": "Use of information on a day before it was available.",
}
"""Term → definition."""

_CONVENTIONS = (
    "Growth is compounded; returns are simple, never logarithmic; the risk-free rate is 0.",
    "Equity is marked to market at each close. Its first value is replaced by the initial capital, so that the costs "
    "of the first buys are part of the first return.",
    "Standard deviations are those of a sample (ddof 1). An undefined figure is shown as –, never as 0.",
    "Monthly and yearly returns are compounded from net equity; the first and the last month may be incomplete.",
    "Amounts are in the currency of the prices.",
)


def conventions(sessions_per_year: Iterable[int]) -> tuple[str, ...]:
    """Return the conventions behind all figures of runs with these numbers of sessions per year.

    >>> conventions([365, 252, 252])[0]
    '252 or 365 sessions a year, by the run.'
    """
    years = sorted(set(sessions_per_year))
    text = f"{' or '.join(map(str, years))} sessions a year"
    return (f"{text}, by the run." if len(years) > 1 else f"{text}.", *_CONVENTIONS)
