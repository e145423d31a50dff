"""Find a cache by its path, or by its encoder in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from encash.arguments import typed
from encash.cache import identity
from encash.cache.cache import Cache
from encash.encoders.base import Encoder, EncoderSpec
from encash.errors import FormatError, InputError, MissingFileError
from encash.store.locator import LANCE_SUFFIXES, SUFFIXES, open_store


@typed
def open_cache(
    path: str | os.PathLike[str],
    *,
    version: int | str | None = None,
    encoder: Encoder | EncoderSpec | str | None = None,
) -> Cache:
    """Open the cache at a path or URL; no model is needed to read it.

    If nothing is there yet, the cache can only be built: reading it raises MissingFileError.

    Args:
        path: ends in .lance, or in .h5 for an interchange file; or a folder of caches, with `encoder`.
        version: a version number or tag to read as of; None for the newest.
        encoder: the encoder of the cache, or the first digits of its fingerprint; selects the cache in a folder.

    Raises:
        FormatError: the file is not in the format of its name.
        MissingFileError: no such version, or no cache of this encoder in the folder.
        MismatchError: the cache belongs to a different encoder.

    Example::

        cache = encash.open_cache("cache.lance")
        vectors, found = cache.get("2020-06-01", ["T0001", "T0002"])
    """
    if encoder is not None and Path(path).is_dir() and Path(path).suffix.lower() not in LANCE_SUFFIXES:
        path = _choose(Path(path), encoder)
    cache = Cache.at(path, version)
    if cache.exists and isinstance(encoder, Encoder | EncoderSpec):
        cache.check(encoder if isinstance(encoder, EncoderSpec) else encoder.spec)
    return cache


def cache_paths(folder: str | os.PathLike[str]) -> list[str]:
    """List the paths in a folder that may be caches, by suffix, in order of their names; none is opened.

    Raises:
        MissingFileError: no such folder.
    """
    if not Path(folder).is_dir():
        raise MissingFileError(f"there is no folder {os.fspath(folder)}; give an existing folder of caches")
    return [str(path) for path in sorted(Path(folder).iterdir()) if path.suffix.lower() in SUFFIXES]


def _choose(folder: Path, encoder: Encoder | EncoderSpec | str) -> str:
    """Return the path of the only cache of an encoder in a folder, which may have other files too."""
    spec = encoder.spec if isinstance(encoder, Encoder) else encoder
    wanted = spec.fingerprint if isinstance(spec, EncoderSpec) else spec
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
        skipped = f" (not readable as caches: {', '.join(unread)})" if unread else ""
        raise MissingFileError(f"{folder} has no cache of the encoder {wanted[:12]}{skipped}; build it there first")
    if len(found) > 1:
        raise InputError(f"{folder} has several caches of this encoder: {', '.join(found)}; give the path of one")
    return found[0]
