import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from encash.cache import open_cache
from encash.errors import InputError


def test_arrow_has_every_entry(cache):
    """The stream of Arrow batches has the same keys and values as the cache."""
    table = cache.to_arrow(batch_rows=100).read_all()
    assert table.num_rows == cache.index().entries
    assert table.column_names == ["date", "ticker", "digest", "embedding", "forecast", "confidence"]
    row = table.slice(250, 1).to_pylist()[0]
    vectors, found = cache.get(row["date"], [row["ticker"]])
    assert found.all()
    assert np.array_equal(np.float32(row["embedding"]), vectors[0])


def test_a_cache_without_forecasts_has_no_such_columns(tmp_path, panel, make_encoder):
    cache = open_cache(tmp_path / "c.lance")
    cache.build(panel, make_encoder(horizons=()), months=1)
    assert "forecast" not in cache.to_arrow().schema.names


def test_xarray_is_a_grid_with_nan_for_missing_entries(cache, panel):
    pytest.importorskip("xarray", reason="xarray comes with the dev install")
    data = cache.to_xarray("2020-04-01", "2020-05-31")
    for day, ticker in (("2020-05-04", "T0001"), ("2020-04-01", "LATE")):
        vectors, _ = cache.get(day, [ticker])
        assert np.array_equal(data.embedding.sel(day=day, ticker=ticker).values, vectors[0], equal_nan=True)
    assert data.sizes["horizon"] == 4
    assert str(data.day.values[0])[:10] >= "2020-04-01"
    with pytest.raises(InputError, match="is after"):
        cache.to_xarray("2020-05-31", "2020-04-01")


def test_the_torch_dataset_has_every_entry_once(cache):
    """The batches of a loader have each entry once, with its vector."""
    torch = pytest.importorskip("torch", reason="torch comes with the dev install")
    dataset = cache.torch_dataset()
    assert isinstance(dataset, torch.utils.data.Dataset)
    keys = set()
    for batch in torch.utils.data.DataLoader(dataset, batch_size=100, shuffle=True):
        keys |= set(zip(batch["day"].tolist(), batch["ticker"], strict=True))
        day = np.datetime64(int(batch["day"][0]), "D")
        assert np.array_equal(batch["embedding"][0].numpy(), cache.get(day, [batch["ticker"][0]])[0][0])
    assert len(keys) == len(dataset) == cache.index().entries


def test_a_dataset_can_be_read_from_several_threads(cache):
    """Four threads that fetch the same items while the cache is read get the same values."""
    pytest.importorskip("torch", reason="torch comes with the dev install")
    dataset = cache.torch_dataset()
    items = list(range(0, len(dataset), 3))
    alone = np.stack([item["embedding"] for item in dataset.__getitems__(items)])
    with ThreadPoolExecutor(4) as threads:
        fetched = [threads.submit(dataset.__getitems__, items) for _ in range(12)]
        for day in cache.index().days[:20]:
            cache.get(day, cache.index().tickers)
    for one in fetched:
        np.testing.assert_array_equal(np.stack([item["embedding"] for item in one.result()]), alone)


def test_a_cache_and_its_dataset_are_pickled_by_path(cache):
    """A pickled cache or dataset has only the path and version, and opens the cache itself."""
    again = pickle.loads(pickle.dumps(cache))
    assert again.index().entries == cache.index().entries
    first = open_cache(cache.path, version=1)
    assert pickle.loads(pickle.dumps(first)).version == first.version == 1
    pytest.importorskip("torch", reason="torch comes with the dev install")
    assert len(pickle.loads(pickle.dumps(cache.torch_dataset()))) == cache.index().entries


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_worker_is_refused(cache):
    """A forked worker gets an error that names the start method that works; with that, it reads every entry."""
    torch = pytest.importorskip("torch", reason="torch comes with the dev install")
    load, dataset = torch.utils.data.DataLoader, cache.torch_dataset()
    with pytest.raises(InputError, match='multiprocessing_context="spawn"'):
        next(iter(load(dataset, batch_size=50, num_workers=1, multiprocessing_context="fork")))
    spawned = load(dataset, batch_size=500, num_workers=1, multiprocessing_context="spawn")
    assert sum(len(batch["day"]) for batch in spawned) == len(dataset)
