"""Isolation from the clusters of the machine that runs the tests."""

from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_ray() -> Iterator[None]:
    """Each test that uses Ray starts its own cluster: no address of the environment or of a file is joined."""
    with (
        TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder,  # short: it holds sockets
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_ADDRESS", "local")
        patch.setenv("RAY_TMPDIR", folder)
        yield
