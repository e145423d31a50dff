"""Two dozen leaks and what becomes of each: refused, caught (a check fails), reported (a warning, or not tried), or
undetectable for a stated reason. None is silent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from encash import clusters, pipeline
from encash.audit import (
    Check,
    Subject,
    chain_checks,
    correlation_checks,
    feature_checks,
    figure_check,
    fit_check,
    score_checks,
    staleness_check,
    survivor_check,
    vintage_check,
)
from encash.backtest import BacktestInputs, BacktestResult, run_backtest
from encash.cache import Cache, Lookup, open_cache
from encash.encoders import EncoderSpec
from encash.errors import EncashError
from encash.panel import Bars, Panel, PriceTable, ScoreTable
from encash.testing import MeanEncoder
from tests.audit.worlds import (
    LOOKBACK,
    TEST_START,
    Rows,
    bars_of,
    closes,
    honest,
    later_returns,
    leaky,
    subject_of,
    with_column,
)

PRICES = closes()
HONEST = honest(bars_of(PRICES))
NOISE = np.random.default_rng(9).standard_normal(PRICES.close.shape)
UNDETECTABLE = {
    "a column that correlates by 0.005 with tomorrow": "far below the noise of a year: no test can tell it from luck, "
    "and no strategy could live on it",
}


@dataclass(frozen=True)
class World:
    """A cache of the honest features, with clusters and a ranking of its past."""

    subject: Subject
    cache: Cache
    folder: Path

    def choice(self) -> pipeline.FilterChoice:
        return pipeline.FilterChoice(clusters=self.folder, name="hard", horizon=5)

    def run(self, **changes: object) -> BacktestResult:
        """A backtest through the cache; refused if it knows its future."""
        prices = changes.pop("prices", PRICES)
        assert isinstance(prices, PriceTable)
        chosen = pipeline.open_filter(self.choice(), PRICES.days, self.cache)
        lookup = Lookup(cache=self.cache, panel=self.subject.panel)
        config = replace(self.subject.config, max_missing=1.0, **changes)  # type: ignore[arg-type]  # fields by name
        return run_backtest(config, BacktestInputs(prices=prices, lookup=lookup, filter=chosen))


@pytest.fixture
def world(tmp_path: Path) -> World:
    subject = subject_of(HONEST, PRICES)
    cache = open_cache(str(tmp_path / "c.lance"))
    cache.build(subject.panel, subject.encoder)
    end, folder = PRICES.days[TEST_START - 10], tmp_path / "k"
    config = clusters.FitConfig(k=3)
    sample = pipeline.draw_sample(cache, config, end=end)
    pipeline.fit_clusters(cache, sample, config, folder)
    ranked = clusters.RankConfig(horizon=5, end=end, embargo=5, draws=0)
    assignments = pipeline.assignments_to_rank(cache, folder, start=None, end=end)
    pipeline.rank_clusters(assignments, PRICES, folder, config=ranked, rule=clusters.SelectionRule(top_k=1))
    return World(subject=subject, cache=cache, folder=folder)


def features(rows: Rows, **changes: object) -> list[Check]:
    subject = subject_of(rows, PRICES, **changes)
    return [*correlation_checks(subject), *feature_checks(subject)]


def column(values: np.ndarray) -> list[Check]:
    return list(correlation_checks(subject_of(with_column(HONEST, PRICES, values), PRICES)))


def by_function(make: Callable[[Mapping[str, Bars]], Rows], prices: PriceTable = PRICES) -> list[Check]:
    """A feature function that is named, and whose features are those of the panel."""
    return list(feature_checks(subject_of(make(bars_of(prices)), prices, make_features=make)))


def scaled_over_the_sample(_: World) -> list[Check]:
    rows = {ticker: (days, (values / values.std(axis=0)).astype("f4")) for ticker, (days, values) in HONEST.items()}
    return features(rows)


def one_ticker_shifted(rows: int) -> Callable[[World], list[Check]]:
    def plant(_: World) -> list[Check]:
        days, values = HONEST["S05"]
        return features({**HONEST, "S05": (days[:-rows], values[rows:])})

    return plant


def momentum_to(later: int) -> np.ndarray:
    price = np.log(PRICES.close)
    rows = np.arange(len(price))
    return price[np.minimum(rows + later, len(price) - 1)] - price[np.maximum(rows - (60 - later), 0)]


def windows_a_day_late(_: World) -> list[Check]:
    class Shifted(Panel):
        """Rows filed under the day before their own: a join by position."""

        def rows(self, *arguments, **keywords):
            end = keywords.get("end")
            later = None if end is None else np.datetime64(end) + np.timedelta64(5, "D")
            found = super().rows(*arguments, **{**keywords, "end": later})
            days = found.days.copy()
            for start, stop in zip(found.offsets[:-1], found.offsets[1:], strict=True):
                days[start + 1 : stop] = found.days[start : stop - 1]
                days[start] = found.days[start] - np.timedelta64(1, "D")
            return replace(found, days=days)

    subject = subject_of(HONEST, PRICES)
    return list(chain_checks(replace(subject, panel=Shifted(subject.panel._source, PRICES))))


def clusters_of_more_than_they_say(world: World) -> list[Check]:
    model = clusters.load_clusters(world.folder)
    replace(model, centroids=model.centroids + np.float32(0.25)).save(world.folder)
    return [fit_check(world.cache, world.folder)]


def ranking_that_was_edited(world: World) -> BacktestResult:
    path = world.folder / "ranking_5d.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "rank_end": "2020-03-02"}))
    return world.run()


def ranking_without_its_seal(world: World) -> BacktestResult:
    path = world.folder / "ranking_5d.json"
    facts = {name: value for name, value in json.loads(path.read_text()).items() if name != "fingerprint"}
    path.write_text(json.dumps({**facts, "embargo": 0}))
    return world.run()


def best_clusters_chosen_by_hand(world: World) -> BacktestResult:
    path = world.folder / "best_clusters_5d.txt"
    best = {int(line) for line in path.read_text().splitlines() if line.isdigit()}
    path.write_text(f"{min({0, 1, 2} - best)}\n")
    return world.run()


def encoder_trained_up_to_the_run(world: World) -> BacktestResult:
    class Trained(Lookup):
        @property
        def encoder_spec(self) -> EncoderSpec:
            spec = world.subject.encoder.spec
            return replace(spec, train_end=str(PRICES.days[TEST_START - 1]))

    lookup = Trained(cache=world.cache, panel=world.subject.panel)
    return run_backtest(replace(world.subject.config, max_missing=1.0), BacktestInputs(prices=PRICES, lookup=lookup))


def with_deaths(seed: int = 3) -> PriceTable:
    prices = closes(seed)
    close = prices.close.copy()
    close[TEST_START + 120 :, :4] = np.nan
    return replace(prices, close=close)


def drops_the_dead(bars: Mapping[str, Bars]) -> Rows:
    """Features of the tickers that reach the last day of the prices only."""
    last = max(own.days[-1] for own in bars.values())
    return honest({ticker: own for ticker, own in bars.items() if own.days[-1] == last})


def needs_a_full_history(bars: Mapping[str, Bars]) -> Rows:
    """Features of the tickers with 400 sessions only, known for sure at the end."""
    return honest({ticker: own for ticker, own in bars.items() if len(own.days) >= 400})


def centered_mean(close: np.ndarray) -> np.ndarray:
    return np.log(close) - np.convolve(np.log(close), np.ones(5) / 5, mode="same")


def reads_a_file(bars: Mapping[str, Bars]) -> Rows:
    """A function that ignores what it is given, as if it read the whole table from disk, up to the last given day."""
    last = max(own.days[-1] for own in bars.values())
    return {ticker: (days[days <= last], values[days <= last]) for ticker, (days, values) in HONEST.items()}


def remembers(bars_seen: dict[str, float]) -> Callable[[Mapping[str, Bars]], Rows]:
    """A function that keeps the means of the first prices that it was called with."""

    def make(bars: Mapping[str, Bars]) -> Rows:
        for ticker, own in bars.items():
            bars_seen.setdefault(ticker, float(own.close.mean()))
        return {
            ticker: (days, np.column_stack([values, bars[ticker].close[-len(days) :] / bars_seen[ticker]]).astype("f4"))
            for ticker, (days, values) in honest(bars).items()
        }

    return make


def memoized(_: World) -> list[Check]:
    rows = remembers({})(bars_of(PRICES))
    return list(feature_checks(subject_of(rows, PRICES, make_features=remembers({}))))


def adjusted_dollars(*, adjusted: bool) -> Callable[[World], list[Check]]:
    """Dollar volume from adjusted closes and raw volume knows every later split."""

    def make(bars: Mapping[str, Bars]) -> Rows:
        made = honest(bars)
        return {
            ticker: (days, np.column_stack([values, np.log(bars[ticker].close[-len(days) :] * 1e6)]).astype("f4"))
            for ticker, (days, values) in made.items()
        }

    return lambda _: list(
        feature_checks(subject_of(make(bars_of(PRICES)), PRICES, make_features=make, adjusted=adjusted))
    )


def survivors(_: World) -> list[Check]:
    prices = closes(num_sessions=900, num_tickers=60)
    return list(survivor_check(subject_of(honest(bars_of(prices)), prices)))


def restated(world: World) -> Panel:
    rows = {ticker: (days, values * np.float32(1.5)) for ticker, (days, values) in HONEST.items()}
    return subject_of({**rows, "S00": HONEST["S00"]}, PRICES).panel


def restated_entries(world: World) -> list[Check]:
    return list(staleness_check(replace(world.subject, panel=restated(world), cache=world.cache)))


def replaced_vintage(world: World) -> list[Check]:
    world.cache.build(restated(world), world.subject.encoder)
    return list(vintage_check(replace(world.subject, cache=world.cache)))


def ranked_on_other_prices(world: World) -> BacktestResult:
    return world.run(prices=replace(PRICES, close=PRICES.close * np.linspace(1, 2, len(PRICES.days))[:, None]))


def forecasts_that_know(world: World) -> list[Check]:
    """A cache of forecasts that an encoder made from the returns that follow."""

    class Oracle(MeanEncoder):
        def encode(self, windows):
            found = super().encode(windows)
            known = np.repeat(windows[:, -1:, -1] / 50, len(self.spec.horizons), axis=1)
            return replace(found, forecast=known.astype(np.float32))

    knows = sum(later_returns(PRICES, later) for later in range(1, 6)) + NOISE
    subject = subject_of(with_column(HONEST, PRICES, knows), PRICES)
    cache = open_cache(str(world.folder.parent / "oracle.lance"))
    cache.build(subject.panel, Oracle(subject.panel.num_features, lookback=LOOKBACK, dim=6))
    return list(figure_check(replace(subject, cache=cache)))


def in_sessions(chosen: np.ndarray) -> np.ndarray:
    """Tomorrow's return in some sessions, and noise in the others."""
    return np.where(chosen[:, None], later_returns(PRICES), NOISE)


def mean_of_the_month() -> np.ndarray:
    """The price over the mean of its whole calendar month."""
    price, month = np.log(PRICES.close), PRICES.days.astype("datetime64[M]")
    means = np.array([price[month == one].mean(axis=0) for one in month])
    return price - means


def winsorized_over_the_sample(close: np.ndarray) -> np.ndarray:
    steps = np.diff(np.log(close), prepend=np.log(close[0]))
    return np.clip(steps, *np.quantile(steps, [0.05, 0.95]))


def mean_of_the_sample(close: np.ndarray) -> np.ndarray:
    return np.full(len(close), np.log(close[-1] / close[0]) / len(close))


def restated_quarter(close: np.ndarray) -> np.ndarray:
    """A figure of the quarter that is known at its end, filled back to its beginning."""
    price, quarter = np.log(close), np.arange(len(close)) // 60
    change = np.array([price[quarter == one][-1] - price[quarter == one][0] for one in range(quarter[-1] + 1)])
    return change[quarter]


def one_month_of_foresight(close: np.ndarray) -> np.ndarray:
    """Yesterday's return, but tomorrow's in 20 of 420 sessions."""
    steps = np.diff(np.log(close), prepend=np.log(close[0]))
    month = (np.arange(len(close)) >= 200) & (np.arange(len(close)) < 220)
    return np.where(month, np.append(steps[1:], 0.0), steps)


def later_splits(close: np.ndarray) -> np.ndarray:
    """The number of splits that are still to come: halvings of the price before each of them."""
    return np.log2(np.maximum.accumulate(close[::-1])[::-1] / close)


def rank_in_tomorrows_universe(bars: Mapping[str, Bars]) -> Rows:
    """The rank of a return among the tickers that also trade on the next session."""
    made = honest(bars)
    days = np.unique(np.concatenate([rows[0] for rows in made.values()]))
    grid = np.full((len(days), len(made)), np.nan)
    for at, (own, values) in enumerate(made.values()):
        grid[np.searchsorted(days, own), at] = values[:, 1]
    known = np.isfinite(grid)
    tomorrow = np.vstack([known[1:], known[-1:]])
    below = np.array(
        [[(row[there] < value).mean() for value in row] for row, there in zip(grid, tomorrow, strict=True)]
    )
    return {
        ticker: (own, np.column_stack([values, below[np.searchsorted(days, own), at]]).astype("f4"))
        for at, (ticker, (own, values)) in enumerate(made.items())
    }


def one_of_64(_: World) -> list[Check]:
    """63 columns of noise, and one that knows a little."""
    random, rows = np.random.default_rng(4), HONEST
    for number in range(59):
        leak = 0.3 * later_returns(PRICES) if number == 40 else 0.0
        rows = with_column(rows, PRICES, leak + random.standard_normal(PRICES.close.shape))
    return list(correlation_checks(subject_of(rows, PRICES)))


def a_column_from_a_file(bars: Mapping[str, Bars]) -> Rows:
    """Honest features, and one that is read from a table of the whole sample."""
    leak, place = later_returns(PRICES), {ticker: number for number, ticker in enumerate(PRICES.tickers)}
    return {
        ticker: (
            days,
            np.column_stack([values, leak[np.searchsorted(PRICES.days, days), place[ticker]]]).astype("f4"),
        )
        for ticker, (days, values) in honest(bars).items()
    }


def future_size() -> np.ndarray:
    return np.abs(later_returns(PRICES)) + 0.5 * np.abs(NOISE)


Plant = Callable[[World], BacktestResult | list[Check]]
PLANTED: dict[str, tuple[str, Plant]] = {
    "features scaled over the whole sample, under the names of honest ones": ("reported", scaled_over_the_sample),
    "a function that divides by the mean of all prices": (
        "caught",
        lambda _: by_function(leaky(lambda close: close / close.mean())),
    ),
    "a column that is tomorrow's return": ("caught", lambda _: column(later_returns(PRICES))),
    "a weak column: correlation 0.16 with tomorrow": (
        "caught",
        lambda _: column(0.16 * later_returns(PRICES) + 0.987 * NOISE),
    ),
    "a 60-session momentum that reaches to t+5": ("caught", lambda _: column(momentum_to(5))),
    "one ticker shifted by one row": ("caught", one_ticker_shifted(1)),
    "windows filed under the day before": ("caught", windows_a_day_late),
    "clusters fitted on more than they say": ("caught", clusters_of_more_than_they_say),
    "a ranking whose end was edited to an earlier day": ("refused", ranking_that_was_edited),
    "best clusters chosen by hand": ("refused", best_clusters_chosen_by_hand),
    "a run that starts before the embargo is over": ("refused", lambda world: world.run(start=PRICES.days[240])),
    "an encoder trained up to the day before the run": ("refused", encoder_trained_up_to_the_run),
    "a ranking without its fingerprint, edited": ("refused", ranking_without_its_seal),
    "a function that drops the tickers that die later": (
        "caught",
        lambda _: by_function(drops_the_dead, with_deaths()),
    ),
    "a function that keeps tickers with a long enough future": ("caught", lambda _: by_function(needs_a_full_history)),
    "a centered moving average": ("caught", lambda _: by_function(leaky(centered_mean))),
    "a centered moving average, without its function": (
        "caught",
        lambda _: column(np.stack([centered_mean(close) for close in PRICES.close.T], axis=1)),
    ),
    "the size of tomorrow's move": ("caught", lambda _: column(future_size())),
    "tomorrow's market return, the same for all tickers": (
        "caught",
        lambda _: column(np.repeat(later_returns(PRICES).mean(axis=1, keepdims=True), PRICES.close.shape[1], axis=1)),
    ),
    "one ticker shifted by 8 rows": ("caught", one_ticker_shifted(8)),
    "one ticker shifted by 35 rows": ("reported", one_ticker_shifted(35)),
    "dollar volume from adjusted prices": ("caught", adjusted_dollars(adjusted=True)),
    "dollar volume from prices of unknown adjustment": ("reported", adjusted_dollars(adjusted=False)),
    "a function that ignores the prices it is given": ("reported", lambda _: by_function(reads_a_file)),
    "a function that remembers the whole sample from its first call": ("caught", memoized),
    "a universe of survivors": ("reported", survivors),
    "entries of features that were restated": ("reported", restated_entries),
    "a history that was replaced since": ("reported", replaced_vintage),
    "clusters ranked on other prices": ("reported", ranked_on_other_prices),
    "forecasts that know the week": ("caught", forecasts_that_know),
    "returns winsorized at quantiles of the whole sample": (
        "caught",
        lambda _: by_function(leaky(winsorized_over_the_sample)),
    ),
    "returns winsorized likewise, without their function": (
        "reported",
        lambda _: features(leaky(winsorized_over_the_sample)(bars_of(PRICES))),
    ),
    "a quarter's figure, filled back to its beginning": ("caught", lambda _: by_function(leaky(restated_quarter))),
    "a rank in tomorrow's universe": ("caught", lambda _: by_function(rank_in_tomorrows_universe, with_deaths())),
    "a quarter's figure, without its function": (
        "caught",
        lambda _: features(leaky(restated_quarter)(bars_of(PRICES))),
    ),
    "tomorrow's return on every 20th session, without its function": (
        "reported",
        lambda _: features(with_column(HONEST, PRICES, in_sessions(np.arange(420) % 20 == 0))),
    ),
    "each ticker's mean return over the whole sample": ("caught", lambda _: by_function(leaky(mean_of_the_sample))),
    "the same, without its function": ("reported", lambda _: features(leaky(mean_of_the_sample)(bars_of(PRICES)))),
    "the mean of the whole calendar month": ("caught", lambda _: column(mean_of_the_month())),
    "tomorrow's return in 20 of 420 sessions": (
        "caught",
        lambda _: column(in_sessions((np.arange(420) >= 200) & (np.arange(420) < 220))),
    ),
    "a function that knows tomorrow in 20 of 420 sessions": (
        "caught",
        lambda _: by_function(leaky(one_month_of_foresight)),
    ),
    "tomorrow's return on Mondays": ("caught", lambda _: column(in_sessions(np.is_busday(PRICES.days, "1000000")))),
    "one of 64 features": ("caught", one_of_64),
    "the return of the 20th session ahead": ("caught", lambda _: column(later_returns(PRICES, 20))),
    "the return of the 45th session ahead": ("caught", lambda _: column(later_returns(PRICES, 45))),
    "a count of later splits": ("caught", lambda _: by_function(leaky(later_splits))),
    "one column of a function that comes from a file": ("reported", lambda _: by_function(a_column_from_a_file)),
    "a column that correlates by 0.005 with tomorrow": (
        "undetectable",
        lambda _: column(0.005 * later_returns(PRICES) + NOISE),
    ),
}


def outcome(plant: Plant, world: World) -> str:
    """What becomes of a leak."""
    try:
        found = plant(world)
    except EncashError:
        return "refused"
    if not isinstance(found, list):
        return "reported" if found.facts["ranking_prices"] == "other" else "silent"
    if any(check.status == "failed" for check in found):
        return "caught"
    return "reported" if any(check.status == "not_tried" or check.warning for check in found) else "silent"


@pytest.mark.parametrize("leak", PLANTED)
def test_a_planted_leak_is_not_silent(leak: str, world: World) -> None:
    """It is refused, caught or reported, as the table says; one that cannot be found is listed with the reason."""
    expected, plant = PLANTED[leak]
    found = outcome(plant, world)
    if expected == "undetectable":
        assert found == "silent"
        assert leak in UNDETECTABLE
    else:
        assert found == expected


def test_the_table_of_planted_leaks() -> None:
    """At least 24 leaks, none of them silent."""
    assert len(PLANTED) >= 24
    assert {expected for expected, _ in PLANTED.values()} == {"refused", "caught", "reported", "undetectable"}


def needs_history(bars: Mapping[str, Bars]) -> Rows:
    """Honest features of a function that fails on a short history."""
    if max(len(own.days) for own in bars.values()) < 200:
        raise ValueError("too short")
    return honest(bars)


def test_a_function_that_needs_history_is_tried_in_the_test_period() -> None:
    """The extra days at which a function is cut may be too early for it: nothing is reported."""
    listed = replace(PRICES, close=PRICES.close.copy())
    listed.close[:90, :4] = np.nan
    assert [check.status for check in by_function(needs_history, listed)] == ["passed"] * 3


def test_nothing_is_found_in_the_same_market_without_a_leak(world: World) -> None:
    """The controls: the honest features pass with their function, and the honest run is not refused."""
    found = by_function(honest) + list(correlation_checks(world.subject))
    assert {check.status for check in found} == {"passed"}, [check for check in found if check.status != "passed"]
    assert not any(check.warning for check in found)
    checks = [*staleness_check(replace(world.subject, cache=world.cache)), fit_check(world.cache, world.folder)]
    assert {check.status for check in checks} == {"passed"}
    assert world.run().facts["ranking_prices"] == "same"


def _scores(score: np.ndarray, confidence: np.ndarray | None = None) -> list[Check]:
    """The checks of a table of scores."""
    table = ScoreTable(
        days=PRICES.days,
        tickers=np.asarray(PRICES.tickers),
        score=score.astype(np.float32),
        confidence=(np.ones(score.shape) if confidence is None else confidence).astype(np.float32),
    )
    return list(score_checks(table, PRICES))


def test_scores_and_confidences_of_the_past_ring_no_alarm():
    """Noise in all three: the score, the confidence, and the tickers that are left out."""
    random = np.random.default_rng(2)
    score = np.where(random.random(NOISE.shape) < 0.2, np.nan, NOISE)
    assert not any(check.passed is False for check in _scores(score, random.random(NOISE.shape)))


def test_a_table_of_scores_is_said_to_be_tested_by_correlation_only():
    """What it knows of the whole history, such as a mean over it, makes no jump: not tried, never silent."""
    assert any(check.status == "not_tried" and "not computed again" in check.detail for check in _scores(NOISE))


def test_a_confidence_that_knows_tomorrow_is_caught():
    """A run ranks by score × confidence: both know what the score does not."""
    found = _scores(np.abs(NOISE), 1 / (1 + np.exp(-later_returns(PRICES))))
    assert any(check.passed is False and "confidence" in check.detail for check in found)


def test_leaving_out_what_will_fall_is_caught():
    """The score is noise; its gaps know tomorrow."""
    found = _scores(np.where(later_returns(PRICES) < -0.5, np.nan, NOISE))
    assert any(check.passed is False and "presence of a row" in check.detail for check in found)
