"""Checkpoint files: read without running code, written atomically. `encash.encoders.checkpoint` defines the format."""

from __future__ import annotations

import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from encash.atomic_write import whole_file
from encash.encoders.bins import UNIFORM, BinEdges, settle_edges, uniform_edges
from encash.encoders.checkpoint import Layout, read_layout
from encash.encoders.checkpoint_forms import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Parts,
    drop_weights,
    find_parts,
    find_safetensors_parts,
    plain_names,
    with_config,
)
from encash.encoders.torch.model import ReferenceTransformer
from encash.errors import EncashError, FormatError, MissingFileError, reason, unreadable
from encash.extras import import_optional
from encash.fingerprint import file_digest, fingerprint
from encash.input_files import ARCHIVE_ERRORS, check_declared, check_members

EDGES_FILE = "adaptive_bin_edges.pt"
"""The name of a file of bin edges in the folder of a checkpoint."""
_UNREADABLE: tuple[type[Exception], ...] = (
    pickle.UnpicklingError,
    KeyError,
    AttributeError,
    IndexError,
    TypeError,
    OverflowError,
    *ARCHIVE_ERRORS,
)
"""The errors that torch raises for unreadable files."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Content of a checkpoint file, every weight accounted for."""

    layout: Layout
    weights: dict[str, Tensor]
    """float32, under their own names."""
    extras: dict[str, Any]
    """The other keys of the file: config, train_end, feature_names, bin_edges, …"""
    ignored: tuple[str, ...] = ()
    """Weights of the file that were left out on request."""
    files: tuple[Path, ...] = ()
    """The file of the weights, and that of the config if it is a different one."""

    @property
    def source_digest(self) -> str:
        """SHA-256 of the file, or of the digests of both."""
        digests = [file_digest(file) for file in self.files]
        return digests[0] if len(digests) == 1 else fingerprint(digests)


def read_checkpoint(path: str | Path, *, config: str | Path | None = None, ignored: Sequence[str] = ()) -> Checkpoint:
    """Read a checkpoint and account for every weight; never run code from it.

    Args:
        path: a file of torch or of safetensors, or a folder with ``model.safetensors``; see
            `encash.encoders.checkpoint_forms`.
        config: a JSON file for weights that have no config; None takes ``config.json`` beside them.
        ignored: names of weights, or of parts of the model, that are left out, such as an extra head.

    Raises:
        MissingFileError: no such file.
        FormatError: not a checkpoint, truncated, with code in it, or with weights that do not fit the config.
        InputError: a config in vain, or an ignored name that no weight has.
    """
    path = weights_file(path)
    parts = with_config(_read_parts(path), path, config)
    try:
        named = plain_names(parts.state)
        state = drop_weights(named, ignored)
        assert parts.config is not None
        layout = read_layout(parts.config, {name: _shape(name, value) for name, value in state.items()})
        _check_plain(path, state)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    return Checkpoint(
        layout=layout,
        weights={name: value.detach().to(torch.float32) for name, value in state.items()},
        extras={**parts.extras, "config": dict(parts.config)},
        ignored=tuple(sorted(set(named) - set(state))),
        files=(path, Path(config or path.with_name(CONFIG_FILE))) if parts.from_file else (path,),
    )


def weights_file(path: str | Path) -> Path:
    """Return the file of weights: the path itself, or that in a folder.

    Raises:
        MissingFileError: a folder without weights, or with weights in several files.
    """
    folder = Path(path)
    if not folder.is_dir():
        return folder
    if not (folder / WEIGHTS_FILE).is_file():
        pieces = "; weights in several files are not read" if any(folder.glob("*.index.json")) else ""
        raise MissingFileError(f"there is no {WEIGHTS_FILE} in the folder {folder}{pieces}; save the model as one file")
    return folder / WEIGHTS_FILE


def _read_parts(path: Path) -> Parts:
    if path.suffix == ".safetensors":
        return find_safetensors_parts(*read_safetensors(path), path)
    return find_parts(load_tensors(path), path)


def _shape(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, Tensor):
        raise FormatError(f"{name!r} is not a tensor; save the state dict of the model")
    return tuple(value.shape)


def _check_plain(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse what is not a plain tensor of numbers, and weights that are larger than their file: sparse ones, and
    shapes that repeat a few stored values."""
    for name, value in weights.items():
        if value.is_meta or value.layout != torch.strided or value.is_quantized or not value.is_floating_point():
            raise FormatError(
                f"the weight {name} is {'without data' if value.is_meta else f'sparse, quantized or {value.dtype}'}; "
                "save the plain state dict of the model"
            )
    declared = sum(value.numel() * value.element_size() for value in weights.values())
    check_declared("its weights", declared, os.path.getsize(path))


def load_tensors(path: str | Path, what: str = "a checkpoint (.pt)") -> Any:
    """Read a file of tensors and plain values.

    Args:
        path: of the file.
        what: the expected content, for error messages.

    Raises:
        MissingFileError: no such file.
        FormatError: truncated, not a file of torch, or a file that would run code.
    """
    if not Path(path).is_file():
        raise MissingFileError(f"there is no file {path}; give the path of {what}")
    try:
        if zipfile.is_zipfile(path):  # torch compares neither sizes nor checksums
            with zipfile.ZipFile(path) as archive:
                check_members(archive, path)
        return load_plain(path)
    except EncashError:
        raise
    except _UNREADABLE as error:
        if (code := _code_in(error)) is None:
            message = f"{path} is truncated or not a torch file{reason(error)}; copy or save it again"
            raise unreadable(path, error, message) from None
        raise FormatError(
            f"{path} {code}, and code in it is never run; expected tensors and plain values: save the state dict and a "
            "config of plain values with torch.save"
        ) from None


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file, which has no checksums and holds no code.

    Raises:
        MissingFileError: no such file.
        FormatError: truncated, or a header that does not describe exactly the bytes of the file.
    """
    with _open_safetensors(path) as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # no mapping; not mapped
        return tensors, file.metadata() or {}


def safetensors_header(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and type, such as ``F32``, of each tensor of a safetensors file without reading it; the errors are
    those of `read_safetensors`."""
    with _open_safetensors(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        return {name: (tuple(one.get_shape()), str(one.get_dtype())) for name, one in slices.items()}


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}; give the path of a checkpoint (.safetensors)")
    safetensors: Any = import_optional("safetensors", package="safetensors", extra="torch")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        message = f"{path} is truncated or not a safetensors file{reason(error)}; copy or save it again"
        raise unreadable(path, error, message) from None


def _code_in(error: Exception) -> str | None:
    """Return the part that torch refused to read because it could run code; None if it had a different reason.

    >>> _code_in(pickle.UnpicklingError("… Unsupported global: GLOBAL datetime.date was not an allowed global …"))
    'names datetime.date'
    """
    message = str(error)
    if "TorchScript" in message:
        return "is a TorchScript program"
    if named := re.search(r"GLOBAL ([\w.]+)", message):
        return f"names {named[1].rstrip('.')}"
    return "is a pickle that torch.save did not write" if isinstance(error, pickle.UnpicklingError) else None


def load_plain(file: str | Path | IO[bytes]) -> Any:
    """Call `torch.load` without running code, and without its warnings about pickles that it then refuses.

    Raises:
        Exception: any error of torch.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(file, map_location="cpu", weights_only=True)


def save_checkpoint(path: str | Path, model: ReferenceTransformer, extras: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically.

    Args:
        path: the file; an existing one is replaced.
        model: the source of ``model_state_dict`` and of the model's part of ``config``.
        extras: further keys of plain values and tensors; a ``config`` among them is merged.

    Raises:
        WorkError: the path cannot be written, or the disk is full.
    """
    layout = model.layout
    config = {
        "hidden_dim": layout.hidden_dim,
        "num_layers": layout.num_layers,
        "num_heads": layout.num_heads,
        "dropout": layout.dropout,
        "pred_mode": layout.pred_mode,
        **extras.get("config", {}),
    }
    state = {name: value.detach().to("cpu", torch.float32).clone() for name, value in model.state_dict().items()}
    save_plain(path, {"model_state_dict": state, **extras, "config": config})


def build_model(checkpoint: Checkpoint) -> ReferenceTransformer:
    """Return the model of a checkpoint in evaluation mode, on the CPU in float32."""
    with torch.device("meta"):
        model = ReferenceTransformer(checkpoint.layout)
    model.load_state_dict(checkpoint.weights, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def weights_fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of name, dtype, shape and bytes of each weight, in order of the names."""
    return fingerprint({name: value.numpy() for name, value in weights.items()})


def find_edges(path: Path, checkpoint: Checkpoint, asked: Any, unit: str | None = None) -> BinEdges | None:
    """Return the bin edges of a classifier: the requested ones, else those in the checkpoint or in the file beside it.

    Args:
        path: of the checkpoint.
        checkpoint: its content.
        asked: a path, an array, ``"uniform"`` or None.
        unit: of the edges, as for `settle_edges`; ``"uniform"`` is in returns.

    Returns:
        None for regression, and for a classifier without edges, which has no forecasts.

    Raises:
        MissingFileError: the requested file does not exist.
        FormatError: not bin edges of this model, or of an unclear unit.
    """
    bins = checkpoint.layout.num_bins
    if not bins:
        return None
    if isinstance(asked, str) and asked == UNIFORM:
        return uniform_edges(bins)
    beside = path.with_name(EDGES_FILE)
    own = checkpoint.extras.get("bin_edges")
    if isinstance(own, str):  # a file names no other file
        raise FormatError(f"{path} has the bin edges {own[:40]!r}; expected a row of numbers: save it with them")
    found = asked if asked is not None else own
    found = beside if found is None and beside.is_file() else found
    return None if found is None else read_edges(found, num_bins=bins, unit=unit)


def read_edges(edges: Any, *, num_bins: int | None = None, unit: str | None = None) -> BinEdges:
    """Read and check bin edges.

    Args:
        edges: a path, a tensor or an array.
        num_bins: bins of the model; None accepts any number.
        unit: as for `settle_edges`.

    Raises:
        MissingFileError: no such file.
        FormatError: not bin edges of this model, or of an unclear unit.
    """
    if isinstance(edges, str | os.PathLike):
        edges = load_tensors(Path(edges), what="a file of bin edges (--bin-edges F)")
    if isinstance(edges, Tensor):
        edges = edges.detach().to(torch.float64).numpy()
    return settle_edges(edges, num_bins=num_bins, unit=unit)


def save_plain(path: str | Path, values: Any) -> None:
    """Write tensors and plain values atomically, so that ``torch.load(weights_only=True)`` reads them.

    Raises:
        WorkError: the path cannot be written, or the disk is full.
    """
    content = io.BytesIO()  # on a full disk, torch itself would raise an unrelated error
    torch.save(values, content)
    with whole_file(path) as part:
        part.write_bytes(content.getbuffer())
