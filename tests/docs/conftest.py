"""The folder in which the pages are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import copy_workflow, write_workflow


@pytest.fixture(scope="session")
def made_workflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `write_workflow`, made once."""
    folder = tmp_path_factory.mktemp("workflow")
    write_workflow(folder)
    return folder


@pytest.fixture
def workflow(made_workflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, which is the working folder."""
    copy_workflow(made_workflow, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path
