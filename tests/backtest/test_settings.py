"""A setting is declared once, on its field: limits, flag and grid follow from it."""

import argparse

import pytest

from encash.backtest import BacktestConfig
from encash.backtest.inputs.config import settings
from encash.cli.backtest import configuration
from encash.cli.flags import setting_flags


def parsed(*flags):
    parser = argparse.ArgumentParser()
    for group in ("stocks", "money", "checks"):
        setting_flags(parser, group)
    parser.format_help()
    return parser.parse_args(flags)


def test_without_flags_the_command_line_has_the_defaults_of_the_configuration():
    """No default is written twice."""
    assert vars(parsed()).keys() == settings().keys()
    assert configuration(parsed()) == BacktestConfig()


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        (["--top-k", "3"], "top_k", 3),
        (["--sell-fee", "0.001"], "sell_fee", 0.001),
        (["--tranches"], "tranches", True),
        (["--delisting=-30%"], "delisting", "-30%"),
        (["--test-sessions", "21"], "test_sessions", 21),
        (["--allow-lookahead"], "allow_lookahead", "allowed on the command line"),
        (["--allow-lookahead", "a demo"], "allow_lookahead", "a demo"),
    ],
)
def test_each_field_has_a_flag(flags, field, value):
    """Of its type, under its name."""
    assert getattr(configuration(parsed(*flags)), field) == value
