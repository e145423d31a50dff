"""The result of a backtest as the guide's `--output` file holds it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encash.legacy_workflow.defaults import SESSIONS_PER_YEAR
from encash.metrics import max_drawdown

if TYPE_CHECKING:
    from encash.backtest import BacktestResult
    from encash.backtest.simulation.simulation_types import Holdings


def write_guide_result(path: Path, result: BacktestResult) -> None:
    """Write `guide_result` as a file that ``torch.load(path, weights_only=True)`` reads; this imports torch.

    Raises:
        WorkError: the file cannot be written.
    """
    from encash.encoders.torch.files import save_plain

    save_plain(path, guide_result(result))


def guide_result(result: BacktestResult) -> dict[str, Any]:
    """Return a result under the names and in the units of the guide's file, as plain values.

    A trade is one holding period: all its stocks are bought on ``date`` and sold one horizon later, costs included.

    ``initial_capital, final_capital``
        Currency units.
    ``total_return_pct, avg_return_pct, std_return_pct, max_drawdown_pct, win_rate``
        Percentages: of the run, per trade (mean and deviation with divisor n), of ``capital_history`` (positive), and
        of the trades with a return above 0.
    ``sharpe_ratio``
        Mean over deviation of the returns per trade, times the root of the trades per year (252 / horizon).
    ``num_trades, daily_returns, capital_history``
        Trades; their returns in percent; the capital before the first and after each of them.
    ``trade_history``
        Per trade ``date, num_stocks, capital_invested, capital_returned, return_pct, stocks``; per stock ``ticker,
        buy_price, sell_price, expected_return`` (a return: 0.01 is +1%), ``confidence, actual_return`` (sell price /
        buy price, without costs) and ``profit_pct`` (100 · (actual_return − 1)).
    """
    trades = _trades(result)
    returns = np.array([trade["return_pct"] for trade in trades])
    initial = float(result.outcome.config.initial_capital)
    gains = [trade["capital_returned"] - trade["capital_invested"] for trade in trades]
    capital = initial + np.concatenate([[0.0], np.cumsum(gains)])
    mean, deviation = (float(returns.mean()), float(returns.std())) if len(returns) else (0.0, 0.0)
    per_year = SESSIONS_PER_YEAR / result.outcome.config.horizon
    final = float(result.summary["final_capital"])
    return {
        "initial_capital": initial,
        "final_capital": final,
        "total_return_pct": (final / initial - 1.0) * 100,
        "num_trades": len(trades),
        "win_rate": float((returns > 0).mean()) * 100 if len(returns) else 0.0,
        "avg_return_pct": mean,
        "std_return_pct": deviation,
        "sharpe_ratio": mean / deviation * per_year**0.5 if deviation > 0 else 0.0,
        "max_drawdown_pct": abs(max_drawdown(capital)) * 100,
        "capital_history": capital.tolist(),
        "trade_history": trades,
        "daily_returns": returns.tolist(),
    }


def _trades(result: BacktestResult) -> list[dict[str, Any]]:
    """Return each holding period with its stocks, in order of time; periods without a stock are left out."""
    outcome, holdings = result.outcome, result.outcome.simulation.holdings
    fee, trades = outcome.config.sell_fee, []
    for rebalance, row in enumerate(outcome.targets.fill.tolist()):
        held = np.flatnonzero(holdings.start == row)
        if not len(held):
            continue
        shares = holdings.shares[held]
        invested = float((shares * holdings.entry[held]).sum())
        returned = float((shares * holdings.exit[held]).sum()) * (1.0 - fee)
        stocks = [_stock(result, rebalance, holdings, place) for place in held.tolist()]
        trades.append(
            {
                "date": str(result.days[row]),
                "num_stocks": len(stocks),
                "capital_invested": invested,
                "capital_returned": returned,
                "return_pct": (returned / invested - 1.0) * 100,
                "stocks": stocks,
            }
        )
    return trades


def _stock(result: BacktestResult, rebalance: int, holdings: Holdings, place: int) -> dict[str, Any]:
    """Return one stock of a holding period."""
    outcome = result.outcome
    column = outcome.columns[holdings.column[place]]
    forecast, confidence = outcome.signals.of_horizon(outcome.config.signal_horizon)
    buy, sell = float(holdings.entry[place]), float(holdings.exit[place])
    return {
        "ticker": outcome.setup.sessions.tickers[column],
        "buy_price": buy,
        "sell_price": sell,
        "expected_return": float(forecast[rebalance, column]),
        "confidence": float(confidence[rebalance, column]),
        "actual_return": sell / buy,
        "profit_pct": (sell / buy - 1.0) * 100,
    }
