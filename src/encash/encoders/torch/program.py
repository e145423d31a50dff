"""Encoders that are programs exported by torch (.pt2).

An archive that would run code when torch reads it, pickled or as text, is refused before. `encash.encoders.outputs`
defines the outputs of a program.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from encash.arrays import Float32
from encash.encoders.options import LoadOptions
from encash.encoders.outputs import METADATA_KEY, ModelFacts, ModelFileEncoder, read_metadata
from encash.encoders.torch.devices import choose_device, is_memory_error
from encash.encoders.torch.files import load_plain
from encash.encoders.torch.program_text import first_code
from encash.encoders.torch.quiet import quiet
from encash.encoders.torch.threads import matmul_precision
from encash.errors import EncashError, FormatError, MissingFileError, reason, unreadable
from encash.fingerprint import file_digest, fingerprint
from encash.input_files import ARCHIVE_ERRORS, check_members

PLAIN_CONSTANT = "tensor_"
"""The prefix of the name of a constant that is a tensor rather than a pickled object."""


def load_program_encoder(path: str | Path, options: LoadOptions) -> ProgramEncoder:
    """Load the encoder of an exported program.

    Raises:
        MissingFileError: no such file.
        FormatError: not an exported program, one that would run code, or one whose inputs are not those of an encoder.
        InputError: a device, batch size, lookback or pooling that the program does not have.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}; give the path of an exported program (.pt2)")
    check_archive(path)
    metadata = {METADATA_KEY: ""}
    try:
        with quiet("torch.export"):
            program = torch.export.load(path, extra_files=metadata)
            weights, module = program_fingerprint(program), program.module()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # torch raises whatever its parsers raise on a damaged graph
        raise FormatError(
            f"{path} is not an exported program that torch {torch.__version__} can read{reason(error)}; export it again"
        ) from None
    facts = ModelFacts(
        path=str(path),
        engine="torch.export",
        weights=weights,
        shape=_input_shape(program, path),
        metadata=read_metadata(metadata[METADATA_KEY], str(path)),
    )
    encoder = ProgramEncoder(module, facts, options)
    encoder.source_digest = file_digest(path)
    return encoder


def program_fingerprint(program: ExportedProgram) -> str:
    """Return the SHA-256 of the program's graph and each of its weights and constants."""
    tensors = {**program.state_dict, **program.constants}
    weights = {name: value.detach().cpu().numpy() for name, value in tensors.items() if isinstance(value, torch.Tensor)}
    return fingerprint({"graph": program.graph_module.code, "weights": weights})


def check_archive(path: Path) -> None:
    """Refuse an archive in which anything but plain tensors and JSON would be read.

    Raises:
        FormatError: not an archive of torch.export, compiled code, pickled weights or objects, inputs with code, or
            text in the program that torch could run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            members = {info.filename.lower(): info for info in archive.infolist()}  # torch ignores the case of names
            parts = {name.split("/", 1)[-1]: archive.read(info) for name, info in members.items() if _is_read(name)}
            count, start = len(archive.infolist()), min((info.header_offset for info in members.values()), default=0)
    except EncashError:
        raise
    except ARCHIVE_ERRORS as error:
        message = f"{path} is truncated or not an exported program ({error}); export it again"
        raise unreadable(path, error, message) from None
    if parts.get("archive_format", b"").strip() != b"pt2" or start or len(members) != count:
        raise FormatError(f"{path} is not a .pt2 archive; write it with torch.export.save of torch 2.9 or newer")
    bad = [name for name in members if "/data/aotinductor/" in name or "/data/executorch/" in name]
    bad += [name for name in members if name.endswith(".pt") and re.search("/data/(weights|constants)/", name)]
    bad += [name for name, content in parts.items() if not _is_plain(name, content)]
    if bad:
        raise FormatError(
            f"{path} holds {bad[0]}, which could run code when it is read; export a program of tensors only"
        )
    for name, content in parts.items():
        if name.startswith("models/") and (code := first_code(content)) is not None:
            raise FormatError(
                f"{path} holds {code[:80]!r}, which could run code when it is read; export a program of tensors only"
            )


class ProgramEncoder(ModelFileEncoder):
    """An exported program that encodes windows."""

    def __init__(self, module: torch.nn.Module, facts: ModelFacts, options: LoadOptions):
        self.device = choose_device(options.device)
        self._module = module.to(self.device)
        super().__init__(facts, options)

    def run(self, windows: Float32) -> list[tuple[str, Any]]:
        """Return the name and value of each output for one batch."""
        try:
            with torch.inference_mode(), matmul_precision("highest"):
                result = self._module(torch.tensor(windows, device=self.device))
        except RuntimeError as error:
            if not is_memory_error(error):
                raise
            raise MemoryError(str(error)) from None
        outputs = tuple(result) if isinstance(result, tuple | list) else (result,)
        named = result.items() if isinstance(result, dict) else enumerate(outputs)
        return [(str(name), value.cpu().numpy()) for name, value in named]


def _is_read(name: str) -> bool:
    inner = name.split("/", 1)[-1]
    read = inner.startswith(("data/sample_inputs/", "models/")) or inner.endswith("_config.json")
    return read or inner == "archive_format"


def _is_plain(name: str, content: bytes) -> bool:
    """Return whether torch runs no code when it reads a part of an archive."""
    if name.endswith("_config.json"):
        return _all_plain(content, "constants" in name)
    return not name.startswith("data/sample_inputs/") or _unpickles_plainly(content)


def _all_plain(config: bytes, constants: bool) -> bool:
    """Return whether each entry of a table of weights or constants is a tensor of raw bytes."""
    try:
        return all(
            entry["use_pickle"] is False and (not constants or entry["path_name"].startswith(PLAIN_CONSTANT))
            for entry in json.loads(config)["config"].values()
        )
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return False


def _unpickles_plainly(content: bytes) -> bool:
    """Return whether torch reads some content without running code."""
    try:
        load_plain(io.BytesIO(content))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
        return False
    return True


def _input_shape(program: ExportedProgram, path: Path) -> tuple[int | None, int | None, int | None]:
    names = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(values) != 1 or not isinstance(values[0], torch.Tensor) or values[0].ndim != 3:
        found = [tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__ for value in values]
        raise FormatError(f"{path} takes {found}; expected one float32 input of windows (n, L, F)")
    sizes = [size if isinstance(size, int) else None for size in values[0].shape]
    return sizes[0], sizes[1], sizes[2]
