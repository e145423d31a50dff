"""Mutations of HDF5, Parquet, NumPy and zip files that leave a valid file with other content."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tools.fuzz.mutate_bytes import BYTES, Mutation

ATTRIBUTES: tuple[Any, ...] = (
    0, -1, 2**62, 1.5, np.nan, "", "text", b"\xff\xfe", "{}", '{"format": 99}', "[]", "null", np.zeros(0),
    np.zeros((3, 3)), np.arange(5), "2020-02-30", np.array([b"a", b"b"]), True, "x" * 30_000,
)  # fmt: skip


def _draw(random: np.random.Generator, choices: Any) -> Any:
    return choices[int(random.integers(len(choices)))]


def change_hdf5(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Change an attribute, a dataset, or the tree of groups."""
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = _draw(random, ["/", *names])
        change = _draw(random, (_attribute, _values, _values, _type, _shape, _tree, _tree))
        story = change(file, name, random)
    return buffer.getvalue(), f"{name}: {story}"


def _attribute(file: h5py.File, name: str, random: np.random.Generator) -> str:
    attributes = file[name].attrs
    if not attributes:
        attributes = file.attrs
    names = list(attributes)
    if not names or random.integers(5) == 0:
        attributes["added"] = 1
        return "attribute added"
    key, value = _draw(random, names), _draw(random, ATTRIBUTES)
    if random.integers(4) == 0:
        del attributes[key]
        return f"attribute {key} removed"
    attributes[key] = value
    return f"attribute {key} became {str(value)[:40]!r}"


def _dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    if isinstance(file[name], h5py.Dataset):
        return file[name]
    found: list[h5py.Dataset] = []
    file[name].visititems(lambda _, one: found.append(one) if isinstance(one, h5py.Dataset) else None)
    return found[0] if found else None


def _values(file: h5py.File, name: str, random: np.random.Generator) -> str:
    """Change one value, or the order of all."""
    if (dataset := _dataset(file, name)) is None or not dataset.shape or not dataset.size:
        return "unchanged"
    values = dataset[()]
    at = tuple(int(random.integers(size)) for size in values.shape)
    if random.integers(4) == 0:
        dataset[...] = values[::-1]
        return f"{dataset.name} reversed"
    if values.dtype.kind == "f":
        values[at] = _draw(random, (np.nan, np.inf, -1.0, 0.0, 1e30, values[at] * 1.01))
    elif values.dtype.kind in "iu":
        values[at] = _draw(random, (0, 1, np.iinfo(values.dtype).max))
    else:
        values[at] = _draw(random, (b"", b"2020-02-30", b"\xff\xff", b"9999-12-31", values.flat[0]))
    dataset[...] = values
    return f"{dataset.name}{list(at)} became {values[at]!r}"


def _rewrite(file: h5py.File, dataset: h5py.Dataset, **new: Any) -> None:
    name, attributes = dataset.name, dict(dataset.attrs)
    del file[name]
    made = file.create_dataset(name, **new)
    for key, value in attributes.items():
        made.attrs[key] = value


def _type(file: h5py.File, name: str, random: np.random.Generator) -> str:
    """Store the same values with a different type."""
    if (dataset := _dataset(file, name)) is None:
        return "unchanged"
    values = dataset[()]
    kind = _draw(random, ("f8", "f2", "i8", "S3", "u1", "c8", "O", "compound"))
    try:
        match kind:
            case "O":
                new: dict[str, Any] = {"data": [str(one) for one in np.ravel(values)], "dtype": h5py.string_dtype()}
            case "compound":
                new = {"data": np.zeros(np.shape(values), [("a", "f4"), ("b", "i2")])}
            case _:
                new = {"data": np.asarray(values).astype(kind)}
    except (TypeError, ValueError):
        new = {"data": np.zeros(np.shape(values))}
    path = dataset.name
    _rewrite(file, dataset, **new)
    return f"{path} became of type {kind}"


def _shape(file: h5py.File, name: str, random: np.random.Generator) -> str:
    """Store other, fewer or more rows, sometimes declared and never written."""
    if (dataset := _dataset(file, name)) is None:
        return "unchanged"
    values, path = np.asarray(dataset[()]), dataset.name
    huge: dict[str, Any] = {"shape": (2**40, *values.shape[1:]), "dtype": values.dtype, "chunks": True}
    choices: list[tuple[str, dict[str, Any]]] = [
        ("empty", {"data": values.reshape(-1)[:0]}),
        ("a scalar", {"data": values.reshape(-1)[0] if values.size else 0}),
        ("half", {"data": values[: len(values) // 2] if values.ndim else values}),
        ("another axis", {"data": values[None]}),
        ("doubled", {"data": np.concatenate([values, values]) if values.ndim else values}),
        ("declared huge", huge),
        ("declared and null", {"data": h5py.Empty("f4")}),
    ]
    what, new = _draw(random, choices)
    _rewrite(file, dataset, **new)
    return f"{path} {what}"


def _tree(file: h5py.File, name: str, random: np.random.Generator) -> str:
    """Remove, rename, link or add an object."""
    name = name if name != "/" else _draw(random, list(file))
    what = _draw(
        random, ("removed", "renamed", "a dangling link", "an external link", "an empty group", "a loop", "added")
    )
    if what == "added":
        file.create_group("ADDED")["x"] = np.zeros(3)
        return "a group added"
    if what == "renamed":
        file.move(name, name + "é")
        return "renamed"
    del file[name]
    match what:
        case "a dangling link":
            file[name] = h5py.SoftLink("/nowhere")
        case "an external link":
            file[name] = h5py.ExternalLink("nowhere.h5", "/a")
        case "an empty group":
            file.create_group(name)
        case "a loop":
            file[name] = h5py.SoftLink("/")
    return str(what)


def change_parquet(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Change a column, the schema or its metadata."""
    table = pq.read_table(io.BytesIO(data))
    name = _draw(random, table.column_names)
    at = table.column_names.index(name)
    column = table[name].combine_chunks()
    size = len(column)
    nulls = pa.array([None if place == size // 2 else one for place, one in enumerate(column.to_pylist())], column.type)
    text = pa.array([str(one) for one in column.to_pylist()])
    instants = pa.array(range(size), pa.int64()).cast(pa.timestamp("ns", "Asia/Tokyo"))
    changes: dict[str, Any] = {
        "removed": lambda: table.drop_columns([name]),
        "renamed": lambda: table.rename_columns([one + "x" if one == name else one for one in table.column_names]),
        "repeated": lambda: table.append_column(name, column),
        "nulls": lambda: table.set_column(at, name, nulls),
        "all nulls": lambda: table.set_column(at, name, pa.nulls(size)),
        "text": lambda: table.set_column(at, name, text),
        "dictionary": lambda: table.set_column(at, name, text.dictionary_encode()),
        "lists": lambda: table.set_column(at, name, pa.array([[one] for one in column.to_pylist()])),
        "reversed": lambda: table.set_column(at, name, column.take(pa.array(range(size - 1, -1, -1)))),
        "no rows": lambda: table.slice(0, 0),
        "no columns": lambda: table.select([]),
        "half": lambda: table.slice(0, size // 2),
        "no metadata": lambda: table.replace_schema_metadata(None),
        "nan": lambda: table.set_column(at, name, pa.array([float("nan")] * size)),
        "zone": lambda: table.set_column(at, name, instants),
    }  # fmt: skip
    what = _draw(random, sorted(changes))
    buffer = io.BytesIO()
    pq.write_table(changes[what](), buffer)
    return buffer.getvalue(), f"{name}: {what}"


def change_array(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Change the type, the shape or a value of an array, or what its header declares."""
    values = np.load(io.BytesIO(data), allow_pickle=False)
    flat = values.reshape(-1).copy()
    if flat.size:
        flat[int(random.integers(flat.size))] = flat[0]
    changes: dict[str, Any] = {
        "one value": flat.reshape(values.shape),
        "half": values[: len(values) // 2] if values.ndim else values,
        "reversed": values[::-1] if values.ndim else values,
        "float64": np.zeros(values.shape),
        "text": np.full(values.shape, "ab"),
        "another axis": values[None],
        "empty": flat[:0],
        "Fortran order": np.asfortranarray(values),
        "big endian": values.astype(values.dtype.newbyteorder(">")),
    }
    what = _draw(random, [*sorted(changes), "declared huge"])
    buffer = io.BytesIO()
    if what == "declared huge":
        header = {"descr": np.lib.format.dtype_to_descr(values.dtype), "fortran_order": False, "shape": (2**36,)}
        np.lib.format.write_array_header_1_0(buffer, header)
        buffer.write(values.tobytes())
    else:
        np.save(buffer, changes[what], allow_pickle=False)
    return buffer.getvalue(), what


def change_zip(data: bytes, other: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """Change a member of a zip archive, with its checksum, or remove it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    chosen = _draw(random, list(members))
    story = "removed"
    if random.integers(5) == 0:
        del members[chosen]
    else:
        change = change_array if chosen.filename.endswith(".npy") and random.integers(2) else _draw(random, BYTES)
        members[chosen], story = change(members[chosen], other, random)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for info, content in members.items():
            archive.writestr(info.filename, content, info.compress_type)
    return buffer.getvalue(), f"{chosen.filename}: {story}"


STRUCTURED: dict[str, Mutation] = {
    ".h5": change_hdf5,
    ".parquet": change_parquet,
    ".npy": change_array,
    ".npz": change_zip,
    ".zip": change_zip,
    ".pt": change_zip,
    ".pth": change_zip,
    ".pt2": change_zip,
}
"""The mutation that keeps a file of this suffix valid."""
