"""Prices without anything to rank by are refused before any work."""

import pytest

from encash import pipeline
from encash.cli import main
from encash.errors import InputError
from encash.panel.toy import toy_panel
from encash.panel.write import write_panel
from encash.pipeline import Sources


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prices")
    write_panel(toy_panel(), folder / "f.h5", folder / "p.h5")
    return folder / "p.h5"


def test_prices_alone_are_no_inputs(prices):
    """Neither a cache nor features: the error names what to give."""
    with pytest.raises(InputError, match="give --cache C, --data F with --model M, or --scores"):
        pipeline.open_inputs(Sources(prices=prices), pipeline.FilterChoice())


@pytest.mark.parametrize("command", [["backtest"], ["picks", "--date", "2020-04-15"]])
def test_a_command_on_prices_alone_ends_with_one_line_and_exit_code_2(prices, capsys, command):
    """An input error, not an AssertionError with a traceback."""
    assert main([*command, "--prices", str(prices), "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"encash {command[0]}: ")
    assert "give --cache C" in line
