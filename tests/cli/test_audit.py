"""The command `audit`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import answer, models


def test_an_audit_that_names_no_start_begins_where_its_clusters_may_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Days that the clusters were fitted on are none of a backtest; an audit of them has nothing to prove."""
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5"), "--clusters", str(folder / "k")]
    found = answer(capsys, "audit", *models(folder), *data, "--days", "4", "--sample", "8", "--allow-untried")
    assert {"name": "data to picks: poison", "passed": True} in [
        {key: check[key] for key in ("name", "passed")} for check in found["checks"]
    ]
