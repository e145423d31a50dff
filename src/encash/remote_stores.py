"""Files at URLs as their servers show them: size, version, and content from any byte on.

Object stores are read through obstore, which has the client of Lance, so that features and caches in a bucket take the
same settings from the environment; the web through the standard library; every other scheme through fsspec.
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

from encash.errors import AccessError, EncashError, InputError, MissingExtraError, MissingFileError, WorkError, reason
from encash.extras import require
from encash.object_store_errors import TRY_AGAIN, unreachable

BLOCK_BYTES = 4 << 20
"""Bytes that are fetched at a time; obstore ends a request after 30 seconds."""
_ANSWER_SECONDS = 15.0
_SETTLED_SECONDS = 2.0
"""A file that was changed that short a time ago may change again without a new time, which counts seconds."""
_OBJECT_STORES = ("s3", "s3a", "gs", "az", "abfs", "abfss")
_RETRIES = {"max_retries": 2}
_VERSIONS = (
    "ETag",
    "etag",
    "version_id",
    "generation",
    "LastModified",
    "last_modified",
    "modified",
    "mtime",
    "created",
)
"""Names by which file systems of fsspec tell one version of a file from another."""
_WITHOUT_HEAD = (403, 405, 501)
_BUSY = (408, 425, 429, 500, 502, 503, 504)


class PassingError(Exception):
    """A failure after which the same request may succeed."""


class ChangedError(Exception):
    """The file is no longer the one that was announced."""


@dataclass(frozen=True, kw_only=True)
class Announced:
    """Size and version of a file, as a server states them."""

    size: int
    version: str
    """Differs between two contents of one name; empty if the server has none."""
    settled: bool = field(default=True, compare=False)
    """False if the version might be that of a further content, too."""


class RemoteFile(ABC):
    """A file at a URL.

    Methods raise `PassingError`, and an `EncashError` for what stays: no such file, no permission, an unknown scheme.
    """

    def __init__(self, url: str):
        self._url = url

    @abstractmethod
    def announced(self) -> Announced:
        """Return size and version."""

    @abstractmethod
    def blocks(self, first: int, announced: Announced) -> Iterator[bytes]:
        """Yield the content from a byte on; it may end early.

        Raises:
            ChangedError: it is not the announced file.
        """

    def _missing(self) -> MissingFileError:
        return MissingFileError(f"{self._url} does not exist; give the URL of a file, not of a folder")

    def _denied(self) -> AccessError:
        return AccessError(f"no permission to read {self._url}; check the credentials and what they may read")


def open_remote(url: str) -> RemoteFile:
    """Return the file at a URL, without a request.

    Raises:
        MissingExtraError: the package that reads this scheme is not installed.
        InputError: a scheme that no package knows.
    """
    scheme = url.partition("://")[0].lower()
    if scheme in ("http", "https"):
        return _WebFile(url)
    return _StoredObject(url) if scheme in _OBJECT_STORES else _OtherFile(url)


class _WebFile(RemoteFile):
    """A file of a web server. One that is resumed comes whole from servers that know no ranges."""

    def announced(self) -> Announced:
        try:
            answer = self._ask("HEAD")
        except _NoHeadError:
            answer = self._ask("GET")
        with closing(answer):
            return self._announced(answer)

    def blocks(self, first: int, announced: Announced) -> Iterator[bytes]:
        validator = announced.version.partition(" ")[0]
        headers = {"Range": f"bytes={first}-", "If-Range": validator} if first and validator.startswith('"') else {}
        with closing(self._ask("GET", headers)) as answer:
            if self._announced(answer) != announced:
                raise ChangedError
            skipped = 0 if answer.status == http.client.PARTIAL_CONTENT else first
            while block := self._read(answer):
                yield block[skipped:]
                skipped = max(0, skipped - len(block))

    def _ask(self, method: str, headers: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the scheme is http or https
            self._url, method=method, headers={"Accept-Encoding": "identity", **(headers or {})}
        )
        try:
            return urllib.request.urlopen(request, timeout=_ANSWER_SECONDS)  # noqa: S310 - likewise
        except urllib.error.HTTPError as error:
            error.close()
            if method == "HEAD" and error.code in _WITHOUT_HEAD:
                raise _NoHeadError from None
            raise self._refused(error) from None
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", error)
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise WorkError(f"the certificate of {self._url} is not trusted: {cause.verify_message}") from None
            raise PassingError(f"nothing answers at its address{reason(error)}") from None
        except ValueError as error:
            raise InputError(f"invalid URL {self._url}{reason(error)}; expected https://host/file") from None

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        if error.code in (404, 410):
            return self._missing()
        if error.code in (401, 403, 407):
            return self._denied()
        if error.code in (412, 416):
            return ChangedError()
        answer = f"{error.code} {error.reason}".strip()
        return PassingError(answer) if error.code in _BUSY else InputError(f"{self._url} cannot be read: {answer}")

    def _read(self, answer: Any) -> bytes:
        try:
            return bytes(answer.read1(BLOCK_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise PassingError(f"the connection broke{reason(error)}") from None

    def _announced(self, answer: Any) -> Announced:
        headers: Message = answer.headers
        size = (headers["Content-Range"] or "").rpartition("/")[2] or headers["Content-Length"] or ""
        if not size.isdecimal():
            raise InputError(
                f"{self._url} does not announce its size, so that a cut would not be noticed; fetch the file, and give "
                "its path"
            )
        tag, time = headers["ETag"] or "", headers["Last-Modified"] or ""
        return Announced(size=int(size), version=f"{tag} {time}".strip(), settled=bool(tag) or _is_settled(headers))


class _NoHeadError(Exception):
    """The server refuses HEAD, perhaps not GET."""


def _is_settled(headers: Message) -> bool:
    """Return whether a change after this answer would have a later time; False if unknown."""
    try:
        times = [parsedate_to_datetime(headers[name]) for name in ("Date", "Last-Modified")]
        return (times[0] - times[1]).total_seconds() >= _SETTLED_SECONDS
    except (TypeError, ValueError):
        return False


class _StoredObject(RemoteFile):
    """An object of a bucket."""

    def __init__(self, url: str):
        super().__init__(url)
        require("object-storage", f"reading {url}")
        import obstore  # noqa: PLC0415 - optional
        from obstore.store import from_url  # noqa: PLC0415 - likewise

        scheme, _, rest = url.partition("://")
        bucket, _, self._name = rest.partition("/")
        self._api: Any = obstore
        with self._errors():
            self._store: Any = from_url(f"{scheme}://{bucket}", retry_config=_RETRIES)  # type: ignore[call-overload]  # a TypedDict

    def announced(self) -> Announced:
        if not self._name:
            raise self._missing()
        with self._errors():
            return self._of(self._api.head(self._store, self._name))

    def blocks(self, first: int, announced: Announced) -> Iterator[bytes]:
        for start in range(first, announced.size, BLOCK_BYTES):
            end = min(start + BLOCK_BYTES, announced.size)
            with self._errors():
                answer = self._api.get(self._store, self._name, options={"range": (start, end)})
                if self._of(answer.meta) != announced:
                    raise ChangedError
                block = bytes(answer.bytes())
            yield block
            if len(block) < end - start:
                return

    def _of(self, meta: dict[str, Any]) -> Announced:
        versions = [meta["e_tag"], meta["version"]]
        version = " ".join(filter(None, versions)) or str(meta["last_modified"])
        return Announced(size=meta["size"], version=version, settled=any(versions))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        known = self._api.exceptions
        try:
            yield
        except FileNotFoundError:
            raise self._missing() from None
        except (known.PermissionDeniedError, known.UnauthenticatedError):
            raise self._denied() from None
        except (known.BaseError, OSError, ValueError) as error:
            if "InvalidRange" in str(error):  # it is shorter now
                raise ChangedError from None
            why = unreachable(str(error)) or f"the object store failed{reason(error)}; {TRY_AGAIN}"
            if why.endswith(TRY_AGAIN) or "nothing answers" in why:
                raise PassingError(why.removesuffix(f"; {TRY_AGAIN}")) from None
            raise WorkError(f"{self._url} cannot be read: {why}") from None


class _OtherFile(RemoteFile):
    """A file of any scheme that fsspec opens."""

    def __init__(self, url: str):
        super().__init__(url)
        require("object-storage", f"reading {url}")
        from fsspec.core import url_to_fs  # noqa: PLC0415 - optional

        try:
            self._files, self._path = url_to_fs(url)
        except ImportError as error:
            raise MissingExtraError(f"reading {url} needs a package that is not installed{reason(error)}") from None
        except ValueError as error:
            raise InputError(
                f"{url} cannot be opened{reason(error)}; give a path, or a URL that fsspec knows"
            ) from None

    def announced(self) -> Announced:
        with self._errors():
            self._files.invalidate_cache()
            info = self._files.info(self._path)
        if info.get("type") != "file" or not isinstance(info.get("size"), int):
            raise self._missing()
        version = " ".join(str(info[name]) for name in _VERSIONS if info.get(name))
        return Announced(size=info["size"], version=version, settled=bool(version))

    def blocks(self, first: int, announced: Announced) -> Iterator[bytes]:
        with self._errors(), self._files.open(self._path, "rb") as file:
            file.seek(first)
            while block := file.read(BLOCK_BYTES):
                yield block
        if self.announced() != announced:
            raise ChangedError

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (EncashError, ChangedError, GeneratorExit, MemoryError):
            raise
        except (FileNotFoundError, IsADirectoryError):
            raise self._missing() from None
        except PermissionError:
            raise self._denied() from None
        except Exception as error:  # noqa: BLE001 - every protocol has errors of its own
            raise PassingError(f"its server failed{reason(error)}") from None
