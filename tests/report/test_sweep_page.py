"""The page of a sweep, and of several runs on their common sessions."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from encash.errors import EncashError, FormatError, InputError, MissingFileError
from encash.report import Extras, read_run, render_report
from encash.report.alignment import align, identical
from encash.report.sweep_files import read_sweep
from tests.report.conftest import write_table
from tests.report.test_render import Page

FORMAT1 = Path(__file__).parents[1] / "fixtures" / "format1" / "sweep"


def write_sweep(folder, runs=60, **result):
    """A sweep over two settings; the last ten runs repeat the first ten."""
    draw = np.random.default_rng(0)
    figures = {
        name: draw.normal(size=runs)
        for name in ("sharpe", "cagr", "total_return", "max_drawdown", "final_capital", "alpha")
    }
    for values in figures.values():
        values[-10:] = values[:10]
    folder.mkdir()
    write_table(
        folder / "sweep.parquet",
        key=np.array([f"{number:032x}" for number in range(runs)]),
        top_k=np.arange(runs, dtype=np.int64) % 5 * 5 + 5,
        weights=np.array(["equal", "<b>forecast"])[np.arange(runs) // 5 % 2],
        benchmark_return=np.zeros(runs),
        **figures,
    )
    best = int(np.argmax(figures["sharpe"]))
    document = {
        "runs": runs,
        "trials": runs,
        "distinct_trials": runs - 10,
        "deflated_sharpe": 0.62,
        "expected_best_sharpe": 2.25,
        "probability_of_overfitting": 0.4,
        "best": {"top_k": 5, **{name: float(values[best]) for name, values in figures.items()}},
        "note": "",
    } | result
    (folder / "sweep.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def sweep(tmp_path):
    return write_sweep(tmp_path / "sweep")


def test_the_page_of_a_sweep_leads_with_what_luck_would_give(sweep, tmp_path):
    """The headline holds the best run, the finding and the deflated Sharpe ratio; the distribution marks the best of
    worthless runs."""
    text = render_report([sweep], tmp_path / "s.html").read_text()
    page = Page(text)
    assert "The best of 50 distinct runs has a Sharpe ratio of" in page.words
    assert "not distinguishable from luck" in page.words.partition("Deflated Sharpe ratio 62.0%")[0]
    assert "expected best of runs without skill 2.25" in page.words
    assert "<b>forecast" not in text
    assert "&lt;b&gt;forecast" in text
    for title in ("Sharpe ratio by top_k and weights", "Settings of all runs", "All runs"):
        assert title in page.words


def test_a_deflated_sharpe_ratio_of_95_percent_is_a_finding(tmp_path):
    """Only then is the best run called better than luck; without a judgment the reason is given."""
    text = render_report([write_sweep(tmp_path / "a", deflated_sharpe=0.96)], tmp_path / "a.html").read_text()
    assert "more than the best of as many runs without skill" in text
    other = write_sweep(tmp_path / "b", deflated_sharpe=None, note="the runs are not of the same sessions")
    text = render_report([other], tmp_path / "b.html").read_text()
    assert "not corrected for the number of runs" in text
    assert "Not judged: the runs are not of the same sessions." in text


def test_identical_runs_are_shown_once(sweep, tmp_path):
    """The table has each distinct run once, the highest Sharpe ratio first, with the number of its copies."""
    found = read_sweep(sweep)
    assert len(found.distinct) == 50
    assert found.copies.sum() == 60
    assert (np.diff(found.figure("sharpe")[found.distinct]) <= 0).all()
    text = render_report([sweep], tmp_path / "s.html").read_text()
    assert "50 distinct runs; 10 more are identical to one of them and shown once." in text
    assert text.partition('aria-label="All runs"')[2].partition("</table>")[0].count("<tr>") == 51


def test_a_sweep_of_two_thousand_runs_has_a_small_page(tmp_path):
    """Below 3 MB, with a row for each distinct run."""
    page = render_report([write_sweep(tmp_path / "sweep", runs=2000)], tmp_path / "s.html")
    assert page.stat().st_size < 3_000_000
    assert page.read_text().count('<th scope="row">') >= 1990


def test_a_sweep_of_an_earlier_version_has_a_page(tmp_path):
    """The table that the first release wrote is read."""
    assert "distinct run" in render_report([FORMAT1], tmp_path / "s.html").read_text()


@pytest.mark.parametrize("content", [b"", b"PAR1", None])
def test_a_damaged_table_is_refused(sweep, tmp_path, content):
    """A table that is missing or no Parquet file is named."""
    path = sweep / "sweep.parquet"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises((MissingFileError, FormatError), match=r"sweep\.parquet"):
        render_report([sweep], tmp_path / "s.html")


def test_a_table_without_its_figures_is_refused(sweep, tmp_path):
    """A column of text in the place of numbers, or no row, is an error of one line."""
    write_table(sweep / "sweep.parquet", sharpe=np.array(["a"]))
    with pytest.raises(FormatError, match="final_capital"):
        render_report([sweep], tmp_path / "s.html")


def test_undefined_figures_make_a_page(tmp_path):
    """A sweep whose runs are all idle has a page that says so."""
    folder = write_sweep(tmp_path / "sweep", best=None, deflated_sharpe=None)
    gone = np.full(4, np.nan)
    names = ("sharpe", "cagr", "total_return", "max_drawdown", "final_capital")
    write_table(folder / "sweep.parquet", top_k=np.arange(4), **dict.fromkeys(names, gone))
    assert "No run of this sweep has a Sharpe ratio" in render_report([folder], tmp_path / "s.html").read_text()


def test_a_sweep_is_shown_alone(sweep, write_run, tmp_path):
    """Beside a run, or with extras of a run, it is refused."""
    for folders, extras in (([sweep, write_run()], None), ([sweep], Extras(no_filter=1.0))):
        with pytest.raises(InputError, match="page of its own"):
            render_report(folders, tmp_path / "s.html", extras=extras)


def test_runs_are_compared_on_the_sessions_that_they_share(write_run, tmp_path):
    """The growth of each begins at the first common session; runs without one are shown as they are."""
    long, short = read_run(write_run("long", sessions=400)), read_run(write_run("short", seed=1, sessions=300))
    one, other = align([long, short])
    assert (
        (one.days[0], one.days[-1]) == (other.days[0], other.days[-1]) == (short.equity.days[0], short.equity.days[-1])
    )
    assert one.path[0] == other.path[0] == 1.0
    text = render_report([long.folder, short.folder], tmp_path / "r.html").read_text()
    assert "The runs cover different sessions" in text
    assert f'from <span class="day">{one.days[0]}</span> to <span class="day">{one.days[-1]}</span>' in text


def test_identical_runs_are_named(write_run, tmp_path):
    """A copy of a run is called identical; a different one is not."""
    folders = [write_run("a"), tmp_path / "copy", write_run("b", seed=1)]
    shutil.copytree(folders[0], folders[1])
    runs = [read_run(folder) for folder in folders]
    assert identical(runs, ("a", "copy", "b")) == [["a", "copy"]]
    text = render_report(folders, tmp_path / "r.html").read_text()
    assert "a, copy have the same equity" in text
    assert "a = copy grew the most" in text or "b grew the most" in text


def test_every_refusal_is_an_error_of_encash(tmp_path):
    """A folder with a foreign sweep.json is refused in one line."""
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(EncashError):
        render_report([tmp_path], tmp_path / "s.html")
