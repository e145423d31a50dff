"""Models that are a file: ONNX and exported programs."""

import json
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from encash.encoders import load_encoder
from encash.encoders.torch import TorchEncoder
from encash.encoders.torch.export import export_onnx, export_program
from encash.errors import FormatError, InputError, MissingFileError
from encash.testing import EncoderContract, write_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One classifier, as a checkpoint, a program and an ONNX model."""
    folder = tmp_path_factory.mktemp("models")
    extras = {"bin_edges": torch.linspace(0.7, 1.3, 101), "train_end": "2015-12-31", "feature_names": list("abcde")}
    sizes: dict[str, Any] = {"pred_mode": "classification", "num_bins": 100}
    write_checkpoint(folder / "m.pt", num_features=5, lookback=6, extras=extras, **sizes)
    encoder = load_encoder(folder / "m.pt", device="cpu", precision="float32")
    assert isinstance(encoder, TorchEncoder)
    export_program(encoder, folder / "m.pt2")
    return folder


@pytest.fixture(scope="module")
def onnx_folder(folder):
    pytest.importorskip("onnxruntime", reason="onnxruntime comes with the dev install")
    pytest.importorskip("onnxscript", reason="onnxscript comes with the dev install")
    encoder = load_encoder(folder / "m.pt", device="cpu", precision="float32")
    assert isinstance(encoder, TorchEncoder)
    export_onnx(encoder, folder / "m.onnx")
    return folder


class TestProgram(EncoderContract):
    @pytest.fixture(autouse=True)
    def _path(self, folder):
        self.path = folder / "m.pt2"

    def make_encoder(self):
        return load_encoder(self.path, device="cpu")


class TestOnnx(EncoderContract):
    @pytest.fixture(autouse=True)
    def _path(self, onnx_folder):
        self.path = onnx_folder / "m.onnx"

    def make_encoder(self):
        return load_encoder(self.path, device="cpu")


@pytest.mark.parametrize("name", ["m.pt2", "m.onnx"])
def test_an_exported_model_says_what_its_checkpoint_says(folder, name, request):
    """Embeddings, forecasts and what the spec knows survive the export; the identity is the engine's own."""
    if name.endswith(".onnx"):
        request.getfixturevalue("onnx_folder")
    ours = load_encoder(folder / "m.pt", device="cpu", precision="float32")
    theirs = load_encoder(folder / name, device="cpu", batch_size=4)
    windows = np.random.default_rng(0).normal(size=(11, 6, 5)).astype(np.float32)
    for field in ("embedding", "forecast", "confidence"):
        np.testing.assert_allclose(
            getattr(theirs.encode(windows), field), getattr(ours.encode(windows), field), atol=1e-5
        )
    kept = ("lookback", "num_features", "dim", "horizons", "pooling", "feature_names", "train_end", "forecast_rule")
    assert {field: getattr(theirs.spec, field) for field in kept} == {
        field: getattr(ours.spec, field) for field in kept
    }
    assert ours.spec.fingerprint != theirs.spec.fingerprint


@pytest.mark.parametrize("name", ["m.pt2", "m.onnx"])
def test_settings_that_a_model_file_does_not_have_are_refused(folder, name, request):
    """Another lookback, precision, pooling or bin edges than it was exported with; its own are taken."""
    if name.endswith(".onnx"):
        request.getfixturevalue("onnx_folder")
    load_encoder(folder / name, lookback=6, precision="float32", pooling="mean")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"lookback": 7}, "lookback of 6"),
        ({"precision": "bfloat16"}, "cannot be set"),
        ({"bin_edges": "uniform"}, "cannot be set"),
        ({"pooling": "last"}, "pools its states itself"),
        ({"device": "quantum"}, "device 'quantum'"),
    ]
    for setting, said in cases:
        with pytest.raises(InputError, match=said):
            load_encoder(folder / name, **setting)


class _States(nn.Module):
    """A model of its own shape: a fixed batch, states instead of an embedding, no forecasts."""

    def __init__(self, outputs=1):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.outputs = nn.Linear(3, 8), outputs

    def forward(self, windows):
        states = torch.tanh(self.linear(windows))
        return (states, states[:, 0, :4], states[:, 0, :4])[: self.outputs]


def save_program(path, module, shape=(4, 5, 3), extra=None):
    program = torch.export.export(module.eval(), (torch.zeros(shape),))
    torch.export.save(program, path, extra_files=extra or {})
    return path


@pytest.mark.parametrize(("pooling", "expected"), [("mean", lambda s: s.mean(1)), ("last", lambda s: s[:, -1])])
def test_states_are_pooled_here(tmp_path, pooling, expected):
    """A program that gives states (n, L, D) is pooled as asked; its fixed batch is kept, whatever is encoded."""
    encoder = load_encoder(save_program(tmp_path / "s.pt2", _States()), pooling=pooling)
    windows = np.random.default_rng(0).normal(size=(7, 5, 3)).astype(np.float32)
    states = _States()(torch.tensor(windows))[0].detach().numpy()
    np.testing.assert_allclose(encoder.encode(windows).embedding, expected(states), atol=1e-6)
    assert encoder.batch_size == 4
    assert (encoder.spec.horizons, encoder.spec.pooling, encoder.spec.dim) == ((), pooling, 8)


def test_horizons_of_its_own_stand_in_the_metadata(tmp_path):
    """Four forecasts are those of 1, 5, 10, 20 sessions unless the metadata say so; a wrong number is refused."""
    usual = save_program(tmp_path / "u.pt2", _States(3))
    own = save_program(tmp_path / "o.pt2", _States(3), extra={"encash": json.dumps({"horizons": [1, 2, 3, 4]})})
    wrong = save_program(tmp_path / "w.pt2", _States(3), extra={"encash": json.dumps({"horizons": [1]})})
    broken = save_program(tmp_path / "b.pt2", _States(3), extra={"encash": "no JSON"})
    assert load_encoder(usual).spec.horizons == (1, 5, 10, 20)
    assert load_encoder(own).spec.horizons == (1, 2, 3, 4)
    with pytest.raises(FormatError, match="forecasts 4 horizons"):
        load_encoder(wrong)
    with pytest.raises(FormatError, match="is not JSON"):
        load_encoder(broken)
    with pytest.raises(FormatError, match="do not belong together"):
        load_encoder(save_program(tmp_path / "f.pt2", _States(2)))


def test_a_damaged_program_is_one_line(folder, tmp_path, caplog):
    """A graph that torch cannot parse, of whatever kind the damage is, is refused without a word from torch's logs."""
    with zipfile.ZipFile(folder / "m.pt2") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    graph = next(name for name in members if name.endswith("models/model.json"))
    document = members[graph]
    for damaged in (
        document[:5000],
        document.replace(b"aten.linear", b"aten.lineal"),
        document.replace(b'"as_tensor"', b'"as_text"'),
        b"[]",
    ):
        with zipfile.ZipFile(tmp_path / "d.pt2", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, damaged if name == graph else content)
        with pytest.raises(FormatError, match="is not an exported program that torch"):
            load_encoder(tmp_path / "d.pt2")
    assert caplog.records == []


def test_damaged_names_of_an_onnx_model_are_refused(onnx_folder, tmp_path):
    """Metadata that are not UTF-8 are refused in one line."""
    content = (onnx_folder / "m.onnx").read_bytes()
    assert content.count(b"forecast_rule") == 1
    (tmp_path / "d.onnx").write_bytes(content.replace(b"forecast_rule", b"forecast_rul\xff"))
    with pytest.raises(FormatError, match="names that are not UTF-8"):
        load_encoder(tmp_path / "d.onnx")


class _Failing(nn.Module):
    def forward(self, windows):
        return torch.linalg.cholesky(windows[:, :3, :3])


def test_a_model_that_fails_on_its_first_batch_is_refused(tmp_path):
    """An engine's error on a batch of zeros is one line that names the file."""
    path = tmp_path / "c.pt2"
    program = torch.export.export(_Failing(), (torch.eye(5, 3)[None].repeat(4, 1, 1),))
    torch.export.save(program, path)
    with pytest.raises(FormatError, match="fails on windows of shape"):
        load_encoder(path)


class _Flat(nn.Module):
    def forward(self, windows):
        return windows.sum()


def test_programs_that_are_no_encoders_are_refused(tmp_path):
    """A scalar output, an input of two axes, a missing file."""
    with pytest.raises(FormatError, match="expected embeddings"):
        load_encoder(save_program(tmp_path / "flat.pt2", _Flat()))
    with pytest.raises(FormatError, match="one float32 input of windows"):
        load_encoder(save_program(tmp_path / "matrix.pt2", _Flat(), shape=(4, 5)))
    with pytest.raises(MissingFileError):
        load_encoder(tmp_path / "none.pt2")
    with pytest.raises(MissingFileError):
        load_encoder(tmp_path / "none.onnx")


class _Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def _rewritten(source, target, change):
    """A copy of an archive in which `change` may replace or add files."""
    with zipfile.ZipFile(source) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def test_code_in_an_archive_never_runs(folder, tmp_path):
    """Example inputs, weights and constants that would be unpickled with code are refused before torch reads them."""
    ran = tmp_path / "ran"
    torch.save(_Runs(ran), tmp_path / "bad.pt")
    bad = (tmp_path / "bad.pt").read_bytes()

    def sample_inputs(files):
        files["archive/data/sample_inputs/model.pt"] = bad

    def pickled_weight(files):
        config = json.loads(files["archive/data/weights/model_weights_config.json"])
        next(iter(config["config"].values()))["use_pickle"] = True
        files["archive/data/weights/model_weights_config.json"] = json.dumps(config).encode()
        files["archive/data/weights/weight_0"] = bad

    def old_weights(files):
        files["archive/data/weights/model.pt"] = bad

    def custom_object(files):
        config = json.loads(files["archive/data/constants/model_constants_config.json"])
        next(iter(config["config"].values()))["path_name"] = "opaque_obj_0"
        files["archive/data/constants/model_constants_config.json"] = json.dumps(config).encode()
        files["archive/data/constants/opaque_obj_0"] = bad

    def compiled(files):
        files["archive/data/aotinductor/model/code.so"] = b"\x7fELF"

    for change in (sample_inputs, pickled_weight, old_weights, custom_object, compiled):
        path = _rewritten(folder / "m.pt2", tmp_path / f"{change.__name__}.pt2", change)
        with pytest.raises(FormatError, match="could run code"):
            load_encoder(path)
    assert not ran.exists()


CODE = "__import__('pathlib').Path('ran').touch()"
"""What a text must not do: it would write a file."""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"expr_str": "Symbol(\'s', f'"expr_str": "{CODE} or Symbol(\'s'),
        ('"expr_str": "Symbol(\'', '"expr_str": "Add(\'1\', \\"' + CODE + "\\\") + Symbol('"),
        ("integer=True)", f"integer={CODE})"),
        ("integer=True)", "integer=True).__class__"),
        ('"guards_code": []', f'"guards_code": ["{CODE}"]'),
        ('"guards_code": []', '"guards_code": ["L[\'windows\'].touch()"]'),
        ('"windows"', f'"windows=({CODE},)"'),
        ('"torch.ops.aten.linear.default"', '"torch.os.system"'),
        ('"torch.ops.aten.linear.default"', '"torch.ops.aten.save.default"'),
        ('"torch.ops.aten.linear.default"', '"_operator.attrgetter"'),
        ('\\"context\\": \\"[]\\"', '\\"context\\": {\\"__enum__\\": 1, \\"fqn\\": \\"this:a\\", \\"name\\": \\"b\\"}'),
        ("builtins.dict", "collections.defaultdict"),
        ("linear_1", 'linear_1\\")\\nraise SystemExit #'),
    ],
)
def test_text_of_a_program_never_runs(folder, tmp_path, monkeypatch, old, new):
    """Expressions, guards, operators, names and trees of inputs that are code are refused before torch reads them."""
    monkeypatch.chdir(tmp_path)

    def change(files):
        document = files["archive/models/model.json"].decode()
        assert old in document
        files["archive/models/model.json"] = document.replace(old, new).encode()
        json.loads(files["archive/models/model.json"])

    with pytest.raises(FormatError, match="could run code"):
        load_encoder(_rewritten(folder / "m.pt2", tmp_path / "m.pt2", change))
    assert not (tmp_path / "ran").exists()


def test_names_in_other_letters_and_archives_behind_others_are_read_as_torch_does(folder, tmp_path):
    """Example inputs whose name torch finds whatever its case is are checked; bytes before the archive are refused."""
    torch.save(_Runs(tmp_path / "ran"), tmp_path / "bad.pt")

    def other_case(files):
        del files["archive/data/sample_inputs/model.pt"]
        files["archive/data/SAMPLE_inputs/model.pt"] = (tmp_path / "bad.pt").read_bytes()

    def twice(files):
        files["archive/models/MODEL.json"] = files["archive/models/model.json"]

    with pytest.raises(FormatError, match="could run code"):
        load_encoder(_rewritten(folder / "m.pt2", tmp_path / "o.pt2", other_case))
    with pytest.raises(FormatError, match=r"not a \.pt2 archive"):
        load_encoder(_rewritten(folder / "m.pt2", tmp_path / "t.pt2", twice))
    (tmp_path / "b.pt2").write_bytes(b"before" + (folder / "m.pt2").read_bytes())
    with pytest.raises(FormatError, match=r"not a \.pt2 archive"):
        load_encoder(tmp_path / "b.pt2")
    assert not (tmp_path / "ran").exists()


class _Sizes(nn.Module):
    def forward(self, windows):
        days = windows.shape[1]
        torch._check(days % 2 == 0)
        halves = windows.reshape(windows.shape[0], 2, days // 2, -1).mean(2)
        with torch.no_grad():
            scaled = halves * (days - 1) + max(days, 3) / 2
        return torch.einsum("nhf,nhf->nf", scaled, scaled)


def test_programs_with_sizes_guards_and_blocks_still_load(tmp_path):
    """Expressions, guards and blocks that torch writes for a program whose days may vary are accepted."""
    sizes = {"windows": {0: torch.export.Dim("n", min=2, max=64), 1: 2 * torch.export.Dim("half", min=2, max=64)}}
    program = torch.export.export(_Sizes(), (torch.zeros(4, 6, 3),), dynamic_shapes=sizes)
    torch.export.save(program, tmp_path / "s.pt2")
    encoder = load_encoder(tmp_path / "s.pt2", lookback=6)
    windows = np.random.default_rng(0).normal(size=(5, 6, 3)).astype(np.float32)
    expected = _Sizes()(torch.tensor(windows)).numpy()
    np.testing.assert_allclose(encoder.encode(windows).embedding, expected, rtol=1e-5)


def test_a_rewritten_archive_without_a_change_still_loads(folder, tmp_path):
    """The tampering above is what is refused, not the rewriting."""
    encoder = load_encoder(_rewritten(folder / "m.pt2", tmp_path / "m.pt2", lambda files: None))
    assert encoder.spec == load_encoder(folder / "m.pt2").spec


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_model_files_are_refused(folder, tmp_path, suffix, share, request):
    """Cut anywhere, the file is refused with one line that names it."""
    if suffix == ".onnx":
        request.getfixturevalue("onnx_folder")
    whole = (folder / f"m{suffix}").read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FormatError, match="cut"):
        load_encoder(tmp_path / f"cut{suffix}")


def test_the_identity_of_an_onnx_model_counts_the_files_that_it_names(onnx_folder, tmp_path):
    """Weights kept in a file beside the model are part of its fingerprint; strangers in the folder are not."""
    from encash.encoders.onnx import weights_digest

    model = tmp_path / "big.onnx"
    model.write_bytes(b"...location=big.weights...")
    (tmp_path / "big.weights").write_bytes(b"1")
    first = weights_digest(model)
    (tmp_path / "stranger.txt").write_bytes(b"?")
    assert weights_digest(model) == first
    (tmp_path / "big.weights").write_bytes(b"2")
    assert weights_digest(model) != first


def test_only_float32_is_exported(folder):
    """An export is made of the plain model, not of one that was rounded for speed."""
    encoder = load_encoder(folder / "m.pt", device="cpu", precision="bfloat16")
    assert isinstance(encoder, TorchEncoder)
    with pytest.raises(InputError, match="precision float32"):
        export_program(encoder, folder / "never.pt2")
