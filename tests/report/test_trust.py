"""The trust panel: equality of two runs, the audit, and commands that reproduce."""

import html
import json
import re
import shlex

import pytest

from encash.cli.main import parser
from encash.errors import FormatError, InputError
from encash.report import Extras, assess, ledger_digests, read_audit, read_run, render_report
from encash.report.commands import run_command, test_command
from encash.report.trust import proofs
from tests.report.test_render import everything

test_command.__test__ = False  # type: ignore[attr-defined]  # a function of the report, not a test

WORDS = [
    "backtest",
    "--prices",
    "my prices;rm -rf.h5",
    "--cache",
    "c.lance",
    "--start",
    "2016-02-01",
    "--compare",
    "--json",
]


@pytest.fixture
def folder(write_run):
    """A run that records its command."""
    folder = write_run()
    (folder / "command.json").write_text(json.dumps({"words": WORDS}))
    return folder


def test_the_command_is_safe_to_paste(folder, tmp_path):
    """Its words come back from a shell as they were, without those that only change the output."""
    run = read_run(folder)
    assert shlex.split(run_command(run)) == ["encash", *WORDS[:-1]]
    text = render_report([folder], tmp_path / "r.html").read_text()
    assert "&#39;my prices;rm -rf.h5&#39;" in text


def test_the_flags_of_a_command_are_not_broken_at_a_hyphen(folder, tmp_path):
    """A flag stays on one line of the page, and the text of the command is unchanged."""
    text = render_report([folder], tmp_path / "r.html").read_text()
    assert '<span class="flag">--compare</span>' in text
    shown = text.partition('<p class="command"><code data-copy>')[2].partition("</code>")[0]
    words = html.unescape(re.sub("<[^>]*>", "", shown))
    assert words == run_command(read_run(folder))


def test_the_links_to_sections_are_in_the_order_of_the_page(folder, tmp_path):
    """A reader who follows them from left to right reads from top to bottom."""
    text = render_report([folder], tmp_path / "r.html").read_text()
    links = text.partition('<nav aria-label="Sections">')[2].partition("</nav>")[0]
    places = [text.index(f'id="{anchor}"') for anchor in re.findall('href="#([^"]+)"', links)]
    assert len(places) > 3
    assert places == sorted(places)


def test_each_statement_names_a_command_that_tests_it(folder):
    """Each is accepted by the command line; one that compares has the flags of the run and one --compare."""
    run = read_run(folder)
    for one in assess(run, Extras()):
        words = shlex.split(one.command.text)
        assert words[0] == "encash"
        if words[1] == "backtest":
            flags = parser("backtest").parse_args(words[1:])
            assert str(flags.prices) == WORDS[2]
        assert words.count("--compare") <= 1
    audit = test_command(run, ("audit",))
    assert "audit --prices 'my prices;rm -rf.h5' --cache c.lance --start 2016-02-01" in audit.text
    assert audit.missing == ("FEATURES", "MODEL")


@pytest.mark.parametrize("compared", [False, True])
def test_each_statement_leads_to_what_shows_it(folder, tmp_path, compared):
    """From its mark to its evidence, and from there to a chart or section of the page, whatever was compared."""
    extras = everything(folder) if compared else Extras()
    text = render_report([folder], tmp_path / "r.html", extras=extras).read_text()
    ids = set(re.findall('id="([^"]+)"', text))
    statements = re.findall(r'<li id="(criterion-\d+)">(.*?)</li>', text, flags=re.DOTALL)
    assert len(statements) > 8
    for anchor, content in statements:
        assert f'<a href="#{anchor}">' in text
        (link,) = re.findall('href="#([^"]+)"', content)
        assert link in ids
        assert "encash " in content


def test_a_run_without_a_command_says_so(write_run, tmp_path):
    """A run from Python has no command; its tests name what has to be filled in."""
    folder = write_run()
    assert "is not recorded" in render_report([folder], tmp_path / "r.html").read_text()
    assert test_command(read_run(folder), ("--compare", "200")) == ("encash backtest FLAGS --compare 200", ("FLAGS",))


@pytest.mark.parametrize("content", ['{"words": "rm"}', '{"words": [1]}', "[]", "{"])
def test_a_malformed_command_is_refused(folder, content):
    """Words that are no list of text are an error, never shown."""
    (folder / "command.json").write_text(content)
    with pytest.raises(FormatError, match=r"command\.json"):
        read_run(folder)


def test_equal_ledgers_pass_and_others_fail(write_run):
    """The hashes of both stand on the page; one byte makes the difference."""
    same, other = write_run("a"), write_run("b")
    run = read_run(same)
    names = {proof.name: proof.mark for proof in proofs(run, Extras(equal_to=ledger_digests([same], other)))}
    assert names["Same ledger as b"] == "pass"
    with (other / "ledger.csv").open("a") as file:
        file.write("2016-02-02,AAA,sell,1.0,100.0,0.05\n")
    names = {proof.name: proof.mark for proof in proofs(run, Extras(equal_to=ledger_digests([same], other)))}
    assert names["Same ledger as b"] == "fail"
    with pytest.raises(InputError, match="one run"):
        ledger_digests([same, other], other)
    with pytest.raises(InputError, match="is the run itself"):
        ledger_digests([same], other.parent / "." / same.name)


def test_the_lines_of_an_audit_are_shown(write_run, tmp_path):
    """Each test of the audit with its status, and without a green mark if it warns; a file that is none is refused."""
    path = tmp_path / "audit.json"
    checks = [{"name": "truncation", "status": "passed", "detail": "5 days", "passed": True}]
    path.write_text(json.dumps({"checks": checks, "passed": True}))
    shown = proofs(read_run(write_run()), Extras(audit=read_audit(path)))
    assert ("pass", "truncation", "5 days") in [tuple(proof) for proof in shown]
    path.write_text(json.dumps({"checks": [{**checks[0], "warning": "a list of survivors?"}], "passed": True}))
    extras = Extras(audit=read_audit(path))
    assert extras.audit == (("reported", "truncation", "a list of survivors?"),)
    text = render_report([write_run("other")], tmp_path / "r.html", extras=extras).read_text()
    assert '<span class="sign doubt" aria-hidden="true">!</span><span class="name">truncation' in text
    path.write_text('{"checks": [{"status": "fine"}]}')
    with pytest.raises(FormatError, match="does not hold an audit"):
        read_audit(path)
