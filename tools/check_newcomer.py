"""The path of a newcomer, from the built wheel: ``python tools/check_newcomer.py dist/encash-….whl [PIP ARGUMENT …]``.

A new virtual environment, the wheel with the extras of the README's own-prices commands, a small made table of prices,
and then these commands, line by line as they stand in the README, with the times they take.
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
from datetime import date, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "torch,report,clusters"
BEFORE = ("encash --version", "encash", "encash doctor --no-measure", "encash completion bash")
AFTER = (
    "encash cache info cache.lance",
    "encash cache verify cache.lance --model model.pt --data features.h5",
    "python -m cluster.cache_embeddings --help",
    "python -m inference.backtest_simulation --help",
    "python -m encash.guide analyze-clusters --help",
)


def readme_commands() -> list[str]:
    """Return the commands of the README's section on own prices."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^## Your own prices\n+```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1].replace("\\\n", " ").splitlines()


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


def install(folder: Path, wheel: Path, arguments: list[str]) -> Path:
    """Make an environment with the wheel; return the folder of its commands."""
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *arguments]
    command = [*pip, "-c", str(ROOT / "constraints.txt"), f"{wheel}[{EXTRAS}]"]
    subprocess.run(command, check=True, env=own_environment())
    return folder / "bin"


def run(line: str, commands: Path, folder: Path) -> bool:
    """Run one line in a folder and say how long it took; return whether it succeeded without a traceback."""
    environment = own_environment()
    environment["PATH"] = f"{commands}{os.pathsep}{environment['PATH']}"
    began = time.monotonic()
    words = shlex.split(line)
    words[0] = str(commands / words[0])
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    good = done.returncode == 0 and "Traceback" not in done.stderr
    print(f"{'ok' if good else 'FAILED':<6}  {time.monotonic() - began:6.1f} s  {line}", flush=True)
    if not good:
        print(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return good


def main() -> int:
    """Install the wheel, then run every line; 1 if one fails."""
    wheel, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="newcomer-") as scratch:
        folder = Path(scratch)
        began = time.monotonic()
        commands = install(folder / "environment", Path(wheel).resolve(), arguments)
        print(f"installed {Path(wheel).name}[{EXTRAS}] in {time.monotonic() - began:.0f} s", flush=True)
        write_prices(folder / "prices.csv")
        return int(not all([run(line, commands, folder) for line in (*BEFORE, *readme_commands(), *AFTER)]))


if __name__ == "__main__":
    sys.exit(main())
