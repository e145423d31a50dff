"""Devices by name, their 16-bit type, and equal cards; torch's modules are replaced where this machine has no card."""

from types import SimpleNamespace

import pytest
import torch

from encash.encoders.torch import devices
from encash.encoders.torch.devices import choose_device, equal_devices, free_memory, half_dtype
from encash.errors import InputError


@pytest.mark.parametrize(
    ("found", "chosen"), [(None, "cpu"), ("cuda", "cuda"), ("mps", "mps"), ("xpu", "xpu"), ("hpu", "cpu")]
)
def test_auto_takes_the_accelerator_of_the_machine(monkeypatch, found, chosen):
    """CUDA, MPS and XPU; any other kind of device that torch may have is not tried."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: found is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: found and SimpleNamespace(type=found))
    assert choose_device("auto").type == chosen


def test_a_device_that_is_not_there_is_refused():
    """One line that names it."""
    with pytest.raises(InputError, match="device 'mps:7' is not usable here"):
        choose_device("mps:7")


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 0), torch.float16), ((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)],
)
def test_cards_without_bfloat16_take_float16(monkeypatch, capability, expected):
    """Compute capability 8.0 is the first with products in bfloat16."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert half_dtype(torch.device("cuda", 0)) == expected
    assert half_dtype(torch.device("cpu")) == torch.bfloat16


@pytest.mark.parametrize(
    ("names", "current", "others"),
    [
        (["A"], 0, ()),
        (["A", "A", "A"], 0, (1, 2)),
        (["A", "A", "A"], 1, (0, 2)),
        (["A", "B", "A"], 0, (2,)),
        (["A", "B", "A"], 1, ()),
    ],
)
def test_only_equal_cards_share_the_work(monkeypatch, names, current, others):
    """The same name as the current card; none if the device was named with its number."""
    library = SimpleNamespace(
        device_count=lambda: len(names),
        current_device=lambda: current,
        get_device_properties=lambda number: SimpleNamespace(name=names[number]),
    )
    monkeypatch.setattr(devices, "_library", lambda device: library)
    assert equal_devices(torch.device("cuda")) == tuple(torch.device("cuda", number) for number in others)
    assert equal_devices(torch.device("cuda", 0)) == ()
    assert equal_devices(torch.device("cpu")) == ()


def test_memory_that_torch_keeps_counts_as_free(monkeypatch):
    """Free on the card, plus reserved, minus allocated; None for a device that does not say."""
    library = SimpleNamespace(
        mem_get_info=lambda device: (100, 1000), memory_reserved=lambda device: 50, memory_allocated=lambda device: 20
    )
    monkeypatch.setattr(devices, "_library", lambda device: library)
    assert free_memory(torch.device("cuda", 0)) == 130
    assert free_memory(torch.device("cpu")) is None
