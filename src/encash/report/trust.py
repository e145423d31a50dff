"""Trust panel: what proves that a run is what it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from encash.errors import FormatError, InputError
from encash.fingerprint import file_digest
from encash.report.formatting import count
from encash.report.run_extras import Extras
from encash.report.summary import Run, read_object, read_run

_STATUS = {"passed": "pass", "failed": "fail", "not_tried": "not tested", "not_applicable": "not applicable"}
_LEDGER = "ledger.csv"


class Proof(NamedTuple):
    """A row of the panel."""

    mark: str
    """pass, fail, reported, not tested or not applicable."""
    name: str
    detail: str


def ledger_digests(runs: Sequence[Path], other: Path) -> dict[str, str]:
    """Return the SHA-256 of the ledgers of a run and of one that should be equal.

    Raises:
        InputError: several runs, or the run itself.
        MissingFileError: the other is not a run folder.
    """
    if len(runs) != 1:
        raise InputError(f"a run to be equal to, but {len(runs)} runs; give one run")
    own, theirs = read_run(runs[0]), read_run(other)
    if own.folder.samefile(theirs.folder):
        raise InputError(f"{other} is the run itself; give a different one, such as the same backtest without a cache")
    names = (own.name, theirs.name if theirs.name != own.name else str(other))
    return {name: file_digest(run.folder / _LEDGER) for name, run in zip(names, (own, theirs), strict=True)}


def read_audit(path: str | Path) -> tuple[tuple[str, str, str], ...]:
    """Read what ``encash audit --json`` printed: status, name and detail of each test, or what it warns of.

    Raises:
        MissingFileError: no such file.
        FormatError: it is something else.
    """
    document = read_object(Path(path))
    try:
        return tuple(_line(one) for one in document["checks"])
    except (KeyError, TypeError):
        raise FormatError(f"{path} does not hold an audit; expected what `encash audit … --json` prints") from None


def _line(check: dict[str, str]) -> tuple[str, str, str]:
    """Return a test of an audit as shown: one that passed and warns gets no green mark.

    >>> _line({"status": "passed", "name": "tickers that stop trading", "detail": "0 of 20", "warning": "survivors?"})
    ('reported', 'tickers that stop trading', 'survivors?')
    """
    status, warning = _STATUS[check["status"]], check.get("warning", "")
    if status == "pass" and warning:
        return "reported", str(check["name"]), str(warning)
    return status, str(check["name"]), "; ".join(filter(None, (str(check["detail"]), warning)))


def proofs(run: Run, extras: Extras) -> list[Proof]:
    """List what is known to be as it should: files, equality with a different run, the audit."""
    files = Proof("pass", "Files of the run", "as the backtest wrote them: every digest agrees")
    if not run.checked:
        files = Proof("not tested", "Files of the run", "not checked: the folder does not record their digests")
    equality = Proof("not tested", "Same ledger without the cache", "encash report … --same-as RUN compares two runs")
    if len(extras.equal_to) == 2:
        one, other = extras.equal_to
        same = extras.equal_to[one] == extras.equal_to[other]
        text = f"{one} and {other} have {'the same ledger' if same else 'different ledgers'}, byte by byte"
        equality = Proof("pass" if same else "fail", f"Same ledger as {other}", text)
    entries = Proof(
        "pass" if run.result.get("staleness") == "checked" and not run.figure("stale") else "not tested",
        "Entries of the cache",
        _entries(run),
    )
    audit = [Proof(*line) for line in extras.audit]
    untried = Proof(
        "not tested", "Audit", "encash audit … --json > audit.json, then encash report … --audit audit.json"
    )
    return [files, equality, entries, *(audit or [untried])]


def _entries(run: Run) -> str:
    if run.result.get("staleness") == "checked":
        return f"all were compared with the present data; stale: {count(run.figure('stale'))}"
    return f"{count(run.figure('hits'))} entries used without comparing them with the present data; give --data"
