"""What is written must run: the commands and the Python of the README."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from encash.cli.main import parser
from encash.guide import analyze_clusters, backtest_simulation, cache_embeddings, create_clusters

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = {
    "cluster.cache_embeddings": cache_embeddings,
    "cluster.create_clusters": create_clusters,
    "cluster.analyze_clusters": analyze_clusters,
    "inference.backtest_simulation": backtest_simulation,
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    joined = "\n".join(blocks("bash")).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip()]


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_readme_parses(line):
    """Each line is taken by the parser that it is meant for."""
    words = shlex.split(line)
    if words[0] == "encash":
        parser().parse_args(words[1:])
    else:
        assert words[:2] == ["python", "-m"]
        GUIDE[words[2]].parser().parse_args(words[3:])


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    """The block runs as it stands, in a folder with files of these names."""
    from encash.panel import toy_panel, write_panel
    from encash.testing import write_checkpoint

    monkeypatch.chdir(tmp_path)
    panel = toy_panel(seed=3, num_tickers=3, num_sessions=120)
    write_panel(panel, "features.h5", "prices.h5")
    write_checkpoint("model.pt", num_features=panel.num_features)
    (block,) = blocks("python")
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.count("\n") == 6


def test_the_files_that_the_documents_name_exist():
    """Links within the repository lead somewhere."""
    for document in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), f"{document} names {target}"


def test_the_readme_weighs_every_extra():
    """Each extra that a user, not a developer, may install has its line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    weighed = set(re.findall(r"^\| `([a-z-]+)` \| .* \| \+ [\d,]+", README, flags=re.MULTILINE))
    assert weighed == set(project["optional-dependencies"]) - {"dev", "docs"}


@pytest.mark.parametrize("index", ["", "https://example.org/cpu"])
def test_make_takes_torch_from_the_index_that_is_named(index):
    """Without one, torch comes from the default index with the rest; with one, torch comes from there, before it."""
    make = shutil.which("make") or pytest.skip("make is not installed")
    call = [make, "--dry-run", "--always-make", "setup", f"TORCH_INDEX={index}"]
    lines = subprocess.run(call, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    installs = [line.split("constraints.txt ")[1] for line in lines if "pip install" in line]
    assert installs[:-3] == ([f"--index-url {index} torch"] if index else [])
    assert installs[-3] == "-e '.[torch,report,clusters]'"
