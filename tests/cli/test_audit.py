"""The command `audit`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import encash
from encash.cli import main
from tests.cli.commands import answer, models, refusal


def test_an_audit_that_names_no_start_begins_where_its_clusters_may_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Days that the clusters were fitted on are none of a backtest; an audit of them has nothing to prove."""
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5"), "--clusters", str(folder / "k")]
    found = answer(capsys, "audit", *models(folder), *data, "--days", "4", "--sample", "8", "--allow-untried")
    assert {"name": "data to picks: poison", "passed": True} in [
        {key: check[key] for key in ("name", "passed")} for check in found["checks"]
    ]


def test_an_audit_picks_among_the_tickers_it_is_given(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A list and a membership narrow the picks that are compared; figures of one ticker that are undefined are a dash;
    a ticker without prices is refused."""
    days = (folder / "days.txt").read_text().split()
    given = ["audit", *models(folder), "--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    given += ["--start", days[100], "--days", "2", "--sample", "8", "--top-k", "1", "--allow-untried"]
    (tmp_path / "m.csv").write_text(f"ticker,from,until\nT0001,{days[0]},\n")
    for universe in (["--tickers", "T0001"], ["--membership", str(tmp_path / "m.csv")]):
        checks = {check["name"]: check["detail"] for check in answer(capsys, *given, *universe)["checks"]}
        assert checks["data to picks: poison"].startswith("2 candidates on 2 days")
        assert "rank IC –" in checks["figures: too good to be true"]
    assert "no prices for 'ABSENT'" in refusal(capsys, *given, "--tickers", "T0001,ABSENT")


def test_scores_are_audited_alone(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Scores that are tomorrow's return are found, exit 3; yesterday's return and noise pass, except for what a table
    cannot prove: exit 3 without leave."""
    prices = encash.open_prices(folder / "p.h5")
    returns = prices.close[1:] / prices.close[:-1] - 1.0
    days, noise = [str(day) for day in prices.days], np.random.default_rng(0).normal(size=returns.shape)
    outcomes = {}
    for name, values, first in (("future", returns, 0), ("past", returns, 1), ("noise", noise, 1)):
        lines = [
            f"{days[row + first]},{ticker},{float(values[row, at])}"
            for row in range(len(values))
            for at, ticker in enumerate(prices.tickers)
            if np.isfinite(values[row, at])
        ]
        (tmp_path / "s.csv").write_text("\n".join(["date,ticker,score", *lines]))
        command = ["audit", "--prices", str(folder / "p.h5"), "--scores", str(tmp_path / "s.csv"), "--json", "--quiet"]
        assert main(command) == 3
        found = json.loads(capsys.readouterr().out)
        assert {check["name"].split(":")[0] for check in found["checks"]} == {"scores"}
        assert found["untried"] == 1
        outcomes[name] = main([*command, "--allow-untried"])
        capsys.readouterr()
    assert outcomes == {"future": 3, "past": 0, "noise": 0}
