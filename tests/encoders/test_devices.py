"""Devices by name, their 16-bit type, and equal cards; torch's modules are replaced where this machine has no card."""

from types import SimpleNamespace

import pytest
import torch

from encash.encoders.options import GPU_SHARE
from encash.encoders.torch import devices
from encash.encoders.torch.devices import (
    choose_device,
    device_names,
    equal_devices,
    free_memory,
    half_dtype,
    is_memory_error,
    least_free_memory,
    synchronize,
)
from encash.errors import InputError


@pytest.mark.parametrize(
    ("found", "chosen"), [(None, "cpu"), ("cuda", "cuda"), ("mps", "mps"), ("xpu", "xpu"), ("hpu", "cpu")]
)
def test_auto_takes_the_accelerator_of_the_machine(monkeypatch, found, chosen):
    """CUDA, MPS and XPU; any other kind of device that torch may have is not tried."""
    find(monkeypatch, found)
    monkeypatch.setattr(devices, "_computing", torch.device)
    assert choose_device("auto").type == chosen


def find(monkeypatch, kind):
    """Let torch find an accelerator on this machine."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: kind and SimpleNamespace(type=kind))


NO_KERNEL = torch.AcceleratorError(
    "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be reported later"
)


def fail(monkeypatch, error):
    """Let every kernel of a card fail with an error."""

    def ones(*_, device):
        raise error

    monkeypatch.setattr(torch, "ones", ones)


def test_a_card_for_which_torch_has_no_kernels_is_not_taken(monkeypatch):
    """Torch lists it as available: auto takes the CPU, the list of devices says why, and its name is refused."""
    card = SimpleNamespace(name="GTX 1080", total_memory=8 * 2**30)
    library = SimpleNamespace(device_count=lambda: 1, get_device_properties=lambda number: card)
    monkeypatch.setattr(devices, "_library", lambda device: library)
    find(monkeypatch, "cuda")
    fail(monkeypatch, NO_KERNEL)
    assert choose_device("auto") == torch.device("cpu")
    assert device_names()[0].startswith("cpu, ")
    assert device_names()[1].startswith("cuda:0, GTX 1080, 8.0 GiB: does not compute (CUDA error: no kernel image")
    with pytest.raises(InputError, match=r"'cuda' is not usable here.*no kernel image") as caught:
        choose_device("cuda")
    assert "\n" not in str(caught.value)


def test_auto_does_not_leave_a_card_that_others_use_for_the_cpu(monkeypatch):
    """It would take a hundred times as long; one line says so instead."""
    find(monkeypatch, "cuda")
    fail(monkeypatch, torch.AcceleratorError("CUDA error: out of memory"))
    with pytest.raises(InputError, match=r"cuda is not usable now.*out of memory.*give cpu"):
        choose_device("auto")


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("MPS backend out of memory (MPS allocated: 9.00 GB)", True),
        ("XPU out of memory. Tried to allocate 2.00 GiB", True),
        ("level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_an_error_of_memory_is_known_by_its_text(text, memory):
    """Of torch's allocators, of CUDA's libraries and of Intel's driver."""
    assert is_memory_error(RuntimeError(text)) == memory


def test_a_wait_is_for_the_device_that_is_named(monkeypatch):
    """Torch's own default is the current device; MPS has only one."""
    waited = []
    for kind in ("cuda", "xpu"):
        monkeypatch.setattr(getattr(torch, kind), "synchronize", lambda device=None: waited.append(device))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    for name in ("cuda:1", "xpu:2", "mps", "cpu"):
        synchronize(torch.device(name))
    assert waited == [torch.device("cuda:1"), torch.device("xpu:2"), "mps"]


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


def test_a_process_that_shares_a_card_has_its_share(monkeypatch):
    """The allocator is limited when the device is chosen, and no more than the share counts as free."""
    limits = []
    library = SimpleNamespace(
        mem_get_info=lambda device: (900, 1000),
        memory_reserved=lambda device: 50,
        memory_allocated=lambda device: 20,
        set_per_process_memory_fraction=lambda share, device: limits.append((share, device)),
    )
    card = torch.device("cuda", 0)
    monkeypatch.setattr(devices, "_library", lambda device: library)
    monkeypatch.setattr(torch, "ones", lambda size, device: torch.zeros(size))
    assert choose_device("cuda:0") == card
    assert (limits, free_memory(card)) == ([], 930)
    monkeypatch.setenv(GPU_SHARE, "0.5")
    assert choose_device("cuda:0") == card
    assert (limits, free_memory(card)) == ([(0.5, card)], 480)
    choose_device("cpu")
    assert len(limits) == 1
    for odd in ("half", "0", "nan", "2"):
        monkeypatch.setenv(GPU_SHARE, odd)
        with pytest.raises(InputError, match=rf"{GPU_SHARE} is '{odd}'; expected a fraction"):
            choose_device("cuda:0")


def test_a_gpu_that_does_not_say_what_is_free_has_no_figure(monkeypatch):
    """Torch raises on a GPU that is part of an Intel processor."""

    def mem_get_info(device):
        raise RuntimeError("The device (Intel(R) Graphics) doesn't support querying the available free memory.")

    monkeypatch.setattr(devices, "_library", lambda device: SimpleNamespace(mem_get_info=mem_get_info))
    assert free_memory(torch.device("xpu", 0)) is None
    assert least_free_memory(torch.device("xpu", 0)) is None


class CachingCard:
    """The memory of a card as torch's allocator keeps it: what a call gave back stays reserved, and counts as free."""

    def __init__(self, total):
        self.total, self.reserved, self.allocated, self.peak = total, 0, 0, 0

    def call(self, size):
        """Take memory and give it back."""
        if size > self.total:
            raise MemoryError
        self.peak = max(self.peak, self.allocated + size)
        self.reserved = max(self.reserved, self.peak)

    def mem_get_info(self, device):
        return self.total - self.reserved, self.total

    def memory_reserved(self, device):
        return self.reserved

    def memory_allocated(self, device):
        return self.allocated

    def max_memory_allocated(self, device):
        return self.peak

    def reset_peak_memory_stats(self, device):
        self.peak = self.allocated


def test_the_memory_of_a_call_is_seen_after_it_was_given_back(monkeypatch):
    """The free memory is the same before and after a call; only the least since the last question says what it took."""
    card, device = CachingCard(1000), torch.device("cuda", 0)
    monkeypatch.setattr(devices, "_library", lambda device: card)
    card.call(700)
    assert free_memory(device) == 1000
    assert (least_free_memory(device), least_free_memory(device)) == (300, 1000)
    card.call(200)
    card.call(100)
    assert (least_free_memory(device), least_free_memory(device)) == (800, 1000)
