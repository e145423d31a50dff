"""Whatever separators, marks, dates, names and orders come together in one file: it is read right, or refused."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from encash.panel.tables import ReadOptions
from tests.panel.layouts.case import WRONG, Case, Refused, Taken, run
from tests.panel.layouts.truth import TICKERS, TRUTH
from tests.panel.layouts.write import by_day, by_ticker, fill, newest_first, table, wide

ANY_REFUSAL = Refused("")
NUMBERS = {".": ":.2f", ".3": ":.3f", ",.": ":,.2f", ",": ":de2", ",3": ":de3"}
DATES = (
    *("{day}", "{day:%Y%m%d}", "{day:%d/%m/%Y}", "{day:%m/%d/%Y}", "{day:%d.%m.%Y}", "{day:%d/%m/%y}", "{day:%y%m%d}"),
    *("{day:%d-%b-%Y}", "{day:%b %d %Y}", "{day} 00:00:00", "{day}T00:00:00Z", "{day} 16:00:00", "{seconds}"),
    *("{seconds}000", "{seconds}000000000", "{excel}", "{tokyo:%Y-%m-%d %H:%M:%S}+00:00", "{day:%Y%m%d}.0"),
)
ROLES = ("date", "ticker", "open", "high", "low", "close", "volume")
STYLES = (
    ROLES,
    ("Date", "Symbol", "Open", "High", "Low", "Price", "Vol."),
    ("<DATE>", "<TICKER>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<VOL>"),
    ("timestamp", "CODE", "o", "h", "l", "c", "v"),
    ("trade_date", "Name", "PX_OPEN", "PX_HIGH", "PX_LOW", "PX_LAST", "PX_VOLUME"),
    ("", "secid", "OPEN", "HIGH", "LOW", "Close/Last", "VOLUME"),
    ("Datum", "Ticker", "Open Price", "High Price", "Low Price", "Close Price", "Total Volume"),
)
RENAMED: tuple[dict[str, str], ...] = (
    {},
    {"LOW": "OPEN"},
    {"BRK.B": "V", "LOW": "O", "NA": "C", "000001": "L"},
    {"NA": "NAN"},
)
SPANS = (("2024-01-17", "2024-02-28"), ("2024-02-01", "2024-02-12"), ("2024-01-23", "2024-01-26"), ("2024-02-05", "2024-02-28"))  # fmt: skip
CLOSES = ("{ticker}", "Close_{ticker}", "{ticker} Close", "{ticker}.Close", "('Close', '{ticker}')", "{ticker} (Close)")


@st.composite
def cases(draw):
    """A file of one of many forms, and what it says."""
    sep, form, date = (
        draw(st.sampled_from(",;\t|")),
        draw(st.sampled_from(list(NUMBERS.values()))),
        draw(st.sampled_from(DATES)),
    )
    tickers = tuple(draw(st.lists(st.sampled_from(TICKERS), min_size=1, unique=True)))
    first, last = draw(st.sampled_from(SPANS))
    span = {"tickers": tickers, "first": first, "last": last, "names": draw(st.sampled_from(RENAMED))}
    if draw(st.booleans()):
        column = draw(st.sampled_from(CLOSES))

        quoted = f'"{{raw.close{form}}}"' if sep == "," else f"{{raw.close{form}}}"
        writer = wide(quoted, column=f'"{column}"', sep=sep, date=lambda day: fill(date, TRUTH.cells["LOW", day]))
        return Case(name="wide", write=writer, expect=(Taken(bars=False, volume=None), ANY_REFUSAL), **span)
    roles = draw(st.permutations(ROLES))
    if len(tickers) == 1 and draw(st.booleans()):
        roles = [role for role in roles if role != "ticker"]
    cells = {"date": date, "ticker": "{ticker}", "volume": "{raw.volume:.0f}"}
    values = [f'"{cells.get(role, f"{{raw.{role}{form}}}")}"' for role in roles]
    names = dict(zip(ROLES, draw(st.sampled_from(STYLES)), strict=True))
    header = sep.join(names[role] for role in roles)
    order = draw(st.sampled_from((by_day, by_ticker, newest_first)))
    options = ReadOptions() if "ticker" in roles else ReadOptions(ticker=span["names"].get(tickers[0], tickers[0]))
    return Case(
        name="long",
        write=table(header, sep.join(values), order=order),
        expect=(Taken(), ANY_REFUSAL),
        options=options,
        **span,
    )


@settings(max_examples=150)
@given(cases())
def test_no_combination_is_taken_wrong(case):
    """Values, days and tickers agree with the truth wherever the file is taken."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(case, Path(folder))
        text = next(Path(folder).iterdir()).read_text(encoding="utf-8").splitlines()[:2]
        assert found.kind != WRONG, f"{found.detail}: {text}"
