"""The ridge regression that a training starts from and must beat."""

import numpy as np
import pytest
import torch

from encash.encoders.checkpoint import Layout
from encash.metrics import rank_ic
from encash.panel import FeatureRows, gather_windows
from encash.panel.toy import SIGNALS, signal_panel
from encash.training import TrainConfig
from encash.training.linear import FOLDS, Regression, fit_baseline, fit_linear, regression, segment_bounds
from encash.training.samples import split_by_date
from encash.training.skill import daily_rank_ic
from encash.training.standardize import fit_standardizer
from encash.training.start import fit_heads, start_model

HORIZONS = (1, 5, 10, 20)


def planted_split(signal, seed=0, **changes):
    panel = signal_panel(signal, seed, num_tickers=30, num_sessions=500, num_features=12, signal_ic=0.25)
    return split_by_date(panel, TrainConfig(**{"train_end": "2099-01-01", "lookback": 30, **changes}), HORIZONS)


@pytest.fixture(scope="module", params=SIGNALS)
def fitted(request):
    split = planted_split(request.param)
    data, standardizer = regression(split, HORIZONS)
    return request.param, split, fit_linear(data, standardizer, 4), fit_baseline(data, standardizer)


def skill(forecast, samples):
    return np.nan_to_num(daily_rank_ic(forecast, samples)).mean(axis=0)


def test_it_finds_what_the_usual_ridge_finds_and_more(fitted):
    """On later sessions, the chosen regression ranks at least as well as one on the last session and the mean."""
    signal, split, chosen, usual = fitted
    ours, theirs = (
        skill(one.forecast.predict(split.rows, split.validation.end_rows), split.validation) for one in (chosen, usual)
    )
    assert ours[0] > 0.1
    assert ours.mean() > theirs.mean() - 0.01
    if signal == "lagged":
        assert ours[0] > theirs[0] + 0.05


def test_segments_isolate_the_session_that_matters(fitted):
    """For a signal five sessions before the last, that session is a segment of its own."""
    signal, _, chosen, _ = fitted
    if signal == "lagged":
        assert {24, 25} <= set(chosen.forecast.bounds.tolist())
    assert chosen.forecast.bounds[-2] == 29


def test_held_out_forecasts_are_calibrated(fitted):
    """The slope of targets on held-out forecasts is 1, and their confidence is the share of right signs."""
    _, _, chosen, _ = fitted
    forecast, target = chosen.held_out[:, 0], chosen.held_out_targets[:, 0]
    assert forecast @ target / (forecast @ forecast) == pytest.approx(1, abs=0.02)
    intercept, slope = chosen.platt(np.array([1.0, 9.0, 19.0, 39.0]))[0]
    odds = intercept + slope * np.abs(forecast)
    confidence = 1 / (1 + np.exp(-odds))
    sure = confidence > np.quantile(confidence, 0.8)
    right = np.sign(forecast) == np.sign(target)
    assert right[sure].mean() == pytest.approx(confidence[sure].mean(), abs=0.03)


def test_walk_forward_forecasts_show_skill_that_ended():
    """Blocks are forecast from earlier ones only: where a signal has ended, their slope falls to nothing."""
    random = np.random.default_rng(0)
    values = random.normal(size=(20_000, 4)).astype(np.float32)
    rows = FeatureRows(
        tickers=("A",),
        offsets=np.array([0, 20_000]),
        days=np.arange("2020-01-01", 20_000, dtype="datetime64[D]"),
        values=values,
    )
    ends = np.arange(20, 20_000)
    block = np.minimum(ends // 4_000, FOLDS - 1)
    signal = np.where(block < FOLDS - 1, 0.3, 0.0)[:, None] * values[ends, :1]
    data = Regression(
        rows=rows,
        lookback=10,
        end_rows=ends,
        block=block,
        targets=signal + random.normal(size=(len(ends), 2)),
        overlap=np.ones(2),
        session=ends,
    )
    walked = fit_linear(data, fit_standardizer(values), 4).walked
    assert walked.session.min() == 8_000
    for inside, expected in ((walked.session < 16_000, 1.0), (walked.session >= 16_000, 0.0)):
        forecast, target = walked.forecast[inside, 0], walked.target[inside, 0]
        assert forecast @ target / (forecast @ forecast) == pytest.approx(expected, abs=0.2)


def test_noise_has_no_forecast():
    """Without a signal, forecasts are close to the mean."""
    random = np.random.default_rng(0)
    days = np.arange("2020-01-01", 20_000, dtype="datetime64[D]")
    rows = FeatureRows(
        tickers=("A",),
        offsets=np.array([0, 20_000]),
        days=days,
        values=random.normal(size=(20_000, 8)).astype(np.float32),
    )
    ends = np.arange(20, 20_000)
    data = Regression(
        rows=rows,
        lookback=10,
        end_rows=ends,
        block=np.minimum(ends // 4_000, FOLDS - 1),
        targets=random.normal(size=(len(ends), 4)),
        overlap=np.ones(4),
        session=ends,
    )
    found = fit_linear(data, fit_standardizer(rows.values), 4)
    assert found.forecast.predict(rows, ends).std() < 0.04


def test_a_model_starts_as_the_regression(fitted):
    """The new model's forecasts are the regression's, up to the curvature of its layers, for features of any scale."""
    _, split, chosen, _ = fitted
    forecast, layout = (
        chosen.forecast,
        Layout(num_features=12, hidden_dim=96, num_layers=2, num_heads=4, pred_mode="regression"),
    )
    tokens = np.einsum("nf,kfh->nkh", forecast.standardizer.apply(split.rows.values[::20]), forecast.coefficients)
    model = start_model(layout, 0, forecast, tokens.std(axis=0)).eval()
    ends = split.train.end_rows[::29]
    expected = forecast.predict(split.rows, ends)
    with torch.no_grad():
        means = model.states(torch.from_numpy(gather_windows(split.rows, ends, split.lookback))).mean(1)
        fit_heads(model, len(forecast.bounds) - 1, means, expected, np.tile([0.1, 1.5], (4, 1)))
        found, confidence = (value.numpy() for value in model.heads(means))
    for horizon in range(4):
        assert np.corrcoef(found[:, horizon], expected[:, horizon])[0, 1] > 0.98
        assert found[:, horizon].std() == pytest.approx(expected[:, horizon].std(), rel=0.05)
    odds = np.log(confidence / (1 - confidence))
    np.testing.assert_allclose(odds, 0.1 + 1.5 * np.abs(found), atol=0.2)


def test_scales_and_outliers_of_features_do_not_matter():
    """Features in other units, one of them with a wild value, give the same forecasts."""
    split = planted_split("last session")
    data, standardizer = regression(split, HORIZONS)
    plain = fit_linear(data, standardizer, 4).forecast.predict(split.rows, split.validation.end_rows)
    values = split.rows.values * np.logspace(-3, 4, 12).astype(np.float32) + np.float32(7.0)
    values[100, 3] = 1e12
    rows = FeatureRows(tickers=split.rows.tickers, offsets=split.rows.offsets, days=split.rows.days, values=values)
    other = Regression(
        rows=rows,
        lookback=data.lookback,
        end_rows=data.end_rows,
        block=data.block,
        targets=data.targets,
        overlap=data.overlap,
        session=data.session,
    )
    found = fit_linear(other, fit_standardizer(values[data.end_rows]), 4).forecast
    again = found.predict(rows, split.validation.end_rows)
    assert np.abs(again - plain).mean() < 0.05 * plain.std()


@pytest.mark.parametrize(("length", "most"), [(1, 4), (2, 4), (4, 4), (6, 1), (9, 3)])
def test_segments_cover_the_window(length, most):
    """Bounds ascend from 0 to the length, with at most the requested number of segments."""
    bounds = segment_bounds(np.random.default_rng(0).normal(size=(length, 3)), most)
    assert bounds[0] == 0
    assert bounds[-1] == length
    assert (np.diff(bounds) > 0).all()
    assert len(bounds) - 1 <= most


def test_rank_correlations_are_by_session(fitted):
    """The daily rank correlation of a part of the split is that of the table of its sessions and tickers."""
    _, split, chosen, _ = fitted
    samples = split.validation
    forecast = chosen.forecast.predict(split.rows, samples.end_rows)
    one = samples.session == samples.session.min()
    expected = rank_ic(forecast[one, 0][None], samples.returns[one, 0][None])[0]
    assert daily_rank_ic(forecast, samples)[0, 0] == pytest.approx(expected)
