"""Cells that are not plain numbers: commas, signs of currencies, percent, parentheses, the many words for nothing."""

from __future__ import annotations

from encash.panel.tables import ReadOptions
from tests.panel.layouts.case import Case, Refused, Taken
from tests.panel.layouts.truth import Truth
from tests.panel.layouts.write import LONG, ROW, folder_of_tickers, table, wide, write

GIVEN = Taken()
CLOSES = Taken(bars=False, volume=None)
BRK = ("BRK.B",)
NAMED = ("BRK.B", "LOW", "NA")
QUOTED = '{day},{ticker},"{raw.open:,.2f}","{raw.high:,.2f}","{raw.low:,.2f}","{raw.close:,.2f}","{raw.volume:,.0f}"'
SEMI = LONG.replace(",", ";")
COMMA = "{day};{ticker};{raw.open:de2};{raw.high:de2};{raw.low:de2};{raw.close:de2};{raw.volume:.0f}"
TIMES_1000 = {
    "raw.open": "thousand.open",
    "raw.high": "thousand.high",
    "raw.low": "thousand.low",
    "raw.close": "thousand.close",
}


def large(template: str) -> str:
    """Prices a thousand times as high, as in rupiah or won."""
    for plain, scaled in TIMES_1000.items():
        template = template.replace(plain, scaled)
    return template


def missing(word: str):
    """A row of the missing bar whose cells hold a word for nothing."""
    foot = ",".join(["2024-01-25", "NA", *[word] * 5])
    return table(LONG, ROW, foot=foot)


def returns(folder, truth: Truth):
    """Daily returns, wide: half of them are negative."""
    lines = ["Date," + ",".join(truth.tickers)]
    for day, before in zip(truth.days[1:], truth.days, strict=False):
        cells = [
            f"{truth.cells[t, day].raw.close / truth.cells[t, before].raw.close - 1:.6f}"
            if (t, day) in truth.cells and (t, before) in truth.cells
            else ""
            for t in truth.tickers
        ]
        lines.append(",".join([str(day), *cells]))
    return write(folder / "returns.csv", "\n".join(lines))


def one_odd_cell(old: str, new: str):
    """The truth with one cell changed, in the last row."""

    def writer(folder, truth: Truth):
        path = table(LONG, ROW)(folder, truth)
        head, _, last = path.read_text().rstrip("\n").rpartition("\n")
        cells = last.split(",")
        cells[LONG.split(",").index(old)] = new
        return write(path, head + "\n" + ",".join(cells) + "\n")

    return writer


CASES = [
    Case(name="thousands in quotes", write=table(LONG, QUOTED), expect=GIVEN),
    Case(name="decimal comma, semicolons", write=table(SEMI, COMMA), expect=(GIVEN, Refused("--decimal"))),
    Case(
        name="decimal comma, semicolons, as stated",
        write=table(SEMI, COMMA),
        expect=GIVEN,
        options=ReadOptions(decimal=","),
    ),
    Case(
        name="decimal comma in quotes, commas between",
        write=table(LONG, QUOTED.replace(":,.2f", ":de2").replace("raw.volume:,.0f", "raw.volume:.0f")),
        expect=(GIVEN, Refused("--decimal")),
    ),
    Case(
        name="decimal comma with three decimals",
        write=table(SEMI, COMMA.replace(":de2", ":de3")),
        expect=(GIVEN, Refused("--decimal")),
    ),
    Case(
        name="decimal comma with three decimals, one ticker",
        write=table(SEMI, COMMA.replace(":de2", ":de3")),
        expect=(GIVEN, Refused("--decimal")),
        tickers=BRK,
    ),
    Case(
        name="decimal comma with three decimals, as stated",
        write=table(SEMI, COMMA.replace(":de2", ":de3")),
        expect=GIVEN,
        options=ReadOptions(decimal=","),
    ),
    Case(
        name="points for thousands, no decimals",
        write=table(SEMI, large(COMMA.replace(":de2", ":de0").replace("raw.volume:.0f", "raw.volume:de0"))),
        expect=(Taken(close="thousand"), Refused("--decimal")),
        tickers=("LOW",),
        last="2024-02-06",
    ),
    Case(
        name="commas for thousands, no decimals, quoted",
        write=table(LONG, large(QUOTED.replace(":,.2f", ":,.0f"))),
        expect=(Taken(close="thousand"), Refused("--decimal")),
        tickers=("LOW",),
        last="2024-02-06",
    ),
    Case(
        name="decimal point although a comma is stated",
        write=table(SEMI, ROW.replace(",", ";")),
        expect=Refused("decimal"),
        options=ReadOptions(decimal=","),
    ),
    Case(
        name="Swiss apostrophes",
        write=table(SEMI, ROW.replace(",", ";").replace("raw.volume:.0f}", "raw.volume:swiss}")),
        expect=(GIVEN, Refused("volume", seen=("'",))),
    ),
    Case(
        name="dollar signs",
        write=table(LONG, ROW.replace("{raw.", "${raw.").replace("${raw.volume", "{raw.volume")),
        expect=(GIVEN, Refused("number", seen=("$",))),
    ),
    Case(
        name="euro signs after a blank",
        write=table(LONG, ROW.replace(":.2f}", ":.2f} €")),
        expect=(GIVEN, Refused("number", seen=("€",))),
    ),
    Case(
        name="currencies in letters",
        write=table(LONG, ROW.replace("{raw.close", "USD {raw.close")),
        expect=(GIVEN, Refused("number", seen=("USD",))),
    ),
    Case(
        name="two currencies in one column",
        write=one_odd_cell("close", "€9.40"),
        expect=Refused("number|currenc", seen=("€9.40",)),
    ),
    Case(
        name="numbers in parentheses",
        write=one_odd_cell("close", "(9.40)"),
        expect=Refused("number|above zero", seen=("9.4",)),
    ),
    Case(
        name="a percentage among prices",
        write=one_odd_cell("close", "1.25%"),
        expect=Refused("number", seen=("1.25%",)),
    ),
    Case(
        name="an asterisk at a price", write=one_odd_cell("close", "9.40*"), expect=Refused("number", seen=("9.40*",))
    ),
    Case(name="a word among prices", write=one_odd_cell("close", "halted"), expect=Refused("number", seen=("halted",))),
    Case(
        name="a price with two points", write=one_odd_cell("close", "9.4.0"), expect=Refused("number", seen=("9.4.0",))
    ),
    Case(name="a price in hexadecimal", write=one_odd_cell("close", "0x10"), expect=Refused("number", seen=("0x10",))),
    Case(
        name="an infinite price",
        write=one_odd_cell("close", "inf"),
        expect=Refused("number|above zero|finite|infinite"),
    ),
    *(
        Case(name=f"nothing written as {word!r}", write=missing(word), expect=GIVEN)
        for word in ("", "null", "NaN", "N/A", "#N/A", "-", "None", "NULL", "nan")
    ),
    *(
        Case(name=f"nothing written as {word!r}", write=missing(word), expect=(GIVEN, Refused("number", seen=(word,))))
        for word in ("NA", "#N/A N/A", "--", "n.a.", "\\N", ".", "—", "<NA>", "NaT")
    ),
    Case(name="nothing written as 0", write=missing("0"), expect=(GIVEN, Refused("above zero|zero"))),
    Case(name="nothing written as -99", write=missing("-99"), expect=Refused("above zero")),
    Case(name="a wide table of returns", write=returns, expect=Refused("above zero|return"), tickers=NAMED),
    Case(
        name="a wide table of returns, bad rows dropped",
        write=returns,
        expect=Refused("above zero|return"),
        tickers=NAMED,
        drop_bad=True,
    ),
    Case(
        name="wide with #N/A and a blank",
        write=wide(absent=" #N/A "),
        expect=(CLOSES, Refused("number", seen=("#N/A",))),
        tickers=NAMED,
    ),
    Case(
        name="wide with decimal comma, semicolons",
        write=wide("{raw.close:de2}", sep=";"),
        expect=(CLOSES, Refused("--decimal")),
        tickers=NAMED,
    ),
    Case(
        name="wide with decimal comma, as stated",
        write=wide("{raw.close:de2}", sep=";"),
        expect=CLOSES,
        options=ReadOptions(decimal=","),
        tickers=NAMED,
    ),
    Case(
        name="decimal comma in one file of a folder only",
        write=folder_of_tickers("Date;Close", "{day};{raw.close:de3}"),
        expect=(CLOSES, Refused("--decimal")),
        tickers=("BRK.B", "LOW"),
    ),
    Case(
        name="numbers with leading blanks", write=table(LONG.replace(",", ", "), ROW.replace(",", ",  ")), expect=GIVEN
    ),
    Case(
        name="numbers in scientific notation", write=table(LONG, ROW.replace(":.2f", ":.6e")), expect=Taken(rtol=1e-6)
    ),
    Case(
        name="numbers with a plus sign",
        write=table(LONG, ROW.replace(":.2f", ":+.2f")),
        expect=(GIVEN, Refused("number", seen=("+",))),
    ),
]
