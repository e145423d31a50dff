"""Heads find what is there, nothing where nothing is, and never their future."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from encash.arrays import day_text
from encash.errors import FormatError, InputError, MismatchError
from encash.heads import Head, HeadConfig, fit_head, load_head
from encash.heads.ridge import PENALTIES
from encash.heads.samples import make_targets, samples, session_blocks
from encash.metrics import rank_ic
from tests.heads.worlds import World, make_world


def has_lightgbm() -> bool:
    """Import it: it may be installed without the system's OpenMP library."""
    try:
        import_module("lightgbm")
    except (ImportError, OSError):
        return False
    return True


needs_lightgbm = pytest.mark.skipif(not has_lightgbm(), reason="lightgbm or libgomp is not installed")
END = 300
"""Session at whose close a head is fitted."""


def config(world: World, **settings: object) -> HeadConfig:
    return HeadConfig(**{"end": world.prices.days[END], "horizons": (1, 5), **settings})


def fitted(world: World, **settings: object) -> Head:
    return fit_head(world.prices, world.read, config=config(world, **settings), encoder="e")


def later_ic(world: World, head: Head, horizon: int = 0) -> float:
    """Return the mean rank IC of the head with the true signal after it may be used."""
    first = int(np.searchsorted(world.prices.days, head.periods[0].first_day))
    days, tickers = world.prices.days[first:], np.asarray(world.prices.tickers)
    vectors = world.vectors[first:]
    forecast, _ = head.forecast(np.repeat(days, len(tickers)), np.tile(tickers, len(days)), vectors.reshape(-1, 8))
    return float(np.nanmean(rank_ic(forecast[:, horizon].reshape(len(days), -1).astype(float), world.signal[first:])))


@pytest.mark.parametrize("kind", ["ridge", pytest.param("boosted", marks=needs_lightgbm)])
def test_a_planted_signal_is_found_with_the_expected_ic(kind: str) -> None:
    """The rank IC that is reported is that of the signal with the next return; the forecasts order as the signal."""
    world = make_world(1, strength=0.003)
    head = fitted(world, kind=kind)
    one, five = head.periods[0].skill
    returns = world.prices.close[1:] / world.prices.close[:-1] - 1.0
    expected = float(np.nanmean(rank_ic(world.signal[:-1], returns)))
    assert one.ic == pytest.approx(expected, abs=0.03 if kind == "ridge" else 0.06)
    assert one.t > 4.0
    assert one.ic > five.ic > 0.0
    assert later_ic(world, head) > (0.95 if kind == "ridge" else 0.6)


def test_the_fit_is_the_ridge_regression_of_a_library() -> None:
    """Same coefficients as scikit-learn's on the same standardized entries, for the penalty that was chosen."""
    world = make_world(2, strength=0.003)
    head = fitted(world, horizons=(1,))
    targets = make_targets(world.prices, config(world, horizons=(1,)), world.prices.days[END])
    parts = list(samples(world.read, targets))
    vectors = np.concatenate([part.vectors for part in parts]).astype(float)
    excess = np.concatenate([part.excess for part in parts])[:, 0]
    scale = vectors.std(axis=0)
    found = head.periods[0].predictor.arrays()["coefficients"][:, 0] * scale
    fits = [
        Ridge(alpha=penalty * len(vectors)).fit((vectors - vectors.mean(axis=0)) / scale, excess).coef_
        for penalty in PENALTIES
    ]
    assert min(np.abs(found - fit).max() for fit in fits) < 1e-7 * np.abs(found).max()


def test_noise_is_not_significant() -> None:
    """Worlds without a signal: |t| above 2 in about 5% of the seeds, as it is printed."""
    found = [fitted(make_world(seed, strength=0.0, tickers=20), horizons=(1, 5)) for seed in range(40)]
    large = [abs(skill.t) > 2.0 for head in found for skill in head.periods[0].skill]
    assert np.mean(large) <= 0.125  # two standard errors above 5% at 80


def test_forecasts_are_calibrated_after_the_fit() -> None:
    """On later sessions, returns rise by about 1 per unit of forecast, and a confidence is a frequency."""
    world = make_world(3, strength=0.004, sessions=800)
    head = fitted(world, horizons=(1,))
    first = int(np.searchsorted(world.prices.days, head.periods[0].first_day))
    days, tickers = world.prices.days[first:-1], np.asarray(world.prices.tickers)
    forecast, confidence = head.forecast(
        np.repeat(days, len(tickers)), np.tile(tickers, len(days)), world.vectors[first:-1].reshape(-1, 8)
    )
    close = world.prices.close[first:]
    excess = close[1:] / close[:-1] - 1.0
    excess -= excess.mean(axis=1, keepdims=True)
    expected = forecast.reshape(excess.shape).astype(float)
    expected -= expected.mean(axis=1, keepdims=True)
    assert (expected * excess).sum() / (expected**2).sum() == pytest.approx(1.0, abs=0.1)
    assert confidence.mean() == pytest.approx((np.sign(expected) == np.sign(excess)).mean(), abs=0.02)


def test_nothing_after_the_end_changes_a_head() -> None:
    """Other prices and other embeddings after the end, or no prices at all: the same fingerprint."""
    world = make_world(4, strength=0.002)
    head, day = fitted(world), world.prices.days[END]
    close, vectors = world.prices.close.copy(), world.vectors.copy()
    close[END + 1 :] *= 1.5
    close[END + 1 :, :10] = np.nan
    vectors[END + 1 :] = 99.0
    poisoned = replace(world, prices=replace(world.prices, close=close), vectors=vectors)
    assert fitted(poisoned).fingerprint == head.fingerprint
    cut = replace(world, prices=world.prices.as_of(day))
    first_days = [one.periods[0].first_day for one in (head, fitted(cut))]
    assert fitted(cut).periods[0].arrays().keys() == head.periods[0].arrays().keys()
    assert first_days[0] == world.prices.days[END + 5]
    assert first_days[1] > day


def test_a_ticker_that_collapses_counts_at_its_last_price() -> None:
    """Without a policy for delistings its returns would be missing, and its signal would look harmless."""
    world = make_world(5, strength=0.0, tickers=20)
    close, vectors = world.prices.close.copy(), world.vectors.copy()
    for ticker in range(20):
        stop = 40 + 12 * ticker
        vectors[stop - 5 : stop, ticker, 2] += 3.0  # the sign of what comes
        close[stop - 1, ticker] *= 0.5
        close[stop:, ticker] = np.nan
    dying = replace(world, prices=replace(world.prices, close=close), vectors=vectors)
    targets = make_targets(dying.prices, config(dying, winsorize=None), dying.prices.days[END])
    assert targets.returns[1, 36, 0] < -0.4
    coefficients = fitted(dying, winsorize=None).periods[0].predictor.arrays()["coefficients"]
    assert coefficients[2, 1] < 0.0


def test_a_walk_uses_the_newest_fit_that_may_be_used() -> None:
    """Each day is forecast by the last fit whose embargo has passed; editing prices changes no earlier fit."""
    world = make_world(6, strength=0.003)
    head = fitted(world, every=50, history=150)
    assert len(head.periods) == 4
    assert [one.first_day for one in head.periods] == [
        world.prices.days[int(np.searchsorted(world.prices.days, np.datetime64(one.end))) + 5] for one in head.periods
    ]
    day, ticker = head.periods[2].first_day, np.array(["T000"])
    vector = world.vectors[200, :1]
    for when, period in ((day, 2), (day - np.timedelta64(1, "D"), 1)):
        expected = head.periods[period].forecast(vector)[0]
        assert np.array_equal(head.forecast(np.array([when]), ticker, vector)[0], expected)
    close = world.prices.close.copy()
    later = int(np.searchsorted(world.prices.days, np.datetime64(head.periods[1].end))) + 1
    close[later:] *= np.linspace(1.0, 2.0, len(close) - later)[:, None]
    edited = fitted(replace(world, prices=replace(world.prices, close=close)), every=50, history=150)
    for before, after in zip(head.periods[:2], edited.periods[:2], strict=True):
        assert all(np.array_equal(value, after.arrays()[name]) for name, value in before.arrays().items())


@pytest.mark.parametrize("kind", ["ridge", pytest.param("boosted", marks=needs_lightgbm)])
def test_a_head_is_the_same_from_its_folder(tmp_path: Path, kind: str) -> None:
    """Fingerprint and forecasts survive; a shorter walk leaves no old fit; a changed byte or number is refused."""
    world = make_world(7, strength=0.003)
    head = fitted(world, kind=kind)
    fitted(world, every=50, history=200).save(tmp_path / "h")
    head.save(tmp_path / "h")
    assert sorted(path.name for path in (tmp_path / "h").iterdir()) == ["0000.npz", "head.json"]
    loaded = load_head(tmp_path / "h")
    assert loaded.fingerprint == head.fingerprint
    cells = np.repeat(world.prices.days[310], 40), np.asarray(world.prices.tickers)
    for one, other in zip(
        head.forecast(*cells, world.vectors[310]), loaded.forecast(*cells, world.vectors[310]), strict=True
    ):
        assert np.array_equal(one, other)
    facts = (tmp_path / "h" / "head.json").read_text()
    (tmp_path / "h" / "head.json").write_text(facts.replace(day_text(head.periods[0].first_day), "2015-02-02"))
    with pytest.raises(FormatError, match="was edited"):
        load_head(tmp_path / "h")
    (tmp_path / "h" / "head.json").write_text(facts)
    fitted(world, kind=kind, end=world.prices.days[280]).save(tmp_path / "o")
    (tmp_path / "o" / "0000.npz").replace(tmp_path / "h" / "0000.npz")
    with pytest.raises(FormatError, match="are not those of"):
        load_head(tmp_path / "h")


def test_forecasts_do_not_depend_on_the_other_rows() -> None:
    """One entry alone and among others: the same bits."""
    world = make_world(8, strength=0.003)
    head = fitted(world)
    days, tickers = np.repeat(world.prices.days[310], 40), np.asarray(world.prices.tickers)
    together = head.forecast(days, tickers, world.vectors[310])[0]
    alone = [head.forecast(days[:1], tickers[:1], world.vectors[310, at : at + 1])[0][0] for at in range(40)]
    assert np.array_equal(together, np.stack(alone))


def test_what_cannot_be_fitted_is_refused() -> None:
    """Too few sessions, no entries, an embargo below the longest horizon, an unknown kind, other dimensions."""
    world = make_world(9, strength=0.001)
    with pytest.raises(InputError, match="expected 200 or more"):
        fitted(world, horizons=(20,), end=world.prices.days[100])
    with pytest.raises(InputError, match="no two entries of one session"):
        fit_head(world.prices, lambda start, end: iter(()), config=config(world), encoder="")
    with pytest.raises(InputError, match="embargo is 2; expected 5"):
        config(world, embargo=2)
    with pytest.raises(InputError, match="unknown kind of head 'deep'"):
        fitted(world, kind="deep")
    with pytest.raises(MismatchError, match="length 8, not 3"):
        fitted(world).forecast(world.prices.days[:1], np.array(["T000"]), np.zeros((1, 3), np.float32))


def test_blocks_leave_a_gap_of_the_longest_horizon() -> None:
    """No return of a block reaches into the next one."""
    block = session_blocks(100, 7)
    for number in range(4):
        assert np.flatnonzero(block == number).max() + 7 < np.flatnonzero(block == number + 1).min() + 1
