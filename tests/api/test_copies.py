"""Copies of what the functions return: for worker processes, and in this one."""

from __future__ import annotations

import copy
import gc
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

import encash
from encash.errors import ConflictError, InputError
from encash.panel.toy import toy_panel
from encash.testing import MeanEncoder
from tests.api.conftest import END, START


@pytest.fixture(scope="module")
def results(home, tmp_path_factory) -> dict[str, Any]:
    """Return what each public function returns, by name; results with a folder have one of the user."""
    out = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        panel, prices = encash.open_panel("f.h5", prices="p.h5"), encash.open_prices("p.h5")
        cache, encoder = encash.open_cache("c.lance"), encash.load_encoder("m.pt", precision="float32")
        fitted = encash.fit_clusters(cache, end=END, k=4, seed=3, out=out / "k")
        ranked = encash.rank_clusters(fitted, cache, prices, end=END, horizon=5, top=2)
        data: dict[str, Any] = {"prices": prices, "cache": cache, "panel": panel, "clusters": ranked}
        run = encash.backtest(**data, start=START, top_k=2, run_dir=out / "run")
        live = encash.backtest(prices=prices, panel=panel, model=encoder, start=START, run_dir=out / "live")
        head = encash.fit_head(cache, prices, end=END, horizons=[5], out=out / "head")
        return {
            "panel": panel,
            "prices": prices,
            "cache": cache,
            "snapshot": cache.snapshot(),
            "new cache": encash.open_cache("new.lance"),
            "lookup": cache.with_fallback(panel, encoder),
            "encoder": encoder,
            "plan": cache.plan(panel, encoder, months=1),
            "build": cache.build(panel, encoder, months=1),
            "info": cache.info(),
            "coverage": cache.coverage(panel),
            "verify": cache.verify(),
            "clusters": ranked,
            "walk": encash.walk_clusters(
                cache, prices, every=40, horizon=5, embargo=5, k=3, history=60, out=out / "walk"
            ),
            "head": head,
            "run": run,
            "live run": live,
            "run by a head": encash.backtest(**data, head=head, start=START, run_dir=out / "by head"),
            "comparison": encash.compare(run, draws=5),
            "table": run.equity,
            "plots": run.plot,
            "figure": run.plot.equity(),
            "picks": encash.picks(**data, top_k=2),
            "sweep": encash.sweep(
                {"grid": {"top_k": [1, 2]}, "base": {"start": START}}, **data, workers=1, out=out / "sweep"
            ),
            "audit": encash.audit(**data, model=encoder, start=START, days=1, sample=8),
        }


def test_every_result_is_copied_and_pickled(results):
    """A copy shows itself as the original does."""
    for name, one in results.items():
        for made in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert type(made) is type(one), name
            assert repr(made) == repr(one), name


def test_results_cross_to_a_process_that_was_spawned(results):
    """A worker compares a run that it received, and one that it made comes back."""
    run = results["run"]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        compared = pool.submit(encash.compare, run, draws=5)
        vectors = pool.submit(results["cache"].get, "2020-06-01", ["T0001"])
        assert compared.result().verdict == encash.compare(run, draws=5).verdict
        assert np.array_equal(vectors.result()[0], results["cache"].get("2020-06-01", ["T0001"])[0])


def test_a_copied_run_is_compared_as_the_run_is(results):
    """Its inputs are open again: the cache, the panel and a model in memory."""
    for name in ("run", "live run", "run by a head"):
        again = pickle.loads(pickle.dumps(results[name]))
        assert encash.compare(again, draws=5).values == encash.compare(results[name], draws=5).values


def test_a_copied_cache_has_the_version_of_the_original(tmp_path):
    """What others committed since is seen after a refresh, as in the original; a cache that was replaced is refused."""
    panel = toy_panel(seed=2, num_tickers=3, num_sessions=60)
    encoder = MeanEncoder(num_features=panel.num_features, lookback=4)
    cache = encash.open_cache(tmp_path / "c.lance")
    cache.build(panel, encoder, end=panel.sessions[45])
    other = encash.open_cache(tmp_path / "c.lance")
    other.build(panel, encoder)
    for again in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert again.version == cache.version < other.version
        again.refresh()
        assert again.version == other.version
    pinned = pickle.loads(pickle.dumps(encash.open_cache(tmp_path / "c.lance", version=cache.version)))
    with pytest.raises(InputError, match="opened as of version"):
        pinned.build(panel, encoder)
    written = pickle.dumps(cache.snapshot())
    (tmp_path / "c.lance").rename(tmp_path / "old.lance")
    encash.open_cache(tmp_path / "c.lance").build(panel, encoder, end=panel.sessions[40])
    with pytest.raises(ConflictError, match="was replaced since it was pickled"):
        pickle.loads(written)


def test_a_cache_is_read_where_it_was_opened(home, tmp_path, monkeypatch):
    """Also after the working folder has changed, which a notebook may do; so is its copy."""
    monkeypatch.chdir(home)
    cache, panel = encash.open_cache("c.lance"), encash.open_panel("f.h5")
    monkeypatch.chdir(tmp_path)
    cache.refresh()
    for one in (cache, pickle.loads(pickle.dumps(cache))):
        assert one.coverage(panel).counts()["valid"] == cache.info().entries > 0


def test_a_result_in_a_temporary_folder_is_copied_and_not_pickled(results):
    """The copy keeps the folder; a pickle could not, and says what to do."""
    fitted = encash.fit_clusters(results["cache"], end=END, k=4)
    again = copy.deepcopy(fitted)
    del fitted
    gc.collect()
    assert (again.folder / "clusters.json").is_file()
    with pytest.raises(InputError, match="make it with out=FOLDER"):
        pickle.dumps(again)


def test_a_model_in_onnx_runtime_is_not_pickled(home):
    """Each process loads it itself."""
    pytest.importorskip("onnxruntime", reason="onnxruntime comes with the dev install")
    encoder = encash.load_encoder(home / "m.pt", precision="float32", engine="onnxruntime")
    with pytest.raises(InputError, match="give its path"):
        pickle.dumps(encoder)
