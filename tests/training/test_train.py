"""A training run: a checkpoint of the seed's format, from the past alone, the same bytes again."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from encash.encoders import load_encoder
from encash.encoders.checkpoint import Layout
from encash.encoders.torch import new_model
from encash.errors import WorkError
from encash.panel import ArraySource, Bars, Panel, PriceTable, toy_panel
from encash.panel.features import panel_features
from encash.panel.toy import TOY_FEATURES
from encash.testing import write_checkpoint
from encash.training import PRESETS, TrainConfig, train
from encash.training.samples import split_by_date


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def config(**changes):
    quick = {"train_end": "2021-03-31", "lookback": 6, "epochs": 1, "samples_per_epoch": 256, "validation_samples": 200}
    return TrainConfig(**{**quick, **changes})


@pytest.fixture(scope="module")
def panel():
    return toy_panel(0, 8, 400, odd=True)


@pytest.fixture(scope="module")
def trained(panel, tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "model.pt"
    steps = []
    report = train(panel, path, config=config(), progress=lambda done, total: steps.append((done, total)))
    return path, report, steps


class SeedLoader(nn.Module):
    """What an old script does with a checkpoint: rebuild the module from the config, load strictly."""

    def __init__(self, input_dim, config):
        super().__init__()
        hidden = config["hidden_dim"]
        self.input_proj = nn.Sequential(nn.Linear(input_dim, hidden), nn.LayerNorm(hidden), nn.GELU())
        self.pos_encoding = nn.Parameter(torch.zeros(1, 3000, hidden))
        layer = nn.TransformerEncoderLayer(
            hidden, config["num_heads"], 4 * hidden, config["dropout"], "gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, config["num_layers"], enable_nested_tensor=False)
        self.pred_head = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, 4))
        self.confidence_head = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, 4))

    def forward(self, x):
        mean = self.transformer(self.input_proj(x) + self.pos_encoding[:, : x.shape[1]]).mean(dim=1)
        return mean, self.pred_head(mean), torch.sigmoid(self.confidence_head(mean))


def test_the_seeds_own_loader_takes_the_checkpoint(trained, panel):
    """A strict load into a module rebuilt from the config works, and gives our encoder's numbers."""
    path, _, _ = trained
    content = torch.load(path, weights_only=True)
    state = content["model_state_dict"]
    assert content["config"].items() >= {"hidden_dim": 96, "num_layers": 2, "num_heads": 4, "seq_len": 6}.items()
    assert content["config"]["pred_mode"] == "regression"
    assert {"epoch", "val_loss", "train_end", "feature_names"} <= set(content)
    model = SeedLoader(state["input_proj.0.weight"].shape[1], content["config"]).eval()
    model.load_state_dict(state, strict=True)
    windows = np.random.default_rng(0).normal(size=(5, 6, panel.num_features)).astype(np.float32)
    embedding, forecast, confidence = (value.detach() for value in model(torch.tensor(windows)))
    ours = load_encoder(path, device="cpu", precision="float32").encode(windows)
    np.testing.assert_allclose(ours.embedding, embedding, atol=1e-5)
    np.testing.assert_allclose(ours.forecast, forecast, atol=1e-5)
    np.testing.assert_allclose(ours.confidence, confidence, atol=1e-5)


def test_the_checkpoint_says_what_it_has_seen(trained, panel):
    """train_end, features in order and lookback reach the encoder's spec."""
    spec = load_encoder(trained[0]).spec
    assert spec.train_end == "2021-03-31"
    assert spec.feature_names == panel.feature_names
    assert spec.lookback == 6
    assert spec.num_features == panel.num_features


def test_progress_counts_steps_up_to_the_total(trained):
    """Two steps of 128 windows, then done."""
    assert trained[2] == [(1, 2), (2, 2), (2, 2)]


def test_the_report_counts_and_measures(trained):
    """The report holds samples, periods, losses and a rank correlation for each horizon."""
    report = trained[1]
    assert report.train_samples > report.validation_samples > 100
    period = report.period
    assert period["train_last_window"] < period["choosing_start"] <= period["choosing_last_window"]
    assert period["choosing_last_window"] < period["validation_start"] < report.train_end
    assert set(report.rank_ic) == {"1", "5", "10", "20"}
    assert all(-1 <= value <= 1 for value in report.rank_ic.values())
    assert report.epochs == 1
    assert report.best_epoch in (0, 1)
    assert set(report.baselines) == {"ridge", "mean"}
    assert set(report.baselines["ridge"]) == {"rank_ic", "rank_ic_error", "loss", "loss_error"}
    assert report.val_loss_error > 0
    assert sum(group["count"] for group in report.reliability) <= 4 * report.validation_samples
    assert not report.outliers


def test_the_same_run_gives_the_same_weights(panel, tmp_path, trained):
    """Seed and data decide every byte; another seed gives other weights; draws elsewhere do not matter."""
    torch.manual_seed(99)
    train(panel, tmp_path / "again.pt", config=config())
    train(panel, tmp_path / "other.pt", config=config(seed=1))
    first, again, other = (
        load_encoder(p).spec.weights for p in (trained[0], tmp_path / "again.pt", tmp_path / "other.pt")
    )
    assert first == again
    assert first != other


def test_what_comes_after_train_end_does_not_move_a_weight(panel, tmp_path, trained):
    """A panel cut at train_end trains the very same model."""
    cut = panel.as_of("2021-03-31")
    rows = {ticker: (cut.days(ticker), cut.rows((ticker,)).values) for ticker in cut.tickers}
    train(Panel(ArraySource(rows, panel.feature_names), cut.prices), tmp_path / "cut.pt", config=config())
    assert load_encoder(tmp_path / "cut.pt").spec.weights == load_encoder(trained[0]).spec.weights


def test_a_train_end_beyond_the_data_is_the_last_day_seen(tmp_path):
    """What is written down is what was seen, not what was allowed."""
    panel = toy_panel(0, 6, 200)
    report = train(panel, tmp_path / "m.pt", config=config(train_end="2099-01-01"))
    assert report.train_end == str(panel.sessions[-1])


def test_a_planted_signal_is_learnt(tmp_path):
    """A feature that correlates 0.5 with the next return is found: rank correlation above 0.25 out of sample."""
    panel = toy_panel(0, 12, 500, signal_ic=0.5)
    chosen = config(train_end="2021-11-30", lookback=4, epochs=5, samples_per_epoch=2048)
    report = train(panel, tmp_path / "m.pt", config=chosen)
    assert report.rank_ic["1"] > 0.25
    assert report.val_loss < report.baselines["mean"]["loss"]
    assert report.result.startswith("better than predicting the mean")
    assert report.skill_probability["1"] > 0.99
    for slope, error in (
        (report.calibration_slope["1"], report.calibration_slope_error["1"]),
        (report.cross_section_slope["1"], report.cross_section_slope_error["1"]),
    ):
        assert slope is not None
        assert error is not None
        assert slope == pytest.approx(1.0, abs=0.1 + 2 * error)
        assert error < 0.2


def test_noise_is_reported_as_noise(tmp_path):
    """Without a signal, the result does not claim to be better than predicting the mean, and forecasts hardly vary."""
    panel = toy_panel(3, 12, 300)
    report = train(panel, tmp_path / "m.pt", config=config(train_end="2021-02-15", lookback=4))
    assert "better than predicting the mean" in report.result
    assert not report.result.startswith("better")
    assert "no skill found over 1, 5, 10, 20 sessions" in report.result
    assert max(report.skill_probability.values()) < 0.9
    assert set(report.calibration_slope.values()) == {None}
    split = split_by_date(panel, config(train_end="2021-02-15", lookback=4), (1, 5, 10, 20))
    encoder = load_encoder(tmp_path / "m.pt", device="cpu", precision="float32")
    forecast = encoder.encode(split.windows(split.validation)).forecast
    assert (forecast.std(axis=0) < 0.03 * split.scale).all()


def test_one_wrong_price_hardly_changes_the_forecasts(tmp_path):
    """A close times 10,000, and the features that follow from it, change forecasts and confidences by less than 5%."""
    clean, wrong = planted_prices(), planted_prices(factor=10_000.0)
    reports, outputs = [], []
    windows = None
    for number, panel in enumerate((clean, wrong)):
        path = tmp_path / f"{number}.pt"
        reports.append(train(panel, path, config=config(train_end="2024-06-30", lookback=4)))
        if windows is None:
            split = split_by_date(clean, config(train_end="2024-06-30", lookback=4), (1, 5, 10, 20))
            windows = split.windows(split.validation)
        outputs.append(load_encoder(path, device="cpu", precision="float32").encode(windows))
    for name in ("forecast", "confidence"):
        before, after = (getattr(one, name) for one in outputs)
        change = np.sqrt(((after - before) ** 2).mean(axis=0))
        assert (change < 0.05 * np.sqrt((before**2).mean(axis=0))).all(), name
    assert reports[0].outliers == 0
    assert {bar["ticker"] for bar in reports[1].outlier_bars} == {"T0002"}
    assert reports[1].outliers == 2


def planted_prices(factor=1.0):
    """A planted panel with features from its prices, one of which is multiplied."""
    source = toy_panel(0, 40, 1250, signal_ic=0.3)
    assert source.prices is not None
    close = source.prices.close.copy()
    close[200, 2] *= factor
    bars = {
        ticker: Bars(days=source.prices.days, close=close[:, number]) for number, ticker in enumerate(source.tickers)
    }
    signal = {ticker: source.rows((ticker,)).values[:, -1:] for ticker in source.tickers}
    made = panel_features(bars, TOY_FEATURES)
    rows = {ticker: (days, np.column_stack([values, signal[ticker]])) for ticker, days, values in made}
    table = PriceTable(days=source.prices.days, tickers=source.tickers, close=close)
    return Panel(ArraySource(rows, source.feature_names), table)


def test_tickers_that_stop_trading_are_counted(tmp_path):
    """The report says how many training windows are of tickers that stopped trading within a horizon."""
    panel = toy_panel(0, 8, 400, odd=True)
    assert train(panel, tmp_path / "m.pt", config=config(train_end="2099-01-01")).settled_samples > 0


def test_forecasts_are_returns_of_the_right_size(tmp_path):
    """Forecasts are fractions around the mean return of the training period, not deviations or ratios."""
    panel = toy_panel(0, 12, 300)
    chosen = config(train_end="2021-02-15", lookback=4)
    train(panel, tmp_path / "m.pt", config=chosen)
    split = split_by_date(panel, dataclasses.replace(chosen), (1, 5, 10, 20))
    encoder = load_encoder(tmp_path / "m.pt", device="cpu", precision="float32")
    forecast = encoder.encode(split.windows(split.validation)).forecast
    assert (abs(forecast.mean(axis=0) - split.mean_return) < split.scale).all()
    assert (forecast.std(axis=0) < split.scale).all()


def test_an_output_that_cannot_be_written_is_refused_before_training(panel, tmp_path):
    """Not a step is made for a checkpoint that could not be written."""
    steps = []
    (tmp_path / "file").touch()
    with pytest.raises(WorkError, match="could not be written"):
        train(panel, tmp_path / "file" / "m.pt", config=config(), progress=lambda *step: steps.append(step))
    assert steps == []


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path):
    """A save that breaks off leaves the file as it was, and nothing half written."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=3)
    before = path.read_bytes()
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        write_checkpoint(path, num_features=3, seed=1, extras={"odd": lambda: None})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("preset", "millions"), [("tiny", 0.5), ("small", 4.1), ("100m", 131.2)])
def test_presets_have_their_sizes(preset, millions):
    """Parameters of the presets on 64 features with a regression head."""
    sizes = PRESETS[preset]
    layout = Layout(
        num_features=64,
        hidden_dim=sizes.hidden_dim,
        num_layers=sizes.num_layers,
        num_heads=sizes.num_heads,
        pred_mode="regression",
    )
    with torch.device("meta"):
        count = sum(weight.numel() for weight in new_model(layout, 0).parameters())
    assert round(count / 1e6, 1) == millions
