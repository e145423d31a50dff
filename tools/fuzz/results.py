"""Describe what a command did: its JSON, and the files that it wrote or changed."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from encash.store import open_store
from encash.testing.store_contract import everything
from tools.fuzz.readers import content, objects_of

VOLATILE = ("seconds", "stages", "memory", "bytes", "per_second", "versions", "run_dir", "created", "written", "torch")
"""Parts of names of values that differ between two runs of one command."""
WRITTEN = (
    "equity.parquet",
    "ledger.csv",
    "picks.parquet",
    "sweep.parquet",
    "clusters.npz",
    "cluster.npy",
    "ranking_5d.json",
    "cluster_ranking_5d.csv",
)
"""Files of folders whose bytes, or arrays, are the result; of the others only the JSON of the command is compared."""


def result_of(stdout: str, folder: Path, command: str) -> dict[str, str]:
    """Return names and values of a result."""
    found = {f"file {name}": digest for name, digest in _files(folder, command)}
    try:
        document = json.loads(stdout)
    except ValueError:
        return {**found, "stdout": stdout}
    if command.startswith("sweep "):
        document.pop("computed", None)  # a line that a crash cut short is computed again, to the same result
    return found | {name: json.dumps(value) for name, value in _flat(document, "")}


def _flat(value: Any, prefix: str) -> Any:
    """Yield the leaves of a JSON document with their paths."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield prefix, value
        return
    yield f"{prefix}#", len(value)
    for key, one in items:
        if not any(part in str(key) for part in VOLATILE):
            yield from _flat(one, f"{prefix}/{key}")


def _files(folder: Path, command: str) -> Any:
    """Yield the files of a result with a digest of their content."""
    words = command.split()
    for path in sorted(folder.glob("out*")):
        yield from _output(path)
    if words[0] in ("build", "update") or words[:2] in (["cache", "compact"], ["cache", "rollback"]):
        yield from _output(folder / "c.lance")
    if "cache_embeddings" in words[0]:
        yield from _output(folder / words[words.index("--output-path") + 1])
    for flag, name in {"--out s": "s", "--out w": "w", "rank --clusters k": "k", "assign --clusters k": "k"}.items():
        if flag in command:
            yield from _output(folder / name)


def _output(path: Path) -> Any:
    if path.suffix == ".lance":
        yield path.name, _entries(path)
    elif path.is_dir():
        for one in sorted(path.rglob("*")):
            if one.name in WRITTEN:
                yield (
                    str(one.relative_to(path.parent)),
                    content(one) if one.suffix in (".npz", ".npy") else _digest(one),
                )
    elif path.suffix == ".h5":
        said = re.sub(r'"sources": \[[^]]*\]', "", repr(objects_of(path)))  # digests of the bytes of the models
        yield path.name, hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()
    elif path.suffix == ".pt":
        yield path.name, content(path)
    elif path.suffix in (".html", ".csv"):
        yield path.name, _digest(path)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _entries(path: Path) -> str:
    if not path.exists():
        return "missing"
    return hashlib.sha256(repr(sorted(everything(open_store(path)).items())).encode()).hexdigest()
