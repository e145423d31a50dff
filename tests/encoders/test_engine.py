"""A checkpoint in ONNX Runtime: the same encoder but for the engine, taken where it pays, given by name."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encash.encoders import Ensemble, load_encoder
from encash.encoders.checkpoint import ENGINES
from encash.encoders.torch import TorchEncoder, load, runtime
from encash.encoders.torch.export import export_onnx, export_program
from encash.errors import InputError, WorkError
from encash.fingerprint import explain_difference
from encash.testing import EncoderContract, write_checkpoint

pytest.importorskip("onnxruntime", reason="onnxruntime comes with the dev install")
pytest.importorskip("onnxscript", reason="onnxscript comes with the dev install")


def checkpoint(folder, name="m.pt", **changes):
    extras = {"train_end": "2015-12-31", "feature_names": list("abcde")}
    return write_checkpoint(folder / name, num_features=5, lookback=6, extras=extras, **changes)


def classifier(folder, **changes):
    extras = {"bin_edges": torch.linspace(0.7, 1.3, 101)}
    sizes: dict[str, Any] = {"pred_mode": "classification", "num_bins": 100} | changes
    return write_checkpoint(folder / "c.pt", num_features=5, lookback=6, extras=extras, **sizes)


def both(path, **options):
    return [load_encoder(path, device="cpu", engine=engine, precision="float32", **options) for engine in ENGINES]


def windows(count=11, lookback=6, features=5):
    return np.random.default_rng(0).standard_normal((count, lookback, features)).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Two models in ONNX Runtime."""
    folder = tmp_path_factory.mktemp("models")
    paths = checkpoint(folder), checkpoint(folder, "other.pt", seed=1)
    return [load_encoder(path, device="cpu", engine="onnxruntime") for path in paths]


class TestRuntime(EncoderContract):
    @pytest.fixture(autouse=True)
    def _encoders(self, exported):
        self.encoders = exported

    def make_encoder(self):
        return self.encoders[0]

    def make_other(self):
        return self.encoders[1]


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("make", [checkpoint, classifier])
def test_the_engines_say_the_same_and_differ_in_name(tmp_path, make, pooling):
    """Embeddings, forecasts and confidences agree; the spec differs in the engine alone, and is told apart by it."""
    ours, theirs = both(make(tmp_path), pooling=pooling)
    for field in ("embedding", "forecast", "confidence"):
        found, expected = (getattr(encoder.encode(windows()), field) for encoder in (theirs, ours))
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-4)
    (said,) = explain_difference(ours.spec.describe(), theirs.spec.describe())
    assert "engine" in said
    assert "onnxruntime" in said
    assert ours.spec.fingerprint != theirs.spec.fingerprint
    assert (theirs.source_digest, theirs.batch_size) == (ours.source_digest, ours.batch_size)
    assert theirs.choice == f"float32, onnxruntime, batch {theirs.batch_size}: as requested"


def test_a_classifier_without_edges_has_no_forecasts_in_either_engine(tmp_path):
    """Outputs that a model lacks are empty, not made up."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=5, lookback=6, pred_mode="classification", num_bins=100)
    assert [encoder.encode(windows(3)).forecast.shape for encoder in both(path)] == [(3, 0), (3, 0)]


@pytest.mark.parametrize(("hidden", "lookback"), [(16, 1), (64, 60)])
def test_any_number_of_windows_gives_the_same_bits(tmp_path, hidden, lookback):
    """1, 2, 3, … windows at once: each window's outputs stay the same bits."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=5, lookback=lookback, hidden_dim=hidden, num_layers=2)
    encoder, many = load_encoder(path, device="cpu", engine="onnxruntime"), windows(70, lookback)
    whole = encoder.encode(many)
    for count in (1, 2, 3, 5, 17, 33, 64):
        part = encoder.encode(many[-count:])
        for field in ("embedding", "forecast", "confidence"):
            np.testing.assert_array_equal(getattr(part, field), getattr(whole, field)[-count:])


def test_engines_mix_in_an_ensemble(tmp_path):
    """A member in ONNX Runtime beside one in torch: the embedding of the first, the mean of the forecasts."""
    ours, theirs = both(checkpoint(tmp_path))
    joint = Ensemble([theirs, ours]).encode(windows())
    np.testing.assert_array_equal(joint.embedding, theirs.encode(windows()).embedding)
    np.testing.assert_allclose(joint.forecast, ours.encode(windows()).forecast, atol=1e-4)


def test_nothing_is_left_of_the_export(tmp_path, monkeypatch):
    """The files that ONNX Runtime read are gone when the encoder is there."""
    temporary = tmp_path / "temporary"
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    temporary.mkdir()
    encoder = load_encoder(checkpoint(tmp_path), device="cpu", engine="onnxruntime")
    assert list(temporary.iterdir()) == []
    assert encoder.encode(windows(3)).embedding.shape == (3, encoder.spec.dim)


def test_settings_that_do_not_go_together_are_refused(tmp_path):
    """An unknown engine, a precision that the engine does not have, an engine other than the model's own."""
    path = checkpoint(tmp_path)
    plain = load_encoder(path, device="cpu", precision="float32")
    assert isinstance(plain, TorchEncoder)
    export_onnx(plain, tmp_path / "m.onnx")
    load_encoder(tmp_path / "m.onnx", engine="onnxruntime")
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (path, {"engine": "steam"}, "invalid engine 'steam': expected auto or one of torch, onnxruntime"),
        (path, {"engine": "onnxruntime", "precision": "int8"}, "in float32 only"),
        (path, {"engine": "onnxruntime", "device": "quantum"}, "device 'quantum'"),
        (tmp_path / "m.onnx", {"engine": "torch"}, "engine 'torch' cannot be set for this model"),
    ]
    for model, setting, said in cases:
        with pytest.raises(InputError, match=said):
            load_encoder(model, **setting)


@pytest.mark.parametrize("hidden", ["onnxscript", "onnxruntime"])
def test_without_a_package_it_is_named_and_auto_does_without(tmp_path, hidden):
    """Asked for, MissingExtraError with the pip line; by itself, torch alone is measured."""
    path = checkpoint(tmp_path, hidden_dim=128, num_heads=4)
    code = (
        f"import sys; sys.modules[{hidden!r}] = None\n"
        "from encash.encoders import load_encoder; from encash.errors import MissingExtraError\n"
        f"try: load_encoder({str(path)!r}, device='cpu', engine='onnxruntime')\n"
        "except MissingExtraError as error: print(error)\n"
        f"print(load_encoder({str(path)!r}, device='cpu').choice)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    missing, line = done.stdout.splitlines()
    assert f"this needs {hidden}, which is not installed; run: pip install" in missing
    assert "onnxruntime" not in line


class TestAuto:
    """ONNX Runtime among the measured ways."""

    @pytest.fixture
    def path(self, tmp_path):
        return checkpoint(tmp_path, hidden_dim=128, num_heads=4)

    def test_a_given_precision_or_engine_is_not_measured_against_it(self, path, monkeypatch):
        """A precision alone is torch's; torch alone is measured within torch."""
        monkeypatch.setattr(load, "runtime_encoder", lambda *_: pytest.fail("exported"))
        monkeypatch.setattr(load, "fastest_possible", lambda _: pytest.fail("tried"))
        assert load_encoder(path, device="cpu", precision="float32").spec.engine == "torch"
        assert load_encoder(path, device="cpu", engine="torch").spec.engine == "torch"

    def test_it_is_tried_where_it_could_pay(self, path, monkeypatch):
        """A limit far above torch's speed: exported, timed, and named in the line."""
        monkeypatch.setattr(load, "fastest_possible", lambda _: 1e9)
        encoder = load_encoder(path, device="cpu")
        assert "onnxruntime" in encoder.choice
        assert "at most" not in encoder.choice

    def test_it_is_not_exported_where_its_products_alone_are_too_slow(self, path, monkeypatch):
        """A limit below torch's speed: no export."""
        monkeypatch.setattr(load, "runtime_encoder", lambda *_: pytest.fail("exported"))
        monkeypatch.setattr(load, "fastest_possible", lambda _: 0.5)
        assert "float32 (onnxruntime) at most 0.5;" in load_encoder(path, device="cpu").choice

    def test_the_products_of_a_layer_are_those_of_the_model(self):
        """The limit multiplies what a layer multiplies: four products, of the shapes of its weights."""
        products: Any = runtime.layer_products(8, rows=6)()
        outputs = dict(products)
        assert {name: found.shape for name, found in outputs.items()} == {
            "mix of it": (6, 24),
            "out of it": (6, 8),
            "down of it": (6, 8),
        }


@pytest.mark.parametrize("export", [export_onnx, export_program])
def test_an_export_is_written_whole_or_not_at_all(tmp_path, export):
    """A new one takes the place of the old; where it cannot be written, one error says so and nothing is left."""
    encoder = load_encoder(checkpoint(tmp_path), device="cpu", precision="float32")
    target = tmp_path / ("m.onnx" if export is export_onnx else "m.pt2")
    target.write_bytes(b"old")
    export(encoder, target)
    np.testing.assert_allclose(
        load_encoder(target).encode(windows()).embedding, encoder.encode(windows()).embedding, atol=1e-4
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["m.pt", target.name])
    with pytest.raises(WorkError, match="could not be written"):
        export(encoder, tmp_path / "m.pt" / target.name)
