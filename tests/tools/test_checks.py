"""The checks of prose, links, releases and commit messages find what they are for, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import check_commit_message, check_links, check_newcomer, check_phrases, check_release


def phrases(path: Path, text: str) -> list[tuple[int, str]]:
    """Line and phrase of each hit in a file with this text."""
    path.write_text(text, encoding="utf-8")
    return [(number, phrase) for number, phrase, _ in check_phrases.hits(path)]


@pytest.mark.parametrize(
    "line",
    [
        '"""What a build did."""',
        '"""A price that is none."""',
        "# None where nobody wrote it down",
        "message = f'{text!r} is no share'",
        "help = 'the last so many tickers'",
        "help = 'these tickers alone'",
        '"""Knows no file."""',
        "label = '20.0 % of all'",
        "# the behaviour of a neighbour",
    ],
)
def test_a_phrase_is_found_in_python(line: str, tmp_path: Path) -> None:
    """In docstrings, comments, messages and help texts, with its line."""
    found = phrases(tmp_path / "a.py", f'"""Do it."""\n\n{line}\n')
    assert {number for number, _ in found} == {3}


@pytest.mark.parametrize(
    "line",
    [
        "nobody = alone = {'neighbours': told}",  # names are not prose
        "share = 5 % 3",
        "# there is no cache, and it is no longer needed; no more than 5% is no larger",
        "# the key `neighbours` of the result",
        "# alone it stands",
        "# recommended amendments",
    ],
)
def test_names_and_idiomatic_english_are_left_in_peace(line: str, tmp_path: Path) -> None:
    """Identifiers, keys, text in backticks, and words that only look alike."""
    assert phrases(tmp_path / "a.py", f"{line}\n") == []


def test_phrases_are_found_in_documents_outside_of_code(tmp_path: Path) -> None:
    """A fenced block is code."""
    text = "It lasts for ever.\n\n```\nfor ever\n```\n\nAs asked, `for ever`.\n"
    assert phrases(tmp_path / "a.md", text) == [(1, "for ever"), (7, "As asked")]


def test_links_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and headings beside a document are found, external links are left out, and broken ones are named."""
    monkeypatch.setattr(check_links, "ROOT", tmp_path)
    (tmp_path / "b.md").write_text("# The `first` one\n\n## Again\n\n## Again\n")
    good = "[a](b.md) [b](b.md#the-first-one) [c](b.md#again-1) [d](https://example.org/x) [e](#here)\n\n# Here\n"
    (tmp_path / "a.md").write_text(good)
    assert list(check_links.broken_links(tmp_path / "a.md")) == []
    (tmp_path / "a.md").write_text("[a](no.md) [b](b.md#no)\n\n```\n[c](code.md)\n```\n`[d](code.md)`\n")
    assert list(check_links.broken_links(tmp_path / "a.md")) == [
        "a.md: no.md: no such file",
        "a.md: b.md#no: no such heading",
    ]


def test_a_page_is_pasted_line_by_line(tmp_path: Path) -> None:
    """Commands are joined at backslashes and have exit codes; scripts and files are written; outputs are not run."""
    page = (
        "```bash\na 1 \\\n  2\n\nb\n```\n```text\nout\n```\n```sh\nc\n```\n"
        "```toml\n# g.toml\n[x]\n```\n```python\nprint(1)\n```\n"
    )
    found = list(check_newcomer.page_lines(page, tmp_path))
    assert [(line.split(), code) for line, code in found[:3]] == [(["a", "1", "2"], 0), (["b"], 0), (["c"], 2)]
    assert found[3:] == [("python block_4.py", 0)]
    assert (tmp_path / "block_4.py").read_text() == "print(1)\n"
    assert (tmp_path / "g.toml").read_text() == "# g.toml\n[x]\n"


@pytest.mark.parametrize(
    ("package", "changelog", "tagged", "count"),
    [
        ("0.1.0", "0.1.0", ["v0.1.0"], 0),
        ("0.1.0", "Unreleased", [], 0),
        ("0.1.0", "Unreleased", ["v0.1.0"], 1),
        ("0.0.9", "0.0.9", ["v0.0.9"], 3),
    ],
)
def test_a_release_is_consistent(package: str, changelog: str, tagged: list[str], count: int) -> None:
    """Package, changelog and tag have the version of the project; a changelog without a tag may be unreleased."""
    assert len(check_release.problems("0.1.0", package, changelog, tagged)) == count


@pytest.mark.parametrize(
    ("message", "count"),
    [
        ("Add a filter\n\nIt was missing.\n# a comment", 0),
        ("Embed the charts", 0),
        ("Merge branch 'x' into y, which git wrote and nobody has to shorten to seventy-two characters", 0),
        ("Added a filter", 1),
        ("Fixes a filter.", 2),
        ("A filter", 1),
        ("Add " + "a" * 70, 1),
        ("Add a filter\nIt was missing.", 1),
        ("", 1),
    ],
)
def test_a_commit_subject_is_short_and_imperative(message: str, count: int) -> None:
    """At most 72 characters, in the imperative, without a period, before an empty line."""
    assert len(check_commit_message.problems(message)) == count
