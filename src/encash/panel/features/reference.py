"""The reference of all features, written from their definitions: text for the terminal, Markdown for the docs."""

from __future__ import annotations

from collections.abc import Iterator

from encash.panel.features.config import FeatureConfig
from encash.panel.features.feature import LIMIT, SYMBOLS, FeatureSet, Needs
from encash.panel.features.registry import FEATURE_SETS

_HEAD = f"""\
# Features

<!-- Generated: python -m encash.panel.features.reference > docs/features.md -->

`encash prepare` computes these features from daily prices. A value uses sessions up to and including its own day, is
limited to ±{LIMIT:g} and stored as float32. The first {{longest}} sessions of a history (the longest span) have no
row: that is the warm-up of every feature, although most read fewer sessions (column "sessions").

{{symbols}}

If a table lacks a column, the features that need it are left out; `prepare` lists them as `left_out`. "Dollars" is the
dollar volume: raw close × raw volume, or the same product of columns that are both adjusted for splits.
"""
_COSTS = """
## What each choice costs

A cached entry is stale if its window has changed. On a typical night, some stocks pay dividends or split.

| choice | entries that become stale after an event in one stock | after a ticker is added or dropped |
| --- | --- | --- |
| `prices-2`, no ranks (default) | none, if the vendor ships raw prices with events or factors, or adjusted prices \
that are not rounded; otherwise those of that stock | none |
| `prices-2` with `--membership` | the same; if adjusted prices are rounded and the stock is a member, also entries of \
other members on days on which the order of their ranks changes | none, if it is not a member; otherwise those of all \
members on its days |
| `prices-1` | those of that stock and, through its ranks, of all others: 16% to 21% on a night with six \
events among 403 stocks | all |

- The probability that rescaling a price changes a value of `prices-2` is at most 5·10⁻¹⁰, if prices are shipped in full
  double precision. Prices in single precision (float32) count as rounded.
- Ranks compare a stock with its universe, which its own history cannot do. They need a point-in-time list of members:
  a universe of today's survivors has survivorship bias.
- `--max-gap N` costs a ticker one warm-up and one lookback of entries after each gap of more than N weekdays. Without
  it, windows span the gap, and a reused symbol inherits the history of the former company.
- `dollar_volume_level` needs the dollar volume. Adjusted prices of an unknown basis do not provide it: their past
  dollar volumes would depend on later dividends.
"""
_RANKS = """\
Ranks (`rank_<name>`) are added for {names}: the share of the other members of the universe below the value
minus the share above it, from −1 to 1, on the same day. {universe}
"""
_NEEDS = {Needs.CLOSE: "close", Needs.BAR: "open, high, low", Needs.VOLUME: "volume", Needs.DOLLARS: "dollars"}


def text(config: FeatureConfig | None = None) -> str:
    """Return one line per feature of each set: name, formula, unit and sessions."""
    config = config or FeatureConfig()
    lines = [f"{name}: {_one_line(meaning)}" for name, meaning in (("symbols", SYMBOLS),)]
    for one in FEATURE_SETS.values():
        rows = [("feature", "sessions", "formula", "unit"), *(row[:4] for row in _rows(one, config))]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines += ["", f"{one.name}: {one.summary}", _one_line(_ranks(one, config))]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
    return "\n".join(lines)


def markdown(config: FeatureConfig | None = None) -> str:
    """Return the page of the docs."""
    config = config or FeatureConfig()
    parts = [_HEAD.format(longest=config.longest, symbols=SYMBOLS)]
    for one in reversed(FEATURE_SETS.values()):
        default = " (default)" if one.name == config.feature_set else ""
        parts.append(f"## {one.name}{default}\n\n{_sentence(one.summary)}\n{_sentence(one.warning)}")
        header = ("feature", "sessions", "formula", "unit", "needs", "source")
        rows = [header, tuple("---" for _ in header), *_rows(one, config)]
        parts.append("\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows))
        parts.append(_ranks(one, config))
    parts.append(_COSTS)
    return "\n".join(parts).replace("\n\n\n", "\n\n").rstrip() + "\n"


def _rows(one: FeatureSet, config: FeatureConfig) -> Iterator[tuple[str, ...]]:
    for feature, span in one.pairs(config):
        formula = feature.formula.replace("_n", f"_{span}").replace("−n", f"−{span}").replace("√n", f"√{span}")
        sessions = str(feature.sessions(span, config))
        yield feature.name_of(span), sessions, formula, feature.unit, _NEEDS[feature.needs], feature.source


def _ranks(one: FeatureSet, config: FeatureConfig) -> str:
    names = ", ".join(one.ranked_names(config))
    if one.ranks_among_all:
        universe = "The universe is the whole table; `--no-ranks` leaves them out."
    else:
        universe = "The universe is that of `--membership`; without it, ranks are left out."
    return "\n" + _RANKS.format(names=names, universe=universe)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}.\n" if words else ""


def _one_line(words: str) -> str:
    return " ".join(words.split())


if __name__ == "__main__":
    import sys

    sys.stdout.write(markdown())
