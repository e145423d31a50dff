"""The first day on a machine with an accelerator: measure and check all that a CPU cannot show, in a few minutes.

``make bench-gpu`` runs it with the 100m model on the accelerator of this machine. ``--device cpu --model tiny`` is a
rehearsal: a CPU stands in. Each part prints what it found; a part that fails does not stop the others. The exit code is
1 if one failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks import bench_accelerator as bench
from encash.cache import Selection, open_cache
from encash.encoders import load_encoder
from encash.encoders.torch import TorchEncoder, choose_device
from encash.encoders.torch.devices import free_memory, half_dtype
from encash.encoders.torch.precision import offered
from encash.errors import MismatchError
from encash.panel import toy_panel
from encash.testing import write_checkpoint
from encash.training import PRESETS, TrainConfig, train

Found = dict[str, Any]
TRAINED_STEPS = {"100m": 40, "tiny": 8}


class Day:
    """The parts, in order, on one device."""

    def __init__(self, folder: Path, device: torch.device, size: str):
        self.folder, self.device, self.size = folder, device, size
        self.path = self._checkpoint("model.pt")
        self.batch = 256 if device.type != "cpu" else 32
        self._encoder: TorchEncoder | None = None

    def parts(self) -> dict[str, Callable[[], Found]]:
        """The parts by name."""
        return {
            "device": self.describe,
            "verify": self.verify,
            "choice": self.choice,
            "precisions": self.precisions,
            "rate": self.rate,
            "starvation": self.starvation,
            "memory": self.memory,
            "training": self.training,
        }

    def describe(self) -> Found:
        """The card, its memory, and the limits that the other parts are compared with."""
        name = bench.card(self.device)
        return {
            "card": name,
            "torch": torch.__version__,
            "free_gb": (free_memory(self.device) or 0) / 1e9,
            "half": str(half_dtype(self.device)),
            "peak_tflops": (bench.peak_flops(name) or 0) / 1e12,
            "products_tflops": bench.product_flops(self.device, self.encoder.model.layout) / 1e12,
        }

    def verify(self) -> Found:
        """A cache that the CPU built is verified on the device, and the other way round; a different model fails."""
        path, other = (self._checkpoint(name, bench.MODELS["tiny"], seed) for name, seed in (("a.pt", 0), ("b.pt", 1)))
        panel, differences = bench.random_panel(12, bench.LOOKBACK + 9), {}
        makers: dict[str, Callable[[Path], Any]] = {
            "cpu": lambda path: load_encoder(path, device="cpu", precision="float32"),
            "device": lambda path: bench.load_on(path, self.device, precision="float32", batch_size=self.batch),
        }
        for builder, checker in (("cpu", "device"), ("device", "cpu")):
            cache = open_cache(self.folder / f"by-{builder}.lance")
            cache.build(panel, makers[builder](path), Selection())
            report = cache.verify(panel, makers[checker](path), sample="all")
            assert report.passed, f"built by the {builder}, checked by the {checker}: {report.findings}"
            assert report.sampled == cache.index().entries > 0
            differences[f"{builder} → {checker}, largest difference"] = report.max_abs_diff
            try:
                passed = cache.verify(panel, makers[checker](other), sample="all").passed
            except MismatchError:
                passed = False
            assert not passed, "a different model passed"
        return differences

    def choice(self) -> Found:
        """Precision, batch and graphs as chosen at load, and the time that this took."""
        began = time.perf_counter()
        self._encoder = None
        encoder = self.encoder
        return {"choice": encoder.choice, "seconds": time.perf_counter() - began, "graphs": sorted(encoder.graphs)}

    def precisions(self) -> Found:
        """Entries per second in each precision, and the largest difference from the CPU in float32."""
        rows, starts = np.random.default_rng(1).standard_normal((80, bench.FEATURES), dtype=np.float32), np.arange(20)
        reference = load_encoder(self.path, device="cpu", precision="float32", batch_size=4)
        expected = np.concatenate([part.embedding for part in reference.encode_rows(rows, starts)])
        found: Found = {}
        for precision in offered(self.device.type):
            encoder = bench.load_on(self.path, self.device, precision=precision, batch_size=self.batch)
            embedding = np.concatenate([part.embedding for part in encoder.encode_rows(rows, starts)])
            difference = float(np.abs(embedding - expected).max() / np.abs(expected).max())
            assert difference < (1e-4 if precision == "float32" else 5e-2), f"{precision}: {difference:.2g} away"
            found[precision] = f"{bench.bare_rate(encoder, seconds=0.5):,.0f} entries/s, {difference:.1e} from the CPU"
        return found

    def rate(self) -> Found:
        """Entries per second of the bare encoder, and its share of the peak and of the bare matrix products."""
        rate, layout = bench.bare_rate(self.encoder, seconds=2.0), self.encoder.model.layout
        flops = rate * bench.flop_per_entry(layout)
        peak = bench.peak_flops(bench.card(self.device))
        return {
            "entries_per_second": rate,
            "seconds_for_240000": bench.WHOLE_CACHE / rate,
            "tflops": flops / 1e12,
            "share_of_peak": flops / peak if peak else None,
            "share_of_products": flops / bench.product_flops(self.device, layout),
        }

    def starvation(self) -> Found:
        """The rate of a build beside that of the bare encoder, with all cards of this machine."""
        entries = max(8 * self.encoder.batch_size, int(5 * (self.encoder.entries_per_second or 0)))
        built, bare = bench.build_rate(self.folder, self.encoder, entries)
        return {"build": built, "bare": bare, "ratio": built / bare, "cards": 1 + len(self.encoder.also_on)}

    def memory(self) -> Found:
        """A batch whose activations exceed the memory is halved until it fits; the embeddings agree."""
        layout, free = self.encoder.model.layout, free_memory(self.device) or 2**30
        widest = 4 * layout.hidden_dim * bench.LOOKBACK * 2
        batch = 1 << (2 * free // widest).bit_length() if self.device.type != "cpu" else 4096
        encoder = bench.load_on(self.path, self.device, precision=self.encoder.spec.precision, batch_size=batch)
        windows = np.random.default_rng(2).standard_normal((16, bench.LOOKBACK, bench.FEATURES), dtype=np.float32)
        notices: list[str] = []
        encoder.notify = notices.append
        with _memory_for(512) if self.device.type == "cpu" else nullcontext():
            found = encoder.encode(windows).embedding
        expected = self.encoder.encode(windows).embedding
        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
        assert notices, f"a batch of {batch:,} fits"
        assert difference < 5e-2, f"{difference:.2g} away"
        return {"from": batch, "to": encoder.batch_size, "notices": len(notices), "difference": difference}

    def training(self) -> Found:
        """Steps per second of the preset, after the first ones."""
        steps, preset, times = TRAINED_STEPS[self.size], PRESETS[self.size], list[float]()
        config = TrainConfig(
            train_end="2021-03-31",
            preset=self.size,
            epochs=1,
            samples_per_epoch=steps * preset.batch_size,
            validation_samples=256,
            device=str(self.device),
        )
        panel = toy_panel(0, 40, 420, signal_ic=0.3)
        out = self.folder / "trained.pt"
        report = train(panel, out, config=config, progress=lambda *_: times.append(time.perf_counter()))
        skipped = len(times) // 4
        rate = (len(times) - skipped - 2) / (times[-2] - times[skipped])  # the last is the end, after an evaluation
        assert self.device.type == "cpu" or "not bit by bit" in report.result
        return {"steps_per_second": rate, "windows_per_second": rate * preset.batch_size, "loss": report.train_loss}

    @property
    def encoder(self) -> TorchEncoder:
        """The encoder as chosen at load, loaded once."""
        if self._encoder is None:
            self._encoder = bench.load_on(self.path, self.device, precision="auto")
        return self._encoder

    def _checkpoint(self, name: str, sizes: Any = None, seed: int = 0) -> Path:
        sizes = sizes or bench.MODELS[self.size]
        return write_checkpoint(
            self.folder / name, num_features=bench.FEATURES, lookback=bench.LOOKBACK, seed=seed, **sizes
        )


@contextmanager
def _memory_for(windows: int) -> Iterator[None]:
    """Let torch run out of memory on a CPU from a number of windows on."""
    before = TorchEncoder.joined_outputs

    def limited(self: TorchEncoder, batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > windows:
            raise torch.OutOfMemoryError("out of memory: a stand-in")
        return before(self, batch)

    with mock.patch.object(TorchEncoder, "joined_outputs", limited):
        yield


def main() -> int:
    """Run the parts and print one line each; write all figures as JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_gpu_day")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", choices=sorted(bench.MODELS), default="100m")
    parser.add_argument("--only", nargs="*", help="names of parts")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    if device.type == "cpu" and arguments.device == "auto":
        print("no accelerator: skipped; --device cpu --model tiny rehearses the parts on the CPU")
        return 0
    failed, figures = 0, dict[str, Found]()
    with tempfile.TemporaryDirectory() as folder:
        for name, part in Day(Path(folder), device, arguments.model).parts().items():
            if arguments.only and name not in arguments.only:
                continue
            began = time.perf_counter()
            try:
                figures[name] = part()
            except Exception as error:  # noqa: BLE001  one part that fails keeps the figures of the others
                figures[name], failed = {"failed": f"{type(error).__name__}: {error}"}, failed + 1
            said = "; ".join(f"{key} {_text(value)}" for key, value in figures[name].items())
            print(f"{name} ({time.perf_counter() - began:.0f} s): {said}", flush=True)
            if arguments.out:
                arguments.out.write_text(json.dumps(figures, indent=2, default=str) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _text(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
