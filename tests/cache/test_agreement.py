import numpy as np
import pytest

from encash.cache import measure_agreement
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
