"""The table of layouts and outcomes of the documentation; print it with ``python -m tests.panel.layouts.table``."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.panel.layouts.case import REFUSED, RIGHT, WRONG, Case, Outcome, run
from tests.panel.layouts.registry import GROUPS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "layouts.md"
INTRO = """\
# Price tables that `prepare` takes

Each row is a file as a vendor or tool writes it, made from the same known prices in `tests/panel/layouts` and read in every
test run. *Taken right* means that all tickers, days and values match the known prices; *refused with the fix*, that a one-line
error names the problem and how to fix it. The last column lists the flags that were given.
"""


def flags(case: Case) -> str:
    """Return the options of a case as flags of `prepare`."""
    options = case.options
    given = {
        "--columns": ",".join(f"{role}={name}" for role, name in options.columns.items()),
        "--ticker": options.ticker,
        "--date-format": options.date_format,
        "--timezone": options.timezone,
        "--sep": options.sep and repr(options.sep)[1:-1],
        "--decimal": options.decimal,
    }
    words = [f"{flag} {value}" for flag, value in given.items() if value] + ["--drop-bad"] * case.drop_bad
    return f"`{' '.join(words)}`".replace("|", "\\|") if words else ""


def page(outcome: Callable[[Case], Outcome], groups: Mapping[str, list[Case]] = GROUPS) -> str:
    """Return the page with the counts and every layout."""
    outcomes = {case.name: outcome(case).kind for cases in groups.values() for case in cases}
    lines = [INTRO, f"| group | layouts | {RIGHT} | {REFUSED} | taken wrong |", "|---|---|---|---|---|"]
    rows = {group: Counter(outcomes[case.name] for case in cases) for group, cases in groups.items()}
    rows["all"] = Counter(outcomes.values())
    for group, counts in rows.items():
        lines.append(f"| {group} | {counts.total()} | {counts[RIGHT]} | {counts[REFUSED]} | {counts[WRONG]} |")
    for group, cases in groups.items():
        lines += ["", f"## {group}", "", "| layout | outcome | flags |", "|---|---|---|"]
        lines += [
            f"| {case.name.replace('|', chr(92) + '|')} | {outcomes[case.name]} | {flags(case)} |" for case in cases
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(page(lambda case: run(case, Path(tempfile.mkdtemp(dir=folder)))), encoding="utf-8")
