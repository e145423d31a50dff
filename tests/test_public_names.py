"""The public names of each package: listed in its stub, importable, and shown by `dir`."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import encash

SOURCE = Path(encash.__file__).parent
STUBS = sorted(SOURCE.rglob("__init__.pyi"))
PACKAGES = [".".join(("encash", *stub.parent.relative_to(SOURCE).parts)) for stub in STUBS]


def test_the_public_names_of_encash_are_these() -> None:
    """A name that is added or removed is a change of the public API: it belongs in the changelog."""
    names = [
        *(
            "AuditReport",
            "Cache",
            "Clusters",
            "Encoder",
            "FittedHead",
            "Panel",
            "Picks",
            "Run",
            "RunComparison",
            "Sweep",
        ),
        *("Table", "Walk", "audit", "backtest", "compare", "fit_clusters", "fit_head", "load_encoder", "open_cache"),
        *("open_panel", "open_prices", "picks", "rank_clusters", "report", "sweep", "walk_clusters"),
    ]
    assert dir(encash) == names


@pytest.mark.parametrize(("package", "stub"), list(zip(PACKAGES, STUBS, strict=True)), ids=PACKAGES)
def test_dir_lists_exactly_the_names_of_the_stub_and_each_can_be_imported(package: str, stub: Path) -> None:
    """What type checkers read in the stub is what the package offers at runtime."""
    listed = [
        alias.name
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    module = import_module(package)
    assert dir(module) == sorted(listed)
    assert all(getattr(module, name) is not None for name in listed)


def test_a_function_stays_visible_after_the_module_of_its_name_is_imported() -> None:
    """`encash.panel.prepare` is the function, although `encash/panel/prepare.py` has the same name."""
    code = "import encash.panel.prepare; from encash.panel import prepare; assert callable(prepare)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_encash_imports_no_library() -> None:
    """`import encash` costs next to nothing: numpy alone would take a tenth of a second."""
    code = "import sys, encash; assert not {'numpy', 'pyarrow', 'h5py', 'lance', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The error names the package and the name."""
    with pytest.raises(AttributeError, match="encash attribute nothing"):
        _ = encash.nothing  # type: ignore[attr-defined]  # the test is that it is absent


def test_the_version_is_that_of_the_project_file() -> None:
    """`encash --version` reads a constant, which is faster than asking the installed metadata."""
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert encash.__version__ == project["project"]["version"]
