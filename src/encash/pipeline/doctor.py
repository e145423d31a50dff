"""Examine an installation: versions, disk, locks, devices, and the engine and precision that would be chosen."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from encash import __version__
from encash.errors import ConflictError, EncashError, reason
from encash.extras import EXTRAS, missing_modules
from encash.progress import Progress
from encash.store.local.lock import writer_lock

LEAST_FREE_BYTES = 1 << 30
SLOW_SYNC_SECONDS = 0.1
"""Time of an fsync from which on it decides how long a build takes."""
_CORE = {"numpy": "numpy", "pyarrow": "pyarrow", "pylance": "lance", "h5py": "h5py", "xxhash": "xxhash"}
"""Modules of the core by the package that has them."""
_SYNCS = 20
_LOCKS_WORK = "work"
_MEASURED: dict[str, Any] = {
    "num_features": 38,
    "hidden_dim": 128,
    "num_layers": 1,
    "num_heads": 4,
    "pred_mode": "regression",
}
"""The smallest model for which engine and precision are measured."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was examined."""

    subject: str
    detail: str
    fix: str = ""
    """The advice; empty if it is fine."""


def examine(folder: Path, *, measure: bool = True, progress: Progress | None = None) -> tuple[Finding, ...]:
    """Examine the installation, and a folder in which caches are to be written.

    Args:
        folder: the folder.
        measure: also load a small random model to see which engine and precision are fastest.
        progress: called with (done, total) steps.
    """
    steps: list[Callable[[], Iterator[Finding]]] = [_python, _core, _extras, lambda: _disk(folder)]
    if not missing_modules("torch"):
        steps += [_devices, *([_choice] if measure else [])]
    found: list[Finding] = []
    for done, step in enumerate(steps):
        if progress is not None:
            progress(done, len(steps))
        found += step()
    return tuple(found)


def _python() -> Iterator[Finding]:
    """Name the interpreter, the system, cores and memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield Finding(subject="encash", detail=f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding(subject="Python", detail=f"{platform.python_version()} in {sys.prefix}")
    yield Finding(
        subject="machine",
        detail=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.1f} GiB of memory",
    )


def _core() -> Iterator[Finding]:
    """Import each library of the core."""
    for package, module in _CORE.items():
        yield _imported(package, module, install="encash")


def _extras() -> Iterator[Finding]:
    """Name the packages of each extra; one that is missing is not a fault."""
    packages = metadata.packages_distributions()
    for extra, modules in EXTRAS.items():
        subject, missing = f"encash[{extra}]", missing_modules(extra)
        names = [packages.get(module, [module])[0] for module in modules]
        if missing:
            yield Finding(subject=subject, detail=f'not installed: pip install "{subject}"')
        else:
            yield Finding(subject=subject, detail=", ".join(f"{name} {metadata.version(name)}" for name in names))


def _imported(package: str, module: str, *, install: str) -> Finding:
    """Import a module and name the version of its package."""
    try:
        import_module(module)
        return Finding(subject=package, detail=metadata.version(package))
    except (ImportError, OSError) as error:
        fix = f'pip install --force-reinstall "{install}"'
        return Finding(subject=package, detail=f"cannot be imported{reason(error)}", fix=fix)


def _disk(folder: Path) -> Iterator[Finding]:
    """Measure free space, the time until written bytes are safe, and locks."""
    free = shutil.disk_usage(folder).free
    yield Finding(
        subject="disk",
        detail=f"{free / 2**30:,.1f} GiB free in {folder.absolute()}",
        fix="" if free >= LEAST_FREE_BYTES else "free some space, or work in a folder of a different disk",
    )
    try:
        with TemporaryDirectory(dir=folder, prefix=".encash-doctor-") as scratch:
            seconds = _seconds_of_sync(Path(scratch) / "bytes")
            locks = _locks(Path(scratch) / "lock")
    except OSError as error:
        fix = "work in a folder that this user may write"
        yield Finding(subject="writing", detail=f"not possible in {folder.absolute()} ({error.strerror})", fix=fix)
        return
    slow = "" if seconds < SLOW_SYNC_SECONDS else "keep caches on a local disk: a build waits for several per block"
    yield Finding(subject="fsync", detail=f"{1000 * seconds:.1f} ms", fix=slow)
    fix = "keep caches on a disk with file locks (flock), or never run two writers at the same time"
    yield Finding(subject="file locks", detail=locks, fix="" if locks == _LOCKS_WORK else fix)


def _seconds_of_sync(path: Path) -> float:
    """Return the median time to write 4 KiB and have them on the disk."""
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return sorted(times)[_SYNCS // 2]


def _locks(path: Path) -> str:
    """Take the lock of a writer twice, of which the second must be refused; return what came of it."""
    try:
        with writer_lock(path, timeout_seconds=0.0):
            try:
                with writer_lock(path, timeout_seconds=0.0):
                    return "a second writer is not excluded"
            except ConflictError:
                return _LOCKS_WORK
    except EncashError as error:
        return f"fail{reason(error)}"


def _devices() -> Iterator[Finding]:
    """Import torch, and name the devices that it can compute on."""
    torch = _imported("torch", "torch", install="encash[torch]")
    yield torch
    if not torch.fix:
        from encash.encoders.torch.devices import device_names

        yield from (Finding(subject="device", detail=device) for device in device_names())


def _choice() -> Iterator[Finding]:
    """Load a random model of the smallest size that is measured, as ``build`` would."""
    from encash.encoders import load_encoder
    from encash.encoders.checkpoint import Layout
    from encash.encoders.torch import new_model, save_checkpoint

    with TemporaryDirectory(prefix="encash-doctor-") as scratch:
        model = Path(scratch) / "model.pt"
        save_checkpoint(model, new_model(Layout(**_MEASURED), 0), {"config": {"seq_len": 60}})
        chosen = load_encoder(model).choice
    yield Finding(subject="choice", detail=f"{chosen} (a random model of 128 dimensions; `encash plan` measures yours)")
