"""A script as a user would write it: `make check` checks its types, and nothing runs it."""

import encash


def main() -> None:
    """Fit, rank, backtest, compare, sweep, pick and audit."""
    fitted = encash.fit_clusters("cache.lance", end="2018-12-31", k=50, seed=0)
    ranked = encash.rank_clusters(fitted, "cache.lance", "prices.h5", end="2018-12-31", horizon=5, embargo=5, top=8)
    walk = encash.walk_clusters("cache.lance", "prices.h5", every=60, horizon=5, embargo=5)
    run = encash.backtest(
        prices="prices.h5", cache="cache.lance", panel="features.h5", clusters=ranked, top_k=5, start="2019-02-01"
    )
    sharpe: float = run.summary["sharpe"]
    run.plot.equity().savefig("equity.png")
    frame = run.equity.to_pandas()
    sentence: str = encash.compare(run).verdict["sentence"]
    page = encash.report(run, out="report.html")
    grid = {"base": {"start": "2019-02-01"}, "grid": {"top_k": [3, 5]}}
    swept = encash.sweep(grid, prices="prices.h5", cache="cache.lance", clusters=walk)
    chosen = encash.picks(prices="prices.h5", cache="cache.lance", clusters=ranked).table["ticker"]
    passed: bool = encash.audit(panel="features.h5", prices="prices.h5", model="model.pt").passed
    head = encash.fit_head("cache.lance", "prices.h5", end="2018-12-31", horizons=(5, 20))
    assert all([sharpe, len(frame), sentence, page.name, swept.best, len(chosen), passed, head.folder])
