"""Whatever people download is read as what it is, or refused with the way out: a table of layouts of vendors and tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.panel.layouts.case import REFUSED, RIGHT, WRONG, Case, Outcome, run
from tests.panel.layouts.registry import CASES


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


def test_no_layout_is_taken_wrong(outcome):
    """Outcomes are counted over at least 60 layouts, of which most are taken without a refusal."""
    counts = Counter(outcome(case).kind for case in CASES)
    print(dict(counts))
    assert len(CASES) == len({case.name for case in CASES}) >= 60
    assert counts[WRONG] == 0
    assert counts[RIGHT] > counts[REFUSED] > 0
