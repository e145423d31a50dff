"""Check a commit message: ``python tools/check_commit_message.py FILE``, called by git's hook commit-msg."""

from __future__ import annotations

import re
import sys
from pathlib import Path

MAX_SUBJECT = 72
GENERATED = ("Merge ", "Revert ", "fixup! ", "squash! ")
NOT_IMPERATIVE = re.compile(
    r"^(?:(?:\w+ed|\w{2,}ing|(?:Add|Remove|Fix|Change|Make|Use|Move|Rename|Update|Allow|Check|Read|Write)e?s)\b|"
    r"(?:A|An|The|It|This)\b)"
)
"""A past tense, a gerund, a third person or an article at the beginning."""
IMPERATIVES = ("Need", "Embed", "Feed", "Seed", "Speed", "Shed", "Bring", "String", "Ping", "Ring")


def problems(message: str) -> list[str]:
    """Return what is wrong with a commit message.

    >>> problems("Add a filter")
    []
    >>> problems("The filter is faster.\\nIt is.")  # doctest: +NORMALIZE_WHITESPACE
    ["begin the subject in the imperative: Add, Fix, Remove …, not 'The'", 'drop the period after the subject',
     'leave the second line empty']
    """
    lines = [line for line in message.split("\n") if not line.startswith("#")]
    subject, rest = lines[0].rstrip(), lines[1:]
    if subject.startswith(GENERATED):
        return []
    found = []
    if not subject:
        found.append("give a subject in the first line")
    if len(subject) > MAX_SUBJECT:
        found.append(f"the subject has {len(subject)} characters; at most {MAX_SUBJECT}, the reason goes in the body")
    word = subject.partition(" ")[0]
    if NOT_IMPERATIVE.match(subject) and word not in IMPERATIVES:
        found.append(f"begin the subject in the imperative: Add, Fix, Remove …, not {word!r}")
    if subject.endswith("."):
        found.append("drop the period after the subject")
    if rest and rest[0].strip():
        found.append("leave the second line empty")
    return found


def main(path: str) -> int:
    """Print what is wrong with the message in a file."""
    found = problems(Path(path).read_text(encoding="utf-8"))
    for line in found:
        print(f"commit message: {line}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
