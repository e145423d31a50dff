"""The reference: commands from the parsers, names from the stubs, columns from real files."""

from __future__ import annotations

import re
from pathlib import Path

import encash
from tests.docs.pages import PAGES
from tools.write_command_reference import page

SOURCE = Path(encash.__file__).parent


def test_the_page_of_commands_is_current() -> None:
    """Every command and flag of the parsers, as they are now."""
    written = (PAGES / "reference" / "commands.md").read_text(encoding="utf-8")
    assert written == page(), "run: python tools/write_command_reference.py"


def test_the_page_of_names_has_every_package() -> None:
    """Each stub that type checkers read has its section; the names of `encash` are those of `encash.api` and others."""
    text = (PAGES / "reference" / "python.rst").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. public-names:: (.+)$", text, flags=re.MULTILINE)
    stubs = [".".join(("encash", *one.parent.relative_to(SOURCE).parts)) for one in SOURCE.rglob("__init__.pyi")]
    assert sorted(documented) == sorted(set(stubs) - {"encash"})
