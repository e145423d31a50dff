"""The conventions of the measures, pinned: against closed forms, against scipy where it is installed, and their NaN."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash import metrics
from encash.errors import InputError


def series(seed, count=500):
    return np.random.default_rng(seed).normal(0.0005, 0.01, count)


def test_cagr_counts_sessions_and_not_calendar_days():
    """The growth of 1,008 sessions at 0.05 % is 13.43 % a year at 252 sessions, whatever the dates."""
    equity = 100.0 * 1.0005 ** np.arange(1009, dtype=np.float64)
    assert metrics.cagr(equity) == pytest.approx(1.0005**252 - 1, rel=1e-12)
    assert metrics.cagr(equity, sessions_per_year=260) == pytest.approx(1.0005**260 - 1, rel=1e-12)


def test_sharpe_is_arithmetic_with_a_sample_deviation():
    """Mean over standard deviation with n − 1, times √252; the risk-free rate is that of a session."""
    returns = series(1)
    expected = returns.mean() / np.sqrt(((returns - returns.mean()) ** 2).sum() / 499) * np.sqrt(252)
    assert metrics.sharpe(returns) == pytest.approx(expected, rel=1e-12)
    assert metrics.sharpe(returns, risk_free=0.0001) == pytest.approx(
        (returns.mean() - 0.0001) / returns.std(ddof=1) * np.sqrt(252), rel=1e-12
    )


def test_returns_and_equity_agree():
    """Compounding the simple returns gives the total return; a drawdown is negative."""
    equity = 100.0 * np.cumprod(1 + series(2))
    assert np.prod(1 + metrics.simple_returns(equity)) - 1 == pytest.approx(metrics.total_return(equity))
    worst = min(equity[j] / equity[i] - 1 for i in range(0, 500, 1) for j in range(i, min(i + 500, 500), 1))
    assert metrics.max_drawdown(equity) == pytest.approx(worst)


def test_a_forward_return_needs_two_prices_and_the_time_to_end():
    """None from or to a missing close or one of zero or below, none that ends behind the last session; by columns."""
    close = np.array([[10.0, 1.0], [np.nan, 0.0], [12.0, -1.0], [15.0, 2.0]])
    expected = np.full((3, 4, 2), np.nan)
    expected[0, 2, 0], expected[1, 0, 0], expected[2, 0] = 0.25, 0.2, (0.5, 1.0)
    for horizon in (1, 2, 3):
        np.testing.assert_allclose(metrics.forward_returns(close, horizon), expected[horizon - 1])
    assert np.isnan(metrics.forward_returns(close, 4)).all()


def test_missing_sessions_are_left_out():
    """NaN returns do not count as sessions; NaN in an equity makes the result NaN."""
    returns = series(3)
    holed = np.insert(returns, [5, 77], np.nan)
    for measure in (metrics.sharpe, metrics.sortino, metrics.volatility, metrics.win_rate):
        assert measure(holed) == measure(returns)
    equity = np.array([1.0, np.nan, 2.0])
    assert np.isnan(metrics.max_drawdown(equity))


@pytest.mark.parametrize(
    "value",
    [
        metrics.sharpe(np.array([0.01])),
        metrics.sharpe(np.zeros(10)),
        metrics.sortino(np.array([0.01, 0.02])),
        metrics.volatility(np.array([])),
        metrics.win_rate(np.array([])),
        metrics.cagr(np.array([1.0])),
        metrics.cagr(np.array([1.0, 1.01])),
        metrics.total_return(np.array([1.0])),
        metrics.max_drawdown(np.array([])),
        metrics.icir(np.array([0.1])),
        metrics.newey_west_t(np.array([0.1]), lags=3),
        metrics.turnover(5.0, np.array([1.0])),
        metrics.information_ratio(np.ones(3), np.ones(3)),
    ],
)
def test_what_is_not_defined_is_nan(value):
    """Never 0, never infinite."""
    assert np.isnan(value)


@given(
    rate=st.floats(-0.02, 0.02),
    count=st.integers(2, 2000),
    noise=st.floats(-1e-15, 1e-15),
)
def test_returns_that_vary_by_rounding_only_have_no_ratio(rate, count, noise):
    """A constant return, an equity that grows by it, and a portfolio that is its benchmark: NaN, not 7e16."""
    grown = metrics.simple_returns(100.0 * (1.0 + rate) ** np.arange(count + 1, dtype=np.float64))
    for returns in (np.full(count, rate), grown):
        assert np.isnan(metrics.sharpe(returns))
        assert np.isnan(metrics.icir(returns))
        assert np.isnan(metrics.alpha_beta(returns, returns).alpha.t)
    drawn = np.random.default_rng(count).normal(rate, 0.01, count)
    assert np.isnan(metrics.information_ratio(drawn + noise * drawn, drawn))
    assert np.isnan(metrics.alpha_beta(drawn + noise * drawn, drawn).alpha.t)


def test_an_equity_of_zero_has_no_later_returns():
    """All is lost once; what follows is undefined, and no warning."""
    returns = metrics.simple_returns(np.array([100.0, 0.0, 0.0]))
    assert returns[0] == -1.0
    assert np.isnan(returns[1])


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.booleans())
def test_ic_and_rank_ic_are_pearson_and_spearman(seed, ties):
    """Each day agrees with scipy over the tickers that have both."""
    stats = pytest.importorskip("scipy.stats", reason="scipy comes with the test extra")
    rng = np.random.default_rng(seed)
    forecast, realised = rng.normal(size=(4, 15)), rng.normal(size=(4, 15))
    if ties:
        forecast, realised = forecast.round(0), realised.round(0)
    forecast[rng.random((4, 15)) < 0.2] = np.nan
    realised[rng.random((4, 15)) < 0.2] = np.nan
    both = ~np.isnan(forecast) & ~np.isnan(realised)
    for day in range(4):
        left, right = forecast[day][both[day]], realised[day][both[day]]
        if len(left) >= 3 and left.std() > 0 and right.std() > 0:
            assert metrics.ic(forecast, realised)[day] == pytest.approx(stats.pearsonr(left, right)[0], abs=1e-12)
            assert metrics.rank_ic(forecast, realised)[day] == pytest.approx(stats.spearmanr(left, right)[0], abs=1e-12)


def test_a_day_without_spread_has_no_coefficient():
    """Fewer than three tickers, or one side that does not vary: NaN."""
    assert np.isnan(metrics.ic(np.array([[1.0, 2.0, np.nan]]), np.array([[1.0, 2.0, 3.0]]))).all()
    assert np.isnan(metrics.rank_ic(np.ones((1, 5)), np.arange(5.0)[None])).all()
    with pytest.raises(InputError, match="two of"):
        metrics.ic(np.ones((1, 2)), np.ones((1, 3)))


def test_newey_west_widens_what_overlaps():
    """Without lags it is the t of a plain mean; a 5-session moving sum has its t cut by about √5."""
    draws = np.random.default_rng(0).normal(0.1, 1.0, 20_000)
    plain = draws.mean() / (draws.std() / np.sqrt(len(draws)))
    assert metrics.newey_west_t(draws, lags=0) == pytest.approx(plain)
    overlapping = np.convolve(draws, np.ones(5), mode="valid")
    naive = metrics.newey_west_t(overlapping, lags=0)
    honest = metrics.newey_west_t(overlapping, lags=40)
    assert naive / honest == pytest.approx(np.sqrt(5), rel=0.1)
    assert honest == pytest.approx(plain, rel=0.1)
    with pytest.raises(InputError, match="lags is -1"):
        metrics.newey_west_t(draws, lags=-1)


def test_the_bootstrap_covers_the_mean():
    """95 % intervals of a mean hold the truth in about 95 of 100 series, and one seed gives one interval."""
    covered = 0
    for seed in range(200):
        sample = np.random.default_rng(seed).normal(0.0, 1.0, 200)
        low, high = metrics.block_bootstrap(sample, lambda x: x.mean(axis=1), block=5, draws=400, seed=seed)
        covered += low <= 0.0 <= high
    assert 180 <= covered <= 200
    sample = series(5)
    twice = [metrics.block_bootstrap(sample, lambda x: x.mean(axis=1), block=5, seed=3) for _ in range(2)]
    assert twice[0] == twice[1]
    with pytest.raises(InputError, match="block 0"):
        metrics.block_bootstrap(sample, lambda x: x.mean(axis=1), block=0)


@pytest.mark.parametrize(("count", "block"), [(60, 10), (126, 10), (126, 20), (252, 20)])
def test_the_bootstrap_covers_the_mean_of_a_short_series(count, block):
    """Intervals of 6 and of 12 blocks hold the truth in 93% to 98% of 400 series."""
    rng, covered = np.random.default_rng([count, block]), 0
    for seed in range(400):
        low, high = metrics.block_bootstrap(
            rng.normal(0.0, 1.0, count), lambda x: x.mean(axis=1), block=block, draws=400, seed=seed
        )
        covered += low <= 0.0 <= high
    assert 0.925 <= covered / 400 <= 0.985


def test_information_ratio_needs_the_same_sessions():
    """Two series of different length are refused."""
    with pytest.raises(InputError, match="the same sessions"):
        metrics.information_ratio(np.ones(3), np.ones(4))


def test_figures_are_those_of_a_well_known_library_where_the_definitions_agree():
    """Total return, volatility, Sharpe, Sortino, drawdown, CAGR and beta equal empyrical's on random daily returns; its
    alpha is ours compounded over a year."""
    library = pytest.importorskip("empyrical", reason="pins figures; in the dev extra")
    returns = np.random.default_rng(5).normal(0.0004, 0.012, 1_000)
    equity = 100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + returns]))
    benchmark = 0.6 * returns + np.random.default_rng(6).normal(0.0, 0.01, 1_000)
    line = metrics.alpha_beta(returns, benchmark)
    ours = [
        metrics.total_return(equity),
        metrics.volatility(returns),
        metrics.sharpe(returns),
        metrics.sortino(returns),
        metrics.max_drawdown(equity),
        metrics.cagr(equity),
        line.beta[0],
        (1 + line.alpha.value / 252) ** 252 - 1,
    ]
    theirs = [
        library.cum_returns_final(returns),
        library.annual_volatility(returns),
        library.sharpe_ratio(returns),
        library.sortino_ratio(returns),
        library.max_drawdown(returns),
        library.annual_return(returns),
        library.beta(returns, benchmark),
        library.alpha(returns, benchmark),
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_the_ulcer_index_grows_with_the_length_of_a_drawdown():
    """Two drawdowns of the same depth differ by their length; without a drawdown it is 0, without values NaN."""
    short, long = np.full(100, 100.0), np.full(100, 100.0)
    short[50], long[50:] = 90.0, 90.0
    assert metrics.max_drawdown(short) == metrics.max_drawdown(long)
    assert metrics.ulcer_index(short) == pytest.approx(0.1 * np.sqrt(1 / 100))
    assert metrics.ulcer_index(long) == pytest.approx(0.1 * np.sqrt(50 / 100))
    assert metrics.ulcer_index(np.arange(1.0, 9.0)) == 0.0
    assert np.isnan(metrics.ulcer_index(np.array([])))


def test_a_figure_on_the_page_has_a_meaning():
    """The glossary of the page defines every figure of the equity that it shows."""
    assert all(metric.meaning.endswith(".") for metric in metrics.PATH_METRICS.values() if metric.term)


def test_figures_are_those_of_quantstats_where_the_definitions_agree():
    """The numbers are those of quantstats 0.0.86, which brings clients of web services and is not installed.

    Its information ratio is not annualized, and its ulcer index divides by n − 1 returns instead of n values.
    """
    place = np.arange(500.0)
    benchmark = 0.0004 + 0.009 * np.sin(1.7 * place) + 0.006 * np.cos(0.31 * place**2)
    returns = 0.0002 + 0.7 * benchmark + 0.008 * np.sin(2.9 * place + 0.01 * place**2)
    equity = 100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + returns]))
    line = metrics.alpha_beta(returns, benchmark)
    found = {
        "comp": metrics.total_return(equity),
        "volatility": metrics.volatility(returns),
        "sharpe": metrics.sharpe(returns),
        "sortino": metrics.sortino(returns),
        "max_drawdown": metrics.max_drawdown(equity),
        "information_ratio": metrics.information_ratio(returns, benchmark) / np.sqrt(252),
        "greeks beta": line.beta[0],
        "greeks alpha": line.alpha.value,
        "win_rate": metrics.win_rate(returns),
        "ulcer_index": metrics.ulcer_index(equity) * np.sqrt(501 / 499),
    }
    assert found == pytest.approx(
        {
            "comp": 0.3805356242979967,
            "volatility": 0.12383937703710762,
            "sharpe": 1.3745720080295982,
            "sortino": 2.0981788966368793,
            "max_drawdown": -0.08631537436579295,
            "information_ratio": 0.02975246556742382,
            "greeks beta": 0.6988055791970037,
            "greeks alpha": 0.08356212128914153,
            "win_rate": 0.516,
            "ulcer_index": 0.037751447768363394,
        },
        rel=1e-9,
    )


@pytest.mark.parametrize("lags", [0, 4, 38])
def test_newey_west_is_that_of_statsmodels(lags):
    """The t of a mean with Bartlett weights and the variance of the population."""
    api = pytest.importorskip("statsmodels.api", reason="pins figures; in the dev extra")
    values = np.convolve(np.random.default_rng(9).normal(0.1, 1.0, 519), np.ones(20), mode="valid")
    fitted = api.OLS(values, np.ones(500)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    assert metrics.newey_west_t(values, lags) == pytest.approx(fitted.tvalues[0], rel=1e-9)
