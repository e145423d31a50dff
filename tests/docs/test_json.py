"""The page of the JSON output lists the keys that the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from encash.cli.main import COMMANDS, parser
from tests.cli.commands import answer
from tests.cli.test_usage import every_parser
from tests.docs.pages import PAGES, copy_workflow

MODEL = "--model model.pt --data features.h5 --cache cache.lance --precision float32"
TABLES = "--cache cache.lance --prices prices.h5"
LINES = f"""
prepare prices.csv --features-out f.h5 --prices-out p.h5
plan {MODEL}
build {MODEL}
update {MODEL}
cache info cache.lance
cache list .
cache coverage cache.lance --data features.h5
cache verify cache.lance
cache export cache.lance c.h5
cache import c.h5 i.lance
cache merge cache.lance i.lance --into m.lance
cache versions cache.lance
cache compact m.lance
cache rollback m.lance
clusters fit --cache cache.lance --end 2015-12-31 -k 3 --out k
clusters rank {TABLES} --end 2015-12-31 --clusters k --horizon 5
clusters assign --cache cache.lance --clusters k
clusters show k
clusters walk {TABLES} --every 120 --horizon 5 --embargo 5 --history 200 -k 2 --out w
head fit {TABLES} --end 2015-12-31 --horizon 5 --out h
head show h
similar T00 2016-03-16 {TABLES}
picks --date 2016-03-16 {TABLES} --clusters clusters --orders --cash 1000
report run --out r.html
guide shims shims
doctor --no-measure
completion bash
"""
ELSEWHERE = ("demo", "train", "walk", "backtest", "sweep", "audit")
"""Commands that take seconds, are tested where they are run, or whose keys the page of files has."""


def documented() -> dict[str, str]:
    """The text of each command."""
    page = (PAGES / "reference" / "json.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \| (.*) \|$", page, flags=re.MULTILINE)
    return {name: text for names, text in rows for name in re.findall(r"`([^`]+)`", names)}


def test_the_keys_that_commands_print_are_those_of_the_page(
    made_workflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The keys of the object, and those of the first object of each list; every command with flags is on the page."""
    copy_workflow(made_workflow, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    backtest = f"backtest {TABLES} --clusters clusters --start 2016-02-01 --end 2016-05-01 --run-dir run --no-report"
    answer(capsys, *shlex.split(backtest))
    page, seen = documented(), set()
    for line in LINES.strip().splitlines():
        words = shlex.split(line)
        name = " ".join(words[: 2 if words[0] in ("cache", "clusters", "head", "guide") else 1])
        values = answer(capsys, *words)
        values.pop("warnings")
        lists = {
            key: one[0] for key, one in values.items() if isinstance(one, list) and one and isinstance(one[0], dict)
        }
        text = page[name] + (page["clusters fit"] if name == "clusters show" else "")
        for key in [*values, *(key for one in lists.values() for key in one)]:
            assert f"`{key}`" in text, (name, key)
        promised = re.findall(
            r"`(\w+)`", re.sub(r"\[[^]]*\]|\([^)]*\)|(?:;|,) (?:with|of a|`head fit` also).*", "", page[name])
        )
        assert set(promised) <= set(values), name
        seen.add(name)
    names = {own.prog.removeprefix("encash ") for own in every_parser(parser()) if own._defaults.get("handler")}
    assert names == seen | set(ELSEWHERE)
    assert names <= set(page)
    assert set(COMMANDS) == {name.split()[0] for name in names}
