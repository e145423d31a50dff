"""Check that the relative links and anchors of every Markdown file resolve: ``python tools/check_links.py``."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
FENCE = re.compile(r"^ *(```+|~~~+).*?^ *\1", re.MULTILINE | re.DOTALL)
EXTERNAL = re.compile(r"^[a-z][a-z0-9+.-]*:")


def prose(path: Path) -> str:
    """Return a document without its fenced code blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings.

    >>> sorted(anchors("# Two `words`\\n## Two words"))
    ['two-words', 'two-words-1']
    """
    found: set[str] = set()
    for title in HEADING.findall(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = sum(bool(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", one)) for one in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


def broken_links(path: Path) -> Iterator[str]:
    """Yield a line for each link of a document that leads nowhere."""
    for link in ("".join(groups) for groups in LINK.findall(re.sub(r"`[^`\n]*`", "", prose(path)))):
        if EXTERNAL.match(link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists():
            yield f"{path.relative_to(ROOT)}: {link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(prose(target)):
            yield f"{path.relative_to(ROOT)}: {link}: no such heading"


def main() -> int:
    """Check each document that git tracks or would track."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    documents = [ROOT / name for name in names if name and (ROOT / name).is_file()]
    broken = [line for path in documents for line in broken_links(path)]
    print("\n".join(broken) or f"links: {len(documents)} documents, none broken")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
