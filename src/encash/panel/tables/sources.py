"""Files of a table: one, several, a folder of them, or the members of an archive, unpacked."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any
from urllib.parse import unquote

import pyarrow as pa

from encash.atomic_write import writing
from encash.errors import EncashError, FormatError, MissingFileError
from encash.input_files import ARCHIVE_ERRORS, check_declared, check_regular, path_or_url
from encash.panel.formats.base import TableFormat
from encash.panel.formats.registry import FORMATS, find_format, format_of
from encash.remote_files import local_copy

_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile}
_BLOCK_BYTES = 1 << 20
PACKED = (*_OPENERS, ".zip")
"""Suffixes of compressed files; each may follow any suffix of a table."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file of a table, unpacked."""

    path: Path
    shown: str
    """The user's name of the file, for messages."""
    stem: str
    """Name of the file without its suffixes."""
    format: TableFormat
    partitions: Mapping[str, str]
    """Values by column that the folders of a hive-partitioned folder name (``ticker=AAPL``)."""
    one_of_many: bool = False
    """The name of the file may be its ticker, because it is one of several files or of a folder."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A file before it is unpacked."""

    path: Path
    shown: str
    one_of_many: bool
    partitions: Mapping[str, str]


@contextmanager
def opened(source: str | Path | Sequence[str | Path]) -> Iterator[list[Source]]:
    """Yield the files of a table, in order of their names; unpacked copies are removed at the end.

    Raises:
        MissingFileError: no such file or folder.
        FormatError: a file in an unknown format, a folder without a table, or a damaged archive.
    """
    given = [source] if isinstance(source, str | Path) else list(source)
    if not given:
        raise FormatError("no table of prices is named; expected a file, several, or a folder")
    with ExitStack() as temporary:
        plain: list[Source] = []
        formats: dict[str, TableFormat | None] = {}
        for found in (file for path in given for file in _files(path_or_url(path), one_of_many=len(given) > 1)):
            for file in _unpacked(found, temporary):
                plain.append(_source(file, formats))
        yield plain


def _files(where: str | Path, *, one_of_many: bool) -> list[_Found]:
    """Return a file, or the tables in a folder and its folders."""
    path = local_copy(where)
    if path.is_file():
        return [_Found(path=path, shown=str(where), one_of_many=one_of_many, partitions={})]
    check_regular(path)
    if not path.is_dir():
        raise MissingFileError(f"{path} does not exist; expected a table of prices ({', '.join(FORMATS)})")
    inside = sorted(file for file in path.rglob("*") if file.is_file() and _is_visible(file.relative_to(path)))
    tables = [file for file in inside if _is_table(file)]
    if not tables:
        raise FormatError(f"{path} holds no table of prices ({', '.join(FORMATS)}); name a file, or a folder of them")
    if len(tables) < len(inside):
        odd = next(file for file in inside if file not in set(tables))
        raise FormatError(f"{odd} is none of {', '.join(FORMATS)}; keep only tables of prices in {path}")
    return [
        _Found(path=file, shown=str(file), one_of_many=True, partitions=_partitions(file.relative_to(path)))
        for file in tables
    ]


def _is_visible(path: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in path.parts)


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in PACKED or path.suffix.lower() in FORMATS or find_format(path) is not None


def _partitions(path: Path) -> dict[str, str]:
    """Return the values by column in the names of folders (``ticker=AAPL/year=2024``)."""
    if "__HIVE_DEFAULT_PARTITION__" in str(path):
        raise FormatError(
            f"{path} is a partition without a value; expected a ticker or date in the name of each folder"
        )
    pairs = [part.partition("=") for part in path.parts[:-1]]
    return {unquote(key): unquote(value) for key, sign, value in pairs if sign}


def _unpacked(found: _Found, temporary: ExitStack) -> list[_Found]:
    """Return a file, or the files packed in it."""
    suffix = found.path.suffix.lower()
    if suffix not in PACKED or find_format(found.path) is not None:
        return [found]
    folder = Path(temporary.enter_context(TemporaryDirectory(prefix="encash-")))
    try:
        if suffix == ".zip":
            return _members(found, folder, temporary)
        inner = folder / found.path.stem
        with _OPENERS[suffix](found.path) as packed:
            _copy(packed, inner, found)
    except EncashError:
        raise
    except ARCHIVE_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(
            f"{found.shown} cannot be read ({reason}); expected a table compressed as {suffix}; write it again"
        ) from None
    return [replace(found, path=inner)]


def _members(found: _Found, folder: Path, temporary: ExitStack) -> list[_Found]:
    """Return the tables in a zip archive; those that are compressed themselves are unpacked too."""
    unpacked: list[_Found] = []
    with zipfile.ZipFile(found.path) as archive:
        members = [Path(name) for name in sorted(archive.namelist()) if not name.endswith("/")]
        members = [name for name in members if _is_visible(name)]
        for number, name in enumerate(members):
            inner = folder / str(number) / name.name
            inner.parent.mkdir()
            with archive.open(name.as_posix()) as packed:
                _copy(packed, inner, found)
            member = _Found(
                path=inner,
                shown=f"{found.shown}/{name}",
                one_of_many=found.one_of_many or len(members) > 1,
                partitions={**found.partitions, **_partitions(name)},
            )
            unpacked += _unpacked(member, temporary)
    if not unpacked:
        raise FormatError(f"{found.shown} is empty; expected a table of prices ({', '.join(FORMATS)}) in it")
    return unpacked


def _copy(packed: IO[bytes], path: Path, archive: _Found) -> None:
    """Unpack a file, block by block; stop when it is larger than its archive can hold.

    Raises:
        WorkError: the folder of temporary files is full.
        FormatError: as `check_declared`.
    """
    present, size = archive.path.stat().st_size, 0
    with path.open("wb") as file:
        while block := packed.read(_BLOCK_BYTES):
            size += len(block)
            check_declared(f"{archive.shown}, unpacked", size, present)
            with writing(path):
                file.write(block)
        with writing(path):
            file.flush()


def _source(file: _Found, formats: dict[str, TableFormat | None]) -> Source:
    """Return a file with its format, which is looked up once per suffix."""
    suffix = "".join(file.path.suffixes[-2:]).lower()
    if suffix not in formats:
        formats[suffix] = find_format(file.path)
    if (format := formats[suffix]) is None:
        format = format_of(Path(file.shown))
    if re.search(r" ?\(\d+\)$", stem := _stem(file.path)) and file.one_of_many:
        raise FormatError(f"{file.shown} is named like a second download of the same file; rename or remove it")
    return Source(
        path=file.path,
        shown=file.shown,
        stem=stem,
        format=format,
        partitions=file.partitions,
        one_of_many=file.one_of_many,
    )


def _stem(path: Path) -> str:
    """Return the name without the suffix of its format (BRK.B.csv is BRK.B)."""
    double = "".join(path.suffixes[-2:])
    return path.name.removesuffix(double) if double.lower() in FORMATS and len(path.suffixes) > 1 else path.stem


@contextmanager
def readable(source: Source) -> Iterator[None]:
    """Raise FormatError for a file that cannot be read in its format."""
    try:
        yield
    except (EncashError, MemoryError):
        raise
    except (pa.ArrowException, OSError, EOFError, UnicodeError) as error:
        reason = str(error).splitlines()[0]
        raise FormatError(
            f"{source.shown} cannot be read ({reason}); expected {source.format.expected}; correct the line, or "
            "write it again"
        ) from None
