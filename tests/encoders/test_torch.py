"""Checkpoints of the seed's format: read exactly, refused clearly, encoded to the same bits in any company."""

import pickle
import resource
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from encash.encoders import load_encoder
from encash.encoders.bins import settle_edges
from encash.encoders.checkpoint import Layout
from encash.encoders.torch import new_model
from encash.encoders.torch.memory import keep_freed_memory
from encash.encoders.torch.threads import map_on_threads
from encash.errors import FormatError, InputError, MissingFileError
from encash.testing import EncoderContract, write_checkpoint
from tests.encoders.conftest import needs_int8


def windows(count, lookback=6, features=5, seed=0):
    return np.random.default_rng(seed).standard_normal((count, lookback, features)).astype(np.float32)


class TestRegression(EncoderContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path, seed):
        self.path = seed.save_checkpoint(tmp_path / "model.pt")
        self.other = seed.save_checkpoint(tmp_path / "other.pt", seed=1)

    def make_encoder(self):
        return load_encoder(self.path, device="cpu", precision="float32")

    def make_other(self):
        return load_encoder(self.other, device="cpu", precision="float32")


class TestClassificationOfTheLastState(TestRegression):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path, seed):
        options = {"pred_mode": "classification", "more": {"bin_edges": torch.linspace(0.8, 1.2, 101)}}
        self.path = seed.save_checkpoint(tmp_path / "model.pt", **options)
        self.other = seed.save_checkpoint(tmp_path / "other.pt", seed=1, **options)

    def make_encoder(self):
        return load_encoder(self.path, device="cpu", precision="float32", pooling="last")


@pytest.mark.parametrize("lookback", [1, 6, 60])
@pytest.mark.parametrize("hidden", [16, 64])
def test_any_number_of_windows_gives_the_same_bits(tmp_path, lookback, hidden):
    """1, 2, 3, …, 131 windows at once: each window's embedding, forecast and confidence stay the same bits."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=33, lookback=lookback, hidden_dim=hidden, num_layers=2)
    encoder = load_encoder(path, device="cpu", precision="float32")
    many = windows(131, lookback, 33)
    whole = encoder.encode(many)
    for count in (1, 2, 3, 5, 8, 17, 31, 64, 100):
        part = encoder.encode(many[-count:])
        for name in ("embedding", "forecast", "confidence"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[-count:], err_msg=f"{name} {count}")


@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_a_checkpoint_of_the_seed_gives_the_seeds_own_numbers(tmp_path, seed, prefix):
    """The embedding is the mean of the states, the forecasts the outputs of the heads: as a second program says."""
    encoder = load_encoder(seed.save_checkpoint(tmp_path / "m.pt", prefix=prefix), device="cpu", precision="float32")
    states, prediction, confidence = seed.seed_model()(torch.tensor(windows(9)))
    result = encoder.encode(windows(9))
    np.testing.assert_allclose(result.embedding, states.mean(1).detach(), atol=1e-5)
    np.testing.assert_allclose(result.forecast, prediction.detach(), atol=1e-5)
    np.testing.assert_allclose(result.confidence, confidence.detach(), atol=1e-5)
    assert encoder.spec.horizons == (1, 5, 10, 20)
    assert encoder.spec.lookback == 6


def test_a_classifier_forecasts_the_expected_midpoint(tmp_path, seed):
    """Forecast = Σ softmax(logit) · midpoint over the bins, logits laid out (bins, horizons), ratios less 1."""
    edges = torch.linspace(0.7, 1.4, 101)
    path = seed.save_checkpoint(tmp_path / "m.pt", pred_mode="classification")
    torch.save(edges, tmp_path / "adaptive_bin_edges.pt")
    result = load_encoder(path, device="cpu", precision="float32").encode(windows(3))
    logits = seed.seed_model(pred_mode="classification")(torch.tensor(windows(3)))[1].detach().double().numpy()
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    middle = (edges[1:] + edges[:-1]).double().numpy() / 2 - 1
    np.testing.assert_allclose(result.forecast, np.einsum("nbh,b->nh", shares, middle), atol=1e-5)


@pytest.mark.parametrize(("pooling", "at"), [("last", -1), ("cls", 0)])
def test_pooling_is_part_of_the_embedding_and_its_identity(tmp_path, seed, pooling, at):
    """Last and cls take one state; the forecasts stay those of the mean; the fingerprint differs."""
    path = seed.save_checkpoint(tmp_path / "m.pt")
    mean, other = (load_encoder(path, device="cpu", precision="float32", pooling=how) for how in ("mean", pooling))
    states = seed.seed_model()(torch.tensor(windows(4)))[0].detach()
    np.testing.assert_allclose(other.encode(windows(4)).embedding, states[:, at], atol=1e-5)
    np.testing.assert_array_equal(other.encode(windows(4)).forecast, mean.encode(windows(4)).forecast)
    assert mean.spec.fingerprint != other.spec.fingerprint
    with pytest.raises(InputError, match="expected one of mean, last, cls"):
        load_encoder(path, pooling="max")


def test_edges_come_from_the_argument_the_checkpoint_or_the_file_beside_it(tmp_path, seed):
    """Each source is found, in that order; the forecast identity follows the edges, the embedding's does not."""
    own, asked, beside = (torch.linspace(-width, width, 101) for width in (0.1, 0.2, 0.3))
    with_own = seed.save_checkpoint(tmp_path / "own.pt", pred_mode="classification", more={"bin_edges": own})
    without = seed.save_checkpoint(tmp_path / "bare.pt", pred_mode="classification")
    torch.save(beside, tmp_path / "adaptive_bin_edges.pt")
    torch.save(asked, tmp_path / "asked.pt")
    specs = {
        "asked": load_encoder(with_own, bin_edges=tmp_path / "asked.pt").spec,
        "array": load_encoder(with_own, bin_edges=asked.numpy()).spec,
        "own": load_encoder(with_own).spec,
        "beside": load_encoder(without).spec,
    }
    expected = {"asked": asked, "array": asked, "own": own, "beside": beside}
    for name, spec in specs.items():
        assert spec.forecast_rule == settle_edges(expected[name]).rule, name
    assert len({spec.fingerprint for spec in specs.values()}) == 1
    assert len({spec.forecast_fingerprint for spec in specs.values()}) == 3


def test_a_classifier_without_edges_has_embeddings_and_no_forecasts(tmp_path, seed):
    """No edges anywhere: no horizons, and the spec says why; the name "uniform" stands for equal steps."""
    path = seed.save_checkpoint(tmp_path / "m.pt", pred_mode="classification")
    encoder = load_encoder(path, device="cpu")
    result = encoder.encode(windows(2))
    assert encoder.spec.horizons == ()
    assert encoder.spec.forecast_rule == "none: no bin edges"
    assert encoder.spec.forecast_fingerprint == ""
    assert (result.forecast.shape, result.confidence.shape) == ((2, 0), (2, 0))
    uniform = load_encoder(path, device="cpu", bin_edges="uniform")
    assert uniform.spec.horizons == (1, 5, 10, 20)
    np.testing.assert_array_equal(uniform.encode(windows(2)).embedding, result.embedding)


def _without(content, *names):
    return {**content, "model_state_dict": {k: v for k, v in content["model_state_dict"].items() if k not in names}}


def _with_weight(content, name, value):
    return {**content, "model_state_dict": {**content["model_state_dict"], name: value}}


def _with_config(content, **changes):
    return {**content, "config": {**content["config"], **changes}}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c: _without(c, "transformer.layers.1.linear1.bias"), "1 weights are missing .transformer.layers.1"),
        (lambda c: _without(c, "confidence_head.0.weight"), "confidence_head.0.weight is missing"),
        (lambda c: _with_weight(c, "extra.weight", torch.ones(1)), "1 weights are unknown .extra.weight"),
        (lambda c: _with_config(c, hidden_dim=32), "has shape .* the config"),
        (lambda c: _with_config(c, num_layers=3), "12 weights are missing"),
        (lambda c: _with_config(c, num_layers=1), "12 weights are unknown"),
        (lambda c: _with_config(c, num_heads=3), "not a multiple of num_heads 3"),
        (lambda c: _with_config(c, num_heads=None), "num_heads = None"),
        (lambda c: _with_config(c, pred_mode="ranking"), "pred_mode = 'ranking'"),
        (lambda c: _with_config(c, pred_mode="classification"), "head has 4 outputs"),
        (lambda c: {"model_state_dict": c["model_state_dict"]}, "has no config"),
        (lambda c: c["model_state_dict"], "has no config.*expected a model_state_dict"),
        (lambda c: {**c, "model_state_dict": {**c["model_state_dict"], "note": "text"}}, "is not a tensor"),
        (lambda c: torch.ones(3), "expected a model_state_dict"),
    ],
)
def test_weights_and_config_that_do_not_fit_are_refused(tmp_path, seed, spoil, said):
    """Missing, extra or misshapen weights and contradicting settings: FormatError that names the file and the fault."""
    torch.save(spoil(seed.checkpoint()), tmp_path / "spoilt.pt")
    with pytest.raises(FormatError, match=said) as caught:
        load_encoder(tmp_path / "spoilt.pt")
    assert "spoilt.pt" in str(caught.value)
    assert caught.value.exit_code == 2


class _Runs:
    def __reduce__(self):
        return (open, ("ran-code.txt", "w"))


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_checkpoint_never_runs(tmp_path, monkeypatch, seed, new_format):
    """A pickle that would open a file is refused, and the file is not there."""
    monkeypatch.chdir(tmp_path)
    torch.save({**seed.checkpoint(), "note": _Runs()}, "bad.pt", _use_new_zipfile_serialization=new_format)
    with pytest.raises(FormatError, match="code in it is never run"):
        load_encoder("bad.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Runs()))
    with pytest.raises(FormatError):
        load_encoder("plain.pt")
    assert not (tmp_path / "ran-code.txt").exists()


def test_a_pickle_is_refused_without_warnings_of_torch(tmp_path):
    """The refusal says it all; what torch thinks of the pickle's protocol would be a second message."""
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": 1}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FormatError):
            load_encoder(tmp_path / "plain.pt")


@pytest.mark.parametrize(
    ("save", "said"),
    [
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "is a pickle that torch.save did not write"),
        (lambda path: torch.save(torch.nn.Linear(2, 2), path), "names torch.nn.modules.linear.Linear"),
        (lambda path: torch.save({"config": _Runs()}, path), f"names {open.__module__}.open"),
        (lambda path: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path), "is a TorchScript program"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_file_with_code_is_refused_in_one_sentence_of_ours(tmp_path, save, said):
    """It says what came, what was expected and how to mend it; nothing of torch's advice to run the code."""
    save(tmp_path / "m.pt")
    with pytest.raises(FormatError) as caught:
        load_encoder(tmp_path / "m.pt")
    assert str(caught.value) == (
        f"{tmp_path / 'm.pt'} {said}, and code in it is never run; expected tensors and plain values: "
        "save the state dict and a config of plain values with torch.save"
    )


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path, seed, keep):
    """Cut anywhere, the file is refused with one line that names it."""
    whole = seed.save_checkpoint(tmp_path / "m.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    with pytest.raises(FormatError, match=r"cut\.pt") as caught:
        load_encoder(tmp_path / "cut.pt")
    assert "\n" not in str(caught.value)


def test_bad_arguments_are_refused(tmp_path, seed):
    """A missing file, a folder, another suffix, a device, precision, lookback or batch size that cannot be."""
    path = seed.save_checkpoint(tmp_path / "m.pt")
    with pytest.raises(MissingFileError, match=r"nowhere\.pt"):
        load_encoder(tmp_path / "nowhere.pt")
    with pytest.raises(FormatError, match="does not name a model"):
        load_encoder(tmp_path / "m.pickle")
    cases: list[tuple[dict[str, Any], str | None]] = [
        ({"device": "quantum"}, "device 'quantum'"),
        ({"precision": "float8"}, "precision 'float8'"),
        ({"lookback": 3001}, "3000 positions"),
        ({"lookback": 0}, "3000 positions"),
        ({"batch_size": 0}, "batch size 0"),
        ({"bin_edges": tmp_path / "none.pt"}, None),
    ]
    for options, said in cases:
        if said is None:  # regression needs no edges
            load_encoder(path, **options)
            continue
        with pytest.raises(InputError, match=said):
            load_encoder(path, **options)


def test_the_fingerprint_knows_weights_not_files(tmp_path, seed):
    """The same weights under another name, with other epochs and a compiled model's prefix: the same encoder."""
    first = load_encoder(seed.save_checkpoint(tmp_path / "a.pt"))
    second = load_encoder(seed.save_checkpoint(tmp_path / "b.pt", prefix="_orig_mod.", more={"epoch": 9}))
    assert first.spec == second.spec
    assert first.source_digest != second.source_digest
    longer = load_encoder(tmp_path / "a.pt", lookback=7)
    assert longer.spec.fingerprint != first.spec.fingerprint


def test_what_our_training_notes_reaches_the_spec(tmp_path):
    """train_end and feature_names of a checkpoint are in the spec; without seq_len the lookback is 60."""
    extras = {"config": {}, "train_end": "2015-12-31", "feature_names": ["a", "b"]}
    spec = load_encoder(write_checkpoint(tmp_path / "m.pt", num_features=2, extras=extras)).spec
    assert spec.train_end == "2015-12-31"
    assert spec.feature_names == ("a", "b")
    assert spec.lookback == 60


def test_the_100m_model_has_its_133_million_parameters():
    """Ten layers of 1,024 on 64 features with a classifier's head: 133.1 M parameters, as the checkpoints have."""
    layout = Layout(
        num_features=64, hidden_dim=1024, num_layers=10, num_heads=16, pred_mode="classification", num_bins=100
    )
    assert round(sum(int(np.prod(shape)) for shape in layout.weights().values()) / 1e6, 1) == 133.1


@pytest.mark.parametrize("mode", ["regression", "classification"])
def test_the_model_has_exactly_the_weights_of_the_format(mode):
    """Names and shapes of a new model are those that the format lists."""
    layout = Layout(
        num_features=5,
        hidden_dim=8,
        num_layers=2,
        num_heads=2,
        pred_mode=mode,
        num_bins=100 * (mode == "classification"),
    )
    assert {k: tuple(v.shape) for k, v in new_model(layout, 0).state_dict().items()} == layout.weights()


def test_encoders_are_imported_without_torch():
    """Importing the room loads no torch; it comes with the first checkpoint."""
    code = "import sys, encash.encoders, encash.testing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_checkpoint_is_loaded_and_run_without_a_compiler(tmp_path):
    """Torch's compiler takes a second to import, and nothing here needs it."""
    write_checkpoint(tmp_path / "m.pt", num_features=2, lookback=4)
    code = (
        "import sys, numpy; from encash.encoders import load_encoder\n"
        f"load_encoder({str(tmp_path / 'm.pt')!r}, device='cpu').encode(numpy.zeros((1, 4, 2), numpy.float32))\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_torch_the_line_that_installs_it_is_given(tmp_path):
    """No torch: MissingExtraError (exit code 2) with the pip line."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from encash.encoders import load_encoder; from encash.errors import MissingExtraError\n"
        "try: load_encoder('m.pt')\n"
        "except MissingExtraError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert 'pip install "encash[torch]"' in said


@pytest.mark.skipif(not keep_freed_memory(), reason="not glibc's allocator")
def test_a_batch_uses_the_memory_of_the_one_before(tmp_path):
    """Once some batches are through, further ones ask the system for hardly a page, in whatever thread."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=5, lookback=60, hidden_dim=64, num_layers=2)
    encoder, many = load_encoder(path, device="cpu", precision="float32"), windows(64, 60)
    with ThreadPoolExecutor(1) as thread:
        for _ in range(8):
            thread.submit(encoder.encode, many).result()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(8):
            thread.submit(encoder.encode, many).result()
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    pages_of_one_tensor = 64 * 60 * 64 * 4 // resource.getpagesize()
    assert taken < 8 * pages_of_one_tensor, "less than one tensor a batch; each makes some twenty"


class TestThreads:
    """A thread of torch for each core."""

    @pytest.fixture
    def threads(self):
        """Sets how many cores torch may use; as it was afterwards."""
        before = torch.get_num_threads()
        yield torch.set_num_threads
        torch.set_num_threads(before)

    @pytest.mark.parametrize(
        "precision", ["float32", "medium", "bfloat16", "int7", pytest.param("int8", marks=needs_int8)]
    )
    def test_the_bits_do_not_depend_on_the_number_of_cores(self, tmp_path, threads, precision):
        """One, two or three cores, whole batches or odd ones: the same bytes."""
        path = write_checkpoint(tmp_path / "m.pt", num_features=5, lookback=20, hidden_dim=64, num_layers=2)
        many, found = windows(45, 20), set()
        for cores in (1, 2, 3):
            threads(cores)
            encoder = load_encoder(path, device="cpu", precision=precision, batch_size=16 * cores)
            result = encoder.encode(many)
            found.add(result.embedding.tobytes() + result.forecast.tobytes() + result.confidence.tobytes())
        assert len(found) == 1

    def test_each_part_has_one_core_and_the_caller_keeps_its_own(self, threads):
        """Inside, torch computes with one thread; outside, with as many as before, even after an error."""
        threads(2)
        assert map_on_threads(lambda part: (part, torch.get_num_threads()), range(5)) == [
            (part, 1) for part in range(5)
        ]
        with pytest.raises(ZeroDivisionError):
            map_on_threads(lambda part: 1 // part, [1, 0])
        assert torch.get_num_threads() == 2

    def test_medium_products_are_set_for_the_call_alone(self):
        """The precision of torch's own products is as asked inside and as it was outside."""
        before = torch.get_float32_matmul_precision()
        assert map_on_threads(lambda _: torch.get_float32_matmul_precision(), [0, 1], matmul="medium") == ["medium"] * 2
        assert torch.get_float32_matmul_precision() == before

    def test_callers_in_several_threads_take_turns(self, tmp_path, threads):
        """Two encoders in two precisions, called at once from two threads, say what each says alone."""
        threads(2)
        path = write_checkpoint(tmp_path / "m.pt", num_features=5, lookback=20, hidden_dim=64, num_layers=2)
        encoders = [load_encoder(path, device="cpu", precision=name) for name in ("float32", "medium")]
        many = windows(64, 20)
        alone = [encoder.encode(many).embedding for encoder in encoders]
        with ThreadPoolExecutor(2) as callers:
            together = [callers.submit(encoder.encode, many) for encoder in encoders * 4]
        for number, each in enumerate(together):
            np.testing.assert_array_equal(each.result().embedding, alone[number % 2])
