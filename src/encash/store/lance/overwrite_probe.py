"""Test that an object store refuses to overwrite an object, on which commits without a lock depend.

Two writers that commit the same version both put its manifest with ``If-None-Match: *``. A store that ignores the
header lets the later one replace the earlier one: its entries are lost while its writer reports success.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any

from encash.errors import InputError, WorkError
from encash.object_store_errors import TRY_AGAIN, unreachable
from encash.store.lance.errors import ObjectStoreError

_WITHOUT_NETWORK = ("memory", "file-object-store")
"""Schemes of Lance that are a folder or memory of this machine."""


def check_overwrites_refused(url: str) -> None:
    """Put an object, then put it again on the condition that it does not exist, which must fail.

    Raises:
        InputError: obstore is not installed, or does not know the scheme.
        WorkError: the store overwrites, or cannot be reached.
    """
    scheme = url.partition("://")[0]
    if scheme in _WITHOUT_NETWORK:
        return
    try:
        import obstore  # noqa: PLC0415 - optional, and only writers to object stores need it
        from obstore.exceptions import AlreadyExistsError, BaseError  # noqa: PLC0415 - likewise
        from obstore.store import from_url  # noqa: PLC0415 - likewise
    except ImportError:
        raise InputError(
            f"writing to {url} needs obstore, which tests that the object store refuses to overwrite: "
            "pip install 'encash[object-storage]'"
        ) from None
    name = f"_encash_probe/{secrets.token_hex(8)}"
    try:
        store: Any = from_url(url)
        obstore.put(store, name, b"first")
        try:
            obstore.put(store, name, b"second", mode="create")
        except AlreadyExistsError:
            return
        finally:
            with suppress(BaseError, OSError):  # a leftover probe is harmless
                obstore.delete(store, name)
    except (BaseError, OSError, ValueError) as error:
        reason = unreachable(str(error)) or f"the object store failed ({str(error).splitlines()[0]}); {TRY_AGAIN}"
        kind = ObjectStoreError if reason.endswith(TRY_AGAIN) else WorkError
        raise kind(f"could not write to {url}: {reason}") from None
    raise WorkError(
        f"{url}: this object store overwrites objects in spite of If-None-Match, so that concurrent writers would lose "
        "entries silently; nothing was written: use a store that supports conditional PUT, or build a local cache and "
        "copy it"
    )
