"""From a path, or from a folder and an encoder, to a cache. Knows names and specs; reads no entries."""

from __future__ import annotations

import os
from pathlib import Path

from encash.cache import identity
from encash.cache.cache import Cache
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import FormatError, InputError, MissingFileError
from encash.store.locator import LANCE_SUFFIXES, SUFFIXES, open_store


def open_cache(
    path: str | os.PathLike[str],
    *,
    version: int | str | None = None,
    encoder: Encoder | EncoderSpec | str | None = None,
) -> Cache:
    """The cache at a path or URL; no model is needed to read it.

    Where nothing is there yet, the cache can be built and nothing else: whatever reads it says that it is missing.

    Args:
        path: ends in .lance, or in .h5 for an interchange file; or a folder of caches, with `encoder`.
        version: a version number or tag to read as of; None for the newest.
        encoder: the encoder whose cache it must be, or the first digits of its fingerprint; picks it from a folder.

    Raises:
        FormatError: what is there is not what its name says.
        MissingFileError: no such version, or no cache of this encoder in the folder.
        MismatchError: the cache belongs to another encoder.
    """
    if encoder is not None and Path(path).is_dir() and Path(path).suffix.lower() not in LANCE_SUFFIXES:
        path = _choose(Path(path), encoder)
    cache = Cache.at(path, version)
    if cache.exists and isinstance(encoder, Encoder | EncoderSpec):
        cache.check(encoder if isinstance(encoder, EncoderSpec) else encoder.spec)
    return cache


def cache_paths(folder: str | os.PathLike[str]) -> list[str]:
    """What may be a cache in a folder, going by the ends of names, in their order; none is opened.

    Raises:
        MissingFileError: no such folder.
    """
    if not Path(folder).is_dir():
        raise MissingFileError(f"there is no folder {os.fspath(folder)}")
    return [str(path) for path in sorted(Path(folder).iterdir()) if path.suffix.lower() in SUFFIXES]


def _choose(folder: Path, encoder: Encoder | EncoderSpec | str) -> str:
    """The one cache of an encoder in a folder; other files may lie beside it."""
    wanted = encoder.spec.fingerprint if isinstance(encoder, Encoder) else encoder
    wanted = wanted.fingerprint if isinstance(wanted, EncoderSpec) else wanted
    found, unread = [], []
    for path in cache_paths(folder):
        try:
            known = identity.encoder_of(open_store(path).spec)
        except FormatError:
            unread.append(path)
            continue
        if known is not None and wanted and known.fingerprint.startswith(wanted):
            found.append(path)
    if not found:
        beside = f" (no caches, or damaged: {', '.join(unread)})" if unread else ""
        raise MissingFileError(f"{folder} holds no cache of the encoder {wanted[:12]}{beside}; build it there first")
    if len(found) > 1:
        raise InputError(f"{folder} holds several caches of this encoder: {', '.join(found)}; give the path of one")
    return found[0]
