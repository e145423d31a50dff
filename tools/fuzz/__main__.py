"""``python -m tools.fuzz``: run mutated files through the commands for some minutes, and print the table of classes."""

from __future__ import annotations

import os

if __name__ == "__main__":  # not where tests collect this file
    os.environ |= {"OMP_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE", "RAYON_NUM_THREADS": "1"}

import argparse
import sys
from pathlib import Path

from tools.fuzz.campaign import Campaign, replay
from tools.fuzz.kinds import KINDS


def main() -> int:
    """Parse the flags, run and print; return 1 if a case ended in a class that must not occur."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="time of the run, without making the files (10)")
    parser.add_argument("--cases", type=int, help="stop after this many cases")
    parser.add_argument("--seed", type=int, default=0, help="the first case; the next ones follow (0)")
    parser.add_argument("--only", action="append", choices=[kind.name for kind in KINDS], help="this kind; repeatable")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="files and failed cases (build/fuzz)")
    parser.add_argument("--replay", metavar="CASE", help="run a failed case of the folder again: KIND-SEED")
    asked = parser.parse_args()
    if asked.replay:
        return replay(asked.folder.resolve(), asked.replay)
    campaign = Campaign(
        folder=asked.folder.resolve(),
        kinds=tuple(kind for kind in KINDS if not asked.only or kind.name in asked.only),
        minutes=asked.minutes,
        cases=asked.cases,
        seed=asked.seed,
        processes=asked.processes,
    )
    bad = campaign.run()
    print(campaign.table())
    for one in bad:
        case = one.case
        print(f"{one.verdict}: --replay {case.kind}-{case.seed}: {case.file}: {case.story[:100]}: {case.command}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
