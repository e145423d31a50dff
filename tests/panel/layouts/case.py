"""A case of the table of layouts: a file as a vendor writes it, and what must come of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from encash.errors import InputError
from encash.panel.bars import Bars
from encash.panel.tables import PriceBars, ReadOptions, read_bars
from tests.panel.layouts.truth import DAYS, TICKERS, TRUTH, Row, Truth

Source: TypeAlias = "Path | Sequence[Path]"
Writer: TypeAlias = Callable[[Path, Truth], Source]
FileWriter: TypeAlias = Callable[[Path, Truth], Path]
"""A writer of one file or folder."""
Bases: TypeAlias = "str | tuple[str | None, ...] | None"
"""``raw``, ``split``, ``full`` (shares and prices of `Ohlcv`), None for a column that must be absent; a tuple for any."""

RIGHT, REFUSED, WRONG = "taken right", "refused with the fix", "wrong"
FIELDS = ("open", "high", "low")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Every ticker, day and value agrees with the truth."""

    close: Bases = "raw"
    bars: bool = True
    """Whether open, high and low are there, on the basis of the close."""
    volume: Bases = "raw"
    raw_close: Bases = ("raw", None)
    raw_volume: Bases = ("raw", None)
    rtol: float = 1e-9
    volume_rtol: float = 1e-9
    names: Mapping[str, str] = field(default_factory=dict)
    """What the reader must call the tickers, where it is not what the file says."""
    note: str = ""
    """A regular expression that one of the notes matches."""
    unknown_open: bool = False
    """Whether the open of a bar without trades may be NaN."""


@dataclass(frozen=True)
class Refused:
    """One line that matches `fix` and names what was seen."""

    fix: str
    """A regular expression: the flag, or the word of the field for what is to be done."""
    seen: tuple[str, ...] = ()
    """What the message must quote, letter for letter: names of columns, or the cell at fault."""


Expected: TypeAlias = "Taken | Refused | tuple[Taken, Refused]"
"""A pair where either is a careful answer; a wrong value never is."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A layout; the truth is cut to some tickers and days and renamed before it is written."""

    name: str
    write: Writer
    expect: Expected
    options: ReadOptions = field(default_factory=ReadOptions)
    tickers: tuple[str, ...] = TICKERS
    names: Mapping[str, str] = field(default_factory=dict)
    first: str = str(DAYS[0])
    last: str = str(DAYS[-1])
    every: int = 1
    """5 for bars that are a week apart."""
    drop_bad: bool = False


@dataclass(frozen=True)
class Outcome:
    """`RIGHT`, `REFUSED` or `WRONG`, and the message or the first difference."""

    kind: str
    detail: str


def run(case: Case, folder: Path) -> Outcome:
    """Write the files of a case, read them and compare."""
    truth = TRUTH.select(case.tickers, case.first, case.last, case.names, every=case.every)
    source = case.write(folder, truth)
    options = case.expect if isinstance(case.expect, tuple) else (case.expect,)
    taken = next((option for option in options if isinstance(option, Taken)), None)
    refused = next((option for option in options if isinstance(option, Refused)), None)
    try:
        prices = read_bars(source, case.options, drop_bad=case.drop_bad)
    except InputError as error:
        return _judge_refusal(str(error), refused)
    except Exception as error:  # noqa: BLE001 - a crash is an outcome, too
        return Outcome(WRONG, f"crashed: {type(error).__name__}: {error}")
    if taken is None:
        return Outcome(WRONG, f"must be refused and was taken as {_brief(prices)}")
    difference = _difference(prices, truth, taken)
    return Outcome(WRONG, difference) if difference else Outcome(RIGHT, _brief(prices))


def _brief(prices: PriceBars) -> str:
    name, bars = next(iter(prices.bars.items()), ("none", None))
    return f"{prices.layout}, {list(prices.bars)[:5]}, {name}: {'' if bars is None else bars.close[:3]}"


def _judge_refusal(message: str, refused: Refused | None) -> Outcome:
    if refused is None:
        return Outcome(WRONG, f"must be taken and was refused: {message}")
    if "\n" in message:
        return Outcome(WRONG, f"more than one line: {message}")
    if not re.search(refused.fix, message):
        return Outcome(WRONG, f"the refusal does not say {refused.fix!r}: {message}")
    if unseen := [seen for seen in refused.seen if seen not in message]:
        return Outcome(WRONG, f"the refusal does not name {unseen}: {message}")
    return Outcome(REFUSED, message)


def _difference(prices: PriceBars, truth: Truth, taken: Taken) -> str:
    """Return the first difference from the truth; empty if there is none."""
    named = {taken.names.get(ticker, ticker): truth.of(ticker) for ticker in truth.tickers}
    if sorted(prices.bars) != sorted(named):
        return f"tickers {sorted(prices.bars)[:6]}; expected {sorted(named)}"
    for name, rows in named.items():
        if (got := prices.bars[name].days.astype(str).tolist()) != [str(row.day) for row in rows]:
            first = next((pair for pair in zip(got, rows, strict=False) if pair[0] != str(pair[1].day)), None)
            return (
                f"{name}: {len(got)} days for {len(rows)}; first difference {first and (first[0], str(first[1].day))}"
            )
    found = _columns(prices, named, taken)
    if not found and taken.note and not any(re.search(taken.note, note) for note in prices.notes):
        return f"no note says {taken.note!r} among {prices.notes}"
    return found


def _columns(prices: PriceBars, named: Mapping[str, list[Row]], taken: Taken) -> str:
    basis = _basis_of_closes(prices, named, taken)
    if basis is None:
        return _explain("close", taken.close, prices, named)
    bases: Bases = basis if taken.bars else None
    for column in FIELDS:
        if not _agrees(column, bases, prices, named, taken):
            return _explain(column, bases, prices, named)
    for column, allowed in (("volume", taken.volume), ("raw_close", taken.raw_close), ("raw_volume", taken.raw_volume)):
        if not _agrees(column, allowed, prices, named, taken):
            return _explain(column, allowed, prices, named)
    return ""


def _basis_of_closes(prices: PriceBars, named: Mapping[str, list[Row]], taken: Taken) -> str | None:
    options = taken.close if isinstance(taken.close, tuple) else (taken.close,)
    return next((basis for basis in options if basis and _agrees("close", basis, prices, named, taken)), None)


def _agrees(column: str, allowed: Bases, prices: PriceBars, named: Mapping[str, list[Row]], taken: Taken) -> bool:
    """Return whether a column has one of the allowed bases for every ticker, or is absent where that is allowed."""
    options = allowed if isinstance(allowed, tuple) else (allowed,)
    rtol = taken.volume_rtol if column.endswith("volume") else taken.rtol
    return any(
        all(
            _same(column, basis, prices.bars[name], rows, rtol, hole=taken.unknown_open and column == "open")
            for name, rows in named.items()
        )
        for basis in options
    )


def _same(column: str, basis: str | None, bars: Bars, rows: Sequence[Row], rtol: float, *, hole: bool) -> bool:
    got = getattr(bars, column)
    if got is None or basis is None:
        return got is None and basis is None
    expected = _values(column, basis, rows)
    if hole:
        got = np.where(np.isnan(got) & [not row.traded for row in rows], expected, got)
    return bool(got.shape == expected.shape and np.allclose(got, expected, rtol=rtol, atol=0))


def _values(column: str, basis: str, rows: Sequence[Row]) -> np.ndarray:
    return np.array([getattr(getattr(row, basis), column.removeprefix("raw_")) for row in rows], dtype=float)


def _explain(column: str, allowed: Bases, prices: PriceBars, named: Mapping[str, list[Row]]) -> str:
    options = allowed if isinstance(allowed, tuple) else (allowed,)
    for name, rows in named.items():
        got = getattr(prices.bars[name], column)
        wanted = {str(basis): None if basis is None else _values(column, basis, rows)[:3].tolist() for basis in options}
        if got is None or not any(
            basis is not None and _same(column, basis, prices.bars[name], rows, 1e-9, hole=False) for basis in options
        ):
            return f"{column} of {name}: {None if got is None else got[:3].tolist()}; expected {wanted}"
    return f"{column} differs between tickers; expected one of {options}"
