"""Jobs of the processes that the survival tests kill; each step is announced on stdout once it is committed."""

import itertools
import sys
from collections.abc import Callable

from encash.store import ensure_store, export_hdf5, merge, open_store
from encash.testing.store_contract import make_entries, make_spec

TICKERS = [f"T{number:03}" for number in range(150)]
SPEC = make_spec("float32", 64)


def step_entries(step: int):
    """Return the entries of step n: day n, and day n − 1 again with different values."""
    days = [f"2024-{1 + day // 28:02}-{1 + day % 28:02}" for day in (max(step - 1, 0), step)]
    return make_entries(SPEC, sorted(set(days)), TICKERS, seed=step, digest=step + 1)


def write(path: str, first: str) -> None:
    """Write step after step."""
    store = ensure_store(path, SPEC)
    announce("ready")
    for step in range(int(first), 300):
        store.write(step_entries(step))
        announce(step)


def compact(path: str, first: str) -> None:
    """Write and compact, step after step."""
    store = ensure_store(path, SPEC)
    announce("ready")
    for step in range(int(first), 300):
        store.write(step_entries(step))
        announce(step)
        store.compact(keep_versions=2)


def join(into: str, *sources: str) -> None:
    """Merge two stores into a third."""
    target = ensure_store(into, SPEC)
    announce("ready")
    merge([open_store(source).snapshot() for source in sources], target)
    announce("merged")


def export(path: str, target: str) -> None:
    """Export repeatedly."""
    store = open_store(path)
    announce("ready")
    for number in itertools.count():
        export_hdf5(store.snapshot(), target)
        announce(number)


def contend(path: str, number: str) -> None:
    """Write the same 12 days as the other builders, from a different first day; every third block replaces entries."""
    store = ensure_store(path, SPEC)
    announce("ready")
    sys.stdin.readline()
    for turn in range(12):
        day = (int(number) * 5 + turn) % 12
        entries = make_entries(SPEC, [f"2024-01-{day + 1:02}"], TICKERS, seed=day, digest=day + 1)
        store.write(entries, skip_valid=turn % 3 != 2)
    announce("done")


def disjoint(path: str, number: str) -> None:
    """Write 12 days of tickers that no other builder has, a day per block; announce each block once it is there."""
    store = ensure_store(path, SPEC)
    announce("ready")
    sys.stdin.readline()
    for day in range(12):
        store.write(own_entries(int(number), day), skip_valid=True)
        announce(day)


def own_entries(number: int, day: int):
    """Return the entries of one builder's tickers on one day."""
    names = [f"B{number}-{ticker:03}" for ticker in range(20 + number)]
    return make_entries(SPEC, [f"2024-01-{day + 1:02}"], names, seed=100 * number + day, digest=day + 1)


def announce(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


JOBS: dict[str, Callable[..., None]] = {
    "write": write,
    "compact": compact,
    "merge": join,
    "export": export,
    "contend": contend,
    "disjoint": disjoint,
}

if __name__ == "__main__":
    JOBS[sys.argv[1]](*sys.argv[2:])
