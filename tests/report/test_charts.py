"""Charts of the page, and image files of coverage."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from encash.errors import InputError
from encash.report import Extras, Neighborhood, Skill, coverage_picture, formatting, read_run, render_report, style
from encash.report.charts import CHARTS, run_charts
from encash.report.charts.equity import equity
from encash.report.charts.occupancy import occupancy_figure
from encash.report.summary import Occupancy

DAYS = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")
TICKERS = tuple(f"T{number}" for number in range(5))


def states():
    """Sixty sessions of five tickers, in all four states."""
    cells = np.zeros((len(DAYS), len(TICKERS)), dtype=np.int8)
    cells[:10, 1], cells[20:25, 2], cells[:, 3] = 3, 2, 1
    return cells


def test_the_neighbors_of_as_many_picks_as_are_shown_leave_the_page_small(write_run, tmp_path):
    """Those of 300 picks with 12 neighbors each take 700 KB at most, tickers with long names included."""
    days = np.busday_offset("2016-02-01", np.arange(60), roll="forward")
    draw = np.random.default_rng(0)
    near = [
        Neighborhood(
            ticker=f"TICKER{place}.XNYS",
            day=str(day),
            days=tuple(map(str, days[:12] - 900)),
            tickers=tuple(f"OTHER{number}.XNYS" for number in range(12)),
            distance=draw.random(12),
            returns=draw.normal(0, 0.05, 12),
            actual=float(draw.normal(0, 0.05)),
        )
        for day in days
        for place in range(5)
    ]
    text = render_report([write_run()], tmp_path / "r.html", extras=Extras(neighborhoods=near)).read_text()
    figure = text.partition('id="chart-similar-days"')[2].partition("</figure>")[0]
    assert figure.count('class="track"') == 300
    assert len(figure) < 700_000


def test_the_interval_of_few_neighbors_is_that_of_students_t(write_run, tmp_path):
    """Twelve returns of 0% and 2%: ± 2.20 standard errors, not ± 1.96."""
    near = Neighborhood(
        ticker="AAA",
        day="2016-03-01",
        days=("2015-03-02",) * 12,
        tickers=tuple(f"T{number}" for number in range(12)),
        distance=np.arange(12.0),
        returns=np.array([0.0, 0.02] * 6),
        actual=0.0,
    )
    text = render_report([write_run()], tmp_path / "r.html", extras=Extras(neighborhoods=[near])).read_text()
    assert "+1.0% (+0.3% to +1.7%)" in text


def test_a_drawing_is_well_formed_and_themed(write_run):
    """A chart is XML whose colors are those of the page and whose text is text."""
    chart = replace(equity(read_run(write_run()), Extras()), reading='what "one" sees <here>')
    drawing = chart.svg
    root = ET.fromstring(drawing)
    assert root.get("aria-label") == 'Equity and drawdown. what "one" sees <here>'
    assert any((text.text or "").startswith("gross ") for text in root.iter("text"))
    assert "var(--net)" in drawing
    assert "#0102" not in drawing
    assert "font-family" not in drawing


def test_a_month_is_named_once_below_the_clusters():
    """Of the weeks of half a year, those that begin a month carry its name."""
    weeks = np.arange("2023-12-05", "2024-05-28", 7, dtype="datetime64[D]").astype(str).tolist()
    found = Occupancy(
        labels=tuple(weeks),
        clusters=np.array([4, 1], dtype=np.int32),
        share=np.full((2, len(weeks)), 0.5),
        kept=np.array([1.0, 0.0]),
    )
    words = [text.get_text() for text in occupancy_figure(found).axes[0].texts]
    named = [word for word in words if word.startswith("202")]
    assert named == ["2023-12", "2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]


def test_the_charts_that_apply_are_drawn_in_the_order_of_the_registry(write_run):
    """A run without comparisons has some charts; forecasts of its horizon add three in their place."""
    run = read_run(write_run())
    bare = [chart.title for chart in run_charts(run, Extras())]
    assert {"Equity and drawdown", "Monthly returns", "Cluster occupancy", "Time by stage"} <= set(bare)
    groups = ((0.51, 0.5, 90), (0.55, 0.56, 90))
    skill = Skill(horizon=5, rank_ic=0.02, rank_ic_t=2.0, quantile_returns=(0.0, 0.001), reliability=groups)
    extras = Extras(skill=[skill])
    more = [chart.title for chart in run_charts(run, extras)]
    assert set(more) - set(bare) == {
        "Rank IC by horizon",
        "Return by forecast quintile",
        "Reliability of the confidence",
    }
    with style.applied():
        assert more == [drawn.title for chart in CHARTS if (drawn := chart(run, extras)) is not None]
    assert len(more) == len(set(more))


def test_reliability_names_the_largest_gap(write_run):
    """The reading is of the group whose confidence is farthest from its share of right signs; no group stands out if
    all have the same confidence."""
    groups = ((0.51, 0.5, 90), (0.55, 0.62, 95))
    extras = Extras(skill=[Skill(horizon=5, rank_ic=0.02, reliability=groups)])
    chart = next(one for one in run_charts(read_run(write_run()), extras) if one.title.startswith("Reliability"))
    assert "55.0% were right about the sign in 62.0%" in chart.reading
    assert "Groups of 90 forecasts" in chart.note
    ET.fromstring(chart.svg)
    alike = ((0.50542, 0.48, 100), (0.50546, 0.54, 300))
    extras = Extras(skill=[Skill(horizon=5, rank_ic=0.02, reliability=alike)])
    chart = next(one for one in run_charts(read_run(write_run("alike")), extras) if one.title.startswith("Reliability"))
    assert (
        "all groups have a confidence of 50.5%, which tells no forecast from another; 52.5% of the forecasts"
        in chart.reading
    )


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_picture_of_coverage_is_written(tmp_path, suffix):
    """The suffix says how it is written; twice the same states are the same bytes."""
    one, two = (coverage_picture(states(), DAYS, TICKERS, tmp_path / f"{name}{suffix}") for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]


@pytest.mark.parametrize("suffix", [".svg", ".png"])
@pytest.mark.filterwarnings("error")
def test_a_ticker_in_any_script_is_drawn_without_a_warning(tmp_path, suffix):
    """The fonts of the reader decide which letters are shown, not those of the machine that drew the image."""
    path = coverage_picture(states(), DAYS, ("トヨタ", "삼성전자", *TICKERS[2:]), tmp_path / f"c{suffix}")
    if suffix == ".svg":
        assert "トヨタ" in path.read_text(encoding="utf-8")


def test_the_legend_counts_the_cells(tmp_path):
    """The legend names each state with its number of cells."""
    text = coverage_picture(states(), DAYS, TICKERS, tmp_path / "c.svg").read_text()
    for words in ("valid  225", "stale  60", "missing  5", "unavailable  10"):
        assert words in text


def test_the_colours_are_those_of_the_states(tmp_path):
    """The row of a stale ticker is amber, that of a valid one blue."""
    pixels = np.asarray(Image.open(coverage_picture(states(), DAYS, TICKERS, tmp_path / "c.png")).convert("RGB"))
    height, width, _ = pixels.shape
    top, rows = 0.09 * height, 0.85 * height / len(TICKERS)
    colour = [pixels[int(top + (row + 0.5) * rows), width // 2].tolist() for row in range(len(TICKERS))]
    assert colour[0] == [0x2F, 0x6F, 0xD0]
    assert colour[3] == [0xF0, 0xA0, 0x30]


def test_a_single_missing_cell_among_thousands_is_blended_not_dropped(tmp_path):
    """One bad cell in a million still tints the pixel that represents it."""
    cells = np.zeros((3000, 400), dtype=np.int8)
    days = np.datetime64("2000-01-01") + np.arange(3000)
    tickers = [f"T{number}" for number in range(400)]
    clean = np.asarray(Image.open(coverage_picture(cells, days, tickers, tmp_path / "a.png")).convert("RGB"))
    cells[1501, 200] = 2
    marked = np.asarray(Image.open(coverage_picture(cells, days, tickers, tmp_path / "b.png")).convert("RGB"))
    plot = slice(int(0.1 * clean.shape[0]), int(0.93 * clean.shape[0]))
    assert (clean[plot] != marked[plot]).any()


@pytest.mark.parametrize(
    ("cells", "name", "message"),
    [
        (states(), "c.gif", "svg or .png"),
        (states()[:, :2], "c.svg", "shape"),
        (states()[:0], "c.svg", "shape"),
        (states() + np.int8(4), "c.svg", "states from"),
    ],
)
def test_invalid_coverage_is_refused(tmp_path, cells, name, message):
    """A different suffix, a different shape or an unknown state is an error, and nothing is written."""
    with pytest.raises(InputError, match=message):
        coverage_picture(cells, DAYS, TICKERS, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_nothing_to_draw_is_refused(tmp_path):
    """No session is no picture."""
    with pytest.raises(InputError, match="nothing to draw"):
        coverage_picture(np.zeros((0, 5), dtype=np.int8), DAYS[:0], TICKERS, tmp_path / "c.svg")


def test_importing_the_report_imports_no_heavy_library():
    """Importing the report loads neither the charting nor the templating library."""
    code = "import sys, encash.report; print([name for name in ('matplotlib', 'jinja2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(low=st.floats(-1e6, 1e6), size=st.floats(1e-6, 1e7), most=st.integers(3, 8))
def test_ticks_have_equal_steps_and_exact_labels(low, size, most):
    """What an axis says is where its line is, and neighboring lines are equally far apart."""
    assume(size > 1e-6 * abs(low))
    ticks = style.round_values((low, low + size), most)
    steps = np.diff(ticks)
    assert len(ticks) >= 2
    assert np.allclose(steps, steps[0], rtol=1e-6)
    labels = formatting.NUMBER.labels(ticks.tolist())
    values = [float(label.replace(",", "").replace("−", "-")) for label in labels]
    assert np.allclose(values, ticks, rtol=0, atol=1e-3 * steps[0])
