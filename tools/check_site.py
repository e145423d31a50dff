"""Check that a built site loads nothing from the network and has no dead link: ``python tools/check_site.py DIR``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
"""Tags that load a resource, and the attribute that names it."""
NOT_LOADED = ("canonical", "next", "prev", "index", "search", "author", "help")
"""Relations of ``<link>`` that only point to something."""
EXTERNAL = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
IN_STYLES = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^'\")]+)|@import\s+['\"]((?:https?:)?//[^'\"]+)", re.IGNORECASE)


class Page(HTMLParser):
    """The anchors, links and loaded resources of a page."""

    def __init__(self, text: str):
        """Parse a page."""
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded = ["".join(pair) for pair in IN_STYLES.findall(text)]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what a tag names."""
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if values.get(LOADED.get(tag, "")) and values.get("rel") not in NOT_LOADED:
            self.loaded.append(values[LOADED[tag]])


def problems(site: Path) -> Iterator[str]:
    """Yield a line for each resource from the network and each link to nothing."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        where = path.relative_to(site)
        yield from (f"{where}: loads {one}" for one in page.loaded if EXTERNAL.match(one))
        yield from (f"{where}: {one}: leads nowhere" for one in page.links if not _leads(path, one, pages))
    for path in sorted(site.rglob("*.css")):
        found = IN_STYLES.findall(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(site)}: loads {''.join(pair)}" for pair in found)


def _leads(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    """Tell if a link leads to a file and, if it names one, to an anchor; links to other sites are not tried."""
    if EXTERNAL.match(link) or link.startswith(("mailto:", "javascript:")):
        return True
    name, _, anchor = unquote(link).partition("#")
    target = (path.parent / name.partition("?")[0]).resolve() if name else path
    if not target.exists():
        return False
    return not anchor or target not in pages or anchor in pages[target].anchors


def main(folder: str) -> int:
    """Print what is wrong with a site."""
    site = Path(folder).resolve()
    found = list(problems(site))
    print("\n".join(found) or f"site: {sum(1 for _ in site.rglob('*.html'))} pages, nothing is loaded from the network")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
