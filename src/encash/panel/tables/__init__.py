"""Reading of price tables of users and vendors, long or wide, as bars by ticker; ambiguous tables are refused."""

from encash.panel.tables.bars import PriceBars
from encash.panel.tables.options import NOTHING_STATED, ReadOptions
from encash.panel.tables.read import read_bars

__all__ = ["NOTHING_STATED", "PriceBars", "ReadOptions", "read_bars"]
