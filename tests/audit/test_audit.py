"""The audit passes on honest data and finds every kind of leak that it is made for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encash.audit import Subject, audit, chain_checks, correlation_checks, feature_checks, fit_check
from encash.backtest import BacktestConfig
from encash.cache import open_cache
from encash.cli import main
from encash.clusters import load_clusters
from encash.panel import ArraySource, Panel, PriceTable, open_panel, prepare, toy_panel
from encash.panel.tables import read_bars
from encash.testing import MeanEncoder, write_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prices as a table, and the two files that prepare makes of them."""
    where = tmp_path_factory.mktemp("audit")
    random = np.random.default_rng(0)
    days = np.arange("2020-01-01", "2021-12-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    walks = 100 * np.exp(np.cumsum(random.normal(0, 0.02, (len(days), 6)), axis=0))
    lines = ["date," + ",".join(f"S{number}" for number in range(6))]
    lines += [f"{day}," + ",".join(map(str, row)) for day, row in zip(days, walks.tolist(), strict=True)]
    (where / "prices.csv").write_text("\n".join(lines) + "\n")
    prepare(where / "prices.csv", features_out=where / "f.h5", prices_out=where / "p.h5")
    return where


@pytest.fixture
def subject(folder: Path) -> Subject:
    panel = open_panel(folder / "f.h5", prices=folder / "p.h5")
    encoder = MeanEncoder(num_features=panel.num_features, lookback=8, dim=6)
    return Subject(panel=panel, encoder=encoder, config=BacktestConfig(start="2021-06-01", top_k=2), days=3)


def by_name(checks) -> dict[str, bool | None]:
    return {check.name: check.passed for check in checks}


def test_honest_data_pass_every_proof(subject):
    """Features of prepare, one window function, no cache: nothing is found and nothing is left untried; the three runs
    of each day are counted as they end."""
    counted = []
    found = audit(subject, progress=lambda *counts: counted.append(counts))
    assert counted == [(run, 9) for run in range(1, 10)]
    assert found.passed
    assert {check.status for check in found.checks} == {"passed", "not_applicable"}
    assert found.untried == 0


def test_a_feature_maker_that_looks_at_tomorrow_is_found(subject):
    """A feature that divides by the mean of all prices, later ones too, moves when the future is cut off."""

    def leaky(bars):
        scaled = ((own.days, (own.close / own.close.mean())[:, None].astype(np.float32)) for own in bars.values())
        return dict(zip(bars, scaled, strict=True))

    assert by_name(feature_checks(replace(subject, make_features=leaky)))["features: truncation and poison"] is False


def test_a_stored_feature_that_is_tomorrows_return_is_found(subject):
    """Nobody can make it again, but no honest feature ranks tomorrow that well."""
    panel, prices = subject.panel, subject.prices
    tomorrow = np.full(prices.close.shape, 0.0)
    tomorrow[:-1] = prices.close[1:] / prices.close[:-1] - 1
    rows = {}
    for column, ticker in enumerate(prices.tickers):
        own = panel.rows((ticker,))
        place = np.searchsorted(prices.days, own.days)
        values = np.column_stack([own.values, tomorrow[place, column]]).astype(np.float32)
        rows[ticker] = (own.days, values)
    leaky = replace(subject, panel=Panel(ArraySource(rows), prices))
    found = by_name([*correlation_checks(leaky), *feature_checks(leaky)])
    assert found["features: correlation with future returns"] is False
    assert found["features: truncation and poison"] is None


def test_windows_that_reach_past_their_day_are_found(subject):
    """An encoder fed with a panel whose rows are shifted by a day changes its picks when the future is poisoned."""

    class Shifted(Panel):
        """Rows under the day before their own: a join by position instead of by date."""

        def rows(self, *arguments, **keywords):
            end = keywords.get("end")
            later = None if end is None else np.datetime64(end) + np.timedelta64(5, "D")
            found = super().rows(*arguments, **{**keywords, "end": later})
            days = found.days.copy()
            for start, stop in zip(found.offsets[:-1], found.offsets[1:], strict=True):
                days[start + 1 : stop] = found.days[start : stop - 1]
                days[start] = found.days[start] - np.timedelta64(1, "D")
            return replace(found, days=days)

    wrong = replace(subject, panel=Shifted(subject.panel._source, subject.prices))
    assert False in by_name(chain_checks(wrong)).values()


def test_the_command_exits_with_3_where_it_finds_something(folder, capsys, tmp_path):
    """`encash audit` on honest files: 0; on features that know tomorrow: 3, one JSON object either way."""
    model = write_checkpoint(tmp_path / "m.pt", num_features=38)
    flags = ["--prices", str(folder / "p.h5"), "--model", str(model), "--start", "2021-06-01", "--days", "2"]
    assert main(["audit", "--data", str(folder / "f.h5"), *flags, "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"]
    assert {"name", "status", "passed", "detail", "warning"} == set(found["checks"][0])
    assert found["untried"] == 0

    import h5py

    leaky = tmp_path / "leaky.h5"
    leaky.write_bytes((folder / "f.h5").read_bytes())
    with h5py.File(leaky, "r+") as file, h5py.File(folder / "p.h5", "r") as prices:
        for ticker, group in file.items():
            close = prices[ticker]["prices"][:].astype(float)
            tomorrow = np.append(close[1:] / close[:-1] - 1, 0.0)
            group["features"][:, 0] = tomorrow[-len(group["dates"]) :]
    assert main(["audit", "--data", str(leaky), *flags, "--json", "--quiet"]) == 3
    assert not json.loads(capsys.readouterr().out)["passed"]


def test_features_of_whole_bars_are_proven_from_their_table(tmp_path):
    """With the table named, features of OHLCV are made again, cut and poisoned; of another table they are found out."""
    random = np.random.default_rng(1)
    days = np.arange("2020-01-01", "2021-06-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    lines = ["date,ticker,open,high,low,close,volume"]
    for number in range(4):
        close = 50 * np.exp(np.cumsum(random.normal(0, 0.02, len(days))))
        opens = close * np.exp(random.normal(0, 0.01, len(days)))
        high, low = 1.01 * np.maximum(opens, close), 0.99 * np.minimum(opens, close)
        volume = random.integers(1, 1000, len(days))
        rows = zip(days, opens, high, low, close, volume, strict=True)
        lines += [
            f"{day},S{number},{o!r},{h!r},{w!r},{c!r},{v}"
            for day, o, h, w, c, v in ((day, *map(float, row)) for day, *row in rows)
        ]
    (tmp_path / "bars.csv").write_text("\n".join(lines) + "\n")
    prepare(tmp_path / "bars.csv", features_out=tmp_path / "f.h5", prices_out=tmp_path / "p.h5")
    panel = open_panel(tmp_path / "f.h5", prices=tmp_path / "p.h5")
    encoder = MeanEncoder(num_features=panel.num_features, lookback=8, dim=6)
    bare = Subject(panel=panel, encoder=encoder, config=BacktestConfig(start="2021-01-04"), days=2)
    assert by_name(feature_checks(bare))["features: truncation and poison"] is None
    bars = read_bars(tmp_path / "bars.csv").bars
    found = by_name(feature_checks(replace(bare, bars=bars)))
    assert found["features: reproduced from prices"] is True
    assert found["features: truncation and poison"] is True
    assert bars["S2"].volume is not None
    other = {**bars, "S2": replace(bars["S2"], volume=bars["S2"].volume * np.linspace(1, 2, len(days)))}
    assert by_name(feature_checks(replace(bare, bars=other)))["features: reproduced from prices"] is False


def clustered(folder: Path) -> list[str]:
    """Flags of a cache with clusters of the past."""
    panel = open_panel(folder / "f.h5")
    open_cache(folder / "c.lance").build(panel, MeanEncoder(num_features=panel.num_features, lookback=8, dim=6))
    return ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]


def test_clusters_are_fitted_and_walked_again(folder, subject, tmp_path):
    """The fit and the walk come out the same without the future; clusters fitted on more than they say are found."""
    flags, cache = clustered(folder), open_cache(folder / "c.lance")
    fit = ["clusters", "fit", "--cache", flags[1], "--end", "2021-03-31", "-k", "3", "--quiet", "--out"]
    rank = ["clusters", "rank", *flags, "--end", "2021-03-31", "--horizon", "5", "--top", "1", "--quiet", "--clusters"]
    walk = ["clusters", "walk", *flags, "--every", "40", "--horizon", "5", "--embargo", "5", "-k", "3", "--top", "1"]
    assert main([*fit, str(tmp_path / "k")]) == main([*rank, str(tmp_path / "k")]) == 0
    assert main([*walk, "--history", "160", "--quiet", "--out", str(tmp_path / "w")]) == 0
    for name in ("k", "w"):
        checks = audit(replace(subject, cache=cache, clusters=tmp_path / name)).checks
        made = {check.name: check.passed for check in checks if check.name.startswith("clusters")}
        assert made
        assert set(made.values()) == {True}
    model = load_clusters(tmp_path / "k")
    replace(model, centroids=model.centroids + np.float32(0.25)).save(tmp_path / "k")
    assert fit_check(cache, tmp_path / "k").passed is False
    replace(model, fit_end="2021-02-26").save(tmp_path / "k")
    assert fit_check(cache, tmp_path / "k").passed is None


def test_a_panel_without_prices_is_refused():
    """There is nothing to poison."""
    panel = toy_panel(num_tickers=2, num_sessions=60)
    encoder = MeanEncoder(num_features=panel.num_features, lookback=8, dim=4)
    bare = Panel(panel._source)
    with pytest.raises(ValueError, match="--prices"):
        audit(Subject(panel=bare, encoder=encoder, config=BacktestConfig()))
    assert isinstance(panel.prices, PriceTable)


def write_module(folder: Path, name: str, body: str) -> None:
    """A module with a function `make` of the features in `tests.audit.worlds`."""
    lines = [
        "import numpy as np",
        "from tests.audit.worlds import honest",
        "def make(bars):",
        *body.splitlines(),
    ]
    (folder / f"{name}.py").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ("    return honest(bars)", 0, "passed"),
        ("    return {t: (d, v / v.std(axis=0)) for t, (d, v) in honest(bars).items()}", 3, "failed"),
        ("    return {t: rows for t, rows in honest(bars).items() if t != 'S03'}", 3, "not_tried"),
        ("    if len(bars['S00'].days) < 300: raise KeyError('S00')\n    return honest(bars)", 3, "not_tried"),
        ("    return 7", 3, "not_tried"),
    ],
    ids=["honest", "scaled", "drops one", "raises", "not features"],
)
def test_a_function_that_is_named_is_tested(tmp_path, monkeypatch, capsys, body, code, status):
    """By truncation and poison, on the command line; whatever it returns or raises, the audit ends with its outcome."""
    from encash.panel import write_panel
    from tests.audit.worlds import LOOKBACK, TEST_START, bars_of, closes, honest, subject_of

    prices = closes()
    made = honest(bars_of(prices))
    if status == "failed":
        made = {ticker: (days, (values / values.std(axis=0)).astype("f4")) for ticker, (days, values) in made.items()}
    write_panel(subject_of(made, prices).panel, tmp_path / "f.h5", tmp_path / "p.h5")
    model = write_checkpoint(tmp_path / "m.pt", num_features=5, lookback=LOOKBACK)
    write_module(tmp_path, f"mine_{status}_{len(body)}", body)
    monkeypatch.chdir(tmp_path)
    command = ["audit", "--data", "f.h5", "--prices", "p.h5", "--model", str(model), "--days", "2", "--quiet"]
    command += ["--start", str(prices.days[TEST_START]), "--features-by", f"mine_{status}_{len(body)}:make"]
    assert main([*command, "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check["status"] for check in found["checks"]}
    assert checks["features: truncation and poison"] == status
    assert found["untried"] == sum(check["status"] == "not_tried" for check in found["checks"])


def test_tests_that_were_not_tried_need_leave(subject, tmp_path, capsys):
    """Features of the prepared names that are not those of these prices: 3, and 0 with --allow-untried; never that
    nothing moved."""
    from encash.panel import write_panel

    panel = subject.panel
    rows = {ticker: panel.rows((ticker,)) for ticker in panel.tickers}
    scaled = {
        ticker: (own.days, own.values / np.maximum(own.values.std(axis=0), np.float32(1e-3)))
        for ticker, own in rows.items()
    }
    other = Panel(ArraySource(scaled, feature_names=panel.feature_names), panel.prices)
    write_panel(other, tmp_path / "f.h5", tmp_path / "p.h5")
    model = write_checkpoint(tmp_path / "m.pt", num_features=panel.num_features)
    command = ["audit", "--data", str(tmp_path / "f.h5"), "--prices", str(tmp_path / "p.h5"), "--model", str(model)]
    command += ["--start", "2021-06-01", "--days", "2", "--quiet"]
    assert main(command) == 3
    text = capsys.readouterr().out
    assert text.splitlines()[-1].startswith("passed, 2 tests not tried: ")
    assert "no feature changed" not in text
    assert "--raw PRICES" in text
    assert "--features-by module:function" in text
    assert main([*command, "--allow-untried", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["passed"], found["untried"]) == (True, 2)


@pytest.mark.parametrize("name", ["nothing", "no.such.module:make", "json:nothing", "math:pi"])
def test_a_function_that_does_not_exist_is_refused(folder, name, capsys, tmp_path):
    """Exit code 2 and one line that names it."""
    model = write_checkpoint(tmp_path / "m.pt", num_features=41)
    command = ["audit", "--data", str(folder / "f.h5"), "--prices", str(folder / "p.h5"), "--model", str(model)]
    assert main([*command, "--features-by", name, "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert name in line


def test_tables_with_an_index_are_features_too(subject):
    """A function may return a DataFrame per ticker."""
    pd = pytest.importorskip("pandas")
    from tests.audit.worlds import bars_of, closes, honest, subject_of

    prices = closes(num_sessions=320)

    def make(bars):
        return {ticker: pd.DataFrame(values, index=days) for ticker, (days, values) in honest(bars).items()}

    checks = feature_checks(subject_of(honest(bars_of(prices)), prices, make_features=make))
    assert {check.status for check in checks} == {"passed"}


def test_prices_may_have_grown_since_the_features_were_made(subject):
    """The features are compared on their own days."""
    panel = subject.panel
    rows = {ticker: panel.rows((ticker,)) for ticker in panel.tickers}
    older = {ticker: (own.days[:-40], own.values[:-40]) for ticker, own in rows.items()}
    shorter = Panel(ArraySource(older, feature_names=panel.feature_names), panel.prices)
    checks = feature_checks(replace(subject, panel=shorter))
    assert {check.status for check in checks} == {"passed"}


def test_a_ticker_that_lists_late_raises_no_alarm(subject):
    """A ticker with prices and no features yet is a candidate without an entry, also when the future is poisoned."""
    panel, late = subject.panel, subject.panel.tickers[-1]
    rows = {}
    for ticker in panel.tickers:
        own = panel.rows((ticker,))
        shown = slice(-2 if ticker == late else 0, None)
        rows[ticker] = own.days[shown], own.values[shown]
    config = replace(subject.config, max_missing=0.5)
    listed = replace(subject, panel=Panel(ArraySource(rows), subject.prices), config=config)
    assert set(by_name(chain_checks(listed)).values()) == {True}
