"""What was made of a walk is kept when it is stopped, and taken again only where it is the same."""

from dataclasses import replace

import numpy as np
import pytest

from encash.clusters import CacheEntries, FitConfig, SelectionRule, WalkCheckpoints, WalkConfig, load_walk, walk_forward
from encash.errors import MissingFileError
from encash.fingerprint import row_digests
from encash.store.index import EntryIndex, RowKeys

CONFIG = WalkConfig(
    every=30, horizon=5, embargo=6, history=60, fit=FitConfig(k=3), rule=SelectionRule(top_k=1), draws=10
)


def entries_of(truth, unknown=()):
    """The keys of planted entries, with the digest of each vector; 0 for those of some days."""
    cells = len(truth.days) * len(truth.tickers)
    digest = row_digests(truth.grid.reshape(cells, -1)).reshape(len(truth.days), -1)
    digest[list(unknown)] = 0
    day, ticker = np.indices(digest.shape, dtype=np.int32)
    keys = RowKeys(
        day=truth.days.astype(np.int32)[day.ravel()],
        ticker=ticker.ravel(),
        names=np.array(truth.tickers),
        digest=digest.ravel(),
    )
    index = EntryIndex.of(keys)
    return CacheEntries(index=index, vectors=lambda _: pytest.fail("vectors were read"), cache="c" * 64, version=1)


class Stopped:
    """A reader that is interrupted before the n-th refit, and tells what was asked of it."""

    def __init__(self, truth, before=None):
        self.truth, self.before, self.ends = truth, before, []

    def __call__(self, start, end):
        if len(self.ends) == self.before:
            raise KeyboardInterrupt
        self.ends.append(end)
        return self.truth.read(start, end)


@pytest.fixture
def stopped(planted, tmp_path):
    """A walk of five refits that was stopped in the fourth."""
    truth = planted()
    with pytest.raises(KeyboardInterrupt):
        walk(truth, tmp_path, before=3)
    return truth


def walk(truth, out, *, before=None, config=CONFIG, unknown=(), encoder=""):
    """Walk, and return what was made and how many refits were read for it."""
    read, checkpoints = Stopped(truth, before), WalkCheckpoints(out, entries_of(truth, unknown))
    made = walk_forward(truth.prices, read, config=config, encoder=encoder, checkpoints=checkpoints)
    return made, len(read.ends)


def test_a_stopped_walk_goes_on_from_its_last_refit(stopped, contents, tmp_path):
    """Only what is missing is made, and the folder is to the byte that of a walk that was never stopped."""
    made, fits = walk(stopped, tmp_path)
    assert fits == 2
    whole = walk_forward(stopped.prices, stopped.read, config=CONFIG, encoder="")
    assert made.fingerprint == whole.fingerprint
    made.save(tmp_path / "a")
    whole.save(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_nobody_sees_half_a_walk(stopped, tmp_path):
    """A reader finds none until it is saved, and nothing of the unfinished one after it is removed."""
    with pytest.raises(MissingFileError):
        load_walk(tmp_path)
    made, _ = walk(stopped, tmp_path)
    made.save(tmp_path)
    checkpoints = WalkCheckpoints(tmp_path, entries_of(stopped))
    checkpoints.clear()
    checkpoints.clear()
    assert load_walk(tmp_path).fingerprint == made.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"000{n}" for n in range(5)), "walk.json"]


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"every": 60}, 2),  # the second was matched to another model before it
        ({"end": np.datetime64("2020-09-01")}, 1),
        ({"fit": FitConfig(k=3, seed=1)}, 5),
        ({"fit": FitConfig(k=4)}, 5),
        ({"rule": SelectionRule(top_k=2)}, 5),
        ({"horizon": 4}, 5),
        ({"embargo": 7}, 5),
        ({"metric": "sharpe"}, 5),
        ({"winsorize": None}, 5),
        ({"draws": 9}, 5),
        ({"window": 50}, 5),
    ],
)
def test_what_is_decided_otherwise_is_made_again(stopped, tmp_path, change, fits):
    """Whatever a refit depends on is part of its identity; how far the walk goes is not."""
    config = replace(CONFIG, **change)
    made, made_again = walk(stopped, tmp_path, config=config)
    assert made.fingerprint == walk_forward(stopped.prices, stopped.read, config=config, encoder="").fingerprint
    assert made_again == fits


def test_a_restated_past_is_walked_again(stopped, tmp_path):
    """From the first refit that knew a changed entry or price, or that another encoder made; what comes after the stop
    moves nothing."""
    for day, fits in ((70, 4), (100, 3), (130, 2)):
        grid, close = stopped.grid.copy(), stopped.prices.close.copy()
        grid[day, 0] += 0.5
        close[day] *= 1.01
        entry, price = replace(stopped, grid=grid), replace(stopped, prices=replace(stopped.prices, close=close))
        for number, restated in enumerate((entry, price)):
            out = tmp_path / f"{day}-{number}"
            with pytest.raises(KeyboardInterrupt):
                walk(stopped, out, before=3)
            made, made_again = walk(restated, out)
            assert (
                made.fingerprint == walk_forward(restated.prices, restated.read, config=CONFIG, encoder="").fingerprint
            )
            assert made_again == fits
    assert walk(stopped, tmp_path, encoder="e" * 64)[1] == 5


@pytest.mark.parametrize("name", ["clusters.npz", "clusters.json", "ranking_5d.json", "cluster.npy", "refit.json"])
def test_a_damaged_refit_is_made_again(stopped, tmp_path, name):
    """A file of other bytes than were written is no refit; those after it still hold, for it is made the same."""
    kept = next((tmp_path / ".unfinished").rglob(name))
    kept.write_bytes(kept.read_bytes()[:-9])
    made, fits = walk(stopped, tmp_path)
    assert fits == 3
    assert made.fingerprint == walk_forward(stopped.prices, stopped.read, config=CONFIG, encoder="").fingerprint


def test_nothing_is_kept_of_entries_that_nobody_knows(planted, tmp_path):
    """Where the window of an entry was not recorded, a change would not be seen; refits before it are kept."""
    truth = planted()
    with pytest.raises(KeyboardInterrupt):
        walk(truth, tmp_path, before=3, unknown=[100])
    assert walk(truth, tmp_path, unknown=[100])[1] == 3
