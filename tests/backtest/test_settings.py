"""A setting is declared once, on its field: limits, flag and grid follow from it."""

import argparse
from typing import cast

import pytest

from encash.backtest import BacktestConfig
from encash.backtest.inputs.config import settings
from encash.backtest.inputs.run_setup import open_sessions, set_up_run
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
        (["--short"], "short", "bottom"),
        (["--short", "worst-clusters"], "short", "worst-clusters"),
        (["--max-weight", "0.5"], "max_weight", 0.5),
        (["--group-neutral"], "group_neutral", True),
        (["--allow-lookahead"], "allow_lookahead", "allowed on the command line"),
        (["--allow-lookahead", "a demo"], "allow_lookahead", "a demo"),
    ],
)
def test_each_field_has_a_flag(flags, field, value):
    """Of its type, under its name."""
    assert getattr(configuration(parsed(*flags)), field) == value


class Recorder:
    """A configuration that records which of its settings are read."""

    def __init__(self, config):
        self.config, self.read = config, set()

    def __getattr__(self, name):
        self.read.add(name)
        return getattr(self.config, name)


@pytest.mark.parametrize("changes", [{}, {"subset_size": 5}, {"test_sessions": 30, "lag": 1, "fill": "open"}])
def test_each_step_reads_only_the_settings_of_its_scope(make_prices, changes):
    """Runs of a sweep share the sessions and the setup if those settings agree: one that is missing mixes up runs."""
    scopes = {name: declared.scope for name, declared in settings().items()}
    config = Recorder(BacktestConfig(top_k=2, **changes))
    sessions = open_sessions(cast(BacktestConfig, config), make_prices(opens=True), None)
    assert {scopes[name] for name in config.read} == {"sessions"}
    config.read.clear()
    set_up_run(cast(BacktestConfig, config), sessions)
    assert {scopes[name] for name in config.read - {"seed"}} <= {"sessions", "rebalances"}
    assert ("seed" in config.read) == ("subset_size" in changes), "the seed counts only for the draw of a subset"
