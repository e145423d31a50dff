"""The workflow in Python: the same results as the command line, and results that show themselves."""

from __future__ import annotations

import gc
import inspect
import json
import pydoc
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import encash
import encash.api
import encash.backtest as engine
from encash import clusters, heads, pipeline
from encash.cli import main
from encash.errors import InputError
from encash.testing import write_checkpoint
from tests.api.conftest import END, START

_OPTIONS = (pipeline.FilterChoice, pipeline.Sources)
_KINDS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("audit", "backtest", "picks"), _OPTIONS),
    "sweep": (pipeline.Sources,),
    "fit_clusters": (clusters.FitConfig,),
    "rank_clusters": (clusters.RankConfig, clusters.SelectionRule),
    "walk_clusters": (clusters.WalkConfig, clusters.FitConfig, clusters.SelectionRule),
    "fit_head": (heads.HeadConfig,),
}
"""Classes whose fields a function also takes, and whose docstrings describe them."""


def test_the_workflow_gives_the_bytes_of_the_command_line(sources, ranked, tmp_path, capsys):
    """Clusters, their ranking and the run of the functions are those of the commands with the same flags."""
    for line in (
        f"clusters fit --cache c.lance --end {END} -k 4 --seed 3 --out {tmp_path / 'k'}",
        f"clusters rank --clusters {tmp_path / 'k'} --cache c.lance --prices p.h5 --end {END} --horizon 5 --top 2",
        f"backtest --data f.h5 --prices p.h5 --cache c.lance --clusters {tmp_path / 'k'} --start {START} --top-k 2 "
        f"--no-report --run-dir {tmp_path / 'cli'}",
    ):
        assert main([*line.split(), "--quiet"]) == 0
    capsys.readouterr()
    run = encash.backtest(**sources, clusters=ranked, start=START, top_k=2, run_dir=tmp_path / "api")
    for name in ("equity.parquet", "ledger.csv", "picks.parquet"):
        assert (tmp_path / "api" / name).read_bytes() == (tmp_path / "cli" / name).read_bytes()
    theirs = json.loads((tmp_path / "cli" / "result.json").read_text())
    assert run.to_json()["fingerprints"] == theirs["fingerprints"]


def test_opened_inputs_give_the_same_run_as_their_paths(sources, ranked, tmp_path):
    """Prices, panel, cache and clusters may be open already."""
    paths = encash.backtest(**sources, clusters=ranked.folder, start=START, run_dir=tmp_path / "a")
    prices, cache = encash.open_prices("p.h5"), encash.open_cache("c.lance")
    panel = encash.open_panel("f.h5")
    opened = encash.backtest(
        prices=prices, cache=cache, panel=panel, clusters=ranked, start=START, run_dir=tmp_path / "b"
    )
    assert opened.result.fingerprint == paths.result.fingerprint


def test_an_encoder_in_memory_encodes_what_the_cache_lacks(sources, tmp_path):
    """Without a cache every candidate is encoded, and the picks are those from the cache."""
    encoder = encash.load_encoder("m.pt", precision="float32")
    live = encash.backtest(prices="p.h5", panel="f.h5", model=encoder, start=START, run_dir=tmp_path / "a")
    cached = encash.backtest(**sources, start=START, run_dir=tmp_path / "b")
    assert live.to_json()["computed"] > 0
    assert cached.to_json()["computed"] == 0
    assert (tmp_path / "a" / "ledger.csv").read_bytes() == (tmp_path / "b" / "ledger.csv").read_bytes()


def test_tables_go_to_pandas_polars_and_arrow(sources, tmp_path):
    """A table holds what the file of the run holds, in each library."""
    run = encash.backtest(**sources, start=START, run_dir=tmp_path / "run")
    file = pq.read_table(tmp_path / "run" / "equity.parquet")
    assert pa.table(run.equity).equals(file)
    assert run.equity.to_arrow().equals(file)
    frame = run.ledger.to_pandas()
    assert len(frame) == len(run.ledger)
    assert frame["date"].dtype.kind == "M"
    assert str(run.ledger).startswith(f"{len(frame):,} rows")
    assert np.prod(1 + run.returns["net"]) - 1 == pytest.approx(run.summary["total_return"])
    polars = pytest.importorskip("polars")
    assert polars.DataFrame(run.equity)["net"].to_list() == file["net"].to_pylist()
    assert run.to_polars()["net"].to_list() == file["net"].to_pylist()


def test_results_show_themselves(sources, ranked, tmp_path):
    """Every result prints what it is, as text and as escaped HTML; none prints an address of memory."""
    run = encash.backtest(**sources, clusters=ranked, start=START, top_k=2, run_dir=tmp_path / "run")
    compared = encash.compare(run, draws=20)
    walk = encash.walk_clusters("c.lance", "p.h5", every=40, horizon=5, embargo=5, k=3, history=60)
    head = encash.fit_head("c.lance", "p.h5", end=END, horizons=[5])
    picks = encash.picks(**sources, clusters=ranked, top_k=2)
    swept = encash.sweep({"grid": {"top_k": [1, 2]}, "base": {"start": START}}, **sources, clusters=ranked, workers=1)
    cache, panel = encash.open_cache("c.lance"), encash.open_panel("f.h5", prices="p.h5")
    assert repr(cache) == "Cache c.lance: embeddings of 16 × float32, forecasts over 1, 5, 10, 20 sessions"
    assert repr(panel) == "Panel: 8 tickers, 19 features, prices of 8 tickers"
    assert repr(encash.open_cache("new.lance")) == "Cache new.lance: nothing built yet"
    assert list(swept.table.to_pandas()["filter"]) == ["hard", "hard"]
    for shown in (ranked, run, compared, walk, head, picks, swept, run.equity, ranked.ranking, walk.refits):
        assert "0x" not in repr(shown)
        assert "<" in shown._repr_html_()
    for result in (ranked, run, compared, walk, head, picks, swept):
        assert len(result.to_pandas()) == len(result.table) > 0
        assert pa.table(result).to_pandas().equals(result.table.to_arrow().to_pandas())
    assert compared.verdict["sentence"] in repr(compared)
    assert "verdict" in repr(run)
    assert len(swept.table) == 2
    assert swept.best is not None
    assert len(picks.table) == 2
    assert ranked.best
    page = encash.report(run, out=tmp_path / "report.html")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_charts_are_figures(sources, tmp_path):
    """A chart is a figure in the colors of paper; a name that is none suggests the nearest."""
    run = encash.backtest(**sources, start=START, run_dir=tmp_path / "run")
    assert "equity" in dir(run.plot)
    figure: Any = run.plot.equity()
    figure.savefig(tmp_path / "equity.png")
    assert vars(figure)["_repr_png_"]().startswith(b"\x89PNG")
    colors = {line.get_color() for axes in figure.axes for line in axes.lines}
    assert "#1b5fcf" in colors
    assert not any(str(color).startswith("#0102") for color in colors)
    with pytest.raises(AttributeError, match="no chart 'equty'; did you mean equity"):
        run.plot.equty()
    with pytest.raises(InputError, match="compare it first"):
        run.plot.random_filters()


def test_every_chart_that_is_listed_is_drawn(sources, ranked, tmp_path):
    """`dir(run.plot)` lists charts of which the run has the data, and no tables; more of them after a comparison."""
    run = encash.backtest(**sources, clusters=ranked, start=START, top_k=2, run_dir=tmp_path / "run")
    alone = dir(run.plot)
    encash.compare(run, draws=5)
    compared = dir(run.plot)
    assert {"equity", "mean_returns"} <= set(alone) < set(compared) >= {"random_filters"}
    assert not {"monthly", "drawdowns", "stages", "timings"} & set(compared)
    for name in compared:
        assert getattr(run.plot, name)().axes, name
    assert repr(run.plot) == f"charts: {', '.join(run.plot._names())}"
    with pytest.raises(InputError, match="monthly is a table"):
        run.plot.monthly()


@pytest.fixture(scope="module")
def example(home, tmp_path_factory):
    """The folder of the examples in the docstrings."""
    folder = tmp_path_factory.mktemp("example")
    for name in ("features.h5", "prices.h5", "cache.lance", "model.pt"):
        (folder / name).symlink_to(home / f"{name[0]}{Path(name).suffix}")
    return folder


@pytest.mark.parametrize("name", [name for name in dir(encash) if name[0].islower()])
def test_the_help_of_a_function_is_complete_and_its_example_runs(example, monkeypatch, name):
    """Arguments with their defaults, errors, and lines that can be copied."""
    monkeypatch.chdir(example)
    function = getattr(encash.api, name, None) or getattr(encash, name)
    text = inspect.getdoc(function)
    assert text is not None
    assert {"Args:", "Raises:", "Example::"} <= set(text.split())
    described = text.partition("Args:")[2]
    for one in inspect.signature(function).parameters.values():
        assert one.kind is not one.VAR_KEYWORD
        assert f"{one.name}:" in described or one.name in {of.name for kind in _KINDS[name] for of in fields(kind)}
    lines = text.partition("Example::")[2].partition("Settings:")[0]
    exec(textwrap.dedent(lines), {"encash": encash})


def test_an_unknown_setting_is_refused_with_the_nearest_one(sources):
    """The error names the setting that was probably meant."""
    with pytest.raises(InputError, match="'topk' is not a setting of a backtest; did you mean top_k"):
        encash.backtest(**sources, topk=3)
    number: Any = 3
    with pytest.raises(InputError, match="prices is 3; expected a PriceTable, a path or None"):
        encash.backtest(prices=number, cache="c.lance")


def test_packages_are_called_like_their_functions():
    """`encash.backtest` is a function with every setting in its signature, and the package of its parts."""
    import encash.backtest as package

    assert package.BacktestConfig(top_k=3).top_k == 3
    functions: list[Any] = [encash.backtest, encash.audit, encash.picks, package]
    for function in functions:
        names = inspect.signature(function).parameters
        assert {"prices", "horizon", "top_k", "keep", "as_of"} <= names.keys()
        assert not {"name", "periods", "data", "price_columns"} & names.keys()
        assert not any("Setting(" in str(one.annotation) for one in names.values())


def test_help_of_a_package_begins_with_its_function():
    """`help(encash.backtest)` shows arguments and errors before the parts of the package, without flag declarations."""
    for package in (encash.backtest, encash.audit, encash.report):
        shown = pydoc.plain(pydoc.render_doc(package)).partition("PACKAGE CONTENTS")[0]
        assert f"{package.__name__}(" in shown
        assert "Args:" in shown
    assert "Annotated" not in str(inspect.signature(encash.picks))


def test_a_misspelled_name_is_corrected():
    """Python suggests the public name that is nearest."""
    code = "import encash; encash.bactest"
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "Did you mean: 'backtest'?" in found.stderr


def test_a_comparison_needs_a_run():
    """A folder is refused: its data are not in it."""
    run: Any = "runs/1"
    with pytest.raises(InputError, match="run is 'runs/1'; expected a Run"):
        encash.compare(run)


def test_arguments_are_given_by_name(sources):
    """A call by position is refused with the form that is expected."""
    with pytest.raises(TypeError, match=r"backtest takes its arguments by name: backtest\(prices=…, cache=…, …\)"):
        encash.backtest(*sources.values())


def test_an_audit_reports_what_it_tried(sources, tmp_path):
    """The proofs of the command line, as a table."""
    found = encash.audit(**sources, model="m.pt", start=START, days=1, sample=8, precision="float32")
    assert len(found.checks) > 5
    assert set(np.unique(found.checks["status"])) <= {"passed", "failed", "not_tried", "not_applicable"}
    assert "0x" not in repr(found)


@pytest.mark.parametrize("first", ["backtest", "report", "audit", "picks", "sweep"])
def test_a_callable_package_is_one_object_in_any_order_of_use(first):
    """The function that is used first does not hide the package of its name from the modules that come later."""
    code = (
        f"import encash; encash.{first}; encash.picks; encash.sweep; import encash.backtest as a, encash.report as b, "
        "encash.audit as c; from encash import backtest, report, audit; import pickle; "
        "assert (a, b, c) == (backtest, report, audit) == (encash.backtest, encash.report, encash.audit); "
        "assert all(map(callable, (a, b, c))) and a.BacktestConfig and pickle.loads(pickle.dumps(a)) is a"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"tickers": []}, "tickers is empty; expected a list of names"),
        ({"tickers": "AAPL"}, "expected a list of names"),
        ({"tickers": 5}, "expected a list of names"),
        ({"membership": 5}, "membership is 5; expected a path"),
        ({"groups": {"T0000": "x"}}, "groups is {'T0000': 'x'}; expected a Groups, a path"),
        ({"reference": [1]}, r"reference is \[1\]; expected a path"),
        ({"run_dir": 5}, "run_dir is 5; expected a path"),
        ({"filter": 5}, "filter is 5; expected a CandidateFilter, text"),
        ({"filter": ""}, "filter is ''; expected its name"),
        ({"weights": np.arange(3)}, "weights is array"),
        ({"horizon": np.zeros((9, 9))}, "horizon is array"),
        ({"start": np.zeros((9, 9))}, "start is array.* expected a day"),
    ],
)
def test_a_wrong_kind_of_value_is_refused_in_one_line(sources, tmp_path, wrong, expected):
    """The message names the argument; an empty list of tickers is not all of them."""
    with pytest.raises(InputError, match=expected) as refused:
        encash.backtest(**{**sources, "start": START, "run_dir": tmp_path / "run", **wrong})
    assert "\n" not in str(refused.value)


def test_groups_may_be_open_already(sources, tmp_path):
    """As prices and caches may be."""
    text = "ticker,group\n" + "".join(f"T{number:04d},S{number % 2}\n" for number in range(8))
    (tmp_path / "g.csv").write_text(text)
    settings = {**sources, "start": START, "group_neutral": True, "top_k": 2}
    runs = [
        encash.backtest(**settings, groups=groups, run_dir=tmp_path / str(number))
        for number, groups in enumerate([tmp_path / "g.csv", engine.read_groups(tmp_path / "g.csv")])
    ]
    assert runs[0].result.fingerprint == runs[1].result.fingerprint


def test_temporary_clusters_last_as_long_as_their_run(sources, tmp_path):
    """Nothing else holds them, and the page and the charts of the run still read them."""

    def ranked():
        fitted = encash.fit_clusters("c.lance", end=END, k=4, seed=3)
        return encash.rank_clusters(fitted, "c.lance", "p.h5", end=END, horizon=5, top=2)

    run = encash.backtest(**sources, clusters=ranked(), start=START, run_dir=tmp_path / "run")
    gc.collect()
    assert run.clusters is not None
    assert run.clusters.is_dir()
    assert encash.report(run, out=tmp_path / "r.html").is_file()


def test_results_are_equal_only_to_themselves(sources, ranked, tmp_path):
    """They hold arrays, whose comparison would have no answer; they may be keys of a dictionary."""
    runs = [encash.backtest(**sources, clusters=ranked, start=START, run_dir=tmp_path / name) for name in "ab"]
    assert runs[0] != runs[1]
    assert len({*runs, ranked}) == 3


def test_the_table_of_a_sweep_is_a_table_of_pandas(sources, tmp_path):
    """Columns of text, too."""
    table = encash.sweep(
        {"base": {"start": START}, "grid": {"top_k": [2, 3]}}, **sources, workers=1, out=tmp_path
    ).table
    assert table.to_pandas()["filter"].tolist() == ["none", "none"]


@pytest.mark.parametrize(
    ("function", "wrong", "expected"),
    [
        ("fit_clusters", {"k": []}, "k is empty; expected a whole number"),
        ("fit_clusters", {"k": 3.5}, "k is 3.5; expected a whole number"),
        ("fit_clusters", {"k": "many"}, "k is 'many'"),
        ("fit_clusters", {"seed": None}, "seed is None; expected a whole number"),
        ("fit_clusters", {"pca_components": float("nan")}, "pca_components is nan"),
        ("fit_clusters", {"out": 5}, "out is 5; expected a path"),
        ("rank_clusters", {"fitted": None}, "fitted is None; expected a Clusters or a path"),
        ("rank_clusters", {"horizon": ["x"]}, "horizon is"),
        ("rank_clusters", {"embargo": [5]}, r"embargo is \[5\]; expected a whole number"),
        ("rank_clusters", {"top": 3.5}, "top is 3.5"),
        ("rank_clusters", {"delisting": 5}, "delisting is 5"),
        ("walk_clusters", {"every": None}, "every is None; expected a whole number"),
        ("walk_clusters", {"history": float("nan")}, "history is nan"),
        ("fit_head", {"horizons": "5"}, "horizons is '5'"),
        ("fit_head", {"winsorize": 5}, "winsorize is 5"),
        ("fit_head", {"every": []}, r"every is \[\]"),
        ("picks", {"date": np.zeros((9, 9))}, "date is array.* expected a day .* or 'latest'"),
        ("compare", {"run": 5}, "run is 5"),
    ],
)
def test_every_function_refuses_a_wrong_kind_of_value_in_one_line(sources, function, wrong, expected):
    """Before anything is read or computed."""
    data = {"cache": "c.lance", "prices": "p.h5"}
    given = {
        "fit_clusters": {"cache": "c.lance", "end": END},
        "rank_clusters": {**data, "fitted": "k", "end": END, "horizon": 5},
        "walk_clusters": {**data, "every": 60, "horizon": 5, "embargo": 5},
        "fit_head": {**data, "end": END},
        "picks": sources,
        "compare": {},
    }[function]
    with pytest.raises(InputError, match=expected) as refused:
        getattr(encash, function)(**{**given, **wrong})
    assert "\n" not in str(refused.value)


def test_options_of_the_inputs_are_paths_as_text(home, sources, tmp_path):
    """A list of encoders and more caches, as on the command line; wrong kinds are refused."""
    write_checkpoint(home / "m2.pt", num_features=encash.open_panel("f.h5").num_features, lookback=8, seed=2)
    build = ["build", "--model", "m2.pt", "--data", "f.h5", "--cache", str(tmp_path / "d.lance"), "--quiet"]
    assert main([*build, "--precision", "float32"]) == 0
    (tmp_path / "encoders.toml").write_text(f'[[encoder]]\ncache = "{tmp_path}/d.lance"\ntrain_end = "2020-03-02"\n')
    data = {"prices": "p.h5", "panel": "f.h5", "start": START, "run_dir": tmp_path / "run"}
    assert encash.backtest(**data, encoders=str(tmp_path / "encoders.toml")).summary["trades"] > 0
    averages = [str(tmp_path / "d.lance"), tmp_path / "d.lance", [tmp_path / "d.lance"]]
    found = {encash.backtest(**data, cache="c.lance", average=one).result.fingerprint for one in averages}
    assert len(found) == 1
    for wrong in ({"encoders": 5}, {"average": [5]}, {"best_file": 5}, {"model_config": 5}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} is .*5.*; expected a path"):
            encash.backtest(**data, cache="c.lance", **wrong)


def test_the_help_lists_the_counts_that_auto_tries():
    """The command line keeps its own copy, so that its help imports no library."""
    from encash.api import clusters
    from encash.cli.clusters import AUTO_COUNTS

    assert AUTO_COUNTS == clusters.AUTO_COUNTS
