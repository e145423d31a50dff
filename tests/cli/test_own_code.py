"""Code that the user names and that fails: one line that says where, never a traceback or a result without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import encash
from encash.cli import main
from tests.cli.commands import answer, refusal, runs

BROKEN_MODULES: dict[str, tuple[str | bytes, str]] = {
    "syntax": ("def f(:\n", "SyntaxError"),
    "error": ("1 / 0\n", "ZeroDivisionError: division by zero"),
    "leaves": ("import sys\nsys.exit(0)\n", "SystemExit: 0"),
    "bytes": (b"x = '\xff'\n", "utf-8"),
}
WEIGHTS = "import sys\ndef leaves(picks, returns): sys.exit(3)\n"
FILTERS = """
from encash.clusters.filters.hard import Hard
class Raises(Hard):
    def keep(self, *asked): return 1 / 0
class Leaves(Hard):
    def keep(self, *asked): raise SystemExit
class Numbers(Hard):
    def keep(self, *asked): return 2 * super().keep(*asked)
class Short(Hard):
    def keep(self, *asked): return super().keep(*asked)[1:]
"""
COSTS = """
from dataclasses import dataclass
from encash.backtest import CostModel
@dataclass(frozen=True, kw_only=True)
class NotANumber(CostModel):
    def fee(self, side, shares, price): return shares * float("nan")
@dataclass(frozen=True, kw_only=True)
class Rebate(CostModel):
    def fee(self, side, shares, price): return -0.01 * shares * price
@dataclass(frozen=True, kw_only=True)
class Scalar(CostModel):
    def fee(self, side, shares, price): return 1.0
@dataclass(frozen=True, kw_only=True)
class Raises(CostModel):
    def fee(self, side, shares, price): return {}["rate"]
@dataclass(frozen=True, kw_only=True)
class Sound(CostModel):
    def fee(self, side, shares, price): return 0.01 * shares
"""
CLUSTERERS = """
from dataclasses import dataclass, replace
import numpy as np
from encash.clusters import Clusterer, Partition
@dataclass(frozen=True, kw_only=True)
class Nothing(Clusterer):
    def fit(self, space, *, k, seed, progress=None): return None
@dataclass(frozen=True, kw_only=True)
class Fewer(Clusterer):
    def fit(self, space, *, k, seed, progress=None): return Partition.of(space, space[: k - 1], None)
@dataclass(frozen=True, kw_only=True)
class NotANumber(Clusterer):
    def fit(self, space, *, k, seed, progress=None):
        return replace(Partition.of(space, space[:k], None), centroids=np.full((k, space.shape[1]), np.nan))
@dataclass(frozen=True, kw_only=True)
class Raises(Clusterer):
    def fit(self, space, *, k, seed, progress=None): return 1 / 0
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of this folder, each imported anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    for name, text in (
        ("own_weights", WEIGHTS),
        ("own_filters", FILTERS),
        ("own_costs", COSTS),
        ("own_clusterers", CLUSTERERS),
    ):
        (tmp_path / f"{name}.py").write_text(text)
    yield
    for name in set(sys.modules) - known:
        if name.startswith("own_"):
            del sys.modules[name]


@pytest.mark.parametrize("name", BROKEN_MODULES)
def test_a_module_that_cannot_be_imported_is_one_line(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if it ends the process: a command that did nothing does not exit with 0."""
    text, said = BROKEN_MODULES[name]
    Path(f"own_{name}.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    line = refusal(capsys, *runs(folder, "--cache", str(folder / "c.lance"), "--filter", f"own_{name}:X"))
    assert f"own_{name}:X: the module cannot be imported" in line
    assert said in line


@pytest.mark.parametrize(
    ("flag", "name", "said"),
    [
        ("--filter", "own_filters:Raises", "own_filters.py, line 4: ZeroDivisionError: division by zero"),
        ("--filter", "own_filters:Leaves", "sys.exit(None) was called"),
        ("--filter", "own_filters:Numbers", "expected an array of bool of shape"),
        ("--filter", "own_filters:Short", "expected an array of bool of shape"),
        ("--weights", "own_weights:leaves", "raised SystemExit: 3"),
        ("--cost-model", "own_costs:NotANumber", "asks fees of array([nan, nan, nan])"),
        ("--cost-model", "own_costs:Rebate", "never falling"),
        ("--cost-model", "own_costs:Scalar", "asks fees of 1.0"),
        ("--cost-model", "own_costs:Raises", "own_costs.py, line 15: KeyError: 'rate'"),
    ],
)
def test_code_that_fails_or_returns_something_else_is_one_line(
    folder: Path, flag: str, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers in place of bools kept nothing, and a fee of NaN ended all trading, with exit code 0."""
    assert said in refusal(capsys, *runs(folder, "--cache", str(folder / "c.lance"), flag, name))


def test_a_sound_cost_model_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check of its fees refuses no model that charges per share."""
    found = answer(capsys, *runs(folder, "--cache", str(folder / "c.lance"), "--cost-model", "own_costs:Sound"))
    assert found["fees"] > 0


@pytest.mark.parametrize("name", ["Nothing", "Fewer", "NotANumber", "Raises"])
def test_clusters_that_are_none_are_one_line(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And no folder is written."""
    asked = ["clusters", "fit", "--cache", str(folder / "c.lance"), "-k", "3", "--end", "2020-06-01", "--out", "made"]
    line = refusal(capsys, *asked, "--clusterer", f"own_clusterers:{name}")
    assert "own_clusterers.py, line" in line if name == "Raises" else "expected Partition.of" in line
    assert not Path("made").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("self.batch_size = 0", "has the batch_size 0; expected a whole number from 1"),
        ("self.spec = replace(self.spec, dim=10**12)", "has the dim 1000000000000; expected"),
        ("self.spec = replace(self.spec, lookback=-5)", "has the lookback -5; expected"),
        ("self.spec = replace(self.spec, horizons=(1.5,))", "has the horizons[0] 1.5; expected"),
        ("del self.spec", "has no spec; expected self.spec"),
        ("raise KeyError('weights')", "own_encoder:Own() raised KeyError: 'weights'"),
    ],
)
def test_an_encoder_that_cannot_be_is_one_line(
    folder: Path, change: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sizes that no window, batch or vector has: a batch of 0 windows would never end."""
    lines = ["from dataclasses import replace", "from encash.testing import MeanEncoder", "class Own(MeanEncoder):"]
    lines += ["    def __init__(self):", "        super().__init__(12)", f"        {change}"]
    Path("own_encoder.py").write_text("\n".join(lines))
    asked = ["build", "--model", "own_encoder:Own", "--data", str(folder / "f.h5"), "--cache", "own.lance"]
    assert said in refusal(capsys, *asked)
    assert not Path("own.lance").exists()


def test_an_encoder_that_fails_on_every_window_leaves_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The build counts its entries, names the error in one line, and exits with 1."""
    features = encash.open_panel(folder / "f.h5").num_features
    lines = ["from encash.testing import MeanEncoder", "class Own(MeanEncoder):"]
    lines += ["    def __init__(self):", f"        super().__init__({features})"]
    lines += ["    def encode(self, windows):", "        raise ValueError('two\\nlines')"]
    Path("own_encoder.py").write_text("\n".join(lines))
    asked = ["build", "--model", "own_encoder:Own", "--data", str(folder / "f.h5"), "--cache", "own.lance", "--quiet"]
    assert main(asked) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: two lines" in line
