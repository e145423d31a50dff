"""Orders from positions to picks: whole shares, paid for, and nothing that is not needed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from encash.backtest import Costs, make_orders, read_positions
from encash.errors import FormatError, InputError, MissingFileError

NAMES = ("A", "B", "C", "D")
prices = st.fixed_dictionaries({name: st.floats(0.5, 900.0) for name in NAMES})
shares = st.fixed_dictionaries({name: st.integers(0, 500) for name in NAMES})
raw_weights = st.lists(st.integers(0, 5), min_size=4, max_size=4)
costs = st.builds(
    Costs,
    buy_fee=st.floats(0.0, 0.02),
    sell_fee=st.floats(0.0, 0.02),
    slippage=st.floats(0.0, 0.02),
    fixed_fee=st.floats(0.0, 5.0),
)


@given(price=prices, held=shares, parts=raw_weights, cash=st.floats(1000.0, 1e6), model=costs)
@example(  # 0.23 too much, and a share costs a thousand times as much
    price={"A": 854.9375, "B": 237.03515625, "C": 149.859375, "D": 228.5},
    held={"A": 209, "B": 258, "C": 485, "D": 4},
    parts=[4, 4, 3, 0],
    cash=456804.0,
    model=Costs(buy_fee=0.0076392029832109, sell_fee=0.015625, slippage=0.006151128953510973, fixed_fee=1.5),
)
def test_orders_lead_to_the_weights_and_never_into_debt(
    price: dict[str, float], held: dict[str, int], parts: list[int], cash: float, model: Costs
) -> None:
    """After the orders no position is negative, the cash is, and no name is above its weight of the account."""
    total = sum(parts) or 1
    weights = {name: part / total for name, part in zip(NAMES, parts, strict=True) if part}
    found = make_orders(weights, held, price, cash=cash, costs=model)
    after = dict(held)
    for one in found.orders:
        assert one.shares > 0
        after[one.ticker] += one.shares if one.side == "buy" else -one.shares
    assert all(count >= 0 for count in after.values())
    assert found.cash_after >= 0.0
    for name in NAMES:
        assert after[name] * price[name] <= weights.get(name, 0.0) * found.value * (1 + 1e-9)
    if not any((model.buy_fee, model.sell_fee, model.slippage, model.fixed_fee)):
        left = found.value - sum(after[name] * price[name] for name in NAMES)
        assert np.isclose(left, found.cash_after, atol=1e-6)


@given(price=prices, held=shares, parts=raw_weights, cash=st.floats(1000.0, 1e6))
def test_a_second_time_there_is_nothing_to_do(
    price: dict[str, float], held: dict[str, int], parts: list[int], cash: float
) -> None:
    """Without costs the positions after the orders are the targets already."""
    total = sum(parts) or 1
    weights = {name: part / total for name, part in zip(NAMES, parts, strict=True) if part}
    found = make_orders(weights, held, price, cash=cash, costs=Costs())
    after = dict(held)
    for one in found.orders:
        after[one.ticker] += one.shares if one.side == "buy" else -one.shares
    assert make_orders(weights, after, price, cash=found.cash_after, costs=Costs()).orders == ()


def test_a_position_without_a_price_is_kept_and_named() -> None:
    """It cannot be sold today, and its value is not invested elsewhere."""
    found = make_orders({"A": 1.0}, {"HALTED": 100}, {"A": 10.0}, cash=105.0, costs=Costs())
    assert [(one.side, one.shares, one.ticker) for one in found.orders] == [("buy", 10, "A")]
    assert (found.kept, found.cash_after) == (("HALTED",), 5.0)


def test_what_cannot_be_ordered_is_refused(tmp_path: Path) -> None:
    """A pick without a price, an empty account, positions that are not whole shares."""
    with pytest.raises(InputError, match="B was picked and has no price"):
        make_orders({"B": 1.0}, {}, {"A": 1.0}, cash=100.0, costs=Costs())
    with pytest.raises(InputError, match=r"worth 0\.00"):
        make_orders({"A": 1.0}, {}, {"A": 1.0}, cash=0.0, costs=Costs())
    with pytest.raises(MissingFileError):
        read_positions(tmp_path / "none.csv")
    for text, expected in (
        ("symbol,qty\nA,1\n", "expected the columns ticker,shares"),
        ("ticker,shares\nA,1.5\n", "line 2"),
        ("ticker,shares\nA,-3\n", "line 2"),
        ("ticker,shares\nA,9999999999999999\n", "line 2"),  # a float64 would hold one share more
        ("ticker,shares\nA,١٢\n", "line 2"),
        ("ticker,shares\nA,1\nA,2\n", "given twice"),
    ):
        (tmp_path / "p.csv").write_text(text)
        with pytest.raises(FormatError, match=expected):
            read_positions(tmp_path / "p.csv")


def test_orders_for_spreadsheets_have_no_formulas():
    """An apostrophe before =, +, - and @ if it is asked for; a comma in a ticker is quoted in both."""
    names = ["=A1", "B", "X,Y"]
    found = make_orders(dict.fromkeys(names, 0.3), {}, dict.fromkeys(names, 10.0), cash=1000.0, costs=Costs())
    plain, shown = (
        [row[0] for row in csv.reader(found.to_csv(spreadsheet=asked).splitlines()[1:])] for asked in (False, True)
    )
    assert (plain, shown) == (["=A1", "B", "X,Y"], ["'=A1", "B", "X,Y"])


def test_costs_that_exceed_the_account_are_refused() -> None:
    """Nothing can be bought, and the fee of the sale takes what would have paid the debt."""
    with pytest.raises(InputError, match=r"worth 5\.00: 5\.00 are missing"):
        make_orders({"B": 1.0}, {"A": 1}, {"A": 10.0, "B": 1.0}, cash=-5.0, costs=Costs(fixed_fee=15.0))
