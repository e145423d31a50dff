"""What the tests of the encoders share."""

import importlib.util
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """One core for torch: tests run beside each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def seed():
    """The module that writes checkpoints as the seed's own training does."""
    spec = importlib.util.spec_from_file_location("seed_checkpoints", Path(__file__).with_name("checkpoints.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
