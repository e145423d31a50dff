"""Training on an accelerator, with a CPU that stands in: rows on the device, half precision, no step that waits."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from encash.encoders.checkpoint import HORIZONS, Layout
from encash.encoders.torch import ReferenceTransformer, read_checkpoint
from encash.panel import toy_panel
from encash.training import TrainConfig, cost, fit, start, train
from encash.training.samples import split_by_date


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def panel():
    return toy_panel(0, 8, 400, odd=True, signal_ic=0.4)


CONFIG = TrainConfig(train_end="2021-03-31", lookback=6, epochs=1, samples_per_epoch=256, validation_samples=200)


@pytest.fixture
def trained(panel, tmp_path, monkeypatch):
    """Trains with every epoch kept; returns weights and report."""
    monkeypatch.setattr(fit, "_is_better", lambda *_: True)

    def run(name, config=CONFIG):
        report = train(panel, tmp_path / name, config=config)
        return read_checkpoint(tmp_path / name).weights, report

    return run


def test_rows_on_the_device_train_the_same_weights(trained, monkeypatch):
    """Windows gathered on the device or cut on the host: the same bytes."""
    before, _ = trained("host.pt")
    monkeypatch.setattr(fit, "_rows_on_device", lambda split, device: torch.from_numpy(split.rows.values))
    after, _ = trained("device.pt")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_rows_go_to_a_device_only_if_they_leave_it_room(panel, monkeypatch):
    """At most a quarter of the free memory; none if the device does not say how much it has, like a CPU."""
    split = split_by_date(panel, CONFIG, HORIZONS)
    for free, there in ((None, False), (3 * split.rows.values.nbytes, False), (5 * split.rows.values.nbytes, True)):
        monkeypatch.setattr(fit, "free_memory", lambda device, free=free: free)
        rows = fit._rows_on_device(split, torch.device("cpu"))
        assert (rows is not None) == there


def run_of(panel, config=CONFIG):
    """A run on the start model."""
    split = split_by_date(panel, config, HORIZONS)
    layout = Layout(num_features=panel.num_features, hidden_dim=32, num_layers=1, num_heads=4, pred_mode="regression")
    return fit._Run(ReferenceTransformer(layout), split, config, None)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_learns_and_the_result_says_so(panel, half, tmp_path, monkeypatch):
    """Products in 16 bits, with scaled gradients in float16: losses near those of float32, and a sentence about
    repeated runs."""
    losses = {}
    for dtype in (None, half):
        torch.manual_seed(0)
        run = run_of(panel)
        run._half = dtype
        run._scaler = torch.amp.GradScaler("cpu", enabled=dtype == torch.float16)
        losses[dtype] = run._epoch(1, fit._AveragedWeights(run.model))
        assert run.how == (
            ""
            if dtype is None
            else f"; trained on cpu in {str(dtype)[6:]}: a repeated run agrees closely, not bit by bit"
        )
    assert losses[half] == pytest.approx(losses[None], rel=0.02)
    assert losses[half] != losses[None]
    monkeypatch.setattr(fit._Run, "how", "; said")
    assert train(panel, tmp_path / "m.pt", config=CONFIG).result.endswith("; said")


def test_no_step_reads_a_value_of_the_device(panel, monkeypatch):
    """Within the steps of an epoch nothing is copied to the host: no item, no cpu, no mask that has to be counted."""
    run, read = run_of(panel, replace(CONFIG, samples_per_epoch=512)), list[str]()

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            name = func._schema.name
            if name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::item"):
                read.append(name)
            if name == "aten::index" and any(at is not None and at.dtype == torch.bool for at in args[1]):
                read.append("a mask")
            return func(*args, **(kwargs or {}))

    weights = fit._AveragedWeights(run.model)
    samples = list(run._batches(1))
    with Watch():
        for batch in samples:
            forecast, confidence = run._losses(batch)
            (forecast + confidence).backward()
            torch.nn.utils.clip_grad_norm_(run.model.parameters(), fit.GRADIENT_NORM)
            weights.update(run.model)
    assert len(samples) == 4
    assert read == []


def test_averages_are_those_of_torch(panel):
    """The same weights as AveragedModel's, bit for bit."""
    run = run_of(panel)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(fit.AVERAGING)
    theirs = torch.optim.swa_utils.AveragedModel(run.model, multi_avg_fn=average)
    ours = fit._AveragedWeights(run.model)
    for _ in range(3):
        with torch.no_grad():
            for weight in run.model.parameters():
                weight.add_(torch.randn_like(weight))
        theirs.update_parameters(run.model)
        ours.update(run.model)
    pairs = zip(ours.module.parameters(), theirs.module.parameters(), strict=True)
    assert all(torch.equal(our, their) for our, their in pairs)
    assert not np.array_equal(next(ours.module.parameters()).detach(), next(run.model.parameters()).detach())


class OnMps(torch.Tensor):
    """A tensor of a device without float64, which its copy on the CPU has."""

    def double(self):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")

    def cpu(self, *_):
        return self.as_subclass(torch.Tensor)


def test_a_device_needs_no_float64(panel):
    """The heads are fitted in float64 on the host: the same weights."""
    random, fitted = np.random.default_rng(0), []
    means = torch.from_numpy(random.standard_normal((50, 32), dtype=np.float32))
    forecasts, platt = random.standard_normal((50, len(HORIZONS))), np.ones((len(HORIZONS), 2))
    for kind in (torch.Tensor, OnMps):
        torch.manual_seed(0)
        model = run_of(panel).model
        start.fit_heads(model, 1, means.as_subclass(kind), forecasts, platt)
        fitted.append(model.pred_head[3].weight.detach())
    assert torch.equal(*fitted)


@pytest.mark.parametrize(("kind", "pinned"), [("cuda", True), ("mps", False), ("xpu", False)])
def test_only_pinned_memory_is_copied_while_the_host_goes_on(panel, monkeypatch, kind, pinned):
    """Other memory may be reused before the copy has read it."""
    run, copied = run_of(panel), list[str | bool]()
    run.device = torch.device(kind)

    def pin_memory(tensor):
        copied.append("pinned")
        return tensor

    def to(tensor, device, non_blocking=False):
        copied.append(non_blocking)
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.Tensor, "to", to)
    run._tensor(np.zeros(3, dtype=np.float32))
    assert copied == (["pinned", True] if pinned else [False])


def test_the_cost_of_a_training_includes_the_work_of_the_device(tmp_path, monkeypatch):
    """By a clock that goes on only while the device is waited for: two seconds for each step."""
    now = [0.0]
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(cost, "synchronize", lambda device: now.__setitem__(0, now[0] + 2.0))
    config = replace(CONFIG, preset="tiny", device="cpu")
    assert cost.measure_training(config, 3, tmp_path / "m.pt") == min(8, config.sizes.batch_size) / 2.0
