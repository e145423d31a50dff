"""One thread per process of the tests, no limit of time, and isolation from clusters of the machine that runs them."""

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
