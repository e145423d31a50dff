import csv
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from encash.clusters import (
    Assignments,
    RankConfig,
    SelectionRule,
    check_ids,
    load_ranking,
    rank_clusters,
    read_best_clusters,
    select_best,
    selection_frequency,
    write_ranking,
)
from encash.clusters.rank import ClusterTable, price_fingerprint
from encash.errors import FormatError, InputError, MissingFileError, UnknownKeyError
from encash.panel.panel import PriceTable
from encash.significance import mean_of


def config(truth, **change):
    """Rank over one session on the first three quarters."""
    end = truth.days[3 * len(truth.days) // 4]
    return RankConfig(**{"horizon": 1, "end": end, "embargo": 1, **change})


def test_the_statistics_are_those_of_the_entries_of_the_day(planted):
    """Each column equals a plain loop over the entries assigned to a cluster on that day."""
    truth = planted(num_sessions=40)
    horizon = 3
    asked = config(truth, horizon=horizon, embargo=3, winsorize=None)
    ranking = rank_clusters(truth.assignments(), truth.prices, config=asked)
    last = int(np.flatnonzero(truth.days == np.datetime64(asked.end))[0])
    close = truth.prices.close
    for cluster in range(3):
        samples, tickers = [], set()
        for t in range(last - horizon + 1):
            for n in range(len(truth.tickers)):
                if truth.label[t, n] == cluster:
                    samples.append(close[t + horizon, n] / close[t, n] - 1)
                    tickers.add(n)
        row = next(row for row in ranking.rows() if row["cluster_id"] == cluster)
        returns = np.array(samples)
        gap = returns - returns.mean()
        assert row["num_samples"] == len(returns)
        assert row["num_stocks"] == len(tickers)
        expected = {
            "mean_return": returns.mean(),
            "median_return": np.median(returns),
            "win_rate": (returns > 0).mean(),
            "volatility": returns.std(),
            "sharpe": returns.mean() / returns.std(),
            "skewness": (gap**3).mean() / (gap**2).mean() ** 1.5,
        }
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-9), name


def test_planted_drifts_are_ranked_in_order(planted):
    """The cluster with the highest drift comes first under every metric, and the bootstrap is sure of it."""
    truth = planted(drift=(0.004, -0.004, 0.0))
    for metric in ("mean_return", "median_return", "win_rate", "sharpe"):
        ranking = rank_clusters(truth.assignments(), truth.prices, config=config(truth, metric=metric))
        assert ranking.order.tolist() == [0, 2, 1], metric
        np.testing.assert_array_equal(selection_frequency(ranking, SelectionRule(top_k=1)), [1, 0, 0])


def test_only_ended_returns_count(planted):
    """Entries whose forward window is still open at the end are left out and counted."""
    truth = planted(num_sessions=50)
    asked = config(truth, horizon=5, embargo=5, end=truth.days[29])
    ranking = rank_clusters(truth.assignments(), truth.prices, config=asked)
    assert ranking.counts["used"] == 25 * 20
    assert ranking.counts["window_open"] == 5 * 20
    assert (ranking.rank_start, ranking.rank_end) == (str(truth.days[0]), str(truth.days[29]))


def test_prices_after_the_end_change_nothing(planted):
    """Poisoned, cut or missing prices after the end leave every byte of the ranking as it was."""
    truth = planted()
    asked = config(truth)
    poisoned = truth.prices.close.copy()
    poisoned[truth.days > asked.end] = 1e9
    tables = [truth.prices, replace(truth.prices, close=poisoned), truth.prices.as_of(asked.end)]
    rankings = [rank_clusters(truth.assignments(), table, config=asked) for table in tables]
    for other in rankings[1:]:
        assert other.rows() == rankings[0].rows()
        assert (other.draws == rankings[0].draws).all() | np.isnan(other.draws[:, 1]).all()
        assert other.counts == rankings[0].counts


def test_missing_prices_are_counted_not_filled(planted):
    """An entry without a price of its own, a ticker without prices, a day without a session: none counts.

    A price that is missing at the end of the horizon is not filled either: the entry is sold at the next one.
    """
    truth = planted(num_sessions=20, num_tickers=4)
    close = truth.prices.close.copy()
    close[5, 0] = np.nan
    close[8, 1] = 0.0
    keep = np.arange(20) != 12
    table = PriceTable(days=truth.days[keep], tickers=truth.tickers[:3], close=close[keep][:, :3])
    asked = RankConfig(horizon=1, end=truth.days[-1], embargo=1)
    counts = rank_clusters(truth.assignments(), table, config=asked).counts
    assert counts["no_session"] == 4
    assert counts["no_ticker"] == 19
    assert counts["window_open"] == 3
    assert counts["no_price"] == 2
    assert counts["used"] == 80 - 4 - 19 - 3 - 2
    assert counts["settled"] == 0


def collapsing_market(num_sessions=60, per_cluster=10):
    """Cluster 0 gains 0.4% a session; cluster 1 gains 2% until its tickers, one after the other, lose 90% and stop."""
    days = np.arange("2020-01-01", num_sessions, dtype="datetime64[D]")
    tickers = tuple(f"T{number:02d}" for number in range(2 * per_cluster))
    label = np.tile(np.arange(len(tickers)) // per_cluster, (num_sessions, 1)).astype(np.int32)
    close = 100.0 * np.cumprod(np.where(label > 0, 1.02, 1.004), axis=0)
    for number in range(per_cluster):
        last = 25 + 2 * number
        close[last, per_cluster + number] *= 0.1
        close[last + 1 :, per_cluster + number] = np.nan
        label[last:, per_cluster + number] = -1
    assigned = Assignments(
        days=days, tickers=np.array(tickers), cluster=label, distance=np.zeros(label.shape, np.float32), k=2, model="m"
    )
    return assigned, PriceTable(days=days, tickers=tickers, close=close.astype(np.float64))


def test_a_cluster_that_collapses_is_not_the_best():
    """Entries whose ticker stops trading within the horizon count at their settlement, and the ranking says how many.

    Without a policy they are left out, and the cluster that collapses is ranked best.
    """
    assigned, prices = collapsing_market()
    ranked = {
        policy: rank_clusters(
            assigned,
            prices,
            config=RankConfig(horizon=5, end=prices.days[-1], embargo=5, winsorize=None, delisting=policy),
        )
        for policy in (None, "last", "-30%", "zero", "flat")
    }
    means = {policy: ranking.table.mean_return for policy, ranking in ranked.items()}
    assert ranked[None].order.tolist() == [1, 0]
    assert ranked[None].counts["settled"] == 0
    for policy in ("last", "-30%", "zero"):
        assert ranked[policy].order.tolist() == [0, 1], policy
        assert ranked[policy].counts["settled"] > 20, policy
        assert ranked[policy].delisting == policy
    assert means["zero"][1] < means["-30%"][1] < means["last"][1] < means["flat"][1]
    np.testing.assert_allclose(means["zero"][0], means[None][0])


def test_one_bad_print_makes_no_best_cluster(planted):
    """A price a thousand times too high puts its cluster first only when winsorizing is off."""
    truth = planted(drift=(0.004, 0.0, -0.004))
    close = truth.prices.close.copy()
    session, column = np.argwhere(truth.label[:100] == 2)[0]
    close[session + 1, column] *= 1000
    table = replace(truth.prices, close=close)
    naive = rank_clusters(truth.assignments(), table, config=config(truth, winsorize=None))
    assert naive.order[0] == 2
    robust = rank_clusters(truth.assignments(), table, config=config(truth))
    assert robust.order.tolist() == [0, 1, 2]
    assert robust.counts["clipped"] > 0
    assert robust.table.raw_mean[2] == naive.table.mean_return[2]


def test_standard_errors_cover_overlapping_returns():
    """Over many random worlds the mean lies within 1.96 standard errors as often as it should, at horizon 10."""
    random = np.random.default_rng(0)
    days = np.datetime64("2000-01-01") + np.arange(600)
    inside, naive = [], []
    for _ in range(150):
        steps = 0.01 * random.normal(size=(600, 1)) + 0.01 * random.normal(size=(600, 5))
        prices = PriceTable(days=days, tickers=tuple("ABCDE"), close=np.exp(np.cumsum(steps, axis=0)))
        assigned = Assignments(
            days=days,
            tickers=np.array(list("ABCDE")),
            cluster=np.zeros((600, 5), np.int32),
            distance=np.zeros((600, 5), np.float32),
            k=1,
        )
        asked = RankConfig(horizon=10, end=days[-1], embargo=10, winsorize=None, draws=0)
        table = rank_clusters(assigned, prices, config=asked).table
        miss = abs(table.mean_return[0] - (np.exp(10 * 0.0001) - 1))
        inside.append(miss < 1.96 * table.mean_error[0])
        naive.append(miss < 1.96 * table.volatility[0] / np.sqrt(table.num_samples[0]))
    assert np.mean(inside) > 0.9
    assert np.mean(naive) < 0.6, "the error that ignores the overlap is the one that would mislead"


def ranked_alone(close: np.ndarray, horizon: int) -> ClusterTable:
    """The table of one cluster that holds one ticker on each day."""
    days = np.datetime64("2000-01-01") + np.arange(len(close))
    assigned = Assignments(
        days=days,
        tickers=np.array(["A"]),
        cluster=np.zeros((len(close), 1), np.int32),
        distance=np.zeros((len(close), 1), np.float32),
        k=2,
    )
    asked = RankConfig(horizon=horizon, end=days[-1], embargo=horizon, winsorize=None, draws=0)
    return rank_clusters(assigned, PriceTable(days=days, tickers=("A",), close=close[:, None]), config=asked).table


def test_an_error_is_that_of_the_mean_of_the_days():
    """With one entry a day it is the error of every other mean in the package; a cluster without entries has none."""
    close = np.cumprod(1 + 0.01 * np.random.default_rng(1).normal(size=301))
    for horizon in (1, 20):
        table = ranked_alone(close, horizon)
        expected = mean_of(close[horizon:] / close[:-horizon] - 1.0, horizon)
        assert table.mean_return[0] == pytest.approx(expected.value)
        assert table.mean_error[0] == pytest.approx(expected.error)
        assert np.isnan(table.mean_error[1])


@pytest.mark.parametrize("close", [1.01 ** np.arange(50), np.array([1.0, 1.1, 1.0, 1.3])])
def test_returns_without_variation_or_days_have_no_error(close):
    """Constant returns and three of them are no evidence: NaN, not a tiny error."""
    assert np.isnan(ranked_alone(close, 1).mean_error[0])


def test_selection_by_count_coverage_and_thresholds(planted):
    """Top k, coverage and thresholds select as they say, together or alone; nothing asked is refused."""
    truth = planted(drift=(0.004, -0.004, 0.0))
    ranking = rank_clusters(truth.assignments(), truth.prices, config=config(truth))
    samples = ranking.table.num_samples
    assert select_best(ranking, SelectionRule(top_k=2)).tolist() == [0, 2]
    assert select_best(ranking, SelectionRule(coverage=0.01)).tolist() == [0]
    assert select_best(ranking, SelectionRule(coverage=float(samples[0] / samples.sum()))).tolist() == [0]
    assert select_best(ranking, SelectionRule(coverage=float(samples[0] / samples.sum()) + 0.01)).tolist() == [0, 2]
    assert select_best(ranking, SelectionRule(coverage=1.0)).tolist() == [0, 2, 1]
    assert select_best(ranking, SelectionRule(min_return=0.002)).tolist() == [0]
    assert select_best(ranking, SelectionRule(min_win_rate=0.55)).tolist() == [0]
    assert select_best(ranking, SelectionRule(min_sharpe=0.2, top_k=3)).tolist() == [0]
    with pytest.raises(InputError, match="no criteria"):
        select_best(ranking, SelectionRule())
    with pytest.raises(InputError, match=r"no cluster passes min_return 0\.5"):
        select_best(ranking, SelectionRule(min_return=0.5))


def test_ties_go_to_the_lowest_id_and_empty_clusters_last():
    """Clusters that earned the same are ordered by id; one without entries is never best."""
    days = np.datetime64("2020-01-01") + np.arange(5)
    prices = PriceTable(days=days, tickers=("A", "B"), close=np.cumprod(np.full((5, 2), 1.01), axis=0))
    assigned = Assignments(
        days=days,
        tickers=np.array(["A", "B"]),
        cluster=np.tile(np.array([3, 1], dtype=np.int32), (5, 1)),
        distance=np.zeros((5, 2), np.float32),
        k=4,
    )
    ranking = rank_clusters(
        assigned, prices, config=RankConfig(horizon=1, end=days[-1], embargo=1, winsorize=(0.0, 1.0))
    )
    values = ranking.table.mean_return
    assert values[1] == values[3]
    assert ranking.order.tolist() == [1, 3, 0, 2]
    assert select_best(ranking, SelectionRule(coverage=1.0)).tolist() == [1, 3]


def test_chance_is_seen_as_chance(planted):
    """Where no cluster earns more than another, the bootstrap selects each of them in some draws."""
    truth = planted(drift=(0.0, 0.0, 0.0), num_sessions=100)
    ranking = rank_clusters(truth.assignments(), truth.prices, config=config(truth))
    share = selection_frequency(ranking, SelectionRule(top_k=1))
    assert share.sum() == pytest.approx(1)
    assert share.max() < 0.95
    again = rank_clusters(truth.assignments(), truth.prices, config=config(truth))
    np.testing.assert_array_equal(selection_frequency(again, SelectionRule(top_k=1)), share)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"horizon": 5, "embargo": 4}, "embargo of 4 sessions is shorter than the horizon of 5"),
        ({"horizon": 0}, "horizon is 0"),
        ({"metric": "luck"}, "mean_return, median_return, win_rate, sharpe"),
        ({"winsorize": (0.9, 0.1)}, "winsorize"),
        ({"end": "2019-01-01"}, "no session on or before 2019-01-01"),
        ({"end": "2020-01-01"}, "no entry has a forward return"),
        ({"start": "2021-06-01"}, "no entry has a forward return"),
    ],
)
def test_what_cannot_be_ranked_is_refused(planted, change, says):
    """An embargo below the horizon, unknown metrics and empty ranges are named."""
    truth = planted(num_sessions=30)
    with pytest.raises(InputError, match=says):
        rank_clusters(truth.assignments(), truth.prices, config=config(truth, **change))


def test_the_embargo_has_no_default():
    """Leaving it out is an error of the call, not a silent zero."""
    given: dict[str, Any] = {"horizon": 5, "end": "2020-01-01"}
    with pytest.raises(TypeError, match="embargo"):
        RankConfig(**given)


def test_the_files_are_those_the_users_have(planted, tmp_path):
    """The CSV has the known columns, the text file comments and ids, and the JSON brings the ranking back."""
    truth = planted(drift=(0.004, -0.004, 0.0))
    asked = config(truth, horizon=5, embargo=7, fit_end="2020-05-01", model="m" * 64, encoder="e" * 64)
    ranking = rank_clusters(truth.assignments(), truth.prices, config=asked)
    rule = SelectionRule(top_k=2)
    best = select_best(ranking, rule)
    paths = write_ranking(tmp_path, ranking, best, rule=rule)
    assert [path.name for path in paths] == ["cluster_ranking_5d.csv", "best_clusters_5d.txt", "ranking_5d.json"]
    with open(paths[0], newline="") as file:
        rows = list(csv.DictReader(file))
    columns = "cluster_id,num_stocks,mean_return,median_return,win_rate,sharpe,volatility,skewness,num_samples"
    assert paths[0].read_text().splitlines()[0] == columns
    assert [int(row["cluster_id"]) for row in rows] == ranking.order.tolist()
    assert float(rows[0]["mean_return"]) == ranking.table.mean_return[ranking.order[0]]
    assert paths[1].read_text().startswith("#")
    np.testing.assert_array_equal(read_best_clusters(paths[1]), best)
    loaded = load_ranking(tmp_path, 5)
    assert loaded.rows() == ranking.rows()
    for name in ("rank_start", "rank_end", "embargo", "fit_end", "model", "encoder", "counts", "winsorize", "metric"):
        assert getattr(loaded, name) == getattr(ranking, name), name
    np.testing.assert_array_equal(select_best(loaded, rule), best)
    np.testing.assert_array_equal(selection_frequency(loaded, rule), selection_frequency(ranking, rule))


def test_a_ranking_with_an_empty_cluster_survives_the_file(tmp_path):
    """NaN statistics of a cluster without entries become null in JSON and NaN again."""
    days = np.datetime64("2020-01-01") + np.arange(5)
    prices = PriceTable(days=days, tickers=("A",), close=np.cumprod(np.full((5, 1), 1.01), axis=0))
    assigned = Assignments(
        days=days,
        tickers=np.array(["A"]),
        cluster=np.ones((5, 1), np.int32),
        distance=np.zeros((5, 1), np.float32),
        k=2,
    )
    ranking = rank_clusters(assigned, prices, config=RankConfig(horizon=1, end=days[-1], embargo=1))
    write_ranking(tmp_path, ranking, np.array([1], dtype=np.int32), rule=SelectionRule(top_k=1))
    loaded = load_ranking(tmp_path, 1)
    np.testing.assert_array_equal(loaded.table.mean_return, ranking.table.mean_return)
    np.testing.assert_array_equal(loaded.table.num_samples, [0, 4])


def test_best_clusters_are_read_with_care(tmp_path):
    """Comments and blank lines pass; an empty file, a word, a missing file and ids beyond k are named."""
    path = tmp_path / "best_clusters_5d.txt"
    path.write_text("# best\n\n 7 \n3\n# more\n")
    assert read_best_clusters(path).tolist() == [7, 3]
    path.write_text("# nothing\n")
    with pytest.raises(InputError, match="names no cluster"):
        read_best_clusters(path)
    path.write_text("3\nseven\n")
    with pytest.raises(FormatError, match=r"line 2 .*'seven'"):
        read_best_clusters(path)
    path.write_text("1_0\n")
    with pytest.raises(FormatError, match=r"line 1 .*'1_0'"):
        read_best_clusters(path)
    path.write_text("99999999999\n")
    with pytest.raises(UnknownKeyError, match="which no model has"):
        read_best_clusters(path)
    path.write_bytes(b"\xef\xbb\xbf# best\r\n7\r\n")
    assert read_best_clusters(path).tolist() == [7]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="not UTF-8"):
        read_best_clusters(path)
    with pytest.raises(MissingFileError):
        read_best_clusters(tmp_path / "nowhere.txt")
    check_ids(np.array([0, 4], dtype=np.int32), 5)
    with pytest.raises(UnknownKeyError, match=r"cluster 5 does not exist.*0 to 4"):
        check_ids(np.array([0, 5], dtype=np.int32), 5)
    with pytest.raises(UnknownKeyError, match="cluster -1"):
        check_ids(np.array([-1], dtype=np.int32), 5)
    with pytest.raises(InputError, match="twice"):
        check_ids(np.array([2, 2], dtype=np.int32), 5)


def test_a_damaged_ranking_is_refused(tmp_path):
    """JSON without the fields of a ranking is named with the command that ranks again."""
    with pytest.raises(MissingFileError, match="clusters rank"):
        load_ranking(tmp_path, 5)
    (tmp_path / "ranking_5d.json").write_text('{"ranking": []}')
    with pytest.raises(FormatError, match="clusters rank"):
        load_ranking(tmp_path, 5)


def test_an_edited_ranking_is_refused_and_an_old_one_is_not(planted, tmp_path):
    """A ranking is what its fingerprint says, and one with prices has a fingerprint; one of an older version has
    neither, and stays readable."""
    truth = planted(drift=(0.004, -0.004, 0.0))
    ranking = rank_clusters(truth.assignments(), truth.prices, config=config(truth, horizon=5, embargo=7))
    rule = SelectionRule(top_k=2)
    path = write_ranking(tmp_path, ranking, select_best(ranking, rule), rule=rule)[2]
    written = json.loads(path.read_text())
    assert load_ranking(tmp_path, 5).prices == written["prices"] == ranking.prices
    without = {name: value for name, value in written.items() if name != "fingerprint"}
    for edited in ({**written, "rank_end": "2019-01-01"}, {**written, "embargo": 0}, without):
        path.write_text(json.dumps(edited))
        with pytest.raises(FormatError, match="edited after it was written"):
            load_ranking(tmp_path, 5)
    path.write_text(json.dumps({name: value for name, value in without.items() if name != "prices"}))
    assert load_ranking(tmp_path, 5).prices == ""


def test_every_value_of_a_ranking_counts_and_its_layout_does_not(planted, tmp_path):
    """Any value that is changed, removed or reordered is refused; spaces, the order of keys and a byte order mark are
    not a part of the content; a key that is given twice is."""
    truth = planted(drift=(0.004, -0.004, 0.0))
    ranking = rank_clusters(truth.assignments(), truth.prices, config=config(truth, horizon=5, embargo=7))
    rule = SelectionRule(top_k=2)
    path = write_ranking(tmp_path, ranking, select_best(ranking, rule), rule=rule)[2]
    text = path.read_text()
    written = json.loads(text)

    def places(value, above=()):
        parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, part in parts:
            yield (*above, key)
            yield from places(part, (*above, key))

    for *above, last in places(written):
        for change in (lambda part, key: part.pop(key), lambda part, key: part.__setitem__(key, "2019-01-01")):
            edited = json.loads(text)
            part = edited
            for key in above:
                part = part[key]
            change(part, last)
            path.write_text(json.dumps(edited))
            with pytest.raises(FormatError):
                load_ranking(tmp_path, 5)
    path.write_text(json.dumps({**written, "best": written["best"][::-1]}))
    with pytest.raises(FormatError, match="edited"):
        load_ranking(tmp_path, 5)
    path.write_text(text.replace('"embargo": 7', '"embargo": 7, "embargo": 7'))
    with pytest.raises(FormatError, match="given twice"):
        load_ranking(tmp_path, 5)
    path.write_text("\ufeff" + json.dumps(dict(sorted(written.items(), reverse=True)), indent=7))
    assert load_ranking(tmp_path, 5).best == tuple(written["best"])


@pytest.mark.parametrize(
    ("name", "value"), [("embargo", "7"), ("rank_end", 3), ("best", "12"), ("bootstrap_draws", -1), ("ranking", {})]
)
def test_values_of_a_ranking_without_a_fingerprint_have_their_types(planted, tmp_path, name, value):
    """An old file is not sealed; what could not have been written is still refused."""
    truth = planted(drift=(0.004, -0.004, 0.0))
    ranking = rank_clusters(truth.assignments(), truth.prices, config=config(truth, horizon=5, embargo=7))
    rule = SelectionRule(top_k=2)
    path = write_ranking(tmp_path, ranking, select_best(ranking, rule), rule=rule)[2]
    old = {key: one for key, one in json.loads(path.read_text()).items() if key not in ("prices", "fingerprint")}
    path.write_text(json.dumps({**old, name: value}))
    with pytest.raises(FormatError, match=r"ranking_5d\.json"):
        load_ranking(tmp_path, 5)


def test_prices_that_have_grown_are_the_same_and_restated_ones_are_not(planted):
    """Later days and later listings do not change the fingerprint of the prices of a ranking; one close does."""
    prices = planted().prices
    start, end = prices.days[10], prices.days[50]
    known = price_fingerprint(prices, start, end)
    assert price_fingerprint(prices.as_of(end), start, end) == known
    late = np.where(prices.days > end, 7.0, np.nan)[:, None]
    grown = replace(prices, tickers=("A new one", *prices.tickers), close=np.hstack([late, prices.close]))
    assert price_fingerprint(grown, start, end) == known
    for row, same in ((9, True), (10, False), (50, False), (51, True)):
        close = prices.close.copy()
        close[row, 0] *= 1.001
        assert (price_fingerprint(replace(prices, close=close), start, end) == known) == same
