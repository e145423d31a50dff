"""Health of the bars of a price table: suspicious data by ticker and day, found by stated rules and never repaired.

A finding is a reason to look, not an error: a price that fell by half may be an unadjusted split or a bankruptcy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from encash.arrays import Bool, Days, Float64, Int64
from encash.panel.bars import Bars
from encash.panel.calendars import DAYS_PER_YEAR, FRIDAY, calendar_of, sessions_per_year, weekdays
from encash.panel.panel import distinct_days
from encash.panel.untraded import TradedBars

LARGE = 2.0
"""Ratio of two closes in a row from which on a move is large: +100%, or −50%."""
SEVERE = 3.0
"""Ratio from which on a move decides what a backtest earns."""
NOTABLE = 1.3
"""Minimum ratio of a move that reverts or looks like a split, if it stands out."""
STANDS_OUT = 8.0
"""Usual moves of the ticker (1.4826 × the median size of its moves) that a notable move is larger than."""
REVERTS_WITHIN = 5
"""Sessions in which a spike loses at least three quarters of its size again."""
SPLITS = ((3, 2), (2, 1), (5, 2), *((new, 1) for new in (3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100)))
"""New shares per old share of the splits that a move is compared with, in either direction."""
SPLIT_TOLERANCE = (0.02, 0.1)
"""Least and largest distance from the ratio of a split, in logarithms; between them, three usual moves."""
UNCHANGED_SESSIONS = 20
"""Sessions without a change of the close that make a long run."""
UNCHANGED_SHARE = 0.05
"""Fraction of the bars of all tickers with the close of the session before that is suspicious."""
GAP_SESSIONS = 20
"""Sessions that a ticker misses within its history that make a gap; its symbol may have been reused."""
LEAST_TICKER_YEARS = 200.0
"""Years of history of all tickers together from which on delistings are expected."""
LEAST_ENDED = 0.005
"""Fraction of tickers per year that end before the others at least, unless the list is one of survivors."""
ALIVE_DAYS = 31
"""A ticker is alive if its last bar is at most this many calendar days before the end of the panel."""
MOST_CASES = 20
"""Cases that are listed per finding, the worst first."""
_MOST_BYTES = 50_000
"""Of the days of all cases in the prices file; an attribute of HDF5 has at most 65,536."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One ticker and day, or span of days, of a finding."""

    ticker: str
    day: str
    """YYYY-MM-DD; the first one of a span."""
    size: float
    """In the unit of the finding."""
    what: str = ""
    """Its likely cause, in words."""
    until: str | None = None
    """Last day of a span."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of suspicious data."""

    rule: str
    """Rule and threshold in words, with the unit of `Case.size`."""
    count: int
    """Cases, or bars of a kind of bar."""
    tickers: int
    """Tickers with a case."""
    share: float
    """Bars concerned, as a share of all bars."""
    suspicious: bool
    worst: tuple[Case, ...]
    """At most `MOST_CASES`, the worst first."""
    spans: Mapping[str, Sequence[tuple[int, int]]]
    """First and last day of every case, in days since 1970, by ticker."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """Suspicious data of a price table."""

    largest_moves: Finding
    unchanged_runs: Finding
    """Its share is the one of all bars with the close of the session before."""
    gaps: Finding
    zero_volume: Finding
    weekend_rows: Finding
    out_of_bounds: Finding
    future_dates: Finding
    all_alive_at_the_end: bool
    """True if hardly any ticker ends before the others: the list may be one of today's survivors."""
    tickers_ended: int
    """Tickers whose last bar is more than a month before the end."""
    tickers: int
    bars: int

    @property
    def findings(self) -> dict[str, Finding]:
        """The findings by name, in the order of the fields."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Finding)}

    @property
    def suspicious(self) -> tuple[str, ...]:
        """Names of what is suspicious."""
        found = [name for name, finding in self.findings.items() if finding.suspicious]
        return (*found, *(["all_alive_at_the_end"] if self.all_alive_at_the_end else []))

    @property
    def severe(self) -> tuple[Case, ...]:
        """Moves that decide what a backtest earns: ×3 or more, and smaller ones that revert or look like a split."""
        return tuple(
            case
            for case in self.largest_moves.worst
            if _severity(case.size) >= SEVERE or (case.what and _severity(case.size) >= 0.9 * LARGE)
        )

    def to_json(self, most_cases: int = MOST_CASES) -> dict[str, Any]:
        """Return plain JSON values, with at most N cases per finding."""
        values = asdict(self)
        for name in self.findings:
            del values[name]["spans"]
            values[name]["worst"] = [
                {key: value for key, value in case.items() if value not in (None, "")}
                for case in values[name]["worst"][:most_cases]
            ]
        return {"suspicious": list(self.suspicious), **values}

    def summary(self) -> dict[str, Any]:
        """Return what the prices file records: what does not depend on today's date, with three cases per finding, and
        under "spans" the days of all cases, of the findings that fit an attribute of HDF5.
        """
        values = self.to_json(most_cases=3)
        del values["future_dates"]
        for name in self.findings.keys() & values:
            del values[name]["rule"], values[name]["suspicious"]
        values["suspicious"] = [name for name in values["suspicious"] if name in values]
        values["spans"] = dict[str, Any]()
        for name, finding in sorted(self.findings.items(), key=lambda one: one[1].count):
            spans = {ticker: [[*some] for some in own] for ticker, own in finding.spans.items()}
            if name in values and len(json.dumps({**values["spans"], name: spans})) <= _MOST_BYTES:
                values["spans"][name] = spans
        return values


def measure_health(
    traded: TradedBars,
    *,
    today: np.datetime64,
    outside: Mapping[str, tuple[Days, Float64]] | None = None,
) -> Health:
    """Look for suspicious data.

    Args:
        traded: bars by ticker, as they will be written, and those with a volume of zero.
        today: the current day, which decides which dates are in the future and nothing else.
        outside: days of bars with open or close outside of low and high, and how far as a fraction, by ticker.
    """
    bars = traded.bars
    days = distinct_days([own.days for own in bars.values()])
    facts = _Facts(
        bars=bars,
        traded=traded,
        per_year=sessions_per_year(days),
        today=today,
        outside=outside or {},
        num_bars=sum(len(own.days) for own in bars.values()),
    )
    ended, ticker_years = _survival(bars, days)
    survivors = ticker_years >= LEAST_TICKER_YEARS and ended <= LEAST_ENDED * ticker_years
    return Health(
        **{name: find(facts) for name, find in _FINDINGS.items()},
        all_alive_at_the_end=bool(survivors),
        tickers_ended=ended,
        tickers=len(bars),
        bars=facts.num_bars,
    )


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """Inputs of all findings."""

    bars: Mapping[str, Bars]
    traded: TradedBars
    per_year: int
    today: np.datetime64
    outside: Mapping[str, tuple[Days, Float64]]
    num_bars: int

    def finding(self, rule: str, cases: list[Case], spans: Mapping[str, Days] | None = None, **counts: Any) -> Finding:
        """Summarize cases; `counts` replaces the counts of cases, `spans` their days by ticker."""
        places = dict[str, list[tuple[int, int]]]()
        for case in cases if spans is None else ():
            ends = (np.datetime64(day).astype(int) for day in (case.day, case.until or case.day))
            places.setdefault(case.ticker, []).append((int(next(ends)), int(next(ends))))
        for ticker, days in (spans or {}).items():
            places[ticker] = [(day, day) for day in days.astype("datetime64[D]").astype(int).tolist()]
        cases.sort(key=lambda case: (-_severity(case.size), case.ticker, case.day))
        values: dict[str, Any] = {
            "count": len(cases),
            "tickers": len({case.ticker for case in cases}),
            "suspicious": bool(cases),
            **counts,
        }
        values.setdefault("share", values["count"] / max(self.num_bars, 1))
        return Finding(rule=rule, worst=tuple(cases[:MOST_CASES]), spans=places, **values)


def _largest_moves(facts: _Facts) -> Finding:
    cases = [case for ticker, own in facts.bars.items() for case in _moves(ticker, own)]
    rule = (
        f"the close moved by ×{LARGE:g} or 1/{LARGE:g} from one bar to the next, or by ×{NOTABLE:g} and {STANDS_OUT:g} "
        f"usual moves and then reverted within {REVERTS_WITHIN} sessions or is near the ratio of a split; size: return"
    )
    return facts.finding(rule, cases)


def _moves(ticker: str, own: Bars) -> Iterator[Case]:
    """Yield the suspicious moves of a ticker; the way back of a spike is a part of it."""
    steps = np.diff(np.log(own.close))
    sizes = np.abs(steps)
    notable = np.flatnonzero(sizes >= np.log(NOTABLE))
    if not len(notable):
        return
    usual = _usual_move(sizes)
    way_back = -1
    for at in notable[sizes[notable] >= min(STANDS_OUT * usual, np.log(LARGE))]:
        if at <= way_back:
            continue
        cause, stands_out = "", sizes[at] >= STANDS_OUT * usual
        if (back := _reversal(steps[at : at + REVERTS_WITHIN + 1])) and (stands_out or sizes[at] >= np.log(SEVERE)):
            way_back = int(at) + back
            cause = f"reverts on {own.days[way_back + 1]}"
        elif split := _split(float(steps[at]), _gap(own, int(at)), usual):
            cause = f"looks like an unadjusted {split} split"
        if cause or sizes[at] >= np.log(LARGE):
            yield Case(
                ticker=ticker,
                day=str(own.days[at + 1]),
                size=float(own.close[at + 1] / own.close[at] - 1.0),
                what=cause,
            )


def _usual_move(sizes: Float64) -> float:
    """Return 1.4826 × the median of the moves that are neither zero nor notable; at least half a percent."""
    ordinary = sizes[(sizes > 0) & (sizes < np.log(NOTABLE))]
    return max(0.005, 1.4826 * float(np.median(ordinary))) if len(ordinary) else 0.005


def _reversal(steps: Float64) -> int:
    """Return how many sessions after the first move it is undone by an opposite one; 0 if it is not."""
    left = np.abs(np.cumsum(steps)) <= 0.25 * abs(steps[0])
    opposite = -np.sign(steps[0]) * steps >= 0.5 * abs(steps[0])
    return int(np.argmax(left & opposite))


def _gap(own: Bars, at: int) -> float | None:
    """Return the log return from a close to the next open; None without opens."""
    return None if own.open is None else float(np.log(own.open[at + 1] / own.close[at]))


def _split(step: float, gap: float | None, usual: float) -> str | None:
    """Return the split whose ratio a move is near, such as 4:1; if there are opens, the open has to show it too."""
    tolerance = min(max(SPLIT_TOLERANCE[0], 3 * usual), SPLIT_TOLERANCE[1])
    distances = [abs(abs(step) - np.log(new / old)) for new, old in SPLITS]
    new, old = SPLITS[int(np.argmin(distances))]
    at_open = gap is None or abs(gap - np.sign(step) * np.log(new / old)) <= tolerance
    if min(distances) > tolerance or not at_open:
        return None
    return f"{new}:{old}" if step < 0 else f"{old}:{new}"


def _unchanged_runs(facts: _Facts) -> Finding:
    cases, unchanged = [], 0
    for ticker, own in facts.bars.items():
        same = np.diff(own.close) == 0
        unchanged += int(same.sum())
        for first, stop in _runs(same, UNCHANGED_SESSIONS):
            span = {"day": str(own.days[first]), "until": str(own.days[stop])}
            cases.append(Case(ticker=ticker, size=float(stop - first), what=f"close {own.close[first]:g}", **span))
    share = unchanged / max(facts.num_bars - len(facts.bars), 1)
    rule = (
        f"the close stays the same for {UNCHANGED_SESSIONS} sessions or more, or for more than {UNCHANGED_SHARE:.0%} "
        "of all bars; size: sessions"
    )
    return facts.finding(rule, cases, share=share, suspicious=bool(cases) or share > UNCHANGED_SHARE)


def _runs(mask: Bool, least: int) -> Iterator[tuple[int, int]]:
    """Yield first and stop of each run of at least N true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]])))
    for first, stop in edges.reshape(-1, 2).tolist():
        if stop - first >= least:
            yield first, stop


def _gaps(facts: _Facts) -> Finding:
    cases = []
    for ticker, own in facts.bars.items():
        missed = np.rint(np.diff(own.days).astype(np.int64) * (facts.per_year / DAYS_PER_YEAR)) - 1
        for at in np.flatnonzero(missed >= GAP_SESSIONS):
            span = {"day": str(own.days[at]), "until": str(own.days[at + 1])}
            cases.append(Case(ticker=ticker, size=float(missed[at]), what="no bar in between", **span))
    rule = f"{GAP_SESSIONS} sessions or more without a bar within the history of a ticker; size: sessions"
    return facts.finding(rule, cases)


def _zero_volume(facts: _Facts) -> Finding:
    cases = [_by_ticker(ticker, days) for ticker, days in facts.traded.zero_volume.items()]
    count = sum(map(len, facts.traded.zero_volume.values()))
    share = count / max(facts.num_bars + facts.traded.left_out, 1)
    rule = "a bar with a volume of zero; size: bars"
    return facts.finding(rule, cases, facts.traded.zero_volume, count=count, share=share)


def _weekend_rows(facts: _Facts) -> Finding:
    odd = dict[str, Days]()
    for ticker, own in facts.bars.items():
        weekend = weekdays(own.days) > FRIDAY
        if weekend.any() and len(days := own.days[_odd_weekend(own, weekend)]):
            odd[ticker] = days
    cases = [_by_ticker(ticker, days) for ticker, days in odd.items()]
    rule = (
        "a bar on a Saturday or Sunday outside of the calendar of the ticker, or with the close of Friday; size: bars"
    )
    return facts.finding(rule, cases, odd, count=int(sum(case.size for case in cases)))


def _odd_weekend(own: Bars, weekend: Bool) -> Bool:
    """Return the bars on weekends that do not belong to a calendar with regular weekends, or that repeat a close."""
    same = np.concatenate([[False], np.diff(own.close) == 0])
    regular = calendar_of(own.days) not in (None, "Monday to Friday")
    filled = float(same[weekend].mean()) > 0.9
    return weekend & (filled or not regular)


def _out_of_bounds(facts: _Facts) -> Finding:
    cases = [
        Case(ticker=ticker, day=str(days[at]), size=float(sizes[at]))
        for ticker, (days, sizes) in facts.outside.items()
        for at in np.argsort(-sizes, kind="stable")[:MOST_CASES]
    ]
    count = sum(len(days) for days, _ in facts.outside.values())
    rule = "open or close outside of low and high, which are widened for the features of ranges; size: fraction outside"
    outside = {ticker: days for ticker, (days, _) in facts.outside.items()}
    return facts.finding(rule, cases, outside, count=count)


def _future_dates(facts: _Facts) -> Finding:
    late = facts.today + np.timedelta64(1, "D")  # a day later in other time zones
    cases = [_by_ticker(ticker, own.days[own.days > late]) for ticker, own in facts.bars.items() if own.days[-1] > late]
    rule = "a date after tomorrow; size: bars"
    return facts.finding(rule, cases, count=int(sum(case.size for case in cases)))


def _by_ticker(ticker: str, days: Days) -> Case:
    """Return the bars of one ticker as one case."""
    until = str(days[-1]) if len(days) > 1 else None
    return Case(ticker=ticker, day=str(days[0]), until=until, size=float(len(days)))


def within(
    summary: Mapping[str, Any], tickers: Sequence[str], first: np.datetime64, last: np.datetime64
) -> dict[str, Any]:
    """Return the summary of a prices file with what of it concerns some tickers in a range of days.

    Args:
        summary: what `Health.summary` returned; an earlier version did not record all days.
        tickers: those of a run.
        first: first day that a run can know.
        last: its last day.

    Returns:
        The summary, and under "run" the range, the number of tickers, and for each suspicious finding the number of
        cases and three of them; None if their days are not recorded.
    """
    values = {name: value for name, value in summary.items() if name != "spans"}
    spans, begin, end = summary.get("spans", {}), int(first.astype(int)), int(last.astype(int))
    concerned, found = set(tickers), dict[str, Any]()
    for name in summary.get("suspicious", ()):
        if not isinstance(summary.get(name), Mapping):
            continue  # an alarm about the whole file
        if name not in spans:
            found[name] = None
            continue
        cases = [
            {"ticker": ticker, "day": str(np.datetime64(start, "D"))}
            for ticker, own in spans.get(name, {}).items()
            if ticker in concerned
            for start, stop in own
            if start <= end and stop >= begin
        ]
        found[name] = {"count": len(cases), "worst": sorted(cases, key=lambda case: case["day"])[:3]}
    values["run"] = {"first": str(first), "last": str(last), "tickers": len(concerned), "findings": found}
    return values


def is_spans(values: Any) -> bool:
    """Report whether JSON values are "spans" of a summary."""
    return isinstance(values, dict) and all(
        isinstance(by_ticker, dict)
        and all(
            isinstance(own, list)
            and all(isinstance(span, list) and list(map(type, span)) == [int, int] for span in own)
            for own in by_ticker.values()
        )
        for by_ticker in values.values()
    )


def _survival(bars: Mapping[str, Bars], days: Days) -> tuple[int, float]:
    """Return the number of tickers that end before the panel does, and the years of all histories together."""
    last = days[-1] - np.timedelta64(ALIVE_DAYS, "D")
    ended = sum(bool(own.days[-1] < last) for own in bars.values())
    spans: Int64 = np.array([(own.days[-1] - own.days[0]).astype(np.int64) for own in bars.values()])
    return ended, float(spans.sum()) / DAYS_PER_YEAR


def _severity(size: float) -> float:
    """Return a return as a ratio above 1, in whichever direction; any other size, which is never negative, plus 1."""
    return max(1.0 + size, 1.0 / (1.0 + size))


_FINDINGS: dict[str, Callable[[_Facts], Finding]] = {
    "largest_moves": _largest_moves,
    "unchanged_runs": _unchanged_runs,
    "gaps": _gaps,
    "zero_volume": _zero_volume,
    "weekend_rows": _weekend_rows,
    "out_of_bounds": _out_of_bounds,
    "future_dates": _future_dates,
}
"""Field of `Health` → function that fills it."""
