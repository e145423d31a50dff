"""Arguments of the public functions: odd values work as their plain equivalents do, or are refused in one line."""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import encash
from encash.arguments import read
from encash.arrays import DayLike
from encash.errors import EncashError, InputError
from tests.api.conftest import END, START

pandas = pytest.importorskip("pandas", reason="pandas comes with the dev install")

ODD: tuple[Any, ...] = (
    *(None, True, 5, -1, 5.5, float("nan"), 10**400, "", "x", "5", b"x", [], {}, [None], object()),
    *(np.int64(3), np.float64(0.5), np.bool_(True), np.datetime64("2020-06-01"), pandas.Timestamp("2020-06-01 10:00")),
    *(pandas.NaT, dt.date(2020, 6, 1), Path("x"), np.arange(3), np.zeros((2, 2)), pandas.Series(["T0001", "T0002"])),
)
"""Values of which no argument takes all."""
WRONG: tuple[Any, ...] = (-1, 10**400, float("nan"), "", b"x", {}, [None], object(), np.zeros((2, 2)))
"""Values that hardly any argument takes."""
OF_THE_DATA = (
    "tickers",
    "forecast_horizon",
    "min_dollar_volume",
    "max_volume_share",
    "start",
    "ignore_keys",
    "every",
    "runs",
)
"""Arguments whose valid values may not fit the data; the message is about the data then."""
SETTINGS = {
    "fit_clusters": ("seed", "standardize", "pca_components"),
    "rank_clusters": ("coverage", "metric", "delisting"),
    "walk_clusters": ("window", "history"),
    "fit_head": ("every", "winsorize"),
}
"""Some of the further settings that a signature does not list."""


@pytest.fixture(scope="module")
def calls(home, tmp_path_factory) -> dict[str, dict[str, Any]]:
    """A valid call of each public function, on data that are open already."""
    out = tmp_path_factory.mktemp("calls")
    panel, cache = encash.open_panel(home / "f.h5", prices=home / "p.h5"), encash.open_cache(home / "c.lance")
    two: dict[str, Any] = {"cache": cache, "prices": panel.price_table}
    fitted = encash.fit_clusters(cache, end=END, k=3, out=out / "k")
    ranked = encash.rank_clusters(fitted, **two, end=END, horizon=5, top=2)
    data: dict[str, Any] = {**two, "panel": panel, "clusters": ranked, "top_k": 2}
    run = encash.backtest(**data, start=START, run_dir=out / "run")
    grid = {"grid": {"top_k": [1]}, "base": {"start": "2020-08-03"}}
    return {
        "audit": {**data, "model": encash.load_encoder(home / "m.pt", precision="float32"), "start": START},
        "backtest": {**data, "start": "2020-08-03", "run_dir": out / "run2"},
        "compare": {"run": run, "draws": 2},
        "fit_clusters": {"cache": cache, "end": END, "k": 3, "out": out / "k2"},
        "fit_head": {**two, "end": END, "horizons": [5], "out": out / "head"},
        "load_encoder": {"path": home / "m.pt", "precision": "float32"},
        "open_cache": {"path": home / "c.lance"},
        "open_panel": {"features": home / "f.h5"},
        "open_prices": {"path": home / "p.h5"},
        "picks": data,
        "rank_clusters": {**two, "fitted": fitted, "end": END, "horizon": 5, "top": 2},
        "report": {"runs": run, "out": out / "report.html"},
        "sweep": {**two, "clusters": ranked, "grid": grid, "workers": 1},
        "walk_clusters": {**two, "every": 60, "horizon": 5, "embargo": 5, "k": 3, "history": 60, "out": out / "walk"},
    }


def test_every_public_function_has_a_call(calls):
    """A new function is added to the table."""
    assert set(calls) == {name for name in dir(encash) if not isinstance(getattr(encash, name), type)}


@pytest.mark.parametrize("function", sorted({*dir(encash)} - {n for n in dir(encash) if n[0].isupper()}))
def test_an_odd_value_works_or_is_refused_by_the_name_of_its_argument(calls, function, tmp_path, monkeypatch):
    """No error comes from inside, and each is one line with the name of the argument, or with the path that was given.

    Functions that take long are called with fewer values, none of which should run.
    """
    monkeypatch.chdir(tmp_path)
    call = getattr(encash, function)
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    names = [one.name for one in inspect.signature(call).parameters.values() if one.kind not in kinds]
    refused = 0
    for name in (*names, *SETTINGS.get(function, ())):
        for value in WRONG if function in ("audit", "compare", "report", "walk_clusters") else ODD:
            try:
                call(**{**calls[function], name: value})
            except EncashError as error:
                text, refused = str(error), refused + 1
                given = isinstance(value, str | Path) and str(value) and str(value) in text
                assert "\n" not in text
                assert name in text or given or name in OF_THE_DATA, f"{function}({name}={value!r}): {text}"
    assert refused > len(names)


def test_numpy_pandas_and_pathlib_values_give_the_run_of_the_plain_ones(calls, home, tmp_path):
    """Numbers, days, names and paths as a notebook has them."""
    names, workers = ["T0001", "T0002", "T0003"], np.int64(1)
    base: dict[str, Any] = {"prices": home / "p.h5", "cache": home / "c.lance", "run_dir": tmp_path / "run"}
    plain = encash.backtest(**base, start=START, top_k=2, slippage=0.5, whole_shares=True, tickers=names)
    for start in (dt.date(2020, 5, 13), np.datetime64(START, "ns"), pandas.Timestamp(START), dt.datetime(2020, 5, 13)):
        for tickers in (tuple(names), np.array(names), pandas.Index(names), pandas.Series(names, index=[7, 8, 9])):
            again = encash.backtest(
                prices=str(home / "p.h5"),
                cache=str(home / "c.lance"),
                run_dir=str(tmp_path / "run"),
                start=start,
                tickers=tickers,
                top_k=np.int64(2),
                slippage=np.float64(0.5),
                whole_shares=np.bool_(True),
            )
            assert again.result.fingerprint == plain.result.fingerprint
    number: Any = np.int32(3)
    fitted = encash.fit_clusters(base["cache"], end=END, k=3, seed=2)
    assert (
        encash.fit_clusters(base["cache"], end=END, k=number, seed=np.int64(2)).model.fingerprint
        == fitted.model.fingerprint
    )
    found = encash.sweep(
        {"base": {"start": pandas.Timestamp(START)}, "grid": {"top_k": np.array([1, 2]), "horizon": pandas.Index([5])}},
        prices=base["prices"],
        cache=base["cache"],
        workers=workers,  # type: ignore[arg-type]  # an integer of numpy, which is none of Python
    )
    assert found.table["top_k"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (np.int64(3), int, 3),
        (np.array(0.5), float | None, 0.5),
        (3, float, 3),
        (np.bool_(True), bool, True),
        (np.str_("x"), str, "x"),
        (pandas.Index([1, 5]), int | Sequence[int], (1, 5)),
        (range(2), tuple[int, ...], (0, 1)),
        ("auto", int | Literal["auto"], "auto"),
        ("2020-06-01", DayLike | None, np.datetime64("2020-06-01")),
        (None, DayLike | None, None),
        ("latest", DayLike | Literal["latest"], "latest"),
        ([0, 1], tuple[float, float], (0, 1)),
    ],
)
def test_a_value_is_read_by_its_annotation(value, hint, expected):
    """As Python's own."""
    found = read("name", value, hint)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (True, int, "a whole number"),
        (3.0, int, "a whole number"),
        ("5", float, "a number"),
        (float("inf"), float | None, "a number or None"),
        (1, bool, "True or False"),
        ("", str | Path, "a path"),
        (b"x", str | Path, "a path"),
        ("AAPL", Sequence[str], "a list of names"),
        ({"A": 1}, Sequence[str], "a list of names"),
        ([1, None], int | Sequence[int], "a whole number or a list of whole numbers"),
        ([0.1], tuple[float, float], "2 numbers"),
        ("many", int | Literal["auto"], "a whole number or 'auto'"),
        (5, Callable[[str], None], "a function"),
        ("soon", DayLike | None, r"a day \(YYYY-MM-DD\) or None"),
        (5, encash.Panel | None, "a Panel or None"),
    ],
)
def test_a_value_of_a_different_type_is_refused(value, hint, expected):
    """The error names the argument, what came and what was expected."""
    with pytest.raises(InputError, match=rf"^name is .*; expected {expected}$"):
        read("name", value, hint)


def test_a_time_of_day_is_refused_as_such():
    """It is more than no day."""
    with pytest.raises(InputError, match=r"^end: .* has a time of day"):
        read("end", pandas.Timestamp("2020-06-01 10:00"), DayLike)


def test_methods_read_their_arguments_as_functions_do(home):
    """What they take, and one line for the rest."""
    cache, panel = encash.open_cache(home / "c.lance"), encash.open_panel(home / "f.h5", prices=home / "p.h5")
    encoder = encash.load_encoder(home / "m.pt", precision="float32")
    day: Any = pandas.Timestamp(cache.index().days[10])
    two: Any = pandas.Series(["T0001", "T0002"], index=[7, 8])
    vectors, found = cache.get(day, two)
    assert found.all()
    number: Any = np.int64(3)
    assert len(cache.nearest(vectors[0], number, last_day=day)[0]) == 3
    assert panel.price_table.select(two).tickers == panel.rows(two).tickers == ("T0001", "T0002")
    assert cache.plan(panel, encoder, tickers=two).tickers == ("T0001", "T0002")
    wrong: Any = "x"
    calls: dict[str, Callable[[], object]] = {
        "tickers": lambda: panel.price_table.select(wrong),
        "count": lambda: cache.nearest(vectors[0], wrong, last_day=day),
        "panel": lambda: cache.build(wrong, encoder),
        "encoder": lambda: cache.with_fallback(panel, wrong),
        "months": lambda: cache.build(panel, encoder, months=wrong),
        "prices": lambda: panel.with_prices(wrong),
        "keep_versions": lambda: cache.compact(keep_versions=wrong),
    }
    for name, call in calls.items():
        with pytest.raises(InputError, match=f"^{name} is 'x'; expected"):
            call()
