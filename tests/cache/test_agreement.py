import numpy as np
import pytest

from encash.cache import measure_agreement, open_cache
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
    with pytest.raises(MismatchError, match="use a wider dtype"):
        agreement.check(0.9)
    assert measure_agreement(vectors, "float16", centroids).clusters == 1


def test_equal_picks_are_measured(vectors):
    """Candidates filtered by cluster and ranked by forecast × confidence: the same types agree, chance clusters do not;
    without forecasts nothing is said."""
    scores = np.random.default_rng(2).standard_normal((400, 2)).astype(np.float32)
    assert measure_agreement(vectors, "float32", scores=scores).picks == 1
    assert 0.9 < measure_agreement(vectors, "int8", scores=scores).picks <= 1
    assert measure_agreement(vectors, "int8", scores=scores[:, :0]).picks is None
    assert measure_agreement(vectors, "int8").picks is None
    coarse = np.column_stack([np.full(400, 1000.0), np.random.default_rng(1).choice([-1.0, 1.0], 400)])
    two = np.array([[1000, -1], [1000, 1]], dtype=np.float32)
    lost = measure_agreement(coarse.astype(np.float32), "int8", two, scores=scores)
    assert lost.picks < 0.6
    with pytest.raises(MismatchError, match="of the picks"):
        lost.check(0.9)


@pytest.mark.parametrize(
    "choice", [{"tickers": ["T0001"], "start": "2020-05-04", "end": "2020-05-04"}, {"months": 1}, {}]
)
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_narrow_cache_always_carries_its_agreement(path, panel, make_encoder, choice, dtype):
    """However little is built first, the type is measured on windows of the whole panel, and shown."""
    cache = open_cache(path)
    cache.build(panel, make_encoder(dim=32), dtype=dtype, least_agreement=0.9, **choice)
    agreement = cache.info().agreement
    assert (agreement["dtype"], agreement["vectors"]) == (dtype, 256)
    assert min(agreement["clusters"], agreement["distances"], agreement["picks"]) >= 0.9
    assert open_cache(path).info().agreement == agreement


def test_measuring_a_type_tells_its_progress(path, panel, make_encoder):
    """Batch by batch, before the first entry of the build is counted; float32 needs no measurement."""

    def told(dtype):
        cache, calls = open_cache(path.with_name(f"{dtype}.lance")), []
        choice = {"dtype": dtype, "least_agreement": 0, "tickers": ["T0001"]}
        cache.build(panel, make_encoder(dim=32), **choice, progress=lambda *now: calls.append(now))
        return calls

    measured, calls = [(done, 256) for done in range(32, 257, 32)], told("int8")
    assert calls[:8] == measured
    assert {total for _, total in calls[8:]} == {total for _, total in told("float32")} != {256}


def test_a_type_is_not_judged_by_a_handful_of_windows(path, panel, make_encoder, windows):
    """A panel with fewer than 50 windows: refused, and no cache is left; float32 needs no measurement."""
    short = panel.as_of(min(day for day, _ in windows))
    with pytest.raises(InputError, match="50 vectors or more"):
        open_cache(path).build(short, make_encoder(), dtype="int8")
    assert not path.exists()
    assert open_cache(path).build(short, make_encoder()).computed > 0


@pytest.mark.parametrize("least", [-0.1, 1.1, float("nan")])
def test_an_agreement_is_a_share(path, panel, make_encoder, least):
    with pytest.raises(InputError, match="fraction from 0 to 1"):
        open_cache(path).build(panel, make_encoder(), dtype="int8", least_agreement=least)


def test_one_vector_says_nothing(vectors):
    with pytest.raises(InputError, match="two or more"):
        measure_agreement(vectors[:1], "int8")
