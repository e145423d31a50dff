"""Input that does not fit and output that cannot be written: one line and the exit code, for each command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from encash.cli import main
from encash.panel import toy_panel
from encash.testing import write_checkpoint
from tests.cli.commands import LOOKBACK, models, refusal, runs


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda path: path.unlink(), "no features file"),
        (lambda path: path.write_text("no HDF5"), "HDF5"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "HDF5"),
    ],
)
def test_bad_files_are_one_line(
    spoil: Callable[[Path], object], expected: str, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Missing, not HDF5, truncated: exit code 2 and one line that names the file."""
    bad = tmp_path / "bad.h5"
    bad.write_bytes((folder / "f.h5").read_bytes())
    spoil(bad)
    line = refusal(
        capsys, "build", "--model", str(folder / "m.pt"), "--data", str(bad), "--cache", str(tmp_path / "c.lance")
    )
    assert "bad.h5" in line


def edit(path: Path, change) -> None:
    with h5py.File(path, "r+") as file:
        change(file[next(iter(file))])


@pytest.mark.parametrize(
    "change",
    [
        lambda group: group.__delitem__("dates"),
        lambda group: group["dates"].__setitem__(slice(0, 2), group["dates"][:2][::-1]),
        lambda group: group["dates"].__setitem__(1, group["dates"][0]),
    ],
    ids=["no dates", "unsorted", "doubled"],
)
def test_bad_dates_are_one_line(
    change: Callable[[h5py.Group], object], folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A ticker without dates, dates unsorted, dates doubled: exit code 2, naming the ticker."""
    bad = tmp_path / "bad.h5"
    bad.write_bytes((folder / "f.h5").read_bytes())
    edit(bad, change)
    with h5py.File(bad, "r") as file:
        ticker = next(iter(file))
    line = refusal(
        capsys, "build", "--model", str(folder / "m.pt"), "--data", str(bad), "--cache", str(tmp_path / "c.lance")
    )
    assert ticker in line


def test_a_checkpoint_that_does_not_fit_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Another number of features, missing weights, extra weights."""
    import torch

    wide = write_checkpoint(tmp_path / "wide.pt", num_features=5, lookback=LOOKBACK)
    where = ["--data", str(folder / "f.h5"), "--cache", str(tmp_path / "c.lance")]
    assert "5" in refusal(capsys, "build", "--model", str(wide), *where)
    for change in ("missing", "extra"):
        content = torch.load(folder / "m.pt", weights_only=True)
        state = content["model_state_dict"]
        if change == "missing":
            del state["input_proj.0.bias"]
        else:
            state["surprise"] = torch.zeros(1)
        torch.save(content, tmp_path / f"{change}.pt")
        line = refusal(capsys, "build", "--model", str(tmp_path / f"{change}.pt"), *where)
        assert ("input_proj.0.bias" if change == "missing" else "surprise") in line


def test_no_session_in_range_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A range outside the data, for a build and for a backtest."""
    line = refusal(capsys, "build", *models(folder), "--cache", str(tmp_path / "c.lance"), "--start", "2090-01-01")
    assert "session" in line
    command = runs(folder, "--cache", str(folder / "c.lance"))
    command[command.index("--start") + 1 : command.index("--start") + 4] = ["2090-01-01", "--end", "2090-02-01"]
    assert "session" in refusal(capsys, *command)


@pytest.mark.parametrize("command", ["plan", "build", "verify", "backtest"])
def test_a_checkpoint_of_another_window_than_the_cache_is_refused(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The cache's window does not overrule the one that the checkpoint was trained on; the error names both."""
    longer = write_checkpoint(tmp_path / "longer.pt", num_features=19, lookback=LOOKBACK + 12)
    where = ["--model", str(longer), "--data", str(folder / "f.h5")]
    cached = ["--cache", str(folder / "c.lance")]
    commands = {
        "verify": ["cache", "verify", cached[1], *where],
        "backtest": runs(folder, *where, *cached),
    }
    line = refusal(capsys, *commands.get(command, [command, *where, *cached]))
    assert f"windows of {LOOKBACK + 12} sessions" in line
    assert f"windows of {LOOKBACK};" in line


def test_a_seed_below_zero_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Wherever a seed is given: exit 2, and what was expected."""
    cache, prices = ["--cache", str(folder / "c.lance")], ["--prices", str(folder / "p.h5")]
    days = (folder / "days.txt").read_text().split()
    out = ["--out", str(tmp_path / "out")]
    walked = ["--every", "20", "--horizon", "5", "--embargo", "5", "--history", "60", "-k", "3"]
    (tmp_path / "grid.toml").write_text("[grid]\nseed = [-1]")
    (tmp_path / "random.toml").write_text("[random]\nruns = 2\nseed = -1\ntop_k = [1, 2]")
    for command in (
        ["clusters", "fit", *cache, "--end", days[80], "-k", "3", *out, "--seed", "-1"],
        ["clusters", "walk", *cache, *prices, *walked, *out, "--seed", "-1"],
        runs(folder, *cache, "--filter", "random", "--keep", "0.5", "--seed", "-1"),
        ["sweep", str(tmp_path / "grid.toml"), *cache, *prices, *out],
        ["sweep", str(tmp_path / "random.toml"), *cache, *prices, *out],
        ["train", "--data", str(folder / "f.h5"), *prices, *out, "--train-end", days[80], "--seed", "-1"],
    ):
        line = refusal(capsys, *command)
        assert "seed is -1" in line
        assert "0 or more" in line


@pytest.mark.parametrize(
    "command", ["prepare", "train", "fit", "walk", "backtest", "sweep", "report", "coverage", "demo"]
)
def test_an_output_that_cannot_be_written_is_one_line_and_exit_code_1(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A plain file where a folder is needed: what could not be written, why, and how to mend it."""
    (tmp_path / "file").touch()
    (tmp_path / "grid.toml").write_text("[base]\ntop_k = 2")
    run, out = tmp_path / "run", str(tmp_path / "file" / "deeper" / "x.svg")
    days = (folder / "days.txt").read_text().split()
    cache, prices, data = (
        ["--cache", str(folder / "c.lance")],
        ["--prices", str(folder / "p.h5")],
        str(folder / "f.h5"),
    )
    panel = toy_panel(seed=1, num_tickers=8, num_sessions=160)
    assert panel.prices is not None
    closes = [",".join(map(str, [day, *row])) for day, row in zip(panel.prices.days, panel.prices.close, strict=True)]
    (tmp_path / "prices.csv").write_text("\n".join([",".join(["date", *panel.tickers]), *closes]))
    if command == "report":
        assert main([*runs(folder, *cache), "--run-dir", str(run), "--no-report"]) == 0
    commands = {
        "prepare": [
            "prepare",
            str(tmp_path / "prices.csv"),
            "--features-out",
            out,
            "--prices-out",
            str(tmp_path / "p.h5"),
        ],
        "train": ["train", "--data", data, *prices, "--out", out, "--train-end", days[120]],
        "fit": ["clusters", "fit", *cache, "--end", days[80], "-k", "3", "--out", out],
        "walk": [
            "clusters",
            "walk",
            *cache,
            *prices,
            "--every",
            "20",
            "--horizon",
            "5",
            "--embargo",
            "5",
            "--out",
            out,
        ],
        "backtest": [*runs(folder, *cache), "--run-dir", out],
        "sweep": ["sweep", str(tmp_path / "grid.toml"), *cache, *prices, "--out", out],
        "report": ["report", str(run), "--out", out],
        "coverage": ["cache", "coverage", cache[1], "--data", data, "--out", out],
        "demo": ["demo", "--out", out],
    }
    capsys.readouterr()
    assert main([*commands[command], "--quiet"]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert str(tmp_path / "file") in line
    assert "a file stands where a folder is needed" in line
    assert not (tmp_path / "p.h5").exists()


FILES_BY_URL = (
    "build --model URL/m.pt --data f.h5 --cache c.lance",
    "build --model m.pt --data f.h5 --cache c.lance --bin-edges URL/e.pt",
    "train --data f.h5 --prices p.h5 --train-end 2020-03-31 --out URL/m.pt",
    "prepare t.csv --features-out URL/g.h5 --prices-out q.h5",
    "backtest --data f.h5 --prices p.h5 --cache URL/c.h5 --no-model",
    "backtest --data f.h5 --prices p.h5 --cache c.lance --clusters URL/k",
    "backtest --data f.h5 --prices p.h5 --cache c.lance --head URL/h",
    "backtest --data f.h5 --prices p.h5 --cache c.lance --encoders URL/e.toml",
    "backtest --data f.h5 --prices p.h5 --cache c.lance --run-dir URL/r",
    "prepare t.csv --features-out g.h5 --prices-out URL/q.h5",
    "clusters fit --cache c.lance -k 3 --end 2020-03-31 --out URL/k",
    "report URL/run",
    "sweep URL/g.toml --prices p.h5 --cache c.lance --out s",
    "cache export c.lance URL/x.h5",
    "cache import URL/x.h5 d.lance",
    "cache merge URL/x.h5 --into d.lance",
)


@pytest.mark.parametrize("command", FILES_BY_URL)
def test_a_url_in_the_place_of_a_path_is_refused(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models, folders, settings and outputs are not at a URL: the line repeats it as it was given and says what
    may be at one; nothing is written."""
    for name in ("f.h5", "p.h5", "m.pt"):
        (tmp_path / name).symlink_to(folder / name)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    line = refusal(capsys, *command.replace("URL", "s3://bucket/a").split())
    assert "s3://bucket/a/" in line
    assert "expected a path. Caches (.lance), and features, prices and tables to read, may be at a URL" in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "http://host/c.lance",
            (2, "no cache can be at http://host/c.lance; expected s3://, gs:// or az://, or a path"),
        ),
        (
            "az://box/c.lance",
            (1, "could not open az://box/c.lance: no account was named; set AZURE_STORAGE_ACCOUNT_NAME"),
        ),
    ],
)
def test_a_url_that_cannot_hold_a_cache_is_not_called_damaged(
    url: str, said: tuple[int, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says what the URL lacks, not that the cache is broken."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    code = main(["cache", "info", url])
    assert (code, capsys.readouterr().err) == (said[0], f"encash cache info: {said[1]}\n")


def test_a_folder_may_look_like_a_url(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A path that exists is a path, with a colon or not."""
    (tmp_path / "s3:").mkdir()
    data = tmp_path / "s3:" / "f.h5"
    data.symlink_to(folder / "f.h5")
    cache = str(tmp_path / "c.lance")
    assert main(["build", "--model", str(folder / "m.pt"), "--data", str(data), "--cache", cache, "--quiet"]) == 0
