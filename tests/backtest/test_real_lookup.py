"""Beside the real lookup: a live run, a cached one and a half-cached one trade the same, and the list of a day is the
backtest's."""

from dataclasses import replace

import numpy as np
import pytest

from encash.backtest import BacktestConfig, BacktestInputs, picks_of_day, run_backtest, run_comparisons, run_trials
from encash.cache.cache import Cache
from encash.cache.identity import store_spec
from encash.cache.lookup import Lookup
from encash.clusters import FitConfig, Hard, ModelPeriod, fit_clusters, make_period
from encash.errors import InputError, LookaheadError, MismatchError
from encash.panel.toy import toy_panel
from encash.testing import MeanEncoder, MemoryStore

CONFIG = BacktestConfig(start="2020-04-01", horizon=5, top_k=2, max_missing=0.3)


@pytest.fixture(scope="module")
def panel():
    return toy_panel(seed=3, num_tickers=10, num_sessions=130, odd=True)


@pytest.fixture(scope="module")
def encoder(panel):
    return MeanEncoder(panel.num_features, lookback=5, dim=8)


def filter_of(panel, encoder, first_day="2020-03-01"):
    """Four clusters fitted on the embeddings of the first sessions; two of them are best."""
    days = panel.sessions[20:40]
    cells = [(day, ticker) for day in days for ticker in panel.tickers]
    lookup = Lookup(panel=panel, encoder=lambda: encoder)
    day = np.array([cell[0] for cell in cells])
    ticker = np.array([cell[1] for cell in cells])
    parts = list(lookup.read(day, ticker, embeddings=True))
    vectors = np.concatenate([part.embedding for part in parts])
    found = np.concatenate([part.found for part in parts])
    model = fit_clusters(
        vectors[found], day[found], ticker[found], config=FitConfig(k=4, seed=0), encoder=encoder.spec.fingerprint
    )
    term = ModelPeriod(
        model=model, best=np.array([0, 2], dtype=np.int32), first_day=np.datetime64(first_day), rank_end="2020-02-20"
    )
    return Hard(periods=(term,))


def cached(panel, encoder, share=1.0):
    """A cache of the model's entries, or of some of them."""
    cache = Cache("memory.lance", MemoryStore(store_spec(encoder.spec, "float32")))
    lookup = Lookup(cache=cache, panel=panel, encoder=lambda: encoder, write_back=True)
    cells = [(day, ticker) for day in panel.sessions for ticker in panel.tickers]
    keep = np.random.default_rng(0).random(len(cells)) < share
    day = np.array([cell[0] for cell in cells])[keep]
    ticker = np.array([cell[1] for cell in cells])[keep]
    for _ in lookup.read(day, ticker, embeddings=True):
        pass
    return cache


def refuse():
    raise AssertionError("the model was loaded")


def test_live_cached_and_half_cached_runs_trade_the_same(panel, encoder):
    """Same ledger, same picks; a full cache needs no model, half a cache encodes its misses once."""
    filter = filter_of(panel, encoder)
    live = run_backtest(
        CONFIG, BacktestInputs(prices=panel.prices, lookup=Lookup(panel=panel, encoder=lambda: encoder), filter=filter)
    )
    full = run_backtest(
        CONFIG,
        BacktestInputs(
            prices=panel.prices, filter=filter, lookup=Lookup(cache=cached(panel, encoder), panel=panel, encoder=refuse)
        ),
    )
    half = run_backtest(
        CONFIG,
        BacktestInputs(
            prices=panel.prices,
            filter=filter,
            lookup=Lookup(cache=cached(panel, encoder, 0.5), panel=panel, encoder=lambda: encoder),
        ),
    )
    assert live.ledger.to_csv() == full.ledger.to_csv() == half.ledger.to_csv()
    assert len(live.ledger) > 20
    for name, column in live.picks.columns().items():
        np.testing.assert_array_equal(column, full.picks.columns()[name])
        np.testing.assert_array_equal(column, half.picks.columns()[name])
    assert (full.facts["misses"], full.facts["computed"], full.facts["model_loaded"]) == (0, 0, False)
    assert live.facts["hits"] == 0
    assert live.facts["computed"] == full.facts["hits"]
    assert half.facts["computed"] == half.facts["misses"] > 0
    assert half.facts["hits"] + half.facts["misses"] == full.facts["hits"]
    assert full.facts["unavailable"] == half.facts["unavailable"]
    assert 0 < live.summary["keep_rate"] < 1


def test_without_a_model_misses_are_holes(panel, encoder):
    """A half-filled cache and no model: refused, with the share that is missing."""
    strict = BacktestConfig(start="2020-04-01", top_k=2)
    with pytest.raises(InputError, match=r"of the candidates .* build the cache"):
        run_backtest(
            strict, BacktestInputs(prices=panel.prices, lookup=Lookup(cache=cached(panel, encoder, 0.5), panel=panel))
        )


def test_a_run_before_its_ranking_may_be_used_is_refused(panel, encoder):
    """The filter's first day stands before the first signal; a reason marks the result."""
    filter = filter_of(panel, encoder, first_day="2020-04-02")
    lookup = Lookup(panel=panel, encoder=lambda: encoder)
    with pytest.raises(LookaheadError, match="may be used from 2020-04-02"):
        run_backtest(CONFIG, BacktestInputs(prices=panel.prices, lookup=lookup, filter=filter))
    allowed = replace(CONFIG, allow_lookahead="a test")
    result = run_backtest(allowed, BacktestInputs(prices=panel.prices, lookup=lookup, filter=filter))
    assert "a test" in result.facts["lookahead"]
    assert "2020-04-02" in result.facts["lookahead"]


def test_clusters_of_another_encoder_are_refused(panel, encoder):
    """Centroids of one model say nothing about vectors of another, whoever asks for them."""
    other = MeanEncoder(panel.num_features, lookback=5, dim=8, seed=1)
    lookup = Lookup(panel=panel, encoder=lambda: other)
    inputs = BacktestInputs(prices=panel.prices, lookup=lookup, filter=filter_of(panel, encoder))
    for run in (
        lambda: run_backtest(CONFIG, inputs),
        lambda: run_comparisons(CONFIG, inputs),
        lambda: run_trials(CONFIG, inputs, 2),
        lambda: picks_of_day(CONFIG, inputs, "2020-04-01"),
    ):
        with pytest.raises(MismatchError, match="a different encoder"):
            run()


def test_the_list_of_a_day_is_that_of_the_backtest(panel, encoder):
    """Same draw, same filter, same ranking, same weights, from the cache alone and without any later price."""
    filter, cache = filter_of(panel, encoder), cached(panel, encoder)
    config = replace(CONFIG, subset_size=7, weights="inverse_vol")
    run = run_backtest(config, BacktestInputs(prices=panel.prices, lookup=Lookup(cache=cache), filter=filter)).picks
    checked = 0
    for day in np.unique(run.date):
        today = picks_of_day(
            config, BacktestInputs(prices=panel.prices.as_of(day), lookup=Lookup(cache=cache), filter=filter), day
        )
        rows = run.date == day
        for name, column in run.columns().items():
            np.testing.assert_array_equal(column[rows], today.columns()[name])
        listed = today.picked_first()
        assert (np.diff(listed.score) <= 0).all()
        checked += len(listed)
    assert checked > 10
    with pytest.raises(InputError, match="no session from 2020-04-04"):
        picks_of_day(
            config, BacktestInputs(prices=panel.prices, lookup=Lookup(cache=cache), filter=filter), "2020-04-04"
        )


def test_kept_assignments_spare_the_embeddings(panel, encoder):
    """With assignments no vector is read for what they know; what they lack is assigned from its embedding."""
    from dataclasses import replace

    from encash.clusters import Assignments

    filter, cache = filter_of(panel, encoder), cached(panel, encoder)
    plain = run_backtest(CONFIG, BacktestInputs(prices=panel.prices, lookup=Lookup(cache=cache), filter=filter))
    rows = np.flatnonzero(plain.picks.cluster >= 0)
    some = rows[: 2 * len(rows) // 3]
    for chosen in (rows, some):
        kept = Assignments.of_rows(
            plain.picks.date[chosen], plain.picks.ticker[chosen], plain.picks.cluster[chosen],
            plain.picks.distance[chosen], k=4,
        )  # fmt: skip
        spared = run_backtest(
            CONFIG,
            BacktestInputs(prices=panel.prices, lookup=Lookup(cache=cache), filter=replace(filter, assignments=kept)),
        )
        assert spared.ledger.to_csv() == plain.ledger.to_csv()
        assert spared.facts["hits"] == plain.facts["hits"]


def test_what_was_kept_of_a_stale_entry_is_not_used(panel, encoder):
    """Features restated after the assignment: the fresh vector decides, as it does without anything kept."""
    from dataclasses import replace

    from encash.clusters import Assignments
    from encash.panel.load import ArraySource
    from encash.panel.panel import Panel

    filter, cache = filter_of(panel, encoder), cached(panel, encoder)
    before = run_backtest(CONFIG, BacktestInputs(prices=panel.prices, lookup=Lookup(cache=cache), filter=filter))
    rows = np.flatnonzero(before.picks.cluster >= 0)
    kept = Assignments.of_rows(
        before.picks.date[rows], before.picks.ticker[rows], before.picks.cluster[rows],
        before.picks.distance[rows], k=4,
    )  # fmt: skip
    parts = {name: panel.rows((name,)) for name in panel.tickers}
    moved = {}
    for name, part in parts.items():
        late = (part.days >= np.datetime64("2020-04-15"))[:, None]
        moved[name] = (part.days, np.where(late, 3 - 2 * part.values[:, ::-1], part.values))
    restated = Panel(ArraySource(moved, panel.feature_names), panel.prices)
    runs = [
        run_backtest(
            CONFIG,
            BacktestInputs(
                prices=panel.prices,
                filter=one,
                lookup=Lookup(cache=cache, panel=restated, encoder=lambda: encoder),
            ),
        )
        for one in (filter, replace(filter, assignments=kept))
    ]
    assert runs[0].facts["stale"] == runs[1].facts["stale"] > 0
    for name, column in runs[0].picks.columns().items():
        np.testing.assert_array_equal(runs[1].picks.columns()[name], column)
    assert runs[0].ledger.to_csv() == runs[1].ledger.to_csv()
    assert (runs[0].picks.cluster != before.picks.cluster).any(), "the restatement moves entries to other clusters"


def test_a_single_term_made_of_nothing_known_must_be_allowed(panel, encoder):
    """Best clusters without a ranking may have been chosen with the test period: refused until somebody says why."""
    model = filter_of(panel, encoder).periods[0].model
    term = make_period(model, np.array([1], dtype=np.int32), None, panel.sessions)
    lookup = Lookup(panel=panel, encoder=lambda: encoder)
    with pytest.raises(LookaheadError, match="not recorded"):
        run_backtest(CONFIG, BacktestInputs(prices=panel.prices, lookup=lookup, filter=Hard(periods=(term,))))
