"""Folders with a pretrained model: ``config.json`` and ``model.safetensors``, checked before a model is made.

Libraries initialize missing weights at random, with a warning. Here each weight of the file is matched with one of the
model, on torch's meta device, so that nothing is allocated that the file does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from encash.encoders.checkpoint_forms import CONFIG_FILE, WEIGHTS_FILE
from encash.encoders.torch.files import safetensors_header
from encash.errors import EncashError, FormatError, MissingFileError, reason
from encash.extras import import_optional
from encash.fingerprint import file_digest, fingerprint
from encash.text_files import read_json

ADAPTER_FILE = "adapter_config.json"
_FIX = "download the model again"
_NOT_SIZES = (
    "architectures", "do_mask_input", "dtype", "torch_dtype", "transformers_version", "use_cache", "_name_or_path",
)  # fmt: skip
"""Keys of a config that do not change what a model computes here."""

_FLOATS = ("F32", "F16", "BF16", "F64")

Stored = tuple[tuple[int, ...], str]
"""Shape and type of a stored weight."""


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """The config of a model, and the names, shapes and types of its stored weights."""

    path: Path
    config: dict[str, Any]
    stored: Mapping[str, Stored]

    @property
    def source_digest(self) -> str:
        """SHA-256 of the file of the weights."""
        return file_digest(self.path / WEIGHTS_FILE)

    @property
    def settings_digest(self) -> str:
        """The first digits of the SHA-256 of the config, without what does not change the output."""
        return fingerprint({key: value for key, value in self.config.items() if key not in _NOT_SIZES})[:16]


def open_folder(path: Path) -> ModelFolder:
    """Read the config and the header of the weights.

    Raises:
        MissingFileError: no such folder, or a folder without config or weights.
        FormatError: an adapter, quantized weights, damaged files, or more layers than weights.
    """
    if not (path / WEIGHTS_FILE).is_file():
        raise MissingFileError(
            f"there is no {WEIGHTS_FILE} in {path}; give a folder with a downloaded model in one file (pickled weights "
            "are not read)"
        )
    config = read_json(path / CONFIG_FILE, kind="config of a model", fix=_FIX)
    if (path / ADAPTER_FILE).exists() or "quantization_config" in config:
        raise FormatError(f"{path} holds an adapter or quantized weights; merge and save the model in float32 first")
    stored = safetensors_header(path / WEIGHTS_FILE)
    for key, value in config.items():
        if "layer" in key and isinstance(value, int) and value > len(stored):
            raise FormatError(
                f"{path}: the config has {key} = {value}, and there are {len(stored)} weights in all; {_FIX}"
            )
    return ModelFolder(path=path, config=config, stored=stored)


def account_for_weights(
    folder: ModelFolder, make: Callable[[], torch.nn.Module], renamed: Mapping[str, str] | None = None
) -> None:
    """Refuse stored weights that are not exactly those of the model that `make` returns.

    Tied weights are stored once, under any of their names.

    Args:
        folder: of the stored weights.
        make: returns the model.
        renamed: parts of names in files, and what the library calls them.

    Raises:
        FormatError: names weights that are missing, unknown, twice, or of a wrong shape or type.
    """
    with torch.device("meta"):
        model: Any = make()
    expected = {name: (tuple(one.shape), one.is_floating_point()) for name, one in model.state_dict().items()}
    tied: Mapping[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    unused = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_unexpected or ()]
    names = {name: _renamed(name, expected, renamed or {}) for name in folder.stored}
    found = {names[name]: (shape, kind in _FLOATS) for name, (shape, kind) in folder.stored.items()}
    sources = {tied.get(name, name) for name in found}
    faults = {
        "have the name of another one": [name for name, own in names.items() if own != name and own in names],
        "have a wrong shape or type": [name for name, one in found.items() if expected.get(name, one) != one],
        "are missing": [name for name in expected if name not in found and tied.get(name, name) not in sources],
        "are unknown": [name for name in found if name not in expected and not any(one.search(name) for one in unused)],
    }
    for fault, wrong in faults.items():
        if wrong:
            raise FormatError(
                f"{folder.path}: {len(wrong)} weights {fault} for its config ({', '.join(sorted(wrong)[:3])}); {_FIX}"
            )


def _renamed(name: str, expected: Mapping[str, Any], renamed: Mapping[str, str]) -> str:
    """Return the name of a stored weight in the model."""
    if name in expected:
        return name
    return ".".join(renamed.get(part, part) for part in name.split("."))


@contextmanager
def loading(path: Path, kind: str) -> Iterator[None]:
    """Turn the errors of a library that loads a model into one line, and print none of its progress and warnings.

    Raises:
        FormatError: the library refused the folder.
    """
    logging: Any = import_optional("transformers.utils.logging", package="transformers", extra="transformers")
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    except (EncashError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  # a library raises whatever its parsers raise on a damaged config
        raise FormatError(f"{path} does not hold a {kind} model{reason(error)}; {_FIX}") from None
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
