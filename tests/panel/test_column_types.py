"""Columns of keys in any Arrow type, and wide tables of volumes: read right, or refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, feather, parquet

from encash.errors import FormatError
from encash.panel.scores import read_scores
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


EXTREME = {
    "date": [
        pa.array([1e300] * 120), pa.array([np.inf] * 120), pa.array([2**62] * 120),
        pa.array([-(2**31)] * 120, pa.int32()).cast(pa.date32()), pa.array([2**62] * 120, pa.date64()),
        pa.array([2**62] * 120, pa.timestamp("ms")), pa.array([5] * 120, pa.timestamp("ns", "Nowhere/City")),
        pa.array([b"\xff"] * 120),
    ],
    "ticker": [pa.array([b"\xff"] * 120)],
    "close": [pa.array([True] * 120), pa.array([-(2**63)] * 120)],
}  # fmt: skip


@pytest.mark.parametrize(("column", "values"), [(name, one) for name, values in EXTREME.items() for one in values])
@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_a_value_that_cannot_be_computed_with_is_refused(
    tmp_path: Path, column: str, values: pa.Array, suffix: str
) -> None:
    """Dates that are too far away, unknown time zones, numbers out of range and bytes that are no text are one line, in
    tables of prices and of scores."""
    path, given = tmp_path / f"p{suffix}", table()
    given = given.set_column(given.column_names.index(column), column, values)
    for shown, read in ((given, read_bars), (given.rename_columns(["date", "ticker", "score"]), read_scores)):
        if suffix == ".parquet":
            parquet.write_table(shown, path)
        else:
            with pa.OSFile(str(path), "w") as file, pa.ipc.new_file(file, shown.schema) as writer:
                writer.write_table(shown)
        if column == "close" and read is read_scores and pa.types.is_integer(values.type):
            continue  # any finite score is one
        with pytest.raises(FormatError):
            read(path)


def test_large_whole_numbers_are_numbers(tmp_path: Path) -> None:
    """Integers above 2⁵³ become the nearest float."""
    parquet.write_table(table().append_column("volume", pa.array([2**63 - 1] * 120)), tmp_path / "p.parquet")
    assert np.asarray(read_bars(tmp_path / "p.parquet").bars["A"].volume).tolist() == [2.0**63] * 120


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
