"""A script as a user would write it: `make check` checks its types, and nothing runs it."""

import datetime as dt

import numpy as np

import encash


def main() -> None:
    """Open, build, fit, rank, backtest, compare, sweep, pick and audit."""
    panel = encash.open_panel("features.h5", prices="prices.h5")
    prices = panel.price_table
    cache = encash.open_cache("cache.lance")
    report = cache.build(panel, encash.load_encoder("model.pt"), months=6)
    vectors, found = cache.get(panel.sessions[-1], ["AAPL", "MSFT"])
    closes = prices.close[-1].mean() + float(vectors[found].mean()) + report.computed
    fitted = encash.fit_clusters("cache.lance", end="2018-12-31", k=50, seed=0)
    ranked = encash.rank_clusters(fitted, cache, prices, end=dt.date(2018, 12, 31), horizon=5, embargo=5, top=8)
    walk = encash.walk_clusters("cache.lance", "prices.h5", every=60, horizon=5, embargo=5)
    run = encash.backtest(
        prices=prices, cache=cache, panel=panel, clusters=ranked, top_k=5, start=np.datetime64("2019-02-01")
    )
    sharpe: float = run.summary["sharpe"]
    run.plot.equity().savefig("equity.png")
    frame = run.equity.to_pandas()
    sentence: str = encash.compare(run).verdict["sentence"]
    page = encash.report(run, out="report.html")
    grid = {"base": {"start": "2019-02-01"}, "grid": {"top_k": [3, 5]}}
    swept = encash.sweep(grid, prices="prices.h5", cache="cache.lance", clusters=walk)
    chosen = encash.picks(panel=panel, cache="cache.lance", clusters=ranked, tickers=run.picks["ticker"])
    table = chosen.table["ticker"]
    passed: bool = encash.audit(panel="features.h5", prices="prices.h5", model="model.pt").passed
    head = encash.fit_head("cache.lance", "prices.h5", end="2018-12-31", horizons=(5, 20))
    assert all([closes, sharpe, len(frame), sentence, page.name, swept.best, len(table), passed, head.folder])
