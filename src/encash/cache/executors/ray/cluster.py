"""The Ray cluster that a build runs on: the one of the process, of the environment, or a new one on this machine."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import ray

from encash.cache.executors.ray.demand import Node, amounts
from encash.errors import InputError, WorkError, reason

ADDRESS = "RAY_ADDRESS"
PROBE_SECONDS = 5.0
"""How long a cluster may take to answer before it counts as gone."""
_LOCAL = "local"
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""Opening bytes of a gRPC client (RFC 9113, section 3.4), with empty settings; a server answers with its settings."""
_SETTINGS = 4


class Cluster:
    """A connection to Ray.

    Takes the first of these: the Ray that this process is connected to; the cluster of `RAY_ADDRESS`; the one that
    ``ray start`` noted on this machine; a new one on this machine, unless `RAY_ADDRESS` is ``local``, which starts a
    new one in any case. A cluster that does not answer is refused within seconds; Ray itself would wait for minutes.
    """

    def __init__(self) -> None:
        """Connect.

        Raises:
            InputError: the cluster does not answer, or Ray does not join it.
            WorkError: a new cluster does not start.
        """
        self._owned = not ray.is_initialized()
        self.started = False
        """True if a new cluster was started on this machine."""
        if self._owned:
            address, source = _find_address()
            self.started = address == _LOCAL
            _check_answer(address, source)
            _connect(address, source)

    @property
    def address(self) -> str:
        """Host and port."""
        return str(ray.get_runtime_context().gcs_address)

    def nodes(self) -> list[Node]:
        """Return the nodes that are alive."""
        resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return [Node(cpus=each.get("CPU", 0.0), gpus=each.get("GPU", 0.0)) for each in resources]

    def free(self) -> str:
        """Return the numbers of free CPUs and GPUs as text."""
        free = ray.available_resources()
        gpus = f"{free.get('GPU', 0.0):.4g} GPUs and " if any(node.gpus for node in self.nodes()) else ""
        return f"{gpus}{amounts(cpus=free.get('CPU', 0.0), gpus=0)}"

    def __str__(self) -> str:
        nodes = self.nodes()
        count = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
        total = amounts(cpus=sum(node.cpus for node in nodes), gpus=sum(node.gpus for node in nodes))
        return f"{self.address}{', started on this machine' if self.started else ''} ({count}, {total})"

    def close(self) -> None:
        """Disconnect; ends a cluster that was started here. A connection that was there before stays."""
        if self._owned:
            ray.shutdown()


def _find_address() -> tuple[str, str]:
    """Return the address of the cluster to join, or ``local``, and a description of its source."""
    if (address := os.environ.get(ADDRESS, "")) not in ("", "auto"):
        return address, ADDRESS
    noted = _temporary_folder() / "ray" / "ray_current_cluster"
    try:
        return noted.read_text(encoding="utf-8").strip(), str(noted)
    except FileNotFoundError:
        return address or _LOCAL, ADDRESS
    except OSError as error:
        raise InputError(f"cannot read {noted}{reason(error)}; set {ADDRESS} to a cluster, or to {_LOCAL}") from None


def _temporary_folder() -> Path:
    """Return the folder that Ray takes, which is Python's only on Windows."""
    if (given := os.environ.get("RAY_TMPDIR")) or (sys.platform == "linux" and (given := os.environ.get("TMPDIR"))):
        return Path(given)
    return Path(tempfile.gettempdir() if sys.platform == "win32" else "/tmp")  # noqa: S108  Ray's own folder


def _check_answer(address: str, source: str) -> None:
    """Refuse a cluster that does not answer.

    Raises:
        InputError: no answer, or not an address.
    """
    if address in (_LOCAL, "auto"):
        return
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise InputError(f"invalid {source} {address!r}: expected HOST:PORT, ray://HOST:PORT, auto or {_LOCAL}")
    if not _answers(host, port):
        raise InputError(
            f"no Ray cluster answers at {address} (named by {source}); start it, or correct or remove {source}, or set "
            f"{ADDRESS}={_LOCAL} to run on this machine"
        )


def _answers(host: str, port: int) -> bool:
    """Return True if a gRPC server is at an address, or, if Ray uses TLS, any server."""
    try:
        with socket.create_connection((host, port), timeout=PROBE_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return True
            connection.sendall(_HTTP2_PREFACE)
            frame = connection.recv(9, socket.MSG_WAITALL)  # its length (3 bytes), type, flags and stream
            return len(frame) == 9 and frame[3] == _SETTINGS
    except OSError:
        return False


def _connect(address: str, source: str) -> None:
    """Join a cluster. Ray takes its token by itself only if it finds the cluster of this machine itself."""
    new = {"include_dashboard": False} if address == _LOCAL else {}
    try:
        with warnings.catch_warnings():
            # Ray's forked process at once executes a different program, which does not use lance.
            warnings.filterwarnings("ignore", message="lance is not fork-safe")
            ray.init(
                address=address if source == ADDRESS else "auto", log_to_driver=False, configure_logging=False, **new
            )
    except Exception as error:  # noqa: BLE001  Ray raises plain exceptions too
        if address == _LOCAL:
            raise WorkError(
                f"Ray does not start on this machine{reason(error)}; try again, or use --executor local"
            ) from None
        raise InputError(
            f"Ray does not join {address}{reason(error)}; check that this machine is a node of the cluster, with the "
            f"same versions of Ray and Python, and RAY_AUTH_MODE=token if it has a token; or set {ADDRESS}={_LOCAL}"
        ) from None
