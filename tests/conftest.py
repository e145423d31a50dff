"""One thread per process of the tests, no time limit, and isolation from the clusters and caches of this machine."""

import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # a busy machine is no defect
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes run tests: more threads than cores wait for each other


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


@pytest.fixture(scope="session", autouse=True)
def own_copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copies of files at URLs are not those of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENCASH_COPIES", str(tmp_path_factory.mktemp("copies")))
        yield
