"""``python -m benchmarks``: every benchmark → benchmarks/RESULTS.md. Each checks its answer before it says a figure."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

PARTS = (
    "bench_encoders",
    "bench_accelerator",
    "bench_store",
    "bench_cache",
    "bench_clusters",
    "bench_backtest",
    "bench_start",
    "bench_prepare",
    "bench_training",
)
RESULTS = Path(__file__).with_name("RESULTS.md")
NOTES = Path(__file__).with_name("NOTES.md")
"""Why some goals are not met, written by a person; stands below the table."""
LIBRARIES = ("numpy", "torch", "pylance", "h5py", "faiss-cpu", "onnxruntime")


def main() -> int:
    """Run the parts asked for and write the table; 1 where a part failed, the others are kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("parts", nargs="*", default=PARTS, help=", ".join(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="1 is 2,000 tickers × 120 sessions × 1,024 floats")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    for part in arguments.parts:
        print(f"{part} …", file=sys.stderr, flush=True)
        try:
            rows += import_module(f"benchmarks.{part}").run(arguments.scale)
        except Exception as error:  # noqa: BLE001  one part that fails keeps the figures of the others
            failed.append(f"{part} failed: {type(error).__name__}: {error}")
            print(failed[-1], file=sys.stderr)
        arguments.out.write_text(page(rows, failed, arguments.scale), encoding="utf-8")
    print(arguments.out)
    return 1 if failed else 0


def page(rows: list[dict[str, Any]], failed: list[str], scale: float) -> str:
    """The results as Markdown."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}"
    entries = f"{int(2000 * scale):,} tickers × 120 sessions × 1,024 floats"
    head = [
        "# Results",
        f"`make bench` wrote this on {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}: {machine}, {libraries}.",
        f"Scale {scale:g}: {entries}.",
        "",
        "Every figure was checked against a second way to its answer. A ratio compares two things of one run.",
        "",
        "| # | what | figure | baseline | limit | × baseline | × limit | goal | met |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(
        [*head, *map(line, rows), *(f"\n**{text}**" for text in failed), "", NOTES.read_text(encoding="utf-8")]
    )


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    met = {True: "yes", False: "**no**", None: "–"}[row.get("met")]
    cells = (
        row["id"],
        row["what"],
        f"{_number(row['figure'])} {row.get('unit', '')}".strip(),
        _number(row.get("baseline")),
        _number(row.get("limit")),
        _number(row.get("ratio_baseline")),
        _number(row.get("ratio_limit")),
        row.get("goal", ""),
        met,
    )
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _number(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:,.0f}"
        if isinstance(value, int | float)
        else str(value)
    )


def _processor() -> str:
    try:
        names = [text for text in Path("/proc/cpuinfo").read_text().splitlines() if text.startswith("model name")]
    except OSError:
        return platform.processor()
    return names[0].split(":")[1].strip() if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
