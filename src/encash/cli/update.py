"""``update``: the nightly run, which encodes restated windows, new sessions and new tickers of a cache."""

from __future__ import annotations

from functools import partial

from encash.cli.build import build_flags, run_build
from encash.cli.console import Parser


def register(parser: Parser) -> None:
    """Add the flags."""
    build_flags(parser, partial(run_build, renew=True))
