import numpy as np
import pytest

from encash.cache import measure_agreement, sample_windows
from encash.errors import InputError, MismatchError


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((400, 12)).astype(np.float32)


def test_the_same_type_agrees_entirely(vectors):
    agreement = measure_agreement(vectors, "float32")
    assert (agreement.clusters, agreement.distances, agreement.vectors) == (1.0, 1.0, 400)
    assert agreement.cosine == pytest.approx(1)


def test_narrower_types_agree_less(vectors):
    half, byte = (measure_agreement(vectors, dtype) for dtype in ("float16", "int8"))
    assert 1 > half.cosine > byte.cosine > 0.99
    assert half.distances > byte.distances > 0.99


def test_clusters_that_differ_by_less_than_the_step_are_lost():
    """A coordinate that int8 rounds away decides every cluster here: agreement is what chance gives."""
    random = np.random.default_rng(1)
    vectors = np.column_stack([np.full(300, 1000.0), random.choice([-1.0, 1.0], 300)]).astype(np.float32)
    centroids = np.array([[1000, -1], [1000, 1]], dtype=np.float32)
    agreement = measure_agreement(vectors, "int8", centroids)
    assert agreement.clusters < 0.7
    with pytest.raises(MismatchError, match="take a wider type"):
        agreement.check(0.9)
    assert measure_agreement(vectors, "float16", centroids).clusters == 1


def test_one_vector_says_nothing(vectors):
    with pytest.raises(InputError, match="two or more"):
        measure_agreement(vectors[:1], "int8")


def test_sampled_windows_are_windows_of_the_panel(panel, windows):
    """What a model is measured on are windows that the build will encode; none where no history is long enough."""
    sample = sample_windows(panel, 8)
    known = set(windows.values())
    assert len(sample) == 16
    assert all(window.tobytes() in known for window in sample)
    assert sample_windows(panel, 10_000).shape == (0, 10_000, panel.num_features)
