"""The forms in which the weights of one model are saved: each is the same encoder, or is refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from encash.encoders import load_encoder
from encash.encoders.registry import loader_of
from encash.errors import FormatError, InputError, MissingFileError
from encash.testing import EncoderContract
from tests.encoders.checkpoints import CONFIG, checkpoint, seed_model

FINGERPRINT = "fc1b50faba9e9a2358428c13536e7a076c01cd60ee5c9f6528509472f5bdff59"
"""Of the seeded model, by version 0.1.0."""
LIGHTNING: dict[str, Any] = {
    "epoch": 3,
    "global_step": 120,
    "pytorch-lightning_version": "2.5.0",
    "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}],
    "lr_schedulers": [],
    "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "best_model_path": "runs/a.ckpt"}},
    "hparams_name": "kwargs",
}


def weights(prefix="", more=None):
    state = {prefix + name: value for name, value in seed_model().state_dict().items()}
    return state | (more or {})


def write_json(path, value):
    path.write_text(json.dumps(value))
    return path


def save_own(folder, state, notes):
    torch.save({"model_state_dict": state, "config": CONFIG, **notes}, folder / "m.pt")
    return folder / "m.pt"


def save_lightning(folder, state, notes):
    torch.save(
        {**LIGHTNING, "state_dict": state, "hyper_parameters": {**CONFIG, "lr": 0.1, **notes}}, folder / "m.ckpt"
    )
    return folder / "m.ckpt"


def save_nested_lightning(folder, state, notes):
    content = {**LIGHTNING, "state_dict": state, "hyper_parameters": {"config": CONFIG, "lr": 0.1}, **notes}
    torch.save(content, folder / "n.ckpt")
    return folder / "n.ckpt"


def save_other(folder, state, notes):
    torch.save({"model": state, "config": CONFIG, "optimizer": {"lr": 0.1}, **notes}, folder / "m.pth")
    return folder / "m.pth"


def save_plain(folder, state, notes):
    torch.save(state, folder / "pytorch_model.bin")
    write_json(folder / "config.json", {"config": CONFIG, **notes})
    return folder / "pytorch_model.bin"


def save_safetensors(folder, state, notes):
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in notes.items()}
    save_file(state, folder / "m.safetensors", metadata={"config": json.dumps(CONFIG), "format": "pt", **texts})
    return folder / "m.safetensors"


def save_folder(folder, state, notes):
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", {**CONFIG, **notes})
    return folder


FORMS = (save_own, save_lightning, save_nested_lightning, save_other, save_plain, save_safetensors, save_folder)
NOTES = {"train_end": "2015-12-31", "feature_set": "prices-2", "feature_names": list("abcde")}


def load(path, **options):
    return load_encoder(path, device="cpu", precision="float32", **options)


class TestFolder(EncoderContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.path = save_folder(tmp_path, weights(), {})

    def make_encoder(self):
        return load(self.path)


@pytest.mark.parametrize("save", FORMS)
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prefix=st.lists(st.sampled_from(["module.", "model.", "_orig_mod."]), max_size=4).map("".join))
def test_every_form_of_the_same_weights_is_the_same_encoder(tmp_path_factory, save, prefix):
    """The fingerprint is that of version 0.1.0, and the outputs are the same bits, whatever wrapped or wrote them."""
    path = save(tmp_path_factory.mktemp("forms"), weights(prefix), {})
    encoder = load(path)
    assert encoder.spec.fingerprint == FINGERPRINT
    windows = np.random.default_rng(0).standard_normal((3, 6, 5)).astype(np.float32)
    own = load(save_own(tmp_path_factory.mktemp("own"), weights(), {}))
    assert own.spec == encoder.spec
    np.testing.assert_array_equal(encoder.encode(windows).embedding, own.encode(windows).embedding)


@pytest.mark.parametrize("save", FORMS)
def test_notes_on_the_model_are_read_from_every_form(tmp_path, save):
    """The end of the training reaches the spec from wherever it is noted, so that look-ahead is found."""
    spec = load(save(tmp_path, weights("model."), NOTES)).spec
    assert (spec.train_end, spec.feature_set) == ("2015-12-31", "prices-2")
    assert spec.feature_names == tuple("abcde")
    assert spec.lookback == CONFIG["seq_len"]


def test_the_end_of_the_training_may_be_in_the_config_of_a_checkpoint(tmp_path):
    """It changes no identity, and look-ahead is found."""
    torch.save(checkpoint(train_end="2015-12-31"), tmp_path / "m.pt")
    spec = load(tmp_path / "m.pt").spec
    assert (spec.train_end, spec.fingerprint) == ("2015-12-31", FINGERPRINT)


def test_a_compiled_part_of_a_model_is_found(tmp_path):
    """The prefix of torch.compile and of data parallel training may stand within a name."""
    state = {name.replace("transformer.", "transformer._orig_mod.module."): v for name, v in weights("model.").items()}
    assert load(save_own(tmp_path, state, {})).spec.fingerprint == FINGERPRINT


@pytest.mark.parametrize("save", FORMS)
def test_extra_heads_are_named_and_left_out_only_on_request(tmp_path, save):
    """Weights that the model does not have are refused; on request they are left out, named, and no part of the
    identity."""
    extra = {"model.aux_head.0.weight": torch.ones(2, 2), "model.aux_head.0.bias": torch.ones(2)}
    path = save(tmp_path, weights("model.", extra), {})
    with pytest.raises(FormatError, match=r"2 weights are unknown \(aux_head\.0.*--ignore-keys aux_head") as said:
        load(path)
    assert path.name in str(said.value) or save is save_folder
    for name in ("aux_head", "model.aux_head", "aux_head.0"):
        encoder = load(path, ignore_keys=[name])
        assert encoder.spec.fingerprint == FINGERPRINT
        assert "ignored weights: aux_head.0.bias, aux_head.0.weight" in encoder.choice
    with pytest.raises(InputError, match="no weight is named 'aux'"):
        load(path, ignore_keys=["aux"])
    with pytest.raises(FormatError, match="pred_head"):
        load(path, ignore_keys=["aux_head", "pred_head"])


@pytest.mark.parametrize("save", FORMS)
def test_a_weight_that_is_there_twice_is_refused(tmp_path, save):
    """Plain and prefixed, or under two prefixes: whichever was meant, the other would be a different model."""
    name = "pred_head.0.bias"
    for more in ({name: torch.ones(16)}, {f"module.{name}": torch.ones(16)}):
        path = save(tmp_path, weights("model.", more), {})
        with pytest.raises(FormatError, match=rf"model.{name} and .*{name} are both {name}"):
            load(path)


def test_the_config_of_plain_weights_is_given_or_beside_them(tmp_path):
    """A given file precedes that beside the weights; without either the error says how; a second config is refused."""
    path = tmp_path / "w.pt"
    torch.save(weights(), path)
    with pytest.raises(FormatError, match=r"has no config, and there is no config\.json beside it.*--model-config"):
        load(path)
    elsewhere = write_json(tmp_path / "sizes.json", {**CONFIG, "num_heads": 2})
    assert "heads=2" in load(path, model_config=elsewhere).spec.architecture
    write_json(tmp_path / "config.json", CONFIG)
    assert load(path).spec.fingerprint == FINGERPRINT
    assert "heads=2" in load(path, model_config=elsewhere).spec.architecture
    with pytest.raises(InputError, match=r"num_heads = 4 in its own config, and .* has 2"):
        load(save_lightning(tmp_path, weights(), {}), model_config=elsewhere)
    with pytest.raises(MissingFileError):
        load(path, model_config=tmp_path / "none.json")
    write_json(tmp_path / "config.json", {"model_type": "patchtst", "d_model": 8})
    with pytest.raises(FormatError, match="patchtst model of transformers"):
        load(path)


def test_a_given_config_completes_that_of_the_file(tmp_path):
    """Hyperparameters that say nothing of the model, or not all of it, are completed by the given file."""
    elsewhere = write_json(tmp_path / "sizes.json", CONFIG)
    for number, hyper in enumerate(({"lr": 0.1}, {"lr": 0.1, "hidden_dim": CONFIG["hidden_dim"]})):
        path = tmp_path / f"{number}.ckpt"
        torch.save({**LIGHTNING, "state_dict": weights("model."), "hyper_parameters": hyper}, path)
        with pytest.raises(FormatError, match=r"has no config|num_layers = None"):
            load(path)
        assert load(path, model_config=elsewhere).spec.fingerprint == FINGERPRINT


def test_weights_with_a_config_elsewhere_are_not_recognized_by_their_file_alone(tmp_path):
    """The same weights under a different config are a different model, so their digest counts both files."""
    path = tmp_path / "w.pt"
    torch.save(weights(), path)
    write_json(tmp_path / "config.json", CONFIG)
    first = load(path)
    write_json(tmp_path / "config.json", {**CONFIG, "num_heads": 2})
    second = load(path)
    assert first.spec.fingerprint != second.spec.fingerprint
    assert first.source_digest != second.source_digest


@pytest.mark.parametrize("save", FORMS)
@pytest.mark.parametrize("change", [{"num_layers": 10**7}, {"hidden_dim": 2**40}, {"num_heads": 10**9}])
def test_sizes_of_a_config_are_compared_before_anything_is_made(tmp_path, monkeypatch, save, change):
    """Layers, widths and heads that the weights do not have are refused in every form, with the name of the file."""
    monkeypatch.setitem(CONFIG, *next(iter(change.items())))
    state = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    with pytest.raises(FormatError, match=rf"{next(iter(change))}|has shape"):
        load(save(tmp_path, state, {}))


SHAPES = {name: tuple(value.shape) for name, value in seed_model().state_dict().items()}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": weights(), "model": weights(), "config": CONFIG}, "state_dict and model"),
        ({"state_dict": weights(), "config": CONFIG, "hyper_parameters": CONFIG}, "config and hyper_parameters"),
        ({"state_dict": [1, 2], "config": CONFIG}, "it holds state_dict, config; expected a model_state_dict"),
        ({"state_dict": {1: torch.ones(1)}, "config": CONFIG}, "1 in place of the name of a weight"),
        ({"state_dict": {"a": "b"}, "config": CONFIG}, "'a' is not a tensor"),
        ({"state_dict": {"a": torch.ones(1, dtype=torch.int8)}, "config": CONFIG}, "torch.int8"),
        ({**checkpoint(pred_mode="classification"), "bin_edges": "/etc/passwd"}, "expected a row of numbers"),
        (checkpoint(train_end="2015-12-31", more={"train_end": "2018-12-31"}), "differ in train_end"),
        ({"state_dict": weights(), "config": {**CONFIG, "feature_names": "abcde"}}, "expected a list of names"),
    ],
)
def test_unclear_files_are_refused_in_one_line(tmp_path, content, said):
    """Two states, two configs, names and values of other kinds: the file is named, nothing is guessed."""
    torch.save(content, tmp_path / "odd.ckpt")
    with pytest.raises(FormatError, match=said) as caught:
        load(tmp_path / "odd.ckpt")
    assert "odd.ckpt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_safetensors_file_is_refused(tmp_path):
    """Cut anywhere, with a header of another length, or with metadata that are not JSON: one line with its name."""
    whole = save_safetensors(tmp_path, weights(), {}).read_bytes()
    path = tmp_path / "cut.safetensors"
    for damaged in (b"", whole[:5], whole[:300], whole[:-1], whole + b"\0", b"\xff" * 8 + whole[8:], b"{}" + whole):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"cut\.safetensors") as caught:
            load(path)
        assert "\n" not in str(caught.value)
    for metadata in ({"config": "{"}, {"config": "[1]"}, {"config": json.dumps(CONFIG), "feature_names": "a, b"}):
        save_file(weights(), path, metadata=metadata)
        with pytest.raises(FormatError, match=r"cut\.safetensors"):
            load(path)
    with pytest.raises(MissingFileError, match="safetensors"):
        load(tmp_path / "none.safetensors")


def test_folders_with_weights_are_models(tmp_path):
    """A folder with model.safetensors is a checkpoint; weights in several files, and other folders, are refused."""
    (tmp_path / "a").mkdir()
    save_folder(tmp_path / "a", weights(), {})
    assert loader_of(str(tmp_path / "a")) is loader_of("m.pt")
    (tmp_path / "b.pt").mkdir()
    (tmp_path / "b.pt" / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(MissingFileError, match="weights in several files are not read"):
        load(tmp_path / "b.pt")
    (tmp_path / "c").mkdir()
    with pytest.raises(FormatError, match="does not name a model"):
        load(tmp_path / "c")


def test_code_in_a_lightning_file_never_runs(tmp_path, monkeypatch):
    """Hyperparameters of a class of their own are refused by its name, and nothing of them is imported."""
    monkeypatch.chdir(tmp_path)
    torch.save({**LIGHTNING, "state_dict": weights(), "hyper_parameters": {**CONFIG, "x": Path}}, "m.ckpt")
    with pytest.raises(FormatError, match=r"names pathlib\.[\w.]*Path, and code in it is never run"):
        load("m.ckpt")


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_a_config_for_other_models_is_refused(tmp_path, suffix):
    """A model file has its sizes in itself."""
    with pytest.raises(InputError, match="model_config"):
        load_encoder(tmp_path / f"m.{suffix}", model_config="c.json")
    with pytest.raises(InputError, match="ignore_keys"):
        load_encoder(tmp_path / f"m.{suffix}", ignore_keys=["head"])
