"""What the tests of the encoders share."""

from types import ModuleType

import pytest
import torch

from tests.encoders import checkpoints


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """One core for torch: tests run beside each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def seed() -> ModuleType:
    """The module that writes checkpoints as the seed's own training does."""
    return checkpoints
