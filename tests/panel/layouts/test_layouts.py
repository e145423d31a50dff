"""Whatever people download is read as what it is, or refused with the way out: a table of layouts of vendors and tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from encash.errors import FormatError
from encash.panel.tables import ReadOptions, read_bars
from tests.panel.layouts.case import REFUSED, RIGHT, WRONG, Case, Outcome, Refused, Taken, run
from tests.panel.layouts.registry import CASES
from tests.panel.layouts.table import PAGE, page
from tests.panel.layouts.truth import DAYS
from tests.panel.layouts.write import LONG, ROW, table, write


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> Callable[[Case], Outcome]:
    """Outcomes by case, each computed once."""
    known: dict[str, Outcome] = {}

    def find(case: Case) -> Outcome:
        if case.name not in known:
            known[case.name] = run(case, Path(tmp_path_factory.mktemp("case")))
        return known[case.name]

    return find


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_layout_is_taken_right_or_refused_with_the_fix(case, outcome):
    """Every value agrees with the truth, or one line names what was seen and the flag that fixes it."""
    found = outcome(case)
    assert found.kind != WRONG, found.detail


def test_no_layout_is_taken_wrong_and_the_page_says_so(outcome):
    """The page of the documentation holds these outcomes; ``python -m tests.panel.layouts.table`` writes it again."""
    counts = Counter(outcome(case).kind for case in CASES)
    assert len(CASES) == len({case.name for case in CASES}) >= 60
    assert counts[WRONG] == 0
    assert counts[RIGHT] > counts[REFUSED] > 0
    assert PAGE.read_text(encoding="utf-8") == page(outcome)


PLAIN = Case(name="plain", write=table(LONG, ROW), expect=Taken())
UNLIKE = {
    "a basis": replace(PLAIN, expect=Taken(close="split")),
    "a volume": replace(PLAIN, write=table(LONG, ROW.replace("raw.volume", "split.volume"))),
    "a price in one row": replace(PLAIN, write=table(LONG, ROW, foot="2024-02-29,LOW,1,1,1,1,1")),
    "open for high": replace(PLAIN, write=table("date,ticker,high,open,low,close,volume", ROW)),
    "a ticker": replace(PLAIN, names={"LOW": "HIGH"}, expect=Taken(names={"HIGH": "LOW"})),
    "no open": replace(PLAIN, expect=Taken(bars=False)),
    "a refusal that was expected": replace(PLAIN, expect=Refused("--columns")),
    "a refusal without the flag": replace(PLAIN, write=table(LONG, "x" + ROW), expect=Refused("--colour")),
    "a refusal without the cell": replace(PLAIN, write=table(LONG, "x" + ROW), expect=Refused("", seen=("y2024",))),
    "a refusal that was not expected": replace(PLAIN, write=table(LONG, "x" + ROW)),
    "a note": replace(PLAIN, expect=Taken(note="weekly")),
}


@pytest.mark.parametrize("case", UNLIKE.values(), ids=UNLIKE)
def test_the_table_sees_a_difference(case, tmp_path):
    """A wrong basis, value, ticker or refusal is an outcome of its own."""
    assert run(PLAIN, tmp_path).kind == RIGHT
    assert run(case, tmp_path).kind == WRONG


APART = {"SHY": 82.0, "BIL": 91.5, "SGOV": 100.5, "SHV": 110.0, "VGSH": 58.0}
"""Funds of short bonds: their prices move by a few cents and never cross."""
TRACKERS = {"SPY": 500.0, "IVV": 502.5, "VOO": 497.5, "SPLG": 499.0}
"""Funds of one index, in units that are nearly equal: their ratios stay, as those of high and low do not."""


@pytest.mark.parametrize("levels", [APART, TRACKERS], ids=["apart", "trackers"])
def test_tickers_whose_prices_never_cross_stay_tickers(levels, tmp_path):
    """A wide table is not taken for open, high, low and close of one stock because its columns keep their order."""
    draw = np.random.default_rng(0)
    market = np.cumprod(1 + draw.normal(0, 0.002, len(DAYS)))
    closes = {
        name: np.round(level * market * (1 + draw.normal(0, 1e-4, len(DAYS))), 4) for name, level in levels.items()
    }
    rows = [f"{day}," + ",".join(str(closes[name][n]) for name in closes) for n, day in enumerate(DAYS)]
    path = write(tmp_path / "funds.csv", "\n".join(["Date," + ",".join(closes), *rows]))
    found = read_bars(path).bars
    assert {name: bars.close.tolist() for name, bars in found.items()} == {
        name: closes[name].tolist() for name in sorted(closes)
    }


@pytest.mark.parametrize("form", ["{}", "{} 00:00:00+03:00", "{} 15:00:00"])
def test_sessions_from_sunday_to_thursday_need_the_zone(form, tmp_path):
    """Riyadh trades on Sundays, as days that a zone has moved seem to: the zone says which, and then no day moves."""
    days = [day - timedelta(days=1) for day in DAYS]
    rows = [f"{form.format(day)},{name},{100 + n}" for n, day in enumerate(days) for name in ("2222.SR", "1120.SR")]
    path = write(tmp_path / "saudi.csv", "\n".join(["date,ticker,close", *rows]))
    with pytest.raises(FormatError, match="--timezone"):
        read_bars(path)
    found = read_bars(path, ReadOptions(timezone="Asia/Riyadh")).bars
    assert sorted(found) == ["1120.SR", "2222.SR"]
    assert all(bars.days.astype(str).tolist() == [str(day) for day in days] for bars in found.values())


@pytest.mark.parametrize("noise", [0.0, 1e-15, 1e-7, 1e-5], ids=str)
def test_a_fund_with_one_price_per_day_is_taken(noise, tmp_path):
    """Open, high, low and close are one price up to rounding, also after adjustment: no column is exchanged."""
    rows = []
    for n, day in enumerate(DAYS):
        close = 10.07 + 0.013 * n
        other = close * (1 - noise if n % 2 else 1 + noise)
        rows.append(f"{day},{other!r},{other!r},{other!r},{close!r},{close * 0.9731!r},0")
    path = write(tmp_path / "fund.csv", "\n".join(["Date,Open,High,Low,Close,Adj Close,Volume", *rows]))
    bars = read_bars(path, ReadOptions(ticker="FUND")).bars["FUND"]
    assert bars.high is not None
    assert np.allclose(bars.close, [(10.07 + 0.013 * n) * 0.9731 for n in range(len(DAYS))])
    assert np.allclose(bars.high, bars.close, rtol=2e-5)
    assert (bars.high >= bars.close).all()
