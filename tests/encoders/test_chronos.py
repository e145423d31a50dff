"""Pretrained time-series encoders: small random ones, nothing downloaded."""

import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from encash.encoders import load_encoder
from encash.errors import InputError, MissingFileError
from encash.testing import EncoderContract
from tests.encoders.pretrained_models import save_bolt, save_first, save_second

needs_chronos = pytest.mark.skipif(
    importlib.util.find_spec("chronos") is None, reason="chronos-forecasting is not installed (extra chronos)"
)


@needs_chronos
class TestBolt(EncoderContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.path, self.other = save_bolt(tmp_path / "a"), save_bolt(tmp_path / "b", seed=1)

    def make_encoder(self):
        return load_encoder(f"chronos:{self.path}?features=3&feature=1", lookback=16, device="cpu")

    def make_other(self):
        return load_encoder(f"chronos:{self.other}?features=3&feature=1", lookback=16, device="cpu")


@needs_chronos
class TestFirstGeneration(TestBolt):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.path, self.other = save_first(tmp_path / "a"), save_first(tmp_path / "b", seed=1)


@needs_chronos
class TestSecondGeneration(TestBolt):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.path, self.other = save_second(tmp_path / "a"), save_second(tmp_path / "b", seed=1)


@needs_chronos
def test_the_embedding_is_the_mean_of_the_models_own_tokens(tmp_path):
    """One vector a series: the mean over the tokens that `embed` gives for that feature alone."""
    from chronos import BaseChronosPipeline

    folder = save_bolt(tmp_path / "m")
    windows = np.random.default_rng(0).normal(size=(5, 16, 3)).astype(np.float32)
    tokens = BaseChronosPipeline.from_pretrained(folder).embed(torch.tensor(windows[:, :, 2]))[0]
    encoder = load_encoder(f"chronos:{folder}?features=3&feature=2", lookback=16, device="cpu")
    np.testing.assert_allclose(encoder.encode(windows).embedding, tokens.mean(1), atol=1e-5)
    assert encoder.spec.horizons == ()
    first = load_encoder(f"chronos:{folder}?features=3", lookback=16, device="cpu")
    assert first.spec.fingerprint != encoder.spec.fingerprint


@needs_chronos
def test_what_a_chronos_model_cannot_read_is_refused(tmp_path):
    """A window longer than its context, a feature that is none, no number of features, a folder without weights."""
    folder = save_bolt(tmp_path / "m")
    cases: list[tuple[str, dict[str, Any], type[Exception], str]] = [
        (f"chronos:{folder}?features=3", {"lookback": 65}, InputError, "cut it silently"),
        (f"chronos:{folder}?features=3&feature=3", {}, InputError, "no feature 3 among 3"),
        (f"chronos:{folder}", {}, InputError, "features=F"),
        (f"chronos:{tmp_path}?features=3", {}, MissingFileError, r"model\.safetensors"),
        (f"chronos:{folder}?features=3", {"precision": "bfloat16"}, InputError, "cannot be set"),
    ]
    for name, options, error, said in cases:
        with pytest.raises(error, match=said):
            load_encoder(name, **options)


def test_without_chronos_the_line_that_installs_it_is_given():
    """No chronos: MissingExtraError with the pip line."""
    code = (
        "import sys; sys.modules['chronos'] = None\n"
        "from encash.encoders import load_encoder; from encash.errors import MissingExtraError\n"
        "try: load_encoder('chronos:folder?features=3')\n"
        "except MissingExtraError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert 'pip install "encash[chronos]"' in said
