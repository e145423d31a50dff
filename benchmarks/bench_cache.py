"""P1, P3, P4, P11 and P12: building, reading, checking and growing a cache, as a user does it. Each answer is checked
in a second way."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from encash.cache import Cache, Lookup, Selection, make_plan, open_cache
from encash.cache.identity import store_spec
from encash.cache.plan import process_peak_bytes
from encash.cache.window_digests import window_digests
from encash.encoders import load_encoder
from encash.encoders.base import Encoder
from encash.panel import open_panel
from encash.panel.load import ArraySource
from encash.panel.panel import Panel
from encash.panel.windows import gather_windows, window_grid
from encash.panel.write import write_panel
from encash.store.base import Entries
from encash.store.locator import create_store
from encash.testing import MeanEncoder, write_checkpoint

TICKERS, SESSIONS, DIM, FEATURES, LOOKBACK = 2_000, 120, 1_024, 64, 60
SUBSET = 100
TURNS = 3
READ_TURNS = 600
CHECK_TURNS = 9
Row = dict[str, Any]


def run(scale: float = 1.0) -> list[Row]:
    """Rows of the table; `scale` 1 is 2,000 tickers × 120 sessions × 1,024 floats."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = [*_build_rows(place, scale)]
        tickers = max(SUBSET, int(TICKERS * scale))
        panel = _panel_on_disk(place, tickers)
        cache, vectors = _filled_cache(place, panel)
        rows += [*_read_rows(place, cache, vectors), _checked_row(cache, panel, vectors)]
        rows.append(_staleness_row(cache, panel, vectors))
    return [*rows, *_growth_rows(scale)]


# P1


def _build_rows(place: Path, scale: float) -> Iterator[Row]:
    """A build end to end against the bare encoder on the same windows."""
    big: dict[str, Any] = {"hidden_dim": 1024, "num_layers": 10, "num_heads": 16}
    tiny: dict[str, Any] = {"hidden_dim": 64, "num_layers": 2, "num_heads": 4}
    for name, sizes, windows, share in (
        ("100m model", big, max(64, int(512 * scale)), 0.95),
        ("tiny model (hidden 64, 2 layers)", tiny, max(2_000, int(16_000 * scale)), 0.75),
    ):
        model = write_checkpoint(place / "model.pt", num_features=FEATURES, lookback=LOOKBACK, **sizes)
        yield _build_row(place, name, load_encoder(model), windows, share)


def _build_row(place: Path, name: str, encoder: Encoder, windows: int, share: float) -> Row:
    tickers = 40
    days = windows // tickers
    panel = _random_panel(place / f"{name}.h5", tickers, days + LOOKBACK - 1)
    times = []
    for turn in range(TURNS):  # by turns, so that a busy machine is busy for both
        bare, expected = _bare_loop(panel, encoder)
        cache = open_cache(place / f"{name} {turn}.lance")
        built, report = _timed(partial(cache.build, panel, encoder))
        times.append((bare, built))
    assert report.computed == len(expected) == days * tickers, "the build did not encode each window once"
    stored = np.concatenate([entries.embedding for entries in cache.store.snapshot().by_day(4_096)])
    largest = np.abs(expected).max()
    assert np.abs(stored - expected).max() < 1e-2 * largest, "a stored vector is not what the bare loop gave"
    theirs, ours = (report.computed / seconds for seconds in np.min(times, axis=0).tolist())
    return {
        "id": "P1",
        "what": f"build end to end, {name}, {report.computed:,} windows of {LOOKBACK} × {FEATURES}, plan, reading and "
        f"commits included ({encoder.spec.precision}, batch {encoder.batch_size})",
        "figure": ours,
        "unit": "entries/s",
        "baseline": theirs,
        "limit": None,
        "ratio_baseline": ours / theirs,
        "ratio_limit": None,
        "goal": f"≥ {share:.0%} of the bare encoder loop",
        "met": ours >= share * theirs,
    }


def _bare_loop(panel: Panel, encoder: Encoder) -> tuple[float, np.ndarray]:
    """Seconds to encode all windows, ready in memory, batch by batch; and the vectors by day and ticker."""
    rows = panel.rows(lookback=LOOKBACK)
    ends = window_grid(rows, panel.sessions, LOOKBACK).end_row
    windows = gather_windows(rows, ends[ends >= 0], LOOKBACK)
    encoder.encode(windows[: encoder.batch_size])

    def loop() -> np.ndarray:
        batches = range(0, len(windows), encoder.batch_size)
        return np.concatenate([encoder.encode(windows[at : at + encoder.batch_size]).embedding for at in batches])

    return _timed(loop)


# P3, P4


def _filled_cache(place: Path, panel: Panel) -> tuple[Cache, np.ndarray]:
    """A cache of every window of the panel with random vectors, and those vectors in a memory map (T, N, D)."""
    encoder = MeanEncoder(FEATURES, lookback=LOOKBACK, dim=DIM)
    sessions, names = panel.sessions[LOOKBACK - 1 :], np.asarray(panel.tickers)
    digest = window_digests(panel, panel.tickers, sessions, LOOKBACK).digest
    vectors = np.memmap(place / "vectors.raw", np.float32, "w+", shape=(len(sessions), len(names), DIM))
    store = create_store(place / "cache.lance", store_spec(encoder.spec, "float32"))
    random = np.random.default_rng(0)
    for first in range(0, len(sessions), 21):
        part = slice(first, min(first + 21, len(sessions)))
        vectors[part] = random.standard_normal(vectors[part].shape, dtype=np.float32)
        count = len(sessions[part]) * len(names)
        signals = np.zeros((count, len(encoder.spec.horizons)), dtype=np.float32)
        store.write(
            Entries(
                days=np.repeat(sessions[part], len(names)),
                tickers=np.tile(names, len(sessions[part])),
                digest=digest[part].reshape(-1),
                embedding=np.ascontiguousarray(vectors[part]).reshape(count, DIM),
                forecast=signals,
                confidence=signals,
            )
        )
    return open_cache(place / "cache.lance"), vectors


def _read_rows(place: Path, cache: Cache, vectors: np.ndarray) -> Iterator[Row]:
    names = cache.index().tickers
    chosen = np.sort(np.random.default_rng(1).choice(len(names), SUBSET, replace=False))
    seed_file = _seed_layout(place / "seed.h5", vectors, names)
    for number, what, columns, factor, most in (
        ("P3", f"cache.get, {SUBSET} tickers of a session", chosen, 100, 2.0),
        ("P4", f"cache.get, a full session of {len(names):,}", np.arange(len(names)), 200, 1.5),
    ):
        ours, limit, baseline = _read_seconds(cache, vectors, columns, seed_file)
        yield {
            "id": number,
            "what": f"{what}, {len(names):,} × {len(vectors)} × {DIM:,}, warm; the limit gathers from a memory map",
            "figure": ours * 1e3,
            "unit": "ms",
            "baseline": baseline * 1e3,
            "limit": limit * 1e3,
            "ratio_baseline": baseline / ours,
            "ratio_limit": ours / limit,
            "goal": f"≥ {factor}× the seed's layout; ≤ {most}× the limit",
            "met": baseline >= factor * ours and ours <= most * limit,
        }


def _read_seconds(
    cache: Cache, vectors: np.ndarray, columns: np.ndarray, seed_file: Path
) -> tuple[float, float, float]:
    """Median seconds of one session: the cache, a gather from a memory map, the seed's layout."""
    days, asked = cache.index().days, cache.index().tickers[columns].tolist()
    got, found = cache.get(days[3], asked)
    assert found.all(), "an entry was not found"
    assert np.array_equal(got, vectors[3][columns]), "a vector is not the one that was written"
    half = len(days) // 2  # the limit never reads what was read just now and lies in the processor's cache
    ours, limit = _in_turns(
        lambda turn: cache.get(days[turn % len(days)], asked),
        lambda turn: np.take(vectors[(turn + half) % len(days)], columns, axis=0),
        turns=READ_TURNS,
    )
    (baseline,) = _in_turns(lambda _: _seed_get(seed_file, asked), turns=3)
    return ours, limit, baseline


def _checked_row(cache: Cache, panel: Panel, vectors: np.ndarray) -> Row:
    """Day by day, each entry compared with the panel's window of now before it is given."""
    encoder = MeanEncoder(FEATURES, lookback=LOOKBACK, dim=DIM)
    days, names, random = cache.index().days, cache.index().tickers, np.random.default_rng(2)
    picks = [np.sort(random.choice(len(names), SUBSET, replace=False)) for _ in days]
    asked = [names[columns].tolist() for columns in picks]

    def walk(reader: Cache | Lookup) -> float:
        return _timed(lambda: [reader.get(day, some) for day, some in zip(days, asked, strict=True)])[0]

    live = cache.with_fallback(panel, encoder)
    ours, limit = walk(live), walk(cache)
    assert (live.stats.hits, live.stats.computed) == (len(days) * SUBSET, 0), live.stats
    assert np.array_equal(live.get(days[-1], asked[-1])[0], vectors[-1][picks[-1]]), "another vector than was written"
    return {
        "id": "P3c",
        "what": f"{len(days)} sessions walked day by day, {SUBSET} other tickers of {len(names):,} each, every entry "
        "compared with the panel's window of now; the limit does not compare",
        "figure": ours / len(days) * 1e3,
        "unit": "ms a session",
        "baseline": None,
        "limit": limit / len(days) * 1e3,
        "ratio_baseline": None,
        "ratio_limit": ours / limit,
        "goal": "none; what certainty costs",
        "met": True,
    }


def _seed_layout(path: Path, vectors: np.ndarray, names: np.ndarray) -> Path:
    """One session in the seed's layout, as its own code wrote it."""
    with h5py.File(path, "w") as file:
        for column, name in enumerate(names.tolist()):
            file.create_group(name).create_dataset("2024-01-02", data=vectors[0, column], compression="gzip")
    return path


def _seed_get(path: Path, names: list[str]) -> np.ndarray:
    with h5py.File(path) as file:
        return np.stack([file[name]["2024-01-02"][:] for name in names])


# P11


def _staleness_row(cache: Cache, panel: Panel, vectors: np.ndarray) -> Row:
    """Time a plan that compares every entry with the panel, after some rows were restated."""
    restated, expected = _restated(panel)
    encoder = MeanEncoder(FEATURES, lookback=LOOKBACK, dim=DIM)
    plan = make_plan(restated, encoder.spec, cache.store.snapshot(), Selection())
    assert (plan.stale, plan.valid + plan.stale) == (expected, vectors.shape[0] * vectors.shape[1]), plan.summary()
    ours, limit = _in_turns(
        lambda _: make_plan(panel, encoder.spec, cache.store.snapshot(), Selection()),
        lambda _: panel.rows(lookback=LOOKBACK),
        turns=CHECK_TURNS,
    )
    return {
        "id": "P11",
        "what": f"is each of {plan.valid + plan.stale:,} entries made from the window that the panel has now? "
        f"({expected:,} were not, to the entry); the limit reads the features once",
        "figure": ours,
        "unit": "s",
        "baseline": None,
        "limit": limit,
        "ratio_baseline": None,
        "ratio_limit": ours / limit,
        "goal": "≤ 2× that read",
        "met": ours <= 2 * limit,
    }


def _restated(panel: Panel) -> tuple[Panel, int]:
    """The panel in memory with one row changed of every tenth ticker, and how many windows hold those rows."""
    rows, touched = {}, 0
    for number, name in enumerate(panel.tickers):
        part = panel.rows((name,))
        values = part.values.copy()
        if number % 10 == 0:
            at = LOOKBACK + number % 50
            values[at] += 1
            touched += min(LOOKBACK, len(values) - at)
        rows[name] = part.days, values
    return Panel(ArraySource(rows)), touched


# P12


def _growth_rows(scale: float) -> Iterator[Row]:
    """Build, plan, look up and scan at three sizes, each in a process of its own."""
    sizes = [max(6_000, int(size * scale)) for size in (24_000, 240_000, 2_400_000)]
    measured = [_grown(size) for size in sizes]
    for name in ("build", "plan", "lookup", "scan"):
        seconds = [figures[name] for figures in measured]
        exponent = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
        listed = ", ".join(f"{size:,}: {second:.2f} s" for size, second in zip(sizes, seconds, strict=True))
        yield _growth_row(f"growth of {name} with the entries ({listed})", exponent, "exponent", 1.05)
    extra = measured[-1]["scan_mib"]
    yield _growth_row(f"memory of a scan of {sizes[-1]:,} entries beside the process and its index", extra, "MiB", 1024)


def _growth_row(what: str, figure: float, unit: str, most: float) -> Row:
    return {
        "id": "P12",
        "what": what,
        "figure": figure,
        "unit": unit,
        "baseline": None,
        "limit": most,
        "ratio_baseline": None,
        "ratio_limit": figure / most,
        "goal": f"≤ {most:g}",
        "met": figure <= most,
    }


def _grown(entries: int) -> dict[str, float]:
    """The figures of one size, measured in a fresh process."""
    lines = _in_a_process("grow", str(entries)).splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines)}


def _in_a_process(*arguments: str) -> str:
    """Run this file with these arguments in a new process, and return what it prints."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _scan(path: str) -> None:
    """Print by how many MiB a scan raises the most memory that the process ever held."""
    cache = open_cache(path)
    cache.index()
    before = process_peak_bytes()
    _total(cache.scan())
    print((process_peak_bytes() - before) / 2**20)


def _grow(entries: int) -> None:
    """Print the figures of one size: 16 floats an entry, windows of 8 × 4."""
    tickers = 400
    sessions = entries // tickers
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(0)
        days = np.datetime64("1980-01-01") + np.arange(sessions + 7)
        rows = {f"T{at:04d}": (days, random.standard_normal((len(days), 4), dtype=np.float32)) for at in range(tickers)}
        panel = Panel(ArraySource(rows))
        encoder = MeanEncoder(4, lookback=8, dim=16, batch_size=1_024)
        cache = open_cache(Path(folder, "c.lance"))
        figures = {}
        figures["build"], report = _timed(lambda: cache.build(panel, encoder))
        assert report.computed == sessions * tickers, "the build did not encode each window once"
        figures["plan"], plan = _timed(lambda: cache.plan(panel, encoder))
        assert plan.to_compute == 0, "the second build would compute something"
        figures["lookup"], hits = _timed(lambda: _look_up(cache, panel))
        assert hits == report.computed, "an entry was not found"
        figures["scan"], total = _timed(
            lambda: sum(float(part.embedding.sum(dtype=np.float64)) for part in cache.scan())
        )
        figures["scan_mib"] = float(_in_a_process("scan", cache.path))
        assert np.isclose(total, _total(cache.store.snapshot().by_day(10_000))), "scan and by_day differ"
    print("\n".join(f"{name} {value}" for name, value in figures.items()))


def _total(batches: Iterator[Entries]) -> float:
    return sum(float(part.embedding.sum(dtype=np.float64)) for part in batches)


def _look_up(cache: Cache, panel: Panel) -> int:
    from encash.cache import Lookup  # noqa: PLC0415 - the child alone needs it

    lookup = Lookup(cache=cache, panel=panel)
    names = np.asarray(panel.tickers)
    days = panel.sessions[7:]
    for _ in lookup.read(np.repeat(days, len(names)), np.tile(names, len(days)), embeddings=True):
        pass
    return lookup.stats.hits


# what they share


def _panel_on_disk(place: Path, tickers: int) -> Panel:
    return _random_panel(place / "panel.h5", tickers, SESSIONS + LOOKBACK - 1)


def _random_panel(path: Path, tickers: int, sessions: int) -> Panel:
    random = np.random.default_rng(0)
    days = np.datetime64("2023-01-02") + np.arange(sessions)
    rows = {
        f"T{at:04d}": (days, random.standard_normal((sessions, FEATURES), dtype=np.float32)) for at in range(tickers)
    }
    write_panel(Panel(ArraySource(rows)), path)
    return open_panel(path)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _in_turns(*works: Callable[[int], Any], turns: int) -> list[float]:
    """Median seconds of each piece of work, taken in turns so that a busy machine is busy for all of them. Before the
    turns that count, everything that will be read is read once."""
    seconds = np.array([[_timed(partial(work, turn))[0] for work in works] for turn in range(2 * turns)])
    return np.median(seconds[turns:], axis=0).tolist()


if __name__ == "__main__":
    if sys.argv[1:2] == ["grow"]:
        _grow(int(sys.argv[2]))
    elif sys.argv[1:2] == ["scan"]:
        _scan(sys.argv[2])
    else:
        for row in run(float(sys.argv[1]) if sys.argv[1:] else 1.0):
            print(row)
