"""Options of the user for a price table that cannot be recognized."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from encash.errors import InputError
from encash.panel.untraded import ZeroVolume


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Options for reading a price table; each takes precedence over the table itself."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Column of the file by role (``{"close": "PRC", "ticker": "PERMNO"}``)."""
    ticker: str | None = None
    """The ticker of a file that holds one stock and does not name it."""
    date_format: str | None = None
    """Format of dates as text, with the codes of `datetime.datetime.strptime`."""
    timezone: str | None = None
    """IANA name of the exchange's time zone: instants count as the trading day that they fall on there."""
    sep: str | None = None
    """Separator of a text file, one character."""
    decimal: str | None = None
    """Decimal mark of a text file, ``.`` or ``,``."""
    zero_volume: ZeroVolume = "untraded"
    """Meaning of a volume of zero: the ticker did not trade on that day, or it did."""

    def check(self) -> None:
        """Check the options for text, independent of the table.

        Raises:
            InputError: a separator of several characters, an unknown decimal mark, or a date format without a year.
        """
        if self.sep is not None and (len(self.sep) != 1 or self.sep in '\r\n"' or not self.sep.isascii()):
            raise InputError(f"invalid separator {self.sep!r}: expected --sep with one character, like ;")
        if self.decimal not in (None, ".", ","):
            raise InputError(f"invalid decimal mark {self.decimal!r}: expected --decimal . or --decimal ,")
        if self.date_format is not None and re.search("%[YyGcx]", self.date_format) is None:
            raise InputError(
                f"invalid date format {self.date_format!r}: expected --date-format with a year, like %d/%m/%Y"
            )


NOTHING_STATED = ReadOptions()
"""Options of a table that is recognized by itself."""
