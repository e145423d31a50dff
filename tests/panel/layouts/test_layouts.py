"""Whatever people download is read as what it is, or refused with the way out: a table of layouts of vendors and tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.panel.layouts.case import REFUSED, RIGHT, WRONG, Case, Outcome, Refused, Taken, run
from tests.panel.layouts.registry import CASES
from tests.panel.layouts.table import PAGE, page
from tests.panel.layouts.write import LONG, ROW, table


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
