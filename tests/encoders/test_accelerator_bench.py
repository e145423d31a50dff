"""The benchmark of accelerators: known peaks, work per entry, and a rehearsal in which a CPU stands in."""

import pytest
import torch

from benchmarks import bench_accelerator as bench
from benchmarks.first_gpu_day import Day
from encash.encoders.checkpoint import Layout
from encash.encoders.torch import TorchEncoder


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("Tesla T4", 65),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA GeForce RTX 3090", 71),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 3080 Ti", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("A card of tomorrow", None),
    ],
)
def test_a_card_has_the_peak_of_its_own_name(name, teraflops):
    """Words of the name decide, the more specific first; a variant with other figures is unknown."""
    assert bench.peak_flops(name) == (None if teraflops is None else teraflops * 1e12)


def test_an_entry_of_the_100m_model_takes_15_gflop():
    """60 sessions, 10 layers of 24 · 1024² operations each and attention."""
    layout = Layout(num_features=64, pred_mode="regression", **bench.MODELS["100m"])
    assert round(bench.flop_per_entry(layout) / 1e9, 2) == 15.25


def test_without_an_accelerator_the_benchmark_is_skipped_by_name(monkeypatch):
    """One row without a figure."""
    monkeypatch.setattr(bench, "choose_device", lambda name: torch.device("cpu"))
    (row,) = bench.run()
    assert row["figure"] is None
    assert "no accelerator" in row["what"]


@pytest.fixture
def day(tmp_path):
    """A rehearsal with an encoder whose batch is small."""
    day = Day(tmp_path, torch.device("cpu"), "tiny")
    day.batch = 4
    day._encoder = bench.load_on(day.path, day.device, batch_size=4)
    return day


def test_the_part_about_memory_halves_its_batch(day):
    """4,096 windows do not fit: three notices later, 512 do."""
    found = day.memory()
    assert (found["from"], found["to"], found["notices"]) == (4096, 512, 3)


def test_the_part_about_verification_passes_for_the_model_and_fails_for_another(day):
    """Both directions, with no difference that the tolerance would have to cover."""
    found = day.verify()
    assert len(found) == 2
    assert all(difference < 1e-4 for difference in found.values())


def test_a_part_that_finds_a_different_model_where_it_expects_the_same_fails(day, monkeypatch):
    """The check of the rehearsal can fail: a device that computes something else is found."""
    original = TorchEncoder.joined_outputs
    monkeypatch.setattr(TorchEncoder, "joined_outputs", lambda self, windows: 1.1 * original(self, windows))
    with pytest.raises(AssertionError, match="built by the cpu, checked by the device"):
        day.verify()
