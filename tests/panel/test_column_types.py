"""Columns of keys in any Arrow type, and wide tables of volumes: read right, or refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, feather, parquet

from encash.errors import FormatError
from encash.panel.tables import read_bars

DAYS = np.busday_offset("2024-01-02", np.arange(120), roll="forward")
TYPES = {
    "list": pa.array([["A"]] * 120),
    "struct": pa.array([{"a": "A"}] * 120),
    "duration": pa.array(np.arange(120), pa.duration("ns")),
    "bool": pa.array([True] * 120),
}


def table() -> pa.Table:
    """One ticker over 120 sessions."""
    return pa.table({"date": DAYS, "ticker": ["A"] * 120, "close": np.arange(120.0) + 10})


@pytest.mark.parametrize("column", ["date", "ticker"])
@pytest.mark.parametrize("kind", TYPES)
def test_a_key_of_another_type_is_refused_by_name(tmp_path: Path, column: str, kind: str) -> None:
    """A list or a duration is neither a date nor a ticker."""
    given = table()
    at = given.column_names.index(column)
    parquet.write_table(given.set_column(at, column, TYPES[kind]), tmp_path / "p.parquet")
    with pytest.raises(FormatError, match=f"the column '{column}' is {kind}.*expected dates, text or numbers"):
        read_bars(tmp_path / "p.parquet")


@pytest.mark.parametrize("value", [20240101.5, float("nan")])
def test_a_date_with_a_fraction_is_refused(tmp_path: Path, value: float) -> None:
    """A float that is not whole is no date, and is not cut off."""
    parquet.write_table(table().set_column(0, "date", pa.array([value] * 120)), tmp_path / "p.parquet")
    with pytest.raises(FormatError, match="is not a date"):
        read_bars(tmp_path / "p.parquet")


def test_views_of_text_are_numbers_as_text_is(tmp_path: Path) -> None:
    """The text of an Arrow file may be views."""
    texts = pa.array([f"{n + 10}.5" for n in range(120)]).cast(pa.string_view())
    feather.write_feather(table().set_column(2, "close", texts), tmp_path / "p.feather", compression="uncompressed")
    assert read_bars(tmp_path / "p.feather").bars["A"].close.tolist() == [n + 10.5 for n in range(120)]


@pytest.mark.parametrize("volumes", [True, False])
def test_a_wide_table_of_volumes_is_not_one_of_closes(tmp_path: Path, volumes: bool) -> None:
    """Volumes turn back each day; closes in whole numbers of the same size and noise do not."""
    noise = np.random.default_rng(1).normal(0, 0.4, (120, 3))
    logs = noise if volumes else noise.cumsum(axis=0) * 0.5
    values = np.rint(np.exp(14 + logs))
    csv.write_csv(pa.table({"Date": DAYS, **dict(zip("ABC", values.T, strict=True))}), tmp_path / "p.csv")
    if volumes:
        with pytest.raises(FormatError, match="as volumes do"):
            read_bars(tmp_path / "p.csv")
    else:
        assert read_bars(tmp_path / "p.csv").bars["B"].close.tolist() == values[:, 1].tolist()
