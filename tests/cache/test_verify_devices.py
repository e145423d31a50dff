"""Verification of a cache on a different kind of device, emulated by its order of sums and its rounding of factors."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from encash.cache import open_cache
from encash.encoders.checkpoint import Layout
from encash.encoders.options import LoadOptions
from encash.encoders.torch import load_torch_encoder, new_model, save_checkpoint
from encash.panel import toy_panel

LAYOUT = Layout(num_features=8, hidden_dim=256, num_layers=4, num_heads=8, pred_mode="regression")
SAMPLE = 24


class _Products(TorchFunctionMode):
    """Replaces every matrix product within a block."""

    def __init__(self, product: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        self.product = product

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.matmul:
            return self._product(*args)
        if func is functional.linear:
            rows, weight, *bias = args
            result = self._product(rows, weight.t())
            return result + bias[0] if bias and bias[0] is not None else result
        return func(*args, **(kwargs or {}))

    def _product(self, left, right):
        with torch._C.DisableTorchFunction():
            return self.product(left, right)


def reordered(left, right):
    """Sums in a different order."""
    order = torch.randperm(left.shape[-1], generator=torch.Generator().manual_seed(1))
    return left[..., order] @ right[..., order, :]


def in_blocks(left, right):
    """Sums of 32 factors each, then their sum, as a matrix unit of a GPU computes them."""
    size = left.shape[-1]
    return sum(left[..., at : at + 32] @ right[..., at : at + 32, :] for at in range(0, size, 32))


def in_tf32(left, right):
    """Factors of 10 bits after the point."""
    return _rounded(left) @ _rounded(right)


def _rounded(values):
    values = values.contiguous()
    return ((values.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def on_device(encoder, product):
    """The encoder as a device with these products computes it."""
    states = encoder._states

    def run(windows):
        with _Products(product):
            return states(windows)

    encoder._states = run
    return encoder


@pytest.fixture(scope="module")
def panel():
    return toy_panel(seed=1, num_tickers=6, num_sessions=80)


def load(folder, panel, precision="float32", train=0.0):
    """The encoder of a model, or of the model after one more training step with a learning rate."""
    layout = replace(LAYOUT, num_features=panel.num_features)
    model = new_model(layout, 0)
    if train:
        optimizer = torch.optim.AdamW(model.parameters(), lr=train)
        model(torch.randn(4, 20, layout.num_features, generator=torch.Generator().manual_seed(0)))[0].sum().backward()
        optimizer.step()
    path = folder / f"{train}.pt"
    save_checkpoint(path, model, {"config": {"seq_len": 20}})
    return load_torch_encoder(path, LoadOptions(device="cpu", precision=precision))


def verify(folder, panel, encoder, precision="float32"):
    cache = open_cache(folder / f"{precision}.lance")
    if not cache.exists:
        cache.build(panel, load(folder, panel, precision), start=panel.sessions[-5])
    return cache.verify(panel, encoder, sample=SAMPLE)


@pytest.mark.parametrize("product", [reordered, in_blocks])
@pytest.mark.parametrize("precision", ["float32", "medium", "bfloat16"])
def test_a_different_device_verifies_the_same_model(tmp_path, panel, product, precision):
    """Sums in a different order change the last bits, in each precision by less than is tolerated."""
    report = verify(tmp_path, panel, on_device(load(tmp_path, panel, precision), product), precision)
    assert report.passed
    assert report.sampled == SAMPLE
    assert report.max_abs_diff > 0, "the device computes differently"


@pytest.mark.parametrize("precision", ["float32", "medium", "bfloat16"])
@pytest.mark.parametrize("product", [None, in_blocks])
def test_a_model_after_one_more_training_step_is_a_different_one(tmp_path, panel, product, precision):
    """On the same or a different device, every entry differs by more than a device explains."""
    other = load(tmp_path, panel, precision, train=1e-4)
    report = verify(tmp_path, panel, other if product is None else on_device(other, product), precision)
    assert not report.passed
    assert report.differing == SAMPLE


def test_a_device_that_rounds_factors_is_not_taken_for_one_that_does_not(tmp_path, panel):
    """TF32 products, which encash never asks for in float32, would be found."""
    report = verify(tmp_path, panel, on_device(load(tmp_path, panel), in_tf32))
    assert report.differing == SAMPLE
