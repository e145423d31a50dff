"""Several encoders as one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from encash.encoders import Ensemble, load_encoder
from encash.errors import InputError, MismatchError
from encash.testing import EncoderContract, MeanEncoder


def windows(count=6, lookback=4, features=3):
    return np.random.default_rng(1).normal(size=(count, lookback, features)).astype(np.float32)


class TestEnsemble(EncoderContract):
    def make_encoder(self):
        return Ensemble([MeanEncoder(3, lookback=4), MeanEncoder(3, lookback=4, seed=1, dim=9)])

    def make_other(self):
        return Ensemble([MeanEncoder(3, lookback=4, seed=2), MeanEncoder(3, lookback=4, seed=1)])


def test_embedding_of_the_first_forecasts_of_all():
    """The embedding and its identity are the first member's; forecasts and confidences are means."""
    members = [MeanEncoder(3, lookback=4, seed=seed) for seed in range(3)]
    result, each = Ensemble(members).encode(windows()), [member.encode(windows()) for member in members]
    np.testing.assert_array_equal(result.embedding, each[0].embedding)
    np.testing.assert_allclose(result.forecast, np.mean([one.forecast for one in each], axis=0), rtol=1e-6)
    np.testing.assert_allclose(result.confidence, np.mean([one.confidence for one in each], axis=0), rtol=1e-6)
    spec = Ensemble(members).spec
    assert spec.fingerprint == members[0].spec.fingerprint
    assert spec.forecast_fingerprint not in {member.spec.forecast_fingerprint for member in members}
    assert spec.forecast_fingerprint != Ensemble(members[:2]).spec.forecast_fingerprint


def test_the_mean_forecast_is_that_of_the_mean_probabilities(tmp_path, seed):
    """Two classifiers of the same bins: Σ mean(softmax) · midpoint is the mean of their expected returns."""
    edges = np.linspace(-0.3, 0.3, 101, dtype=np.float32)
    paths = [seed.save_checkpoint(tmp_path / f"{i}.pt", seed=i, pred_mode="classification") for i in (0, 1)]
    members = [load_encoder(path, bin_edges=edges, device="cpu", precision="float32") for path in paths]
    import torch

    shares = [
        torch.softmax(seed.seed_model(seed=i, pred_mode="classification")(torch.tensor(windows(5, 6, 5)))[1], dim=1)
        for i in (0, 1)
    ]
    mean = ((shares[0] + shares[1]) / 2).detach().numpy()
    expected = np.einsum("nbh,b->nh", mean, (edges[1:] + edges[:-1]) / 2)
    np.testing.assert_allclose(Ensemble(members).encode(windows(5, 6, 5)).forecast, expected, atol=1e-5)
    assert Ensemble(members).source_digest not in {None, *(member.source_digest for member in members)}


def test_the_last_training_day_is_the_latest_of_all():
    """An ensemble has seen what any member has seen; unknown for one is unknown for all."""

    def member(end):
        encoder = MeanEncoder(3)
        encoder.spec = replace(encoder.spec, horizons=(1, 5, 10, 20), train_end=end)
        return encoder

    assert Ensemble([member("2015-01-01"), member("2017-01-01")]).spec.train_end == "2017-01-01"
    assert Ensemble([member("2015-01-01"), member(None)]).spec.train_end is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (MeanEncoder(3, lookback=5), "lookback 5, the first has 4"),
        (MeanEncoder(3, lookback=4, horizons=(1,)), "has horizons"),
        (MeanEncoder(2, lookback=4), "the data have 3 features"),
    ],
)
def test_members_that_do_not_belong_together_are_refused(other, said):
    """Another window, other horizons, other features."""
    with pytest.raises(MismatchError, match=said):
        Ensemble([MeanEncoder(3, lookback=4), other])
    with pytest.raises(InputError, match="at least one"):
        Ensemble([])


def test_every_member_tells_what_changes_on_the_way():
    """Whoever is told by the ensemble is told by its members."""
    members: tuple[Any, ...] = (MeanEncoder(3, seed=0), MeanEncoder(3, seed=1))
    ensemble, told = Ensemble(members), list[str]()
    ensemble.notify = told.append
    for member in members:
        member.notify("memory ran out")
    assert told == ["memory ran out"] * 2
