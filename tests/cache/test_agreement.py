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
    """If int8 rounds away the coordinate that decides every cluster, agreement is at the level of chance."""
    random = np.random.default_rng(1)
    vectors = np.column_stack([np.full(300, 1000.0), random.choice([-1.0, 1.0], 300)]).astype(np.float32)
    centroids = np.array([[1000, -1], [1000, 1]], dtype=np.float32)
    agreement = measure_agreement(vectors, "int8", centroids)
    assert agreement.clusters < 0.7
    with pytest.raises(MismatchError, match="use a wider dtype"):
        agreement.check(0.9)
    assert measure_agreement(vectors, "float16", centroids).clusters == 1


def test_agreement_of_picks_is_measured(vectors):
    """Picks filtered by cluster and ranked by forecast × confidence agree for equal types, and not for clusters at the
    level of chance; without forecasts they are not measured."""
    scores = np.random.default_rng(2).standard_normal((400, 2)).astype(np.float32)
    assert measure_agreement(vectors, "float32", scores=scores).picks == 1
    picks = measure_agreement(vectors, "int8", scores=scores).picks
    assert picks is not None
    assert 0.9 < picks <= 1
    assert measure_agreement(vectors, "int8", scores=scores[:, :0]).picks is None
    assert measure_agreement(vectors, "int8").picks is None
    coarse = np.column_stack([np.full(400, 1000.0), np.random.default_rng(1).choice([-1.0, 1.0], 400)])
    two = np.array([[1000, -1], [1000, 1]], dtype=np.float32)
    lost = measure_agreement(coarse.astype(np.float32), "int8", two, scores=scores)
    assert lost.picks is not None
    assert lost.picks < 0.6
    with pytest.raises(MismatchError, match="of the picks"):
        lost.check(0.9)


@pytest.mark.parametrize(
    "choice", [{"tickers": ["T0001"], "start": "2020-05-04", "end": "2020-05-04"}, {"months": 1}, {}]
)
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_narrow_cache_always_records_its_agreement(path, panel, make_encoder, choice, dtype):
    """Even if little is built first, the dtype is measured on windows of the whole panel, and the result is shown."""
    cache = open_cache(path)
    cache.build(panel, make_encoder(dim=32), dtype=dtype, least_agreement=0.9, **choice)
    agreement = cache.info().agreement
    assert agreement is not None
    assert (agreement["dtype"], agreement["vectors"]) == (dtype, 256)
    assert min(agreement["clusters"], agreement["distances"], agreement["picks"]) >= 0.9
    assert open_cache(path).info().agreement == agreement


def test_measuring_a_type_reports_progress(path, panel, make_encoder):
    """Progress of the measurement is reported batch by batch before that of the build; float32 is not measured."""

    def progress_of(dtype):
        cache, calls = open_cache(path.with_name(f"{dtype}.lance")), []
        choice = {"dtype": dtype, "least_agreement": 0, "tickers": ["T0001"]}
        cache.build(panel, make_encoder(dim=32), **choice, progress=lambda *now: calls.append(now))
        return calls

    measured, calls = [(done, 256) for done in range(32, 257, 32)], progress_of("int8")
    assert calls[:8] == measured
    assert {total for _, total in calls[8:]} == {total for _, total in progress_of("float32")} != {256}


def test_a_type_is_not_measured_on_few_windows(path, panel, make_encoder, windows):
    """With fewer than 50 windows a narrow type is refused, and no cache is left; float32 needs no measurement."""
    short = panel.as_of(min(day for day, _ in windows))
    with pytest.raises(InputError, match="50 vectors or more"):
        open_cache(path).build(short, make_encoder(), dtype="int8")
    assert not path.exists()
    assert open_cache(path).build(short, make_encoder()).computed > 0


@pytest.mark.parametrize("least", [-0.1, 1.1])
def test_an_agreement_is_a_fraction(path, panel, make_encoder, least):
    with pytest.raises(InputError, match="fraction from 0 to 1"):
        open_cache(path).build(panel, make_encoder(), dtype="int8", least_agreement=least)


def test_agreement_needs_two_vectors(vectors):
    with pytest.raises(InputError, match="two or more"):
        measure_agreement(vectors[:1], "int8")
