"""The layers of the reference transformer: the guide's own module, computed by the same functions on every device."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from encash.encoders.checkpoint import Layout
from encash.encoders.torch.model import ReferenceTransformer
from encash.encoders.torch.transformer import Transformer
from tests.encoders.checkpoints import SeedModel


def layout(hidden=16, heads=4, layers=2, bins=0, dropout=0.0):
    mode = "classification" if bins else "regression"
    return Layout(
        num_features=5,
        hidden_dim=hidden,
        num_layers=layers,
        num_heads=heads,
        pred_mode=mode,
        num_bins=bins,
        dropout=dropout,
    )


def both(sizes, seed=0):
    """The guide's module with lively weights, and ours with the same."""
    torch.manual_seed(seed)
    theirs = SeedModel(
        5,
        hidden_dim=sizes.hidden_dim,
        num_layers=sizes.num_layers,
        num_heads=sizes.num_heads,
        dropout=sizes.dropout,
        pred_mode=sizes.pred_mode,
        bins=sizes.num_bins,
    )
    for weight in theirs.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    ours = ReferenceTransformer(sizes)
    ours.load_state_dict(theirs.state_dict())
    return theirs.eval().requires_grad_(False), ours.eval().requires_grad_(False)


@settings(max_examples=40)
@given(
    size=st.integers(1, 24),
    heads=st.integers(1, 8),
    layers=st.integers(1, 3),
    lookback=st.sampled_from([1, 2, 5, 20, 60, 131]),
    count=st.integers(1, 9),
    bins=st.sampled_from([0, 0, 2, 100]),
    seed=st.integers(0, 9),
)
def test_the_model_is_the_guides_own(size, heads, layers, lookback, count, bins, seed):
    """For every layout, the states and the outputs of both heads are those of torch's module to 1e-6 on a CPU."""
    theirs, ours = both(layout(size * heads, heads, layers, bins), seed)
    windows = torch.randn(count, lookback, 5)
    with torch.inference_mode():
        expected = theirs(windows)
        found = ours.states(windows), *ours(windows)
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).abs().max()) <= 1e-6 * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize(("hidden", "heads", "lookback"), [(64, 4, 60), (96, 4, 6), (256, 8, 20)])
def test_vectors_of_earlier_versions_keep_their_bits_on_a_cpu(hidden, heads, lookback):
    """An even number of heads: the bits of torch's own module, which earlier versions of encash called."""
    theirs, ours = both(layout(hidden, heads))
    rows = torch.randn(7, lookback, hidden)
    with torch.inference_mode():
        np.testing.assert_array_equal(ours.transformer(rows), theirs.transformer(rows))


def test_new_weights_are_those_of_torchs_module():
    """The same seed gives the same weights, under the same names, as torch's module; so a training starts alike."""
    torch.manual_seed(3)
    layer = nn.TransformerEncoderLayer(16, 4, 64, 0.1, "gelu", batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).state_dict()
    torch.manual_seed(3)
    ours = Transformer(layout()).state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        np.testing.assert_array_equal(weight, theirs[name], err_msg=name)


def test_training_computes_what_torchs_module_does():
    """Outputs and gradients agree in training mode, where torch's module takes a different way."""
    sizes = layout(hidden=32)
    theirs, ours = (model.train().requires_grad_(True) for model in both(sizes))
    rows = torch.randn(5, 7, 32)
    expected, found = theirs.transformer(rows), ours.transformer(rows)
    np.testing.assert_allclose(found.detach(), expected.detach(), atol=1e-6)
    for output in (expected, found):
        output.square().sum().backward()
    gradients = dict(ours.transformer.named_parameters())
    for name, weight in theirs.transformer.named_parameters():
        largest = float(weight.grad.abs().max())
        np.testing.assert_allclose(gradients[name].grad, weight.grad, atol=2e-5 * largest, err_msg=name)


@pytest.mark.parametrize("rate", [0.15, 0.5])
def test_dropout_acts_in_training_only(rate):
    """In training the output is random; in evaluation it is not, and gradients flow there too."""
    model = Transformer(layout(dropout=rate))
    rows = torch.randn(3, 6, 16)
    model.train()
    assert not torch.equal(model(rows), model(rows))
    model.eval()
    assert torch.equal(model(rows), model(rows))
    model(rows).sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())


class _Calls(TorchDispatchMode):
    """Records the calls of torch's kernels."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls.append((str(func), kwargs or {}))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_gelu_is_that_of_erf_on_every_device(device):
    """No fused layer, whose GELU is that of tanh on CUDA: each layer calls GELU without an approximation."""
    model = ReferenceTransformer(layout()).to(device).eval()
    with torch.inference_mode(), _Calls() as recorded:
        model(torch.zeros(2, 6, 5, device=device))
    names = [name for name, _ in recorded.calls]
    gelus = [kwargs for name, kwargs in recorded.calls if name.startswith("aten.gelu")]
    assert len(gelus) == 1 + 2 + 2, "projection, layers and heads"
    assert all(kwargs.get("approximate", "none") == "none" for kwargs in gelus)
    assert not [name for name in names if "transformer_encoder_layer" in name or "addmm_activation" in name]
