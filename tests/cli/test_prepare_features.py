"""The flags of `prepare` that choose features, and what a model says about features that are not its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encash.cli import main
from encash.panel import Bars, open_panel
from encash.panel.features import FEATURE_SETS, FeatureConfig, feature_names
from encash.panel.toy import business_days
from encash.testing import write_checkpoint
from tests.cli.commands import answer, refusal

SESSIONS = 160


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars and volumes of three tickers; C lacks thirty sessions in the middle."""
    path = tmp_path_factory.mktemp("table") / "prices.csv"
    random, days = np.random.default_rng(0), business_days("2020-01-01", 300)
    lines = ["date,ticker,open,high,low,close,volume"]
    for ticker in "ABC":
        close = np.round(50 * np.exp(np.cumsum(0.02 * random.normal(size=300))), 2)
        for n, day in enumerate(days):
            if not (ticker == "C" and 140 <= n < 170):
                price, shares = close[n], int(random.integers(1000, 9000))
                lines.append(f"{day},{ticker},{price},{price + 0.5:.2f},{price - 0.5:.2f},{price},{shares}")
    path.write_text("\n".join(lines) + "\n")
    return path


def prepare(table: Path, folder: Path, *flags: str) -> list[str]:
    outputs = ["--features-out", str(folder / "f.h5"), "--prices-out", str(folder / "p.h5")]
    return ["prepare", str(table), *outputs, *flags]


def test_the_default_has_64_features_and_no_ranks(table, tmp_path, capsys):
    """Bars and volume of an unknown basis give 64 features; the report says which set, and what is left out."""
    found = answer(capsys, *prepare(table, tmp_path))
    assert (found["feature_set"], found["features"]) == ("prices-2", 64)
    assert not any(name.startswith("rank_") for name in found["feature_names"])
    assert [names for names in found["left_out"].values()] == [["dollar_volume_level"]]
    assert answer(capsys, *prepare(table, tmp_path, "--no-ranks"))["feature_names"] == found["feature_names"]


def test_the_first_set_is_made_on_request_with_a_warning(table, tmp_path, capsys):
    """`prices-1` has ranks among all tickers and says on stderr what it knows; `--no-ranks` drops them."""
    found = answer(capsys, *prepare(table, tmp_path, "--feature-set", "prices-1"))
    assert (found["features"], found["feature_names"][-1]) == (64, "rank_dollar_volume_level")
    assert main(prepare(table, tmp_path, "--feature-set", "prices-1", "--no-ranks")) == 0
    assert "prices-1 has look-ahead bias" in capsys.readouterr().err
    with open_panel(tmp_path / "f.h5") as panel:
        assert panel.num_features == 57
        assert panel.feature_config == FeatureConfig(feature_set="prices-1", ranks=False)


def test_ranks_are_taken_within_a_membership(table, tmp_path, capsys):
    """`--membership` adds ranks among the members of the day, and dropping another ticker changes no byte."""
    members = tmp_path / "members.csv"
    members.write_text("ticker,from,until\nA,2020-01-01,\nB,2020-01-01,2020-12-31\n")
    found = answer(capsys, *prepare(table, tmp_path, "--membership", str(members)))
    assert found["feature_names"][64:] == [
        *("rank_return_1", "rank_return_5", "rank_return_20", "rank_return_120"),
        *("rank_volatility_level", "rank_drawdown_120"),
    ]
    with open_panel(tmp_path / "f.h5") as panel:
        whole = panel.rows(("A", "B")).values.tobytes()
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("".join(line for line in table.read_text().splitlines(keepends=True) if ",C," not in line))
    assert main(prepare(fewer, tmp_path, "--membership", str(members), "--quiet")) == 0
    with open_panel(tmp_path / "f.h5") as panel:
        assert panel.tickers == ("A", "B")
        assert panel.rows().values.tobytes() == whole
    message = refusal(capsys, *prepare(table, tmp_path, "--membership", str(members), "--no-ranks"))
    assert "a membership is given and ranks are off" in message
    members.write_text("ticker,from,until\nA.US,2020-01-01,\n")
    message = refusal(capsys, *prepare(table, tmp_path, "--membership", str(members)))
    assert "no ticker of the membership is in" in message


def test_a_long_gap_starts_a_ticker_anew(table, tmp_path, capsys):
    """`--max-gap` costs the ticker with the gap a second warm-up, and no other."""
    bridged = answer(capsys, *prepare(table, tmp_path, "--max-gap", "30"))
    cut = answer(capsys, *prepare(table, tmp_path, "--max-gap", "29"))
    assert bridged["rows"] - cut["rows"] == 119  # 120 sessions of warm-up, less the row that marks the gap
    with open_panel(tmp_path / "f.h5") as panel:
        assert int(np.isnan(panel.rows(("C",)).values).all(axis=1).sum()) == 1
        assert np.isfinite(panel.rows(("A", "B")).values).all()
    assert "max_gap is 0" in refusal(capsys, *prepare(table, tmp_path, "--max-gap", "0"))


def test_all_features_are_listed_with_formulas(capsys):
    """`--list-features` needs no table: every feature of every set, with formula, unit and sessions."""
    with pytest.raises(SystemExit) as stop:
        main(["prepare", "--list-features"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    one = np.ones(2)
    bars = Bars(days=business_days("2020-01-01", 2), close=one, open=one, high=one, low=one, volume=one, dollars=one)
    for feature_set in FEATURE_SETS:
        assert all(
            name.removeprefix("rank_") in text for name in feature_names(bars, FeatureConfig(feature_set=feature_set))
        )


@pytest.mark.parametrize(
    ("trained_on", "flag"), [(None, "--feature-set prices-1"), ("prices-3", "--feature-set prices-3")]
)
def test_a_model_refuses_features_of_a_different_set_and_names_the_flag(table, tmp_path, capsys, trained_on, flag):
    """As many features, and different ones: the message says how to prepare those of the model."""
    answer(capsys, *prepare(table, tmp_path, "--feature-set", "prices-1"))
    with open_panel(tmp_path / "f.h5") as panel:
        names = list(panel.feature_names or ())
    answer(capsys, *prepare(table, tmp_path))
    extras = {"config": {"seq_len": 8}, "feature_names": names}
    extras |= {} if trained_on is None else {"feature_set": trained_on}
    model = write_checkpoint(tmp_path / "m.pt", num_features=64, lookback=8, extras=extras)
    cache = ["--cache", str(tmp_path / "c.lance")]
    message = refusal(capsys, "build", "--model", str(model), "--data", str(tmp_path / "f.h5"), *cache)
    assert "in the model" in message
    assert flag in message
    answer(capsys, *prepare(table, tmp_path, "--feature-set", "prices-1"))
    assert answer(capsys, "build", "--model", str(model), "--data", str(tmp_path / "f.h5"), *cache)["computed"] > 0
