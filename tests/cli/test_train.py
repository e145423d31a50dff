"""``train`` on the command line: what it trains on, and how it says what came out."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from encash.cli import main
from encash.encoders import load_encoder
from encash.panel import ArraySource, Panel, PriceTable, toy_panel, write_panel
from tests.cli.commands import answer, refusal


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Eight tickers, of which one stops trading and one has a wrong price; training takes seconds."""
    where = tmp_path_factory.mktemp("train")
    panel = toy_panel(2, 8, 200, odd=True)
    assert panel.prices is not None
    close = panel.prices.close.copy()
    close[100, 6] *= 10_000  # T0002
    rows = {ticker: (panel.days(ticker), panel.rows((ticker,)).values) for ticker in panel.tickers}
    prices = PriceTable(days=panel.prices.days, tickers=panel.tickers, close=close)
    write_panel(Panel(ArraySource(rows, panel.feature_names), prices), where / "f.h5", where / "p.h5")
    files = ["--data", str(where / "f.h5"), "--prices", str(where / "p.h5"), "--out", str(where / "m.pt")]
    return ["train", *files, "--train-end", str(panel.sessions[-1]), "--epochs", "1"]


def test_the_answer_compares_with_ridge_and_mean(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON holds the result, the figures with errors, the baselines, outliers by ticker and day, and warnings."""
    values = answer(capsys, *command)
    assert "predicting the mean" in values["result"]
    assert set(values["rank_ic_error"]) == set(values["rank_ic"]) == {"1", "5", "10", "20"}
    assert values["baselines"]["mean"]["loss"] > 0
    assert values["baselines"]["ridge"]["loss"] > 0
    assert values["outliers"] == 2
    wrong = values["outlier_bars"]
    assert {one["ticker"] for one in wrong} == {"T0002"}
    assert max(one["move"] for one in wrong) > 5_000
    assert all(f"T0002 on {one['day']}" in values["warnings"][0] for one in wrong)
    assert values["settled_samples"] > 0


def test_the_lines_begin_with_the_result(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """People read first if the model is better than the mean; stderr names the wrong price and the settled windows."""
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.out.startswith("result ")
    assert "predicting the mean" in said.out.splitlines()[0]
    assert "calibration slope" not in said.out
    assert "T0002" in said.err
    assert "settled under the policy last" in said.err


def test_people_read_a_table_and_every_figure_only_on_request(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The model, ridge and mean are beside each other, in 80 columns but for the sentence of the result; --verbose adds
    a line per key of the JSON."""
    values = answer(capsys, *command)
    assert main([*command, "--quiet", "--verbose"]) == 0
    shown = capsys.readouterr().out
    lines, every = shown[: shown.index("\nresult  ")].splitlines(), shown[shown.index("\nresult  ") :]
    cells = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("  ") and line.strip()}
    assert cells["model"] == [f"{values['val_loss']:.4f}", *(f"{ic:+.3f}" for ic in values["rank_ic"].values())]
    assert cells["ridge"][0] == f"{values['baselines']['ridge']['loss']:.4f}"
    assert cells["mean"] == [f"{values['baselines']['mean']['loss']:.4f}", *"––––"]
    assert max(map(len, lines[3:])) <= 80
    assert all(name.replace("_", " ") in every for name in values if name not in ("outlier_bars", "warnings"))


def test_tickers_are_chosen_by_name_or_number(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """``--tickers`` takes a list, ``--num-stocks`` the last N by name; an unknown ticker is refused."""
    assert answer(capsys, *command, "--tickers", "T0000,T0001,T0003,LATE")["tickers"] == 4
    assert answer(capsys, *command, "--num-stocks", "3")["tickers"] == 3
    assert "'NONE'" in refusal(capsys, *command, "--tickers", "NONE")


def test_the_delisting_policy_changes_the_model(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Targets of tickers that stop trading follow ``--delisting``."""
    path, found = Path(command[6]), []
    for policy in ("last", "zero"):
        answer(capsys, *command, "--delisting", policy)
        encoder = load_encoder(path, device="cpu", precision="float32")
        shape = 4, encoder.spec.lookback, encoder.spec.num_features
        found.append(encoder.encode(np.random.default_rng(0).normal(size=shape).astype(np.float32)).forecast)
    assert (found[0] != found[1]).any()


def test_a_file_of_another_format_is_not_written(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A name that ends in .safetensors is refused before the training, because it would be read as one."""
    changed = ["m.safetensors" if before == "--out" else word for before, word in pairwise(["", *command])]
    with pytest.raises(SystemExit) as ended:
        main(changed)
    assert ended.value.code == 2
    assert "end it in .pt" in capsys.readouterr().err
