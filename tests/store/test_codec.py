import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from encash.errors import InputError
from encash.store.codec import DTYPES, check_dtype, decode, encode, round_vectors


def vectors(width: float):
    """Matrices of float32, including tiny and subnormal values."""
    return hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(-width, width, width=32, allow_nan=False),
    )


@pytest.mark.parametrize(("dtype", "width"), [("float32", 2.0**127), ("float16", 65504.0), ("int8", 2.0**127)])
def test_rounding_is_idempotent(dtype, width):
    """Vectors read from a store and stored again have the same codes, scales and values, bit for bit."""

    @given(vectors(width))
    def check(given_vectors):
        codes, scale = encode(given_vectors, dtype)
        once = decode(codes, scale)
        again_codes, again_scale = encode(once, dtype)
        assert once.tobytes() == decode(again_codes, again_scale).tobytes()
        assert codes.tobytes() == again_codes.tobytes()
        if scale is not None:
            assert again_scale is not None
            assert scale.tobytes() == again_scale.tobytes()

    check()


@given(vectors(1000.0))
def test_int8_error_is_at_most_half_a_step(given_vectors):
    """An int8 value is at most half a step off; a step is slightly more than the row's largest value / 127."""
    step = np.abs(given_vectors).max(axis=1, keepdims=True).astype(np.float64) / 127 * (1 + 2.0**-15) + 2.0**-125
    assert (np.abs(round_vectors(given_vectors, "int8").astype(np.float64) - given_vectors) <= step * 0.5001).all()


def test_every_half_is_decoded_exactly():
    """All 63,488 finite half-precision values are decoded as by numpy's own conversion, with the signs of zeros."""
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)][None]
    assert decode(halves, None).tobytes() == halves.astype(np.float32).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(dtype, bad):
    """NaN and infinity are refused, and the first vector with one is named."""
    values = np.zeros((3, 4), dtype=np.float32)
    values[2, 1] = bad
    with pytest.raises(InputError, match="vector 2 has NaN or infinity"):
        encode(values, dtype)


def test_values_out_of_range_are_refused():
    """A value out of the range of the type is refused, never made infinite."""
    with pytest.raises(InputError, match="does not fit float16"):
        encode(np.array([[1e5]], dtype=np.float32), "float16")
    with pytest.raises(InputError, match="does not fit int8"):
        encode(np.array([[np.finfo(np.float32).max]], dtype=np.float32), "int8")


def test_an_unknown_type_is_refused():
    """An unknown storage type is refused by name."""
    with pytest.raises(InputError, match="unknown storage type 'bfloat16'"):
        check_dtype("bfloat16")
