"""Precision: a faster one only where it pays and says what float32 says."""

import numpy as np
import pytest
import torch

from encash.encoders import load_encoder
from encash.encoders.agreement import Agreement, agreement
from encash.encoders.torch import precision
from encash.encoders.torch.precision import Trial, choose
from encash.testing import EncoderContract, write_checkpoint

GOOD, BAD = Agreement(cosine=0.9999, neighbours=1.0), Agreement(cosine=0.97, neighbours=1.0)


def trial(name, rate, found=GOOD):
    return Trial(precision=name, entries_per_second=rate, agreement=found)


class TestBfloat16(EncoderContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.path = write_checkpoint(tmp_path / "m.pt", num_features=5, hidden_dim=32, num_layers=2)

    def make_encoder(self):
        return load_encoder(self.path, device="cpu", precision="bfloat16")


class TestMedium(TestBfloat16):
    def make_encoder(self):
        return load_encoder(self.path, device="cpu", precision="medium")


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        ([trial("float32", 10), trial("medium", 12), trial("bfloat16", 30)], "bfloat16"),
        ([trial("float32", 10), trial("medium", 14), trial("bfloat16", 12)], "medium"),
        ([trial("float32", 10), trial("medium", 12.9), trial("bfloat16", 5)], "float32"),
        ([trial("float32", 10), trial("medium", 9), trial("bfloat16", 40, BAD)], "float32"),
        (
            [trial("float32", 10), trial("medium", 9), trial("bfloat16", 40, Agreement(cosine=1, neighbours=0.9))],
            "float32",
        ),
    ],
)
def test_the_fastest_that_pays_and_agrees_is_taken(trials, chosen):
    """1.3 times float32's speed, cosine and neighbours as float32's; else float32."""
    assert choose(trials).precision == chosen


def test_agreement_sees_what_a_plain_cosine_hides():
    """Embeddings that share a large common part have cosines near 1 even when what tells them apart is lost."""
    random = np.random.default_rng(0)
    own = random.normal(size=(16, 32)).astype(np.float32)
    reference, scrambled = 100 + own, 100 + own[::-1]
    plain = (reference * scrambled).sum(1) / np.linalg.norm(reference, axis=1) / np.linalg.norm(scrambled, axis=1)
    assert plain.min() > 0.999
    assert not agreement(reference, scrambled).enough
    assert agreement(reference, reference + 1e-4 * random.normal(size=own.shape)).enough


def test_bfloat16_says_what_float32_says(tmp_path):
    """Same neighbours, cosine near 1, forecasts close; yet another identity, for the bits differ."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=8, hidden_dim=64, num_layers=4, lookback=20)
    plain, fast = (load_encoder(path, device="cpu", precision=name) for name in ("float32", "bfloat16"))
    windows = np.random.default_rng(0).normal(size=(40, 20, 8)).astype(np.float32)
    ours, theirs = plain.encode(windows), fast.encode(windows)
    assert agreement(ours.embedding, theirs.embedding).cosine > 0.999
    assert abs(ours.forecast - theirs.forecast).max() < 0.02
    assert not np.array_equal(ours.embedding, theirs.embedding)
    assert plain.spec.fingerprint != fast.spec.fingerprint


def test_a_small_model_stays_in_float32_without_a_measurement(tmp_path, monkeypatch):
    """Below 128 wide nothing is measured, and the choice says why."""
    monkeypatch.setattr(precision, "try_precisions", lambda encoders: pytest.fail("measured"))
    encoder = load_encoder(write_checkpoint(tmp_path / "m.pt", num_features=3, hidden_dim=64), device="cpu")
    assert encoder.spec.precision == "float32"
    assert "too small" in encoder.choice


def test_auto_takes_what_was_measured_and_says_so(tmp_path, monkeypatch):
    """The spec holds the precision that was found best, and the line names all that were tried."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=3, hidden_dim=128, num_heads=4)
    measured = load_encoder(path, device="cpu")
    assert measured.spec.precision in precision.PRECISIONS
    assert all(name in measured.choice for name in (*precision.PRECISIONS, "entries/s", "cosine"))
    tried = [trial("float32", 3.7), trial("medium", 5), trial("bfloat16", 16.6)]
    monkeypatch.setattr(precision, "try_precisions", lambda encoders: tried)
    chosen = load_encoder(path, device="cpu", batch_size=64)
    assert chosen.spec == load_encoder(path, device="cpu", precision="bfloat16").spec
    assert chosen.choice.startswith("bfloat16, torch, batch 64: 16.6 entries/s; float32 3.7, medium 5;")


def test_torchs_own_switch_stays_as_it_was(tmp_path):
    """The process-wide precision of torch neither changes our results nor is changed by us."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=8, hidden_dim=64)
    windows = np.random.default_rng(0).normal(size=(5, 8, 8)).astype(np.float32)
    encoder = load_encoder(path, device="cpu", precision="float32")
    before = encoder.encode(windows).embedding
    torch.set_float32_matmul_precision("medium")
    try:
        np.testing.assert_array_equal(encoder.encode(windows).embedding, before)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
