"""Read a file without any code of ours, to tell whether a mutation changed what it says."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import torch
from safetensors import safe_open

MOST_VALUES = 10_000_000
"""Larger datasets are described by their shape only."""


def lines_of(path: Path) -> Any:
    """Return the fields of each line of a text file, plain or compressed."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = b"\n".join(archive.read(name) for name in archive.namelist())
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return [[field.strip() for field in line.split(",")] for line in text.splitlines() if line.strip()]


def toml_of(path: Path) -> Any:
    """Return the document of a TOML file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def columns_of(path: Path) -> Any:
    """Return schema and values of a Parquet or Feather file."""
    table = pq.read_table(path) if path.suffix == ".parquet" else pyarrow.feather.read_table(path)
    assert isinstance(table, pa.Table)
    return str(table.schema.remove_metadata()), table.to_pydict()


def objects_of(path: Path) -> Any:
    """Return links, attributes, types, shapes and values of an HDF5 file."""
    with h5py.File(path) as file:
        return dict(_objects(file, ""))


def _objects(group: h5py.Group, prefix: str) -> Iterator[tuple[str, Any]]:
    yield prefix, sorted((key, repr(value)) for key, value in group.attrs.items())
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            yield f"{prefix}/{name}", repr(type(link))
        elif isinstance(one := group[name], h5py.Group):
            yield from _objects(one, f"{prefix}/{name}")
        else:
            values = None if one.shape is None or one.size > MOST_VALUES else one[()]
            attributes = sorted((key, repr(value)) for key, value in one.attrs.items())
            yield f"{prefix}/{name}", (one.dtype.str, one.shape, _bytes(values), attributes)


def _bytes(values: Any) -> bytes:
    if values is None or np.asarray(values).dtype.hasobject:
        return repr(None if values is None else np.asarray(values).tolist()).encode()
    return np.asarray(values).tobytes()


def tensors_of(path: Path) -> Any:
    """Return the content of a torch checkpoint."""
    return _plain(torch.load(path, weights_only=True, map_location="cpu"))


def safetensors_of(path: Path) -> Any:
    """Return the tensors and the metadata of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return _plain({name: file.get_tensor(name) for name in file.keys()}), file.metadata()  # noqa: SIM118  # no mapping


def json_of(path: Path) -> Any:
    """Return the document of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def _plain(value: Any) -> Any:
    match value:
        case torch.Tensor():
            return str(value.dtype), tuple(value.shape), value.reshape(-1).view(torch.uint8).numpy().tobytes()
        case dict():
            return {str(key): _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
    return repr(value)


def graph_of(path: Path) -> Any:
    """Return an ONNX model, serialized again."""
    return onnx.load_model_from_string(path.read_bytes()).SerializeToString(deterministic=True)


def members_of(path: Path) -> Any:
    """Return the members of a zip archive, whose checksums are right."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def arrays_of(path: Path) -> Any:
    """Return type, shape and values of each array."""
    loaded = np.load(path, allow_pickle=False)
    arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    return [(name, one.dtype.str, one.shape, one.tobytes()) for name, one in arrays.items()]


READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": lines_of,
    ".txt": lines_of,
    ".gz": lines_of,
    ".zip": lines_of,
    ".toml": toml_of,
    ".parquet": columns_of,
    ".feather": columns_of,
    ".h5": objects_of,
    ".pt": tensors_of,
    ".pth": tensors_of,
    ".ckpt": tensors_of,
    ".safetensors": safetensors_of,
    ".json": json_of,
    ".onnx": graph_of,
    ".pt2": members_of,
    ".npz": arrays_of,
    ".npy": arrays_of,
}
"""The reader of files with this suffix."""


def content(path: Path) -> str:
    """Return a digest of what a file says; the reason if it cannot be read.

    A file that cannot be read says nothing, so that it never explains a result.
    """
    if not path.exists():
        return "missing"
    try:
        return hashlib.sha256(repr(READERS[path.suffix](path)).encode("utf-8", "surrogateescape")).hexdigest()
    except Exception as error:  # noqa: BLE001 - a library may raise anything on a damaged file
        return f"unreadable: {error}"
