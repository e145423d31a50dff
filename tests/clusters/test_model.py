import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.clusters import FitConfig, fit_clusters, load_clusters
from encash.errors import FormatError, MismatchError, MissingFileError


@pytest.fixture
def model(planted):
    """A small fitted model."""
    days, tickers, vectors = planted(num_sessions=30).batch()
    return fit_clusters(vectors, days, tickers, config=FitConfig(k=3, pca_components=4), encoder="e" * 64)


def test_what_is_saved_comes_back(model, tmp_path):
    """A loaded model is the saved one to the bit, and saving it again gives the same bytes."""
    model.save(tmp_path / "once")
    loaded = load_clusters(tmp_path / "once")
    assert loaded.fingerprint == model.fingerprint
    assert loaded.encoder == "e" * 64
    assert loaded.notes["entries"] == 600
    loaded.save(tmp_path / "twice")
    for name in ("clusters.npz", "clusters.json"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


def test_the_description_is_for_people(model, tmp_path):
    """The JSON says what was fitted on which days, for which encoder."""
    model.save(tmp_path)
    facts = json.loads((tmp_path / "clusters.json").read_text())
    assert facts["k"] == 3
    assert facts["dim"] == 8
    assert facts["fit_start"] == "2020-01-01"
    assert facts["encoder"] == "e" * 64
    assert 0 < facts["explained"] < 1


def test_pickles_are_never_loaded(tmp_path):
    """A folder of the old code's pickles is refused with the commands that fit anew."""
    (tmp_path / "cluster_model.pkl").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(FormatError, match=r"never loaded.*encash clusters fit.*cluster\.create_clusters --model-path"):
        load_clusters(tmp_path)


def test_pickled_arrays_are_refused(model, tmp_path):
    """An .npz with a pickled object inside is damaged, not run."""
    model.save(tmp_path)
    np.savez(tmp_path / "clusters.npz", centroids=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FormatError, match="damaged"):
        load_clusters(tmp_path)


def test_what_is_missing_is_named(model, tmp_path):
    """No folder, an empty one, and one of two files are told apart and mended by the same command."""
    with pytest.raises(MissingFileError, match=r"no clusters.json in .*clusters fit"):
        load_clusters(tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match=r"clusters\.json"):
        load_clusters(tmp_path)
    model.save(tmp_path)
    (tmp_path / "clusters.npz").unlink()
    with pytest.raises(MissingFileError, match=r"clusters\.npz"):
        load_clusters(tmp_path)


def test_parts_of_two_models_are_refused(model, tmp_path):
    """Arrays of one model beside the description of another do not pass for a model."""
    model.save(tmp_path)
    facts = json.loads((tmp_path / "clusters.json").read_text())
    (tmp_path / "clusters.json").write_text(json.dumps({**facts, "fit_end": "2019-01-01"}))
    with pytest.raises(FormatError, match="do not belong together"):
        load_clusters(tmp_path)
    for text in ("{", "[1]", json.dumps({"format": 1})):
        (tmp_path / "clusters.json").write_text(text)
        with pytest.raises(FormatError):
            load_clusters(tmp_path)


@given(data=st.data())
@settings(max_examples=60)
def test_damaged_arrays_are_refused(tmp_path_factory, data):
    """A truncated file, or one with a changed byte, is an error or the same model; never another one."""
    folder = tmp_path_factory.mktemp("damaged")
    random = np.random.default_rng(0)
    days, tickers = np.datetime64("2020-01-01") + np.arange(20), np.full(20, "A")
    vectors = random.normal(size=(20, 3)).astype(np.float32)
    model = fit_clusters(vectors, days, tickers, config=FitConfig(k=2), encoder="")
    model.save(folder)
    path = folder / "clusters.npz"
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(content[:at])
    else:
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
    with contextlib.suppress(FormatError):
        assert load_clusters(folder).fingerprint == model.fingerprint


def test_another_encoder_is_refused(model):
    """Embeddings of another encoder are refused; an unknown one passes."""
    model.check_encoder("e" * 64)
    model.check_encoder("")
    with pytest.raises(MismatchError, match=r"eeeeeeeeeeee.*ffffffffffff"):
        model.check_encoder("f" * 64)
