"""Reading run folders, and the arithmetic on them."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.errors import FormatError, MissingFileError
from encash.report import render_report
from encash.report.comparison_files import read_comparisons
from encash.report.summary import CandidateTable, monthly_returns, occupancy, read_run, thin


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    """A missing run folder is named, with what was expected."""
    with pytest.raises(MissingFileError, match="no run folder"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["result.json", "equity.parquet", "ledger.csv", "picks.parquet"])
def test_a_folder_without_one_of_its_files_is_no_run(write_run, name):
    """Each of the four files is needed."""
    folder = write_run()
    (folder / name).unlink()
    with pytest.raises(MissingFileError, match=name):
        read_run(folder)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"run"', '{"cagr": 0.1}'])
def test_a_broken_result_is_refused(write_run, text):
    """A result that is no JSON, no object, or lacks figures is no result."""
    folder = write_run()
    (folder / "result.json").write_text(text)
    with pytest.raises(FormatError, match=r"result\.json"):
        read_run(folder)


@pytest.mark.parametrize("name", ["equity.parquet", "picks.parquet"])
def test_a_table_that_is_no_parquet_is_refused(write_run, name):
    """A truncated or foreign table is refused by name."""
    folder = write_run()
    (folder / name).write_bytes((folder / name).read_bytes()[:40])
    with pytest.raises(FormatError, match=name):
        read_run(folder)


def test_a_result_with_undefined_figures_is_read(write_run):
    """A figure that is null or absent is None, not 0."""
    run = read_run(write_run(sharpe=float("nan"), win_rate=0.5))
    assert run.figure("sharpe") is None
    assert run.figure("no such figure") is None
    assert run.figure("win_rate") == 0.5


def test_the_first_costs_are_part_of_the_first_return(write_run):
    """The path begins with the capital of the configuration, not with the equity after the first buys."""
    run = read_run(write_run())
    assert run.path[0] == 100_000.0 > run.equity.net[0]
    assert (run.path[1:] == run.equity.net[1:]).all()


@given(
    steps=st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=80),
    first=st.integers(0, 700),
    gap=st.integers(1, 40),
)
def test_monthly_returns_compound_to_the_total(steps, first, gap):
    """Months compound to their year, and years to the whole, whatever the sessions."""
    days = np.datetime64("2019-01-01") + (first + gap * np.arange(len(steps)))
    path = 100.0 * np.cumprod(1.0 + np.array(steps), dtype=np.float64)
    years = monthly_returns(days, path)
    whole = np.prod([1.0 + year.total for year in years])
    assert whole == pytest.approx(path[-1] / path[0])
    for year in years:
        months = [1.0 + month for month in year.months if month is not None]
        assert np.prod(months) == pytest.approx(1.0 + year.total)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(4, 100))
def test_thinning_keeps_ends_and_extremes(values, most):
    """What is drawn of a line begins, ends, peaks and falls where the line does."""
    line = np.array(values)
    points = thin(line, most)
    assert points[0] == 0
    assert points[-1] == len(line) - 1
    assert (np.diff(points) > 0).all()
    assert {line.min(), line.max()} <= set(line[points])
    assert len(points) <= max(most + 2, 4)


def test_occupancy_counts_shares_by_span():
    """Each span's shares sum to 1, and a cluster's kept share is that of its candidates."""
    days = np.repeat(np.array(["2024-01-01", "2024-01-02"], dtype="datetime64[D]"), 4)
    cluster = np.array([0, 0, 1, -1, 0, 1, 1, 1], dtype=np.int32)
    kept = cluster == 0
    found = occupancy(CandidateTable(days=days, cluster=cluster, kept=kept, picked=kept), most_spans=2)
    assert found is not None
    assert found.share.tolist() == [[2 / 3, 1 / 4], [1 / 3, 3 / 4]]
    assert found.kept.tolist() == [1.0, 0.0]
    assert found.labels == ("2024-01-01", "2024-01-02")


def test_occupancy_without_clusters_is_none():
    """A run without clusters has no occupancy to draw."""
    unassigned = CandidateTable(
        days=np.array(["2024-01-01"], dtype="datetime64[D]"),
        cluster=np.array([-1], dtype=np.int32),
        kept=np.array([True]),
        picked=np.array([True]),
    )
    assert occupancy(unassigned) is None


def test_a_run_without_comparisons_has_none(write_run):
    """A folder without comparisons.json gives empty extras, not an error."""
    assert not read_comparisons(write_run()).given


@pytest.mark.parametrize("document", [{}, {"rows": 3}, {"rows": [{"name": "no filter"}], "evidence": []}])
def test_broken_comparisons_are_refused(write_run, document):
    """A malformed comparisons.json is an error: never a page without comparisons."""
    folder = write_run()
    (folder / "comparisons.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="comparisons"):
        read_comparisons(folder)


def test_a_run_of_the_first_release_has_a_page(tmp_path):
    """Comparisons that lack figures of later versions are shown without them."""
    folder = Path(__file__).parents[1] / "fixtures" / "format1" / "run"
    extras = read_comparisons(folder)
    assert len(extras.random_filters) == 20
    assert "cagr" not in extras.draws
    assert "Random-filter test" in render_report([folder], tmp_path / "r.html").read_text()
