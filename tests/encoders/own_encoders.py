"""Encoders of somebody's own, as a user's module would hold them."""

from encash.testing import MeanEncoder

READY = MeanEncoder(3, lookback=4)
NOTHING = 7


class Own(MeanEncoder):
    def __init__(self):
        super().__init__(3, lookback=4, seed=5)


def make():
    return MeanEncoder(3, lookback=4, seed=6)
