"""The notebook runs from its first cell to its last, in a kernel of its own, and is stored without outputs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT

NOTEBOOK = PAGES / "notebook.ipynb"


def test_the_notebook_has_no_outputs() -> None:
    """Outputs depend on versions; the reader makes them."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_every_cell_of_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it shows is a table, a picture or a sentence, never an address of memory."""
    nbformat = pytest.importorskip("nbformat", reason="nbclient and ipykernel come with the dev install")
    client = pytest.importorskip("nbclient", reason="nbclient and ipykernel come with the dev install")
    spec = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}
    kernels = tmp_path / "jupyter" / "kernels" / "python3"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(json.dumps({**spec, "display_name": "Python 3"}), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [one["data"] for cell in notebook.cells for one in cell.get("outputs", []) if "data" in one]
    assert not any(" at 0x" in data.get("text/plain", "") for data in shown)
    assert sum("image/png" in data for data in shown) == 2
