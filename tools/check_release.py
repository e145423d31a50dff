"""Check that version, changelog and tag agree: ``python tools/check_release.py``.

The version of ``pyproject.toml``, ``encash.__version__`` and the top heading of ``CHANGELOG.md`` must be the same; if
the current commit has a tag ``v…``, that too. An ``Unreleased`` heading may be on top while there is no tag.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import encash

ROOT = Path(__file__).resolve().parent.parent


def changelog_version() -> str:
    """Return the version of the top heading of the changelog, or ``Unreleased``."""
    found = re.search(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "none"


def tags() -> list[str]:
    """Return the version tags of the current commit."""
    command = ["git", "tag", "--points-at", "HEAD", "--list", "v*"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()


def problems(version: str, package: str, changelog: str, tagged: list[str]) -> list[str]:
    """Return what disagrees with the version of ``pyproject.toml``.

    >>> problems("0.2.0", "0.1.0", "Unreleased", ["v0.2.0"])
    ['encash.__version__ is 0.1.0', 'the top heading of CHANGELOG.md is Unreleased']
    """
    found = [] if package == version else [f"encash.__version__ is {package}"]
    if changelog != version and (tagged or changelog.lower() != "unreleased"):
        found.append(f"the top heading of CHANGELOG.md is {changelog}")
    return found + [f"this commit has the tag {tag}" for tag in tagged if tag != f"v{version}"]


def main() -> int:
    """Print the version, or what disagrees with it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tagged = tags()
    package = getattr(encash, "__version__", "missing")
    found = problems(project["version"], package, changelog_version(), tagged)
    print(f"version {project['version']} in pyproject.toml" + (f", tag {tagged[0]}" if tagged else ", not tagged"))
    print("\n".join(found) or "encash.__version__ and CHANGELOG.md agree")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
