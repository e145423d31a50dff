"""Run jobs on caches, each in its own forked process, which the survival tests kill.

The parent only imports, so that a job begins within milliseconds. It reads one job per line from stdin (tab-separated
name and arguments), and writes the process id and, at the end of the job, its status to stdout.
"""

import os
import sys

import numpy as np

import encash.cache.exchange
import encash.store.hdf5
import encash.store.lance
from encash.cache import Selection, export_hdf5, import_hdf5, merge_caches, open_cache
from encash.cache.build import Work, build
from encash.cache.executors.local import LocalExecutor
from encash.cache.identity import store_spec
from encash.cache.plan import BlockSize, make_plan
from encash.panel.load import ArraySource
from encash.panel.panel import Panel
from encash.panel.toy import toy_panel
from encash.store.locator import ensure_store
from encash.testing import MeanEncoder

BLOCK_ENTRIES = 20
BLOCK = BlockSize(entries=BLOCK_ENTRIES, vector_bytes=BLOCK_ENTRIES * 6 * 4)


def old_data() -> Panel:
    """Return the panel without its last sessions."""
    panel = toy_panel(seed=1, num_tickers=8, num_sessions=120, odd=True)
    return panel.as_of(panel.sessions[-10])


def new_data() -> Panel:
    """Return the whole panel with some rows restated."""
    panel = toy_panel(seed=1, num_tickers=8, num_sessions=120, odd=True)
    rows = {name: (panel.days(name), panel.rows((name,)).values.copy()) for name in panel.tickers}
    for name in panel.tickers[::2]:
        rows[name][1][30:40, 0] += 1
    return Panel(ArraySource(rows, panel.feature_names), panel.prices)


def make_encoder() -> MeanEncoder:
    panel = toy_panel(seed=1, num_tickers=8, num_sessions=60)
    return MeanEncoder(panel.num_features, lookback=8, dim=6, batch_size=8)


def fill(path: str, panel: Panel, selection: Selection | None = None) -> None:
    """Build in many small blocks."""
    encoder = make_encoder()
    store = ensure_store(path, store_spec(encoder.spec, "float32"))
    plan = make_plan(panel, encoder.spec, store.snapshot(), selection or Selection(), block=BLOCK)
    with LocalExecutor(encoder) as executor:
        work = Work(panel=panel, spec=encoder.spec, store=store, plan=plan, executor=executor, block=BLOCK)
        assert build(work).failed == 0


def fill_at_random(path: str, seed: int) -> None:
    """Build three random ranges, then everything."""
    random, panel = np.random.default_rng(seed), old_data()
    for _ in range(3):
        start, end = np.sort(random.choice(panel.sessions[30:], 2, replace=False))
        names = tuple(random.choice(panel.tickers, 5, replace=False).tolist())
        fill(path, panel, Selection(start=start, end=end, tickers=names))
    fill(path, panel)


def run(name: str, *arguments: str) -> None:
    """Run one job."""
    first = arguments[0]
    match name:
        case "build":
            fill(first, old_data())
        case "update":
            fill(first, new_data())
        case "part":
            fill_at_random(first, int(arguments[1]))
        case "merge":
            merge_caches(arguments[1:], first)
        case "import":
            import_hdf5(arguments[1], first)
        case "compact":
            open_cache(first).compact(keep_versions=2)
        case "export":
            export_hdf5(open_cache(arguments[1]), first)


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def serve() -> None:
    """Run jobs until stdin ends."""
    for line in sys.stdin:
        job = line.rstrip("\n").split("\t")
        if (process := os.fork()) == 0:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of this process
            run(*job)
            os._exit(0)
        say(process)
        say(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


if __name__ == "__main__":
    assert all((encash.cache.exchange, encash.store.hdf5, encash.store.lance)), "imported before the first fork"
    serve()
