"""Pretrained models of local folders: what they read, that windows do not see each other, and what is refused."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from encash.encoders import load_encoder
from encash.errors import FormatError, InputError, MissingFileError
from encash.testing import EncoderContract
from tests.encoders.pretrained_models import (
    CONTEXT,
    save_bolt,
    save_first,
    save_older_timesfm,
    save_patchtst,
    save_second,
    save_timesfm,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("chronos") is None, reason="chronos-forecasting is not installed (extra chronos)"
)
MODELS = {
    "bolt": ("chronos", save_bolt),
    "first": ("chronos", save_first),
    "second": ("chronos", save_second),
    "timesfm": ("timesfm", save_timesfm),
    "older timesfm": ("timesfm", save_older_timesfm),
    "patchtst": ("transformers", save_patchtst),
}
LOOKBACK = 16


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each model."""
    where = tmp_path_factory.mktemp("models")
    return {name: save(where / name) for name, (_, save) in MODELS.items()}


def load(name, folder, features="3,1", **options):
    """The encoder of two of four features."""
    return load_encoder(f"{MODELS[name][0]}:{folder}?features=4&feature={features}", lookback=LOOKBACK, **options)


def windows(count=5, seed=0, features=4, lookback=LOOKBACK):
    steps = np.random.default_rng(seed).standard_normal((count, lookback, features))
    return np.cumsum(steps, axis=1).astype(np.float32)


class TestTimesFm(EncoderContract):
    name = "timesfm"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        save = MODELS[self.name][1]
        self.path, self.other = save(tmp_path / "a"), save(tmp_path / "b", seed=1)

    def make_encoder(self):
        return load(self.name, self.path, device="cpu")

    def make_other(self):
        return load(self.name, self.other, device="cpu")


class TestOlderTimesFm(TestTimesFm):
    name = "older timesfm"


class TestPatchTst(TestTimesFm):
    name = "patchtst"


class TestSeveralFeaturesOfBolt(TestTimesFm):
    name = "bolt"


class TestSeveralFeaturesOfTheFirstGeneration(TestTimesFm):
    name = "first"


class TestSeveralFeaturesOfTheSecondGeneration(TestTimesFm):
    name = "second"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("other", [1e-6, -1e6, 1e30, 3e38])
def test_windows_do_not_see_each_other(folders, name, other):
    """Others shifted, scaled, or beyond what float32 can square change no bit; only those beyond it fail."""
    encoder, whole = load(name, folders[name]), windows(20)
    before = encoder.encode(whole).embedding
    with np.errstate(over="ignore"):
        whole[1:3], whole[8:] = whole[1:3] * np.float32(other), (whole[8:] + 1) * np.float32(other / 100)
    after = encoder.encode(whole)
    untouched = [0, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(after.embedding[untouched], before[untouched])
    assert after.finite()[untouched].all()
    assert after.finite().all() == (other < 1e18)


@pytest.mark.parametrize("name", MODELS)
def test_rows_outside_of_a_window_change_nothing(folders, name):
    """Rows before and after a window may hold anything, NaN included: its vector is the same bits."""
    encoder, rows = load(name, folders[name]), windows(1, lookback=60)[0]
    starts = np.array([5, 30], dtype=np.int64)
    (before,) = encoder.encode_rows(rows, starts)
    read = np.concatenate([np.arange(start, start + LOOKBACK) for start in starts])
    poisoned = np.full_like(rows, np.nan)
    poisoned[read] = rows[read]
    (after,) = encoder.encode_rows(poisoned, starts)
    np.testing.assert_array_equal(after.embedding, before.embedding)


@pytest.mark.parametrize("name", MODELS)
def test_only_the_chosen_features_are_read_in_their_order(folders, name):
    """Other features change nothing; each choice and order is an encoder of its own."""
    encoder, whole = load(name, folders[name]), windows()
    changed = whole.copy()
    changed[:, :, [0, 2]] = 7.0
    np.testing.assert_array_equal(encoder.encode(changed).embedding, encoder.encode(whole).embedding)
    swapped = load(name, folders[name], "1,3")
    assert swapped.spec.fingerprint != encoder.spec.fingerprint
    assert swapped.spec.dim == encoder.spec.dim
    with_names = load_encoder(
        f"{MODELS[name][0]}:{folders[name]}?feature=d, b", feature_names=list("abcd"), lookback=LOOKBACK
    )
    assert with_names.spec.feature_names == tuple("abcd")
    np.testing.assert_array_equal(with_names.encode(whole).embedding, encoder.encode(whole).embedding)


@pytest.mark.parametrize("name", ["bolt", "first", "timesfm", "older timesfm"])
def test_a_model_of_one_series_reads_each_feature_by_itself(folders, name):
    """The embedding is the vectors of the features side by side."""
    whole = windows()
    both = load(name, folders[name]).encode(whole).embedding
    single = [load(name, folders[name], feature).encode(whole).embedding for feature in "31"]
    np.testing.assert_allclose(both, np.hstack(single), atol=1e-5)


@pytest.mark.parametrize("name", ["second", "patchtst"])
def test_features_of_a_window_inform_each_other(tmp_path, folders, name):
    """Chronos-2 mixes the features of a window, and PatchTST does if its config says so; never those of others."""
    folder = folders[name] if name == "second" else save_patchtst(tmp_path / "m", channel_attention=True)
    whole = windows()
    changed = whole.copy()
    changed[:2, :, 1] = changed[:2, ::-1, 1]
    encoder = load(name, folder)
    before, after = encoder.encode(whole).embedding, encoder.encode(changed).embedding
    half = encoder.spec.dim // 2
    assert (np.abs(before - after)[:2, :half].max(axis=1) > 1e-6).all(), "feature 3 knows nothing of feature 1"
    np.testing.assert_array_equal(before[2:], after[2:])


@pytest.mark.parametrize("name", ["bolt", "second", "timesfm", "older timesfm", "patchtst"])
def test_the_scale_of_a_window_is_the_models_own(folders, name):
    """A window in other units is nearly the same to the model, which scales each by itself."""
    encoder, whole = load(name, folders[name]), windows()
    np.testing.assert_allclose(encoder.encode(50 * whole + 300).embedding, encoder.encode(whole).embedding, atol=2e-2)
    assert encoder.spec.normaliser == "the model's own scaling of each window"


def test_the_states_of_patchtst_are_its_own(folders):
    """The embedding is the mean over the patches of what the model returns without random masks, by channel."""
    from transformers import PatchTSTModel

    model = PatchTSTModel.from_pretrained(folders["patchtst"], do_mask_input=False).eval()
    whole = windows()
    with torch.inference_mode():
        states = model(past_values=torch.from_numpy(whole[:, :, [3, 1]])).last_hidden_state
    expected = states.mean(2).flatten(1)
    np.testing.assert_allclose(load("patchtst", folders["patchtst"]).encode(whole).embedding, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["timesfm", "older timesfm"])
def test_the_states_of_timesfm_are_those_of_its_forecasts(folders, name):
    """A window that does not fill its patches is masked as the model itself masks a short history."""
    import transformers

    kind = "TimesFm2_5ModelForPrediction" if name == "timesfm" else "TimesFmModelForPrediction"
    model = getattr(transformers, kind).from_pretrained(folders[name]).eval()
    lookback = 21
    series = windows(4, features=1, lookback=lookback)
    with torch.inference_mode():
        states = model(past_values=list(torch.from_numpy(series[:, :, 0]))).last_hidden_state[:, -3:]
    encoder = load_encoder(f"timesfm:{folders[name]}?features=1", lookback=lookback)
    np.testing.assert_allclose(encoder.encode(series).embedding, states.mean(1), atol=2e-3)


def test_the_head_of_a_model_is_no_part_of_its_identity(tmp_path):
    """The same body under different heads gives the same vectors, under the same fingerprint."""
    import transformers

    first = save_patchtst(tmp_path / "a")
    body = transformers.PatchTSTModel.from_pretrained(first)
    body.save_pretrained(tmp_path / "b")
    one, other = load("patchtst", first), load("patchtst", tmp_path / "b")
    assert one.spec == other.spec
    np.testing.assert_array_equal(one.encode(windows()).embedding, other.encode(windows()).embedding)


def test_a_setting_that_no_weight_shows_is_part_of_the_identity(tmp_path):
    """The same weights under a config with other heads or scales are a different model."""
    folder = save_patchtst(tmp_path / "m")
    before = load("patchtst", folder).spec
    edit(folder, num_attention_heads=4)
    assert load("patchtst", folder).spec.weights == before.weights
    assert load("patchtst", folder).spec.fingerprint != before.fingerprint


def test_patchtst_has_its_own_window_and_channels(tmp_path, folders):
    """Its context is the window; all features are read if they are as many as its channels; others are refused."""
    folder = folders["patchtst"]
    encoder = load_encoder(f"transformers:{folder}")
    assert (encoder.spec.lookback, encoder.spec.num_features) == (16, 2)
    assert load_encoder(f"transformers:{folder}?features=2").spec.fingerprint == encoder.spec.fingerprint
    with pytest.raises(InputError, match="lookback 20 cannot be set for this model: it is 16"):
        load_encoder(f"transformers:{folder}", lookback=20)
    for query in (
        "?features=3&feature=1",
        "?features=5&feature=0,1,2",
        "?features=1",
        "?features=5",
        f"?features={10**17}",
    ):
        with pytest.raises(InputError, match="reads 2 features together"):
            load_encoder(f"transformers:{folder}{query}")
    single = save_patchtst(tmp_path / "one", num_input_channels=1)
    assert load_encoder(f"transformers:{single}?features=4&feature=0,2,3").spec.dim == 3 * 8


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "number of features of the data is unknown"),
        ("?features=four", r"expected timesfm:FOLDER\?features=F"),
        ("?features=1_0", "expected timesfm:FOLDER"),
        ("?feature=1", "expected timesfm:FOLDER"),
        ("?features=0", "expected timesfm:FOLDER"),
        ("?features=4&feature=0,4", "there is no feature 4 among 4"),
        ("?features=4&feature=1,1", "given twice"),
        ("?features=4&feature=close", "expected timesfm:FOLDER"),
        ("?features=4&feaure=1", "expected timesfm:FOLDER"),
        ("?features=4&features=5", "expected timesfm:FOLDER"),
        ("?features=4&feature=", "expected timesfm:FOLDER"),
        ("?features=4&feature=-1", "expected timesfm:FOLDER"),
    ],
)
def test_a_name_that_says_something_else_is_refused(folders, query, said):
    """Unknown keys, numbers that are none, features that the data do not have: one line with the form of a name."""
    with pytest.raises(InputError, match=said) as caught:
        load_encoder(f"timesfm:{folders['timesfm']}{query}")
    assert "\n" not in str(caught.value)


def test_names_are_those_of_the_data(folders):
    """A name that the data do not have is refused with some that they have."""
    with pytest.raises(InputError, match=r"the data have no feature 'clsoe' \(they have close, volume\)"):
        load_encoder(f"timesfm:{folders['timesfm']}?feature=clsoe", feature_names=["close", "volume"])


def test_a_weight_under_two_names_is_refused(tmp_path, folders):
    """TimesFM 2.5 has other names in files than in the library; both at once are two weights for one place."""
    shutil.copytree(folders["timesfm"], tmp_path / "m")
    name = next(name for name in load_file(folders["timesfm"] / "model.safetensors") if "ff0" in name)
    edit_weights(tmp_path / "m", lambda state: state.update({name.replace("ff0", "fc1"): state[name].clone()}))
    with pytest.raises(FormatError, match="1 weights have the name of another one"):
        load("timesfm", tmp_path / "m")


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, change: Any) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path, metadata={"format": "pt"})


LAYERS = {"bolt": "num_layers", "first": "num_layers", "second": "num_layers"}


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_is_accounted_for(tmp_path, folders, name):
    """Libraries draw missing weights at random and skip unknown ones; here both are refused by name, as is a wrong
    shape, and so is a model of NaN."""
    last = sorted(load_file(folders[name] / "model.safetensors"))[-1]

    def misshape(state):
        state[last] = torch.cat([state[last], state[last]])

    for number, (change, said) in enumerate(
        (
            (lambda state: state.pop(last), r"weights are missing for its config \("),
            (lambda state: state.update(more=torch.ones(1)), r"1 weights are unknown .* \(more\)"),
            (misshape, "1 weights have a wrong shape or type"),
            (lambda state: state.update({last: state[last].to(torch.int8)}), "1 weights have a wrong shape or type"),
            (
                lambda state: [value.mul_(torch.nan) for value in state.values() if value.is_floating_point()],
                "returns NaN or infinity",
            ),
        )
    ):
        folder = tmp_path / str(number)
        shutil.copytree(folders[name], folder)
        edit_weights(folder, change)
        with pytest.raises(FormatError, match=said):
            load(name, folder)


@pytest.mark.parametrize("name", MODELS)
def test_sizes_of_a_config_are_compared_with_the_weights(tmp_path, folders, name):
    """Ten million layers or a width of a billion are refused before anything is made of them."""
    layers = LAYERS.get(name, "num_hidden_layers")
    width = "d_model" if name in LAYERS or name == "patchtst" else "hidden_size"
    for number, change in enumerate(({layers: 10**7}, {layers: 2}, {layers: 3}, {width: 10**9})):
        if change == {layers: 2} and "timesfm" in name:
            continue  # as many as it has
        folder = tmp_path / str(number)
        shutil.copytree(folders[name], folder)
        edit(folder, **change)
        with pytest.raises(FormatError, match=r"weights in all|are missing|wrong shape"):
            load(name, folder)


@pytest.mark.parametrize("name", MODELS)
def test_folders_that_are_no_model_are_refused(tmp_path, folders, name):
    """No config, another type or class of model, an adapter, quantized or damaged weights: one line, nothing on
    stderr."""
    changes = {
        "type": lambda folder: edit(folder, model_type="llama", chronos_pipeline_class="Other"),
        "class": lambda folder: edit(folder, architectures=["AutoModel"]),
        "classes": lambda folder: edit(folder, architectures=None),
        "quantized": lambda folder: edit(folder, quantization_config={"bits": 4}),
        "adapter": lambda folder: (folder / "adapter_config.json").write_text("{}"),
        "config": lambda folder: (folder / "config.json").write_text("[]"),
        "weights": lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100),
        "values": lambda folder: edit(folder, chronos_config=7, d_model="x", hidden_size="x", context_length=None),
    }
    for number, change in enumerate(changes.values()):
        folder = tmp_path / str(number)
        shutil.copytree(folders[name], folder)
        change(folder)
        with pytest.raises(FormatError) as caught:
            load(name, folder)
        assert "\n" not in str(caught.value)
    for missing in ("config.json", "model.safetensors"):
        folder = tmp_path / missing
        shutil.copytree(folders[name], folder)
        (folder / missing).unlink()
        with pytest.raises(MissingFileError, match=missing):
            load(name, folder)


@pytest.mark.parametrize("name", MODELS)
def test_code_beside_a_model_never_runs(tmp_path, folders, name):
    """A config that names code of its own is loaded with the classes of its library, without a question."""
    folder = tmp_path / "m"
    shutil.copytree(folders[name], folder)
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: ...\n")
    edit(folder, auto_map={"AutoConfig": "own.C", "AutoModel": "own.C", "AutoModelForSeq2SeqLM": "own.C"})
    load(name, folder)
    assert not (tmp_path / "ran").exists()


def test_a_model_is_loaded_in_silence(folders, capfd):
    """No progress bar or warning of a library reaches the terminal."""
    for name, folder in folders.items():
        load(name, folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["bolt", "timesfm"])
def test_a_window_beyond_the_context_is_refused(folders, name):
    """A library would cut it silently."""
    with pytest.raises(InputError, match=f"at most {CONTEXT}"):
        load_encoder(f"{MODELS[name][0]}:{folders[name]}?features=1", lookback=CONTEXT + 1)


def test_without_transformers_the_line_that_installs_it_is_given():
    """No transformers: MissingExtraError with the pip line."""
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from encash.encoders import load_encoder; from encash.errors import MissingExtraError\n"
        "for scheme in ('timesfm', 'transformers'):\n"
        "    try: load_encoder(scheme + ':folder?features=3')\n"
        "    except MissingExtraError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.count('pip install "encash[transformers]"') == 2
