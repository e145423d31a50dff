"""A whole backtest on arrays: the old money, candidates, refusals, determinism, the run folder."""

import csv
import json
from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
import pytest

from encash.backtest import (
    BacktestConfig,
    BacktestInputs,
    Membership,
    Series,
    make_points,
    read_membership,
    run_backtest,
    write_run,
)
from encash.clusters import Hard, Random
from encash.encoders.base import EncoderSpec
from encash.errors import FormatError, InputError, LookaheadError, MissingFileError, UnknownKeyError
from encash.fingerprint import fingerprint
from encash.metrics import PATH_METRICS
from encash.serialization import describe, from_description, identity


def old_money(prices, lookup, *, horizon, top_k, percentile, capital, sell_fee):
    """The seed's own simulator, written anew: everything is sold, all capital goes in equal parts into the top k."""
    dates, tickers = prices.days, list(prices.tickers)
    day = 0
    while day + horizon < len(dates):
        rows = []
        for name in tickers:
            column = tickers.index(name)
            price = prices.close[day, column]
            if not np.isnan(price):
                rows.append(
                    (name, column, np.float32(lookup.forecast[day, column]), np.float32(lookup.confidence[day, column]))
                )
        threshold = sorted(row[3] for row in rows)[int(len(rows) * percentile)]
        rows = [row for row in rows if row[3] >= threshold]
        rows.sort(key=lambda row: (-(float(row[2]) * float(row[3])), row[0]))
        chosen = rows[:top_k]
        if chosen:
            part = capital / len(chosen)
            proceeds = 0.0
            for _, column, _, _ in chosen:
                growth = prices.close[day + horizon, column] / prices.close[day, column]
                proceeds += part * growth * (1 - sell_fee)
            capital = proceeds
        day += horizon
    return capital


@pytest.mark.parametrize(("horizon", "top_k", "percentile"), [(1, 5, 0.0), (5, 3, 0.6), (7, 1, 0.25)])
def test_the_money_of_the_old_simulator_is_reproduced_to_the_cent(make_prices, make_lookup, horizon, top_k, percentile):
    """Full liquidation, buy fee 0 and a fee on the proceeds give what the seed's simulator gives."""
    prices = make_prices(seed=horizon, num_sessions=84)
    lookup = make_lookup(prices, horizons=(1, 5, 7))
    config = BacktestConfig(horizon=horizon, top_k=top_k, confidence_percentile=percentile, buy_fee=0.0, sell_fee=0.001)
    result = run_backtest(config, BacktestInputs(prices=prices, lookup=lookup))
    expected = old_money(
        prices, lookup, horizon=horizon, top_k=top_k, percentile=percentile, capital=100_000.0, sell_fee=0.001
    )
    assert abs(result.summary["final_capital"] - expected) < 0.005
    assert result.summary["rebalances"] == (84 - 1) // horizon


def test_the_subset_depends_on_seed_and_day_alone(make_prices, make_lookup):
    """Starting later draws the same candidates on the days that both runs share; another seed draws others."""
    prices = make_prices(num_sessions=40)
    config = BacktestConfig(horizon=1, top_k=2, subset_size=4)
    whole = run_backtest(config, BacktestInputs(prices=prices, lookup=make_lookup(prices))).picks
    later = run_backtest(
        replace(config, start=prices.days[20]), BacktestInputs(prices=prices, lookup=make_lookup(prices))
    ).picks
    other = run_backtest(replace(config, seed=43), BacktestInputs(prices=prices, lookup=make_lookup(prices))).picks
    shared = whole.date >= prices.days[20]
    assert (whole.ticker[shared] == later.ticker).all()
    assert (np.unique(whole.date, return_counts=True)[1] == 4).all()
    assert len(np.unique(whole.ticker)) == 12
    assert (whole.ticker != other.ticker).any()


def test_a_smaller_subset_lies_within_a_larger_one(make_prices, make_lookup):
    """The draw takes the lowest lots, so growing the subset only adds names."""
    prices = make_prices()
    small, large = (
        run_backtest(
            BacktestConfig(top_k=2, subset_size=size), BacktestInputs(prices=prices, lookup=make_lookup(prices))
        ).picks
        for size in (4, 7)
    )
    pairs = set(zip(large.date.tolist(), large.ticker.tolist(), strict=True))
    assert set(zip(small.date.tolist(), small.ticker.tolist(), strict=True)) < pairs


def test_the_universe_is_the_last_tickers_by_name(make_prices, make_lookup):
    """num_test_stocks takes the last N by name and all where there are fewer."""
    prices = make_prices()
    picks = run_backtest(
        BacktestConfig(top_k=2, num_test_stocks=3), BacktestInputs(prices=prices, lookup=make_lookup(prices))
    ).picks
    assert set(picks.ticker) == {"T09", "T10", "T11"}
    everybody = BacktestConfig(top_k=2, num_test_stocks=2000, subset_size=100)
    assert (
        len(set(run_backtest(everybody, BacktestInputs(prices=prices, lookup=make_lookup(prices))).picks.ticker)) == 12
    )


def test_members_are_candidates_on_their_days_only(make_prices, make_lookup):
    """A point-in-time membership admits a ticker from its first to its last day."""
    prices = make_prices(num_sessions=30)
    membership = Membership(
        tickers=np.array(["T01", "T02", "T03"]), first=prices.days[[0, 0, 15]], last=prices.days[[29, 9, 29]]
    )
    picks = run_backtest(
        BacktestConfig(horizon=1, top_k=1),
        BacktestInputs(prices=prices, lookup=make_lookup(prices), candidates=membership),
    ).picks
    by_day = {day: set(picks.ticker[picks.date == day]) for day in prices.days[:29]}
    assert by_day[prices.days[9]] == {"T01", "T02"}
    assert by_day[prices.days[10]] == {"T01"}
    assert by_day[prices.days[15]] == {"T01", "T03"}


def test_a_candidate_without_a_price_that_day_is_none(make_prices, make_lookup):
    """A ticker in a gap is not asked for, and is no hole."""
    prices = make_prices(num_sessions=11)
    prices.close[5, 3] = np.nan
    result = run_backtest(BacktestConfig(top_k=2), BacktestInputs(prices=prices, lookup=make_lookup(prices)))
    day = result.picks.date == prices.days[5]
    assert "T03" not in set(result.picks.ticker[day])
    assert day.sum() == 11
    assert result.facts["missing_share"] == 0


def test_ties_go_to_the_first_name(make_prices, make_lookup):
    """Equal scores are ranked by ticker."""
    prices = make_prices()
    lookup = make_lookup(prices)
    lookup.forecast[:], lookup.confidence[:] = 0.01, 0.5
    picks = run_backtest(BacktestConfig(top_k=3), BacktestInputs(prices=prices, lookup=lookup)).picks
    assert set(picks.ticker[picks.picked]) == {"T00", "T01", "T02"}


def test_the_same_configuration_gives_the_same_bytes(make_prices, make_lookup, tmp_path):
    """equity.parquet and ledger.csv hold no time and no path."""
    prices = make_prices()
    for name in ("a", "b"):
        result = run_backtest(BacktestConfig(top_k=2), BacktestInputs(prices=prices, lookup=make_lookup(prices)))
        write_run(result, tmp_path / name)
    for file in ("equity.parquet", "ledger.csv", "picks.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_run_folder_holds_what_the_interface_names(make_prices, make_lookup, tmp_path):
    """Columns, keys, and numbers that read back exactly; what told of an earlier run does not outlive it."""
    prices = make_prices()
    result = run_backtest(BacktestConfig(top_k=2), BacktestInputs(prices=prices, lookup=make_lookup(prices)))
    for name in ("report.html", "comparisons.json", "comparisons.parquet", "trials.csv", "chosen.json"):
        (tmp_path / name).write_text("of an earlier run")
    write_run(result, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "digests.json",
        "equity.parquet",
        "ledger.csv",
        "picks.parquet",
        "result.json",
    ]
    equity = pq.read_table(tmp_path / "equity.parquet")
    assert [(field.name, str(field.type)) for field in equity.schema] == [
        ("date", "date32[day]"),
        ("gross", "double"),
        ("net", "double"),
        ("benchmark", "double"),
    ]
    assert equity["net"].to_numpy().tolist() == result.net.tolist()
    picks = pq.read_table(tmp_path / "picks.parquet")
    assert picks.column_names == [
        "date",
        "ticker",
        "cluster",
        "distance",
        "kept",
        "forecast",
        "confidence",
        "score",
        "picked",
        "weight",
    ]
    rows = list(csv.DictReader((tmp_path / "ledger.csv").open()))
    assert list(rows[0]) == ["date", "ticker", "side", "shares", "price", "fee"]
    assert [float(row["shares"]) for row in rows] == result.ledger.shares.tolist()
    written = json.loads((tmp_path / "result.json").read_text())
    promised = (
        "final_capital total_return cagr sharpe max_drawdown turnover trades win_rate hits misses stale computed "
        "keep_rate lookahead model_loaded seconds stages run_dir"
    )
    assert {*promised.split(), *PATH_METRICS} <= set(written)
    for key, metric in PATH_METRICS.items():
        assert result.summary[key] == pytest.approx(
            metric.measure(result.outcome.path, result.benchmark, result.outcome.sessions_per_year), nan_ok=True
        )
    assert written["lookahead"] is False
    assert written["training_period"] == "training period unknown"
    assert written["configuration"]["top_k"] == 2


def test_prices_after_the_end_change_nothing(make_prices, make_lookup, tmp_path):
    """Poison behind the last session: same equity, same ledger."""
    prices = make_prices()
    config = BacktestConfig(top_k=2, end=prices.days[40], weights="inverse_vol")
    clean = run_backtest(config, BacktestInputs(prices=prices, lookup=make_lookup(prices)))
    poisoned = prices.close.copy()
    poisoned[41:] = -1e9
    other = run_backtest(config, BacktestInputs(prices=replace(prices, close=poisoned), lookup=make_lookup(prices)))
    assert clean.ledger.to_csv() == other.ledger.to_csv()
    assert clean.net.tolist() == other.net.tolist()
    assert clean.benchmark.tolist() == other.benchmark.tolist()


def test_a_lag_fills_later_and_at_the_open_if_asked(make_prices, make_lookup):
    """The same picks, filled n sessions after the signal at that session's close or open, and left as late."""
    prices = make_prices(opens=True)
    fills: tuple[tuple[int, Literal["close", "open"]], ...] = ((0, "close"), (2, "close"), (2, "open"))
    runs = {
        (lag, fill): run_backtest(
            BacktestConfig(top_k=2, lag=lag, fill=fill, last_period="partial"),
            BacktestInputs(prices=prices, lookup=make_lookup(prices)),
        )
        for lag, fill in fills
    }
    picked = [set(zip(run.picks.date, run.picks.ticker, strict=True)) for run in runs.values()]
    assert picked[0] == picked[1] == picked[2]
    for (lag, fill), run in runs.items():
        table = prices.close if fill == "close" else prices.open
        row = np.searchsorted(prices.days, run.ledger.date)
        column = np.searchsorted(np.array(prices.tickers), run.ledger.ticker)
        assert run.ledger.price.tolist() == table[row, column].tolist()
        buys = run.ledger.side == "buy"
        assert set(row[buys] % 5) == {lag}
        assert run.net[lag - 1 if lag else 0] == pytest.approx(100_000.0, rel=1e-3)


def test_the_last_period_is_left_out_or_cut_short(make_prices, make_lookup):
    """Full periods only: sold at the last exit, idle until the end; partial: held until the last session."""
    prices = make_prices(num_sessions=33)
    full, partial = (
        run_backtest(
            BacktestConfig(top_k=2, last_period=period), BacktestInputs(prices=prices, lookup=make_lookup(prices))
        )
        for period in ("full", "partial")
    )
    assert full.ledger.date.max() == prices.days[30]
    assert full.net[30:].tolist() == [full.net[30]] * 3
    assert partial.ledger.date.max() == prices.days[32]
    assert partial.net[:30].tolist() == full.net[:30].tolist()
    assert partial.summary["rebalances"] == full.summary["rebalances"] + 1


def test_the_benchmark_is_the_universe_in_equal_weights(make_prices, make_lookup):
    """Its daily return is the mean over those that trade; a death is counted once under the policy."""
    prices = make_prices(num_sessions=21, num_tickers=3)
    prices.close[8:, 2] = np.nan
    growth = {}
    for policy in ("last", "-30%", "zero"):
        config = BacktestConfig(top_k=1, delisting=policy)
        growth[policy] = run_backtest(config, BacktestInputs(prices=prices, lookup=make_lookup(prices))).benchmark
    returns = prices.close[1:] / prices.close[:-1] - 1
    expected = [*returns[:7].mean(axis=1), (returns[7, 0] + returns[7, 1]) / 3, *returns[8:, :2].mean(axis=1)]
    assert growth["last"][1:] / growth["last"][:-1] - 1 == pytest.approx(expected)
    assert growth["zero"][8] / growth["zero"][7] - 1 == pytest.approx((returns[7, 0] + returns[7, 1] - 1) / 3)
    assert growth["-30%"][8] / growth["-30%"][7] - 1 == pytest.approx((returns[7, 0] + returns[7, 1] - 0.3) / 3)


def test_idle_capital_stays_as_it_is(make_prices, make_lookup, two_clusters):
    """When the filter keeps nobody nothing is bought, nothing is lost, and the rebalance is counted as idle."""
    prices = make_prices()
    lookup = make_lookup(prices)
    lookup.embedding = np.full((*prices.close.shape, 1), -1.0, dtype="f4")
    result = run_backtest(
        BacktestConfig(top_k=2),
        BacktestInputs(prices=prices, lookup=lookup, filter=Hard(periods=(two_clusters(),))),
    )
    assert set(result.net) == {100_000.0}
    assert (len(result.ledger), result.summary["idle_rebalances"]) == (0, result.summary["rebalances"])
    assert result.to_json()["sharpe"] is None


def test_a_membership_file_reads_as_it_was_meant(tmp_path):
    """Both ends included, an empty end is still in; what is no stay is refused with its line."""
    path = tmp_path / "members.csv"
    path.write_text("ticker,from,until\nAAA,2024-01-02,2024-01-03\nBBB,2024-01-03,\n")
    days = np.array(["2024-01-02", "2024-01-03", "2024-01-04"], dtype="datetime64[D]")
    assert read_membership(path).mask(days, ("AAA", "BBB")).tolist() == [[True, False], [True, True], [False, True]]
    path.write_bytes(b"\xef\xbb\xbfTicker,From,Until\r\n AAA , 2024-01-02,2024-01-03 \r\n\r\nAAA,2024-01-03,\r\n")
    assert read_membership(path).mask(days, ("AAA",)).all()
    for text, message in (
        ("name,from,until\n", "expected the columns ticker,from,until"),
        ("ticker,from,until\n", "has no periods of membership"),
        ("ticker,from,until\nAAA,2024-01-02,\nAAA,02/01/2024,\n", "line 3: '02/01/2024' is not a day"),
        ("ticker,from,until\nAAA,12024-01-02,\n", "line 2"),
        ("ticker,from,until\n,2024-01-02,\n", "line 2"),
        ("ticker,from,until\nAAA\n", "line 2"),
        ("ticker,from,until\nAAA,2024-01-03,2024-01-02\n", "ends before it begins"),
    ):
        path.write_text(text)
        with pytest.raises(FormatError, match=message):
            read_membership(path)
    with pytest.raises(MissingFileError, match="no membership file"):
        read_membership(tmp_path / "nobody.csv")


def test_too_many_holes_are_refused_and_few_are_counted(make_prices, make_lookup):
    """A candidate with a price and without an entry counts as missing, warm-up or not."""
    prices = make_prices()
    few, many = np.zeros(prices.close.shape, bool), np.zeros(prices.close.shape, bool)
    few[0, 0], many[:, :2] = True, True
    result = run_backtest(
        BacktestConfig(top_k=2), BacktestInputs(prices=prices, lookup=make_lookup(prices, absent=few))
    )
    assert 0 < result.facts["missing_share"] < 0.05
    assert result.facts["unavailable"] == 1
    with pytest.raises(InputError, match=r"16\.7% of the candidates .* T00 on 2024-01-01; build the cache"):
        run_backtest(BacktestConfig(top_k=2), BacktestInputs(prices=prices, lookup=make_lookup(prices, absent=many)))
    allowed = BacktestConfig(top_k=2, max_missing=0.2)
    picks = run_backtest(allowed, BacktestInputs(prices=prices, lookup=make_lookup(prices, absent=many))).picks
    assert not picks.kept[np.isin(picks.ticker, ["T00", "T01"])].any()


@pytest.mark.parametrize("built_late", [False, True])
def test_listings_that_are_too_young_are_not_told_to_build(make_prices, make_lookup, built_late):
    """If all missing candidates have fewer prices than any with an entry, the line leads with what to do if no build
    helps; days without any entry, and older tickers without one, are a matter of building first."""
    prices = make_prices(num_sessions=80)
    prices.close[:40, :4] = np.nan
    absent = np.zeros(prices.close.shape, bool)
    absent[:20] = True
    absent[40:60, :4] = True
    if built_late:
        absent[:50] = True
        absent[50:, 11] = True
    config = BacktestConfig(start=prices.days[20], top_k=2, horizon=1, max_missing=0.01)
    with pytest.raises(InputError) as caught:
        run_backtest(config, BacktestInputs(prices=prices, lookup=make_lookup(prices, absent=absent)))
    line = str(caught.value)
    young = "fewer prices than any candidate with an entry (21): if too few for a window, no build helps"
    assert (f"all have {young}; start later, give a --membership" in line) == (not built_late)
    assert (f"40 have {young}" in line) == built_late
    assert (line.index("build the cache") < line.index("no build helps")) == built_late


def test_a_model_trained_on_the_run_is_refused(make_prices, make_lookup):
    """The training period and an embargo of the longest horizon are compared with the first signal; a reason lets it
    through and marks the result."""
    prices = make_prices()
    spec = EncoderSpec(
        architecture="none", weights="", lookback=1, num_features=1, dim=1, horizons=(1, 5),
        train_end=str(prices.days[0]),
    )  # fmt: skip
    lookup = make_lookup(prices, encoder_spec=spec)
    with pytest.raises(LookaheadError, match="trained on days up to 2024-01-01"):
        run_backtest(BacktestConfig(top_k=2), BacktestInputs(prices=prices, lookup=lookup))
    allowed = run_backtest(
        BacktestConfig(top_k=2, allow_lookahead="a demo"), BacktestInputs(prices=prices, lookup=lookup)
    )
    assert allowed.facts["lookahead"].startswith("a demo (")
    with pytest.raises(LookaheadError, match="5 sessions ahead, so it may be used from 2024-01-08"):
        run_backtest(BacktestConfig(top_k=2, start=prices.days[4]), BacktestInputs(prices=prices, lookup=lookup))
    later = run_backtest(BacktestConfig(top_k=2, start=prices.days[5]), BacktestInputs(prices=prices, lookup=lookup))
    assert later.facts["lookahead"] is False
    assert later.facts["training_period"] == str(prices.days[0])


def test_a_random_filter_keeps_its_share_and_needs_no_embeddings(make_prices, make_lookup):
    """keep_rate is the share of the candidates with an entry that went on."""
    prices = make_prices()
    lookup = make_lookup(prices)
    result = run_backtest(
        BacktestConfig(top_k=2),
        BacktestInputs(prices=prices, lookup=lookup, filter=Random(keep_share=0.5)),
    )
    assert result.summary["keep_rate"] == 0.5
    assert [embeddings for _, embeddings in lookup.reads] == [False]
    assert not (result.picks.picked & ~result.picks.kept).any()


def wrong_prices(prices, value):
    close = prices.close.copy()
    close[7, 4] = value
    return replace(prices, close=close)


@pytest.mark.parametrize("value", [0.0, -3.0, np.inf])
def test_what_is_no_price_is_refused(make_prices, make_lookup, value):
    """Zero, negative and infinite prices are named with ticker and day."""
    prices = make_prices()
    with pytest.raises(InputError, match="close of T04 on 2024-01-10 is"):
        run_backtest(
            BacktestConfig(top_k=2), BacktestInputs(prices=wrong_prices(prices, value), lookup=make_lookup(prices))
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 60, "top_k": 2}, "horizon of 60 sessions goes beyond the data: 60 sessions"),
        ({"horizon": 58, "lag": 2, "fill": "open", "top_k": 2}, "with a lag of 2"),
        ({"start": "2031-01-01", "top_k": 2}, "no session from 2031-01-01"),
        ({"test_sessions": 61, "top_k": 2}, "there are only 60 sessions"),
        ({"top_k": 13}, "top_k is 13, but there are only 12 candidates"),
        ({"top_k": 5, "subset_size": 4}, "top_k is 5, but there are only 4 candidates"),
        ({"horizon": 7, "top_k": 2}, "no forecasts for a horizon of 7 sessions; there are 1, 5"),
        ({"lag": 1, "fill": "open", "top_k": 2}, "the prices have no opens"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused(make_prices, make_lookup, changes, message):
    """One clear line: what came and what was expected."""
    prices = make_prices()
    with pytest.raises(InputError, match=message):
        run_backtest(BacktestConfig(**changes), BacktestInputs(prices=prices, lookup=make_lookup(prices)))


def test_candidates_that_do_not_exist_are_refused(make_prices, make_lookup):
    """An unknown ticker, an empty list, a membership of nobody."""
    prices = make_prices()
    with pytest.raises(UnknownKeyError, match="no prices for candidate 'NOPE'"):
        run_backtest(
            BacktestConfig(), BacktestInputs(prices=prices, lookup=make_lookup(prices), candidates=["T01", "NOPE"])
        )
    with pytest.raises(InputError, match="no candidates"):
        run_backtest(BacktestConfig(), BacktestInputs(prices=prices, lookup=make_lookup(prices), candidates=[]))
    gone = Membership(tickers=np.array(["T01"]), first=prices.days[:1] - 9, last=prices.days[:1] - 5)
    with pytest.raises(InputError, match="no candidates"):
        run_backtest(
            BacktestConfig(top_k=1), BacktestInputs(prices=prices, lookup=make_lookup(prices), candidates=gone)
        )


def test_a_reference_without_overlap_is_refused(make_prices, make_lookup, tmp_path):
    """A series that begins after the run or ends before it is no comparison; one that covers it becomes a column."""
    prices = make_prices()
    for days in (prices.days - 200, prices.days + 200):
        with pytest.raises(InputError, match="no overlap"):
            run_backtest(
                BacktestConfig(top_k=2),
                BacktestInputs(prices=prices, lookup=make_lookup(prices)),
                reference=Series(days=days, values=np.ones(60)),
            )
    index = Series(days=prices.days, values=np.linspace(10, 20, 60))
    result = run_backtest(
        BacktestConfig(top_k=2), BacktestInputs(prices=prices, lookup=make_lookup(prices)), reference=index
    )
    write_run(result, tmp_path)
    assert pq.read_table(tmp_path / "equity.parquet")["reference"][-1].as_py() == 200_000.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_k": 0}, "top_k is 0"), ({"horizon": 0}, "horizon is 0"), ({"horizon": 2.5}, "horizon is 2.5"),
        ({"sell_fee": 1.0}, "sell_fee is 1.0"), ({"buy_fee": -0.1}, "buy_fee"), ({"slippage": np.nan}, "slippage"),
        ({"initial_capital": 0}, "initial_capital"), ({"subset_size": 0}, "subset_size"), ({"lag": -1}, "lag"),
        ({"start": "soon"}, "not a day"), ({"start": "2024-02-01", "end": "2024-01-01"}, "is after end"),
        ({"phase": 5}, "phase is 5"), ({"fill": "open"}, "give lag 1"), ({"weights": "best"}, "weights is 'best'"),
        ({"delisting": "hope"}, "delisting is 'hope'"), ({"max_missing": 2.0}, "max_missing"),
        ({"allow_lookahead": " "}, "the reason"), ({"confidence_percentile": 101}, "confidence_percentile"),
        ({"confidence_percentile": 60}, r"60; .* a fraction in \[0, 1\); 60 percent is 0.6"),
        ({"confidence_percentile": 1}, "fraction"), ({"confidence_percentile": -0.1}, "fraction"),
        ({"start": "2024-01-01", "test_sessions": 5}, "both say"), ({"tranches": True, "phase": 1}, "tranches"),
    ],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_is_refused(changes, message):
    """The configuration names the value and what was expected."""
    with pytest.raises(InputError, match=message):
        BacktestConfig(**changes)


def test_a_configuration_reads_back_what_it_describes():
    """describe and from_description are inverse; an unknown field is refused."""
    config = BacktestConfig(start="2024-01-02", top_k=7, delisting="zero", tranches=True)
    assert from_description(BacktestConfig, describe(config), what="the run") == config
    with pytest.raises(FormatError, match="unknown field 'topk'"):
        from_description(BacktestConfig, {"topk": 3}, what="the run")


def test_the_fingerprints_of_runs_stay_what_they_were():
    """Literals of the first format: with others, no run of a sweep would be found again."""
    changed = BacktestConfig(
        start="2024-01-02",
        end="2024-06-28",
        top_k=7,
        delisting="-30%",
        initial_capital=50000,
        weights="inverse_vol",
        allow_lookahead="a test",
    )
    assert fingerprint(identity(BacktestConfig())) == (
        "90ceda419501af12501bc69dfd7cb50cc23411fd2d5a713f27b70c158c4548a7"
    )
    assert fingerprint(identity(changed)) == "c39b91a6c68286134d14a421738610267ceb07c7ae78985922a64106c70b6d9e"
    (point,) = make_points({"top_k": 3}, {"horizon": [5], "filter": ["none"]})
    assert point.key(None) == "af85a76189e877dbc3b4b9209e3dc907"
