"""Encoders of one's own, by module:attribute and by entry point."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from encash.encoders import load_encoder
from encash.encoders.registry import ENTRY_POINTS, LOADERS
from encash.errors import FormatError, InputError
from encash.testing import EncoderContract, MeanEncoder


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)


class TestOwn(EncoderContract):
    def make_encoder(self):
        return load_encoder("own_encoders:Own")

    def make_other(self):
        return load_encoder("own_encoders:make")


def test_an_instance_a_class_and_a_function_are_taken():
    """Whatever is an encoder, or makes one without arguments."""
    for name, seed in (("READY", 0), ("Own", 5), ("make", 6)):
        encoder = load_encoder(f"own_encoders:{name}")
        assert encoder.spec == MeanEncoder(3, lookback=4, seed=seed).spec
        assert "its own settings" in encoder.choice


def test_an_entry_point_is_found_by_its_name(monkeypatch):
    """A package that offers an encoder under encash.encoders is loaded by that name."""
    offered = EntryPoint(name="ours", value="own_encoders:Own", group=ENTRY_POINTS)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group, name: [offered] if name == "ours" else [])
    assert load_encoder("ours").spec == MeanEncoder(3, lookback=4, seed=5).spec
    with pytest.raises(FormatError, match="theirs does not name a model"):
        load_encoder("theirs")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module_here:Own", "cannot be imported"),
        ("own_encoders:Missing", "has no attribute 'Missing'"),
        ("own_encoders:NOTHING", "has the type int; expected an encash.encoders.Encoder"),
        ("model.pickle", "does not name a model"),
        ("", "path is ''; expected a path"),
        (".", f"does not name a model; expected {', '.join(LOADERS)}, module:attribute"),
    ],
)
def test_what_is_no_encoder_is_refused(name, said):
    """A module that is not there, an attribute that is none, a value that is no encoder: one clear line."""
    with pytest.raises(InputError, match=said):
        load_encoder(name)


def test_settings_must_be_the_encoders_own():
    """A cache hands back what it recorded: equal settings are taken, others refused, the batch size is set."""
    encoder = load_encoder("own_encoders:Own", lookback=4, precision="float32", batch_size=3)
    assert encoder.batch_size == 3
    for setting in ({"lookback": 5}, {"precision": "bfloat16"}, {"device": "cuda"}, {"pooling": "last"}):
        with pytest.raises(InputError, match=f"{next(iter(setting))} .* cannot be set"):
            load_encoder("own_encoders:Own", **setting)
