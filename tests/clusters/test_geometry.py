import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encash.clusters import ClusterModel
from encash.clusters.geometry import Geometry
from encash.errors import InputError, MismatchError


def brute(vectors, centroids, mean, scale, components):
    """Squared distances as they are defined, in float64, one pair after the other."""
    space = (vectors.astype(np.float64) - mean) / scale
    if components is not None:
        space = space @ components.astype(np.float64).T
    return np.square(space[:, None] - centroids.astype(np.float64)).sum(axis=2)


@st.composite
def geometries(draw):
    """Random models and vectors: some far from the origin, some with equal centroids, some half-way between two."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, k, d = draw(st.integers(1, 40)), draw(st.integers(1, 8)), draw(st.integers(1, 20))
    p = draw(st.one_of(st.none(), st.integers(1, d)))
    offset = draw(st.sampled_from([0.0, 1.0, 300.0]))
    mean = (offset * random.normal(size=d)).astype(np.float32)
    scale = random.uniform(0.1, 3, size=d).astype(np.float32)
    components = None if p is None else np.linalg.qr(random.normal(size=(d, p)))[0].T.astype(np.float32)
    centroids = random.normal(size=(k, p or d)).astype(np.float32)
    if draw(st.booleans()):
        centroids[-1] = centroids[0]
    vectors = (mean + scale * random.normal(size=(n, d))).astype(np.float32)
    if p is None and k > 1 and draw(st.booleans()):
        vectors[0] = mean + scale * (centroids[0] + centroids[1]) / 2
    return vectors, centroids, mean, scale, components


@given(geometries())
@settings(max_examples=150)
def test_assignment_is_brute_force(case):
    """Every vector gets the centroid that brute force in float64 finds; ties go to the lowest id."""
    vectors, centroids, mean, scale, components = case
    squares = brute(vectors, centroids, mean, scale, components)
    ids, distances = Geometry(centroids, mean, scale, components).assign(vectors)
    every = np.arange(len(vectors))
    least = squares.min(axis=1)
    slack = 1e-12 * (1 + np.abs(mean / scale).max()) ** 2 * (1 + least)
    assert (squares[every, ids] <= least + slack).all()
    clear = (squares <= (least + 2 * slack)[:, None]).sum(axis=1) == 1
    assert (ids[clear] == squares.argmin(axis=1)[clear]).all()
    np.testing.assert_allclose(distances, np.sqrt(least), rtol=2e-6, atol=1e-6)


@given(geometries())
@settings(max_examples=100)
def test_equal_centroids_give_the_lowest_id(case):
    """Of two centroids with the same bits the second is never chosen."""
    vectors, centroids, mean, scale, components = case
    doubled = np.concatenate([centroids, centroids])
    ids, _ = Geometry(doubled, mean, scale, components).assign(vectors)
    assert (ids < len(centroids)).all()


@given(geometries())
@settings(max_examples=100)
def test_bits_do_not_depend_on_the_company(case):
    """A vector gets the same bits alone as among others, and the same distance from `assign` as from `distances`."""
    vectors, *parts = case
    geometry = Geometry(*parts)
    ids, distances = geometry.assign(vectors)
    table = geometry.distances(vectors)
    assert (table[np.arange(len(vectors)), ids] == distances).all()
    for row in range(len(vectors)):
        one_id, one_distance = geometry.assign(vectors[row : row + 1])
        assert one_id[0] == ids[row]
        assert one_distance[0] == distances[row]
        assert (geometry.distances(vectors[row : row + 1])[0] == table[row]).all()


def test_more_rows_than_a_block():
    """Thousands of wide vectors are assigned as brute force does, in any order of rows."""
    random = np.random.default_rng(3)
    centroids = (0.02 * random.normal(size=(12, 256))).astype(np.float32)
    mean, scale = random.normal(size=256).astype(np.float32), random.uniform(0.5, 2, 256).astype(np.float32)
    vectors = (mean + scale * random.normal(size=(4300, 256))).astype(np.float32)
    geometry = Geometry(centroids, mean, scale, None)
    ids, distances = geometry.assign(vectors)
    squares = brute(vectors, centroids, mean, scale, None)
    assert (ids == squares.argmin(axis=1)).all()
    np.testing.assert_allclose(distances, np.sqrt(squares.min(axis=1)), rtol=1e-7)
    order = random.permutation(len(vectors))
    again, distances_again = geometry.assign(vectors[order])
    assert (again == ids[order]).all()
    assert (distances_again == distances[order]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_not_finite_is_refused_by_row(bad):
    """NaN, infinity and what overflows name the first row that holds them, also beyond the first block."""
    vectors = np.zeros((5500, 3), dtype=np.float32)
    vectors[5200, 1] = bad
    geometry = Geometry(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), np.ones(3, np.float32), None)
    for ask in (geometry.assign, geometry.distances):
        with pytest.raises(InputError, match="vector 5200 "):
            ask(vectors)


def test_no_vectors_get_no_clusters():
    """An empty day is no error."""
    geometry = Geometry(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), np.ones(3, np.float32), None)
    ids, distances = geometry.assign(np.empty((0, 3), np.float32))
    assert len(ids) == len(distances) == 0
    assert geometry.distances(np.empty((0, 3), np.float32)).shape == (0, 3)


def test_another_length_is_refused():
    """Vectors of another encoder's length are named with what the clusters take."""
    model = ClusterModel(
        centroids=np.eye(3, dtype=np.float32),
        mean=np.zeros(3, np.float32),
        scale=np.ones(3, np.float32),
        encoder="",
        fit_start="",
        fit_end="",
        seed=0,
        counts=np.ones(3, np.int64),
        inertia=0.0,
    )
    with pytest.raises(MismatchError, match=r"\(2, 4\).*\(n, 3\)"):
        model.assign(np.zeros((2, 4), np.float32))
