"""Record of a run folder: the digest of each file that a report reads, so that no figure changes unnoticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from encash.clusters.files import SEAL, check_seal, check_types, read_json, write_json
from encash.errors import FormatError, unreadable
from encash.fingerprint import file_digest
from encash.input_files import check_regular

RECORD = "digests.json"
"""Name of the record in a run folder. Folders of earlier versions have none, and are not checked."""
OPTIONAL = (
    "comparisons.json",
    "comparisons.parquet",
    "details.parquet",
    "skill.parquet",
    "trials.csv",
    "chosen.json",
    "command.json",
    "ledger_spreadsheet.csv",
)
"""Files that may be added to a run after it was written."""
_FIX = f"run the backtest again, restore the file from a copy, or remove {RECORD} to show the folder unchecked"


def write_record(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the record of a new run.

    Args:
        folder: the run folder.
        contents: bytes of its files by name.
    """
    _write(folder, {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()})


def add_to_record(path: Path) -> None:
    """Add a file that was written into a run folder to its record, or replace its digest; a folder without a record
    gets none."""
    if (path.parent / RECORD).is_file() and path.name in OPTIONAL:
        _write(path.parent, {**_read(path.parent), path.name: file_digest(path)})


def check_record(folder: Path) -> bool:
    """Compare the files of a run folder with its record.

    Returns:
        False if the folder has no record, so that nothing is known.

    Raises:
        FormatError: a file was changed, is missing, or does not belong to the run.
        AccessError: a file may not be read.
        InputError: a pipe or a device is in the place of a file.
    """
    if not (folder / RECORD).exists():
        return False
    recorded = _read(folder)
    for name in dict.fromkeys((*recorded, *OPTIONAL)):
        path = folder / name
        if name not in recorded:
            if path.exists():
                raise FormatError(f"{path} is not a part of this run, or was not finished; remove it, or {_FIX}")
            continue
        check_regular(path)
        try:
            found = file_digest(path)
        except OSError as error:
            raise unreadable(path, error, f"{path} is missing, and was a part of the run; {_FIX}") from None
        if found != recorded[name]:
            raise FormatError(f"{path} was changed after the run was written: its digest differs; {_FIX}")
    return True


def _write(folder: Path, digests: Mapping[str, str]) -> None:
    write_json(folder / RECORD, {"files": dict(digests)}, seal=SEAL)


def _read(folder: Path) -> dict[str, str]:
    path = folder / RECORD
    content = read_json(path, remake=_FIX)
    check_seal(path, content, required=True, remake=_FIX)
    check_types(path, content, {"files": dict[str, str]}, remake=_FIX)
    return {str(name): str(digest) for name, digest in content["files"].items()}
