"""What the tests of the encoders share."""

from types import ModuleType

import pytest
import torch

from encash.encoders.torch.precision import offered
from tests.encoders import checkpoints

needs_int8 = pytest.mark.skipif(
    "int8" not in offered("cpu"),
    reason="int8 is not available here: this CPU or build of torch has no exact 8-bit products",
)
"""For tests that encode in int8, which encash offers only where torch's integer products are exact."""


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """One core for torch: tests run beside each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def seed() -> ModuleType:
    """The module that writes checkpoints as the seed's own training does."""
    return checkpoints
