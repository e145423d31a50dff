"""The path of a newcomer, from wheel or sdist: ``python tools/check_newcomer.py dist/encash-… [PIP ARGUMENT …]``.

A new virtual environment of the Python that runs this, the package with the extras that the tutorial installs, and
then every block of the README's section on own prices (on made prices), of its section on Python, and of the tutorial,
as they stand there, with the times they take. It needs no package, so any Python can run it.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEFORE = ("encash --version", "encash", "encash doctor --no-measure", "encash completion bash")
AFTER = (
    "encash cache info cache.lance",
    "encash cache verify cache.lance --model model.pt --data features.h5",
    "python -m cluster.cache_embeddings --help",
    "python -m inference.backtest_simulation --help",
    "python -m encash.guide analyze-clusters --help",
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
REFUSED = 2


def section(text: str, heading: str) -> str:
    """Return a section of a page.

    >>> section("# A\\n## B\\nb\\n## C\\nc\\n", "B")
    'b\\n'
    """
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def page_lines(text: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Write the files of a page into a folder; yield its commands in order, with their exit codes.

    Commands in a ``bash`` block exit with 0 and those in an ``sh`` block with 2; a ``python`` block is a script; a
    ``toml`` block begins with its name as a comment.
    """
    for number, (language, body) in enumerate(BLOCK.findall(text)):
        if language in ("bash", "sh"):
            yield from ((line, REFUSED * (language == "sh")) for line in body.replace("\\\n", " ").splitlines() if line)
        elif language == "python":
            (folder / f"block_{number}.py").write_text(body, encoding="utf-8")
            yield f"python block_{number}.py", 0
        elif language == "toml":
            (folder / body.split()[1]).write_text(body, encoding="utf-8")


def extras() -> str:
    """Return the extras that the tutorial installs."""
    found = re.search(r"pip install '\.\[([\w,]+)\]' -c constraints\.txt", tutorial())
    assert found is not None
    return found[1]


def tutorial() -> str:
    """Return the text of the tutorial."""
    return (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def write_prices(path: Path) -> None:
    """Write ten years of daily closes of twelve stocks, random walks; the same at each call."""
    walk = random.Random(0)  # noqa: S311 - no secret
    lines, days = ["date,ticker,close"], [date(2011, 1, 3) + timedelta(days=n) for n in range(3650)]
    for ticker in (f"T{number:02}" for number in range(12)):
        price = 50.0
        for day in days:
            if day.weekday() < 5:
                price *= 1.0 + walk.gauss(0.0003, 0.015)
                lines.append(f"{day},{ticker},{price:.4f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def own_environment() -> dict[str, str]:
    """Return the environment without what leads Python elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def install(folder: Path, package: Path, arguments: list[str]) -> Path:
    """Make an environment with the package; return the folder of its commands."""
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *arguments]
    command = [*pip, "-c", str(ROOT / "constraints.txt"), f"{package}[{extras()}]"]
    subprocess.run(command, check=True, env=own_environment())
    return folder / "bin"


def run(line: str, commands: Path, folder: Path, code: int = 0) -> bool:
    """Run one line in a folder and say how long it took; return whether it ended as expected, without a traceback."""
    environment = own_environment()
    environment["PATH"] = f"{commands}{os.pathsep}{environment['PATH']}"
    began = time.monotonic()
    words = shlex.split(line)
    words[0] = str(commands / words[0])
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    good = done.returncode == code and "Traceback" not in done.stderr
    print(f"{'ok' if good else 'FAILED':<6}  {time.monotonic() - began:6.1f} s  {line}", flush=True)
    if not good:
        print(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return good


def main() -> int:
    """Install the package, then run every line; 1 if one fails."""
    package, *arguments = sys.argv[1:]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="newcomer-") as scratch:
        environment, own, learner = (Path(scratch) / name for name in ("environment", "own prices", "tutorial"))
        began = time.monotonic()
        commands = install(environment, Path(package).resolve(), arguments)
        version = ".".join(map(str, sys.version_info[:3]))
        print(f"Python {version}: {Path(package).name}[{extras()}] in {time.monotonic() - began:.0f} s", flush=True)
        own.mkdir()
        learner.mkdir()
        write_prices(own / "prices.csv")
        steps = [
            *((own, line, 0) for line in BEFORE),
            *((own, *step) for step in page_lines(section(readme, "Your own prices"), own)),
            *((own, line, 0) for line in AFTER),
            *((own, *step) for step in page_lines(section(readme, "From Python"), own)),
            *((learner, *step) for step in page_lines(tutorial(), learner)),
        ]
        good = [run(line, commands, folder, code) for folder, line, code in steps]
        print(f"{sum(good)} of {len(good)} lines run")
        return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
