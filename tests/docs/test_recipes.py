"""The recipes, in the libraries that they are for."""

from __future__ import annotations

import math
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.docs.pages import blocks, run_page

PAGE = "recipes.md"


class Recorder(ModuleType):
    """The four calls of MLflow that the recipe makes, with MLflow's rules for what they take."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.logged: dict[str, Any] = {}

    def start_run(self) -> Any:
        return nullcontext()

    def log_params(self, params: dict[str, Any]) -> None:
        assert all(_is_key(name) and len(str(value)) <= 6000 for name, value in params.items())
        self.logged |= params

    def log_metrics(self, metrics: dict[str, float]) -> None:
        assert all(_is_key(name) and math.isfinite(float(value)) for name, value in metrics.items()), metrics
        self.logged |= metrics

    def set_tag(self, name: str, value: str) -> None:
        assert _is_key(name)
        self.logged[name] = value

    def log_artifacts(self, folder: str) -> None:
        assert Path(folder).is_dir()


def _is_key(name: str) -> bool:
    return re.fullmatch(r"[\w\-./ :]{1,250}", name) is not None


def test_the_recipes_run(workflow: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In vectorbt, alphalens and quantstats; the calls to MLflow, which is not installed for this, go to a recorder."""
    for name in ("vectorbt", "alphalens", "quantstats"):
        pytest.importorskip(name, reason=f"{name} comes with the dev install")
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", recorder)
    run_page(PAGE, capsys, same=lambda text: text)
    assert {"top_k", "sharpe", "fingerprint"} <= recorder.logged.keys()


def test_qlib_takes_the_signal_of_the_recipe() -> None:
    """In qlib itself, if it is installed; its table is tested with the other recipes."""
    strategy = pytest.importorskip("qlib.contrib.strategy", reason="qlib is heavy and not a part of the dev install")
    (block,) = blocks(PAGE, "py")
    exec(block, {"signal": None, "TopkDropoutStrategy": strategy.TopkDropoutStrategy})


def test_no_recipe_is_longer_than_15_lines() -> None:
    """A recipe fits into a notebook cell."""
    assert all(len(block.splitlines()) <= 15 for block in blocks(PAGE, "python"))
