"""Every number of the page, computed again by pandas from the files of the run."""

import html
import json
import re
from io import StringIO
from typing import cast
from urllib.parse import unquote

import numpy as np
import pytest

from encash.backtest import BacktestConfig, BacktestInputs, run_backtest, write_run
from encash.backtest.evaluation.comparisons import CompareConfig, run_comparisons, write_comparisons
from encash.cache.lookup import Lookup
from encash.clusters import Random
from encash.panel.panel import PriceTable
from encash.report import render_report
from tests.report.test_real_run import DrawnLookup

pd = pytest.importorskip("pandas", reason="pandas comes with the dev install")
SESSIONS, TICKERS = 620, 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of two and a half years with costs, a filter and comparisons."""
    draw = np.random.default_rng(5)
    days = np.busday_offset("2020-01-01", np.arange(SESSIONS), roll="forward").astype("datetime64[D]")
    market = draw.normal(0.0015, 0.006, (SESSIONS, 1))
    close = 50.0 * np.exp(np.cumsum(market + draw.normal(0, 0.009, (SESSIONS, TICKERS)), axis=0))
    prices = PriceTable(days=days, tickers=tuple(f"T{number}" for number in range(TICKERS)), close=close)
    config, chosen = BacktestConfig(horizon=5, top_k=2, slippage=0.0002), Random(keep_share=0.5, seed=3)
    folder = tmp_path_factory.mktemp("runs") / "real"

    def inputs():
        return BacktestInputs(prices=prices, lookup=cast(Lookup, DrawnLookup()), filter=chosen)

    write_run(run_backtest(config, inputs()), folder)
    write_comparisons(run_comparisons(config, inputs(), settings=CompareConfig(draws=20)), folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return render_report([folder], folder.parent / "page.html").read_text()


@pytest.fixture(scope="module")
def result(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def equity(folder):
    """Net, gross and benchmark by day; net from the initial capital on."""
    values = pd.read_parquet(folder / "equity.parquet")
    values["date"] = pd.to_datetime(values["date"])
    values = values.set_index("date")
    values.loc[values.index[0], "net"] = 100_000.0
    return values


@pytest.fixture(scope="module")
def ledger(folder):
    values = pd.read_csv(folder / "ledger.csv")
    values["sign"] = values["side"].map({"buy": 1.0, "sell": -1.0})
    values["amount"] = values["shares"] * values["price"]
    return values


def text_of(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def shows(text, value):
    """Report whether a number of the page is a value, rounded to the digits that are shown."""
    sign = re.match(r"([+−]?)([\d,]+(?:\.\d+)?)([%×]?)$", text)
    assert sign is not None, text
    number = float(sign[2].replace(",", "")) * (-1 if sign[1] == "−" else 1)
    step = 10.0 ** -len(sign[2].partition(".")[2])
    scaled = value * 100 if sign[3] == "%" else value
    assert (sign[1] == "−") == (number < 0)
    return abs(number - scaled) <= 0.5000001 * step


def csv_of(page, anchor):
    """The CSV file of a chart."""
    figure = page.partition(f'<figure id="{anchor}"')[2].partition("</figure>")[0]
    link = re.search(r'href="data:text/csv;charset=utf-8,([^"]*)"', figure)
    assert link is not None, anchor
    return pd.read_csv(StringIO(unquote(html.unescape(link[1]))))


def cells_of(page, anchor):
    """The rows of the table of a chart as they are shown."""
    figure = page.partition(f'<figure id="{anchor}"')[2].partition("</figure>")[0]
    body = figure.rpartition("<tbody>")[2].partition("</tbody>")[0]
    return [
        [text_of(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in body.split("</tr>")[:-1]
    ]


def tiles_of(page):
    found = re.findall(r'<div class="tile"><dt>(.*?)</dt><dd class="value">(.*?)</dd><dd class="note">(.*?)</dd>', page)
    return {text_of(term): (text_of(value), text_of(note)) for term, value, note in found}


def path_of(file, name):
    """The equity of a variant that was run once, from the initial capital on."""
    paths = pd.read_parquet(file)
    path = paths[paths["name"] == name].sort_values("date")["median"].reset_index(drop=True)
    path.iloc[0] = 100_000.0
    return path


def performance(path):
    returns = path.pct_change().dropna()
    years = len(returns) / 252
    return {
        "cagr": (path.iloc[-1] / path.iloc[0]) ** (1 / years) - 1,
        "sharpe": returns.mean() / returns.std() * 252**0.5,
        "max_drawdown": (path / path.cummax() - 1).min(),
    }


def test_the_first_sentence_is_true(page, equity, folder):
    """Return and Sharpe ratio of all candidates, of the run and of the run without a filter, and their drawdowns."""
    sentence = text_of(page.partition("<h1>")[2].partition("</h1>")[0])
    details = text_of(page.partition('<p class="details">')[2].partition("</p>")[0])
    without = path_of(folder / "comparisons.parquet", "no filter")
    expected = [performance(equity["benchmark"]), performance(equity["net"])]
    found = re.findall(r"([+−]?[\d.]+%) a year \(Sharpe ratio (−?[\d.]+)\)", f"{sentence} {details}")
    assert len(found) == 3
    for (rate, sharpe), one in zip(found, [*expected, performance(without)], strict=True):
        assert shows(rate, one["cagr"])
        assert shows(sharpe, one["sharpe"])
    drawdowns = re.findall(r"(−[\d.]+%) (?:of|without)", details.partition("Max drawdown")[2])
    for text, one in zip(drawdowns, [expected[0], performance(without), expected[1]], strict=True):
        assert shows(text, one["max_drawdown"])


def test_the_key_figures_are_those_of_the_files(page, equity, ledger, result, folder):
    """Each tile follows from the equity, the ledger and the picks, and says what `result.json` says."""
    net, benchmark = equity["net"], equity["benchmark"]
    returns, market = net.pct_change().dropna(), benchmark.pct_change().dropna()
    beta, alpha = np.polyfit(market, returns, 1)
    drawdown = net / net.cummax() - 1
    picks = pd.read_parquet(folder / "picks.parquet")
    paired = ledger.assign(trip=ledger.groupby(["ticker", "side"]).cumcount())
    trips = paired[paired["side"] == "buy"].merge(paired[paired["side"] == "sell"], on=["ticker", "trip"])
    paid = (trips["amount_x"] + trips["fee_x"]) / trips["shares_x"]
    got = (trips["amount_y"] - trips["fee_y"]) / trips["shares_y"]
    centered = returns - returns.mean()
    expected = {
        "final_capital": net.iloc[-1],
        **performance(net),
        "alpha": alpha * 252,
        "beta": beta,
        "ulcer_index": (drawdown**2).mean() ** 0.5,
        "value_at_risk": returns.quantile(0.05),
        "skewness": (centered**3).mean() / (centered**2).mean() ** 1.5,
        "turnover": ledger["amount"].sum() / 2 / net.mean() / ((len(net) - 1) / 252),
        "win_rate": (got > paid).mean(),
        "trades": len(ledger),
        "keep_rate": picks["kept"].sum() / picks["forecast"].notna().sum(),
    }
    names = {
        "Final capital": "final_capital",
        "CAGR": "cagr",
        "Sharpe ratio": "sharpe",
        "Max drawdown": "max_drawdown",
        "Alpha": "alpha",
        "Beta": "beta",
        "Ulcer index": "ulcer_index",
        "Value at risk": "value_at_risk",
        "Skewness": "skewness",
        "Turnover": "turnover",
        "Win rate": "win_rate",
        "Trades": "trades",
        "Keep-rate": "keep_rate",
    }
    tiles = tiles_of(page)
    assert set(tiles) == {*names, "Hits / misses", "Time"}
    for term, key in names.items():
        assert result[key] == pytest.approx(expected[key], rel=2e-3 if key == "skewness" else 1e-6), key
        assert shows(tiles[term][0], result[key]), term
    base = performance(benchmark)
    for term, key in (("CAGR", "cagr"), ("Sharpe ratio", "sharpe"), ("Max drawdown", "max_drawdown")):
        if "benchmark" in tiles[term][1]:
            assert shows(tiles[term][1].split()[-1], base[key])
    assert shows(tiles["Final capital"][1].split()[0], net.iloc[-1] / 100_000 - 1)
    assert shows(tiles["Alpha"][1].rpartition(" ")[2], result["alpha_t"])
    evidence = text_of(page.partition('id="evidence"')[2])
    (text,) = re.findall(r"beta is ([\d.−]+), and alpha ([+−][\d.]+%) a year after costs \(t = ([\d.−]+);", evidence)
    for shown, key in zip(text, ("beta", "alpha", "alpha_t"), strict=True):
        assert shows(shown, result[key])


def test_months_and_years_are_those_of_the_equity(page, equity):
    """Each cell of the table is a compounded return, as are the years of the run and of the benchmark."""
    ends = equity.resample("ME").last()
    before = ends.shift().fillna(equity.iloc[0])
    months = ends["net"] / before["net"] - 1
    rows = cells_of(page, "chart-monthly-returns")
    assert [row[0] for row in rows] == ["2020", "2021", "2022"]
    shown = {(int(row[0]), month): cell for row in rows for month, cell in enumerate(row[1:13], start=1) if cell}
    assert len(shown) == len(months)
    for day, value in months.items():
        assert shows(shown[day.year, day.month] + "%", value)
    years = equity.resample("YE").last() / equity.resample("YE").last().shift().fillna(equity.iloc[0]) - 1
    for row, (_, value) in zip(rows, years.iterrows(), strict=True):
        assert shows(row[13] + "%", value["net"])
    table = csv_of(page, "chart-years-against-the-benchmark")
    np.testing.assert_allclose(table.iloc[:, 1], years["net"], rtol=1e-5)
    np.testing.assert_allclose(table.iloc[:, 2], years["benchmark"], rtol=1e-5)


def test_the_worst_drawdowns_are_those_of_the_equity(page, equity):
    """Depth, peak, trough, recovery and length of the deepest ones, which do not overlap."""
    net = equity["net"]
    below = net < net.cummax()
    spells = (below & ~below.shift(fill_value=False)).cumsum()[below]
    found = []
    for _, spell in net[below].groupby(spells):
        at = net.index.get_loc(spell.index[0])
        peak, end = net.index[at - 1], net.index.get_loc(spell.index[-1]) + 1
        until = None if end == len(net) else net.index[end]
        found.append((spell.min() / net[peak] - 1, peak, spell.idxmin(), until, min(end, len(net) - 1) - (at - 1)))
    rows = cells_of(page, "chart-worst-drawdowns")
    assert len(rows) > 3
    for row, (depth, peak, trough, until, sessions) in zip(rows, sorted(found, key=lambda one: one[0]), strict=False):
        assert shows(row[0], depth)
        assert row[1:3] == [str(peak.date()), str(trough.date())]
        assert row[3] == ("not yet" if until is None else str(until.date()))
        assert shows(row[4], sessions)


def test_the_figures_beside_the_benchmark_are_those_of_the_equity(page, equity):
    """Volatility, ratios, tails, extremes and shares of the run and of the benchmark."""
    table = csv_of(page, "chart-run-and-benchmark").set_index("figure")
    shown = {row[0]: row[1:] for row in cells_of(page, "chart-run-and-benchmark")}
    for place, (column, name) in enumerate((("this run", "net"), ("benchmark", "benchmark"))):
        path = equity[name]
        returns = path.pct_change().dropna()
        ends = path.resample("ME").last()
        months = ends / ends.shift().fillna(path.iloc[0]) - 1
        highs = [at for at, value in enumerate(path) if value >= path.iloc[: at + 1].max()]
        tail = returns[returns <= returns.quantile(0.05)]
        centered = returns - returns.mean()
        one = performance(path)
        expected = {
            "volatility a year": returns.std() * 252**0.5,
            "Sortino ratio": returns.mean() / (returns.clip(upper=0) ** 2).mean() ** 0.5 * 252**0.5,
            "Calmar ratio": one["cagr"] / -one["max_drawdown"],
            "longest drawdown": max(np.diff([*highs, len(path) - 1])),
            "value at risk": returns.quantile(0.05),
            "expected shortfall": tail.mean(),
            "skewness": (centered**3).mean() / (centered**2).mean() ** 1.5,
            "excess kurtosis": (centered**4).mean() / (centered**2).mean() ** 2 - 3,
            "best session": returns.max(),
            "worst session": returns.min(),
            "best month": months.max(),
            "worst month": months.min(),
            "positive sessions": (returns > 0).mean(),
            "positive months": (months > 0).mean(),
        }
        assert list(table.index) == list(expected)
        for figure, value in expected.items():
            assert table.loc[figure, column] == pytest.approx(value, rel=1e-5), figure
            assert shows(shown[figure][place], value), figure


def test_the_waterfall_adds_up(page, equity, folder):
    """The steps between two totals sum to their difference; each total is a mean of daily returns, times 252."""
    table = csv_of(page, "chart-from-equal-weights-to-the-net-return")
    value = dict(zip(table["step"], table["a year"], strict=True))
    later = path_of(folder / "comparisons.parquet", "lag + 1")
    for name, path in (
        ("All candidates in equal weights", equity["benchmark"]),
        ("This run, net", equity["net"]),
        ("Net, filled one session later", later),
    ):
        assert value[name] == pytest.approx(path.pct_change().mean() * 252, rel=1e-5)
    steps = ["Picks by forecast, without the filter", "The filter", "Costs"]
    total = value["All candidates in equal weights"] + sum(value[step] for step in steps)
    assert total == pytest.approx(value["This run, net"], abs=1e-6)
    total = value["This run, net"] + value["Filled one session later"]
    assert total == pytest.approx(value["Net, filled one session later"], abs=1e-6)
    assert value["Costs"] < 0


def test_profit_and_trips_are_those_of_the_ledger(page, ledger):
    """Profit by ticker and in all, and the number, length and gains of round trips."""
    flow = -ledger["sign"] * ledger["amount"] - ledger["fee"]
    profit = flow.groupby(ledger["ticker"]).sum()
    table = csv_of(page, "chart-profit-by-ticker").set_index("ticker").iloc[:, 0]
    np.testing.assert_allclose(table.sort_index(), profit.sort_index(), rtol=1e-5)
    text = text_of(page.partition('<figure id="chart-profit-by-ticker"')[2].partition("</figcaption>")[0])
    assert f"{(profit > 0).sum()} of {TICKERS} tickers" in text
    text = text_of(page.partition('<figure id="chart-round-trips"')[2].partition("</figcaption>")[0])
    assert f"{(ledger['side'] == 'sell').sum()} round trips" in text


def test_the_equity_of_the_page_is_that_of_the_run(page, equity):
    """Each session of its CSV file; what costs took is the difference of gross and net."""
    table = csv_of(page, "chart-equity-and-drawdown")
    names = {"net": "net", "gross": "gross", "benchmark": "benchmark"}
    for column, name in names.items():
        np.testing.assert_allclose(table[column], equity[name], rtol=1e-6)
    text = text_of(page.partition('<figure id="chart-equity-and-drawdown"')[2].partition("</figcaption>")[0])
    final, costs = re.findall(r"100,000 became ([\d,]+) after costs; costs took ([\d,]+)", text)[0]
    assert shows(final, equity["net"].iloc[-1])
    assert shows(costs, (equity["gross"] - equity["net"]).iloc[-1])


def test_the_random_draws_of_the_strip_are_those_of_the_comparison(page, folder, result):
    """Each dot, and the percentiles of the evidence."""
    table = csv_of(page, "chart-this-run-among-random-draws")
    comparisons = json.loads((folder / "comparisons.json").read_text())
    percentiles = comparisons["verdict"]["percentiles"]
    assert len(table) == 20
    for column, key in (("return a year", "cagr"), ("Sharpe ratio", "sharpe"), ("max drawdown", "max_drawdown")):
        below = (table[column] < result[key]).mean() * 100
        assert percentiles["total_return" if key == "cagr" else key] == pytest.approx(below)


def test_no_number_is_a_negative_zero(page):
    """Neither in the text nor in the names of what is drawn: a small loss keeps its sign and gets digits."""
    labels = re.findall(r'(?:aria-label|title)="([^"]*)"', page)
    for text in [text_of(page.partition("<main>")[2].partition("<script>")[0]), *labels]:
        assert re.search(r"[-−+]0(?:\.0+)?(?:%|×|(?![\d.%×:-]))", text) is None, text[:200]
