"""The contract that encoders pass, and that it finds what is broken."""

import inspect

import numpy as np
import pytest

from encash.testing import BrokenEncoder, EncoderContract, MeanEncoder


class TestMeanEncoder(EncoderContract):
    def make_encoder(self):
        return MeanEncoder(5, lookback=4)

    def make_other(self):
        return MeanEncoder(5, lookback=4, seed=1)


class TestEncoderWithoutForecasts(EncoderContract):
    def make_encoder(self):
        return MeanEncoder(5, lookback=4, horizons=())


@pytest.mark.parametrize(
    ("fault", "found_by"),
    [
        ("batch", "test_a_window_does_not_depend_on_the_others"),
        ("nan", "test_outputs_are_finite_and_confidence_is_a_fraction"),
        ("narrow", "test_outputs_have_the_shapes_and_types_of_the_spec"),
        ("random", "test_the_same_windows_give_the_same_bits_again"),
        ("lenient", "test_wrong_shapes_are_refused"),
    ],
)
def test_each_fault_is_found_by_its_own_test(fault, found_by):
    """An encoder with one fault fails the test that is there for it."""

    class Broken(EncoderContract):
        def make_encoder(self):
            return BrokenEncoder(5, fault, lookback=4)

    failed = []
    for name, test in inspect.getmembers(Broken(), inspect.ismethod):
        if name.startswith("test_"):
            try:
                test()
            except AssertionError:
                failed.append(name)
    assert found_by in failed


def test_it_is_known_which_outputs_are_not_finite():
    """A window with a NaN takes no other with it."""
    encoder = MeanEncoder(2, lookback=1)
    windows = np.zeros((3, 1, 2), dtype=np.float32)
    windows[1] = np.nan
    assert encoder.encode(windows).finite().tolist() == [True, False, True]
