"""The page in a browser: accessible, driven by the keyboard and the mouse, whole without its script."""

import json
import shutil

import numpy as np
import pytest

from encash.report import Extras, read_run, render_report
from tests.report.chromium import AXE, CHROMIUM, browser
from tests.report.conftest import write_run_folder
from tests.report.test_render import everything
from tests.report.test_sweep_page import write_sweep

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
EQUITY = "#chart-equity-and-drawdown .drawing"
READOUT = "document.querySelector('#chart-equity-and-drawdown .readout').textContent"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run_folder(tmp_path_factory.mktemp("runs") / "run", sessions=600)


@pytest.fixture(scope="module")
def page(folder):
    """A page with everything."""
    extras = everything(folder)
    draws = {
        name: np.random.default_rng(0).normal(0.1, 0.2, 60).tolist() for name in ("cagr", "sharpe", "max_drawdown")
    }
    values = {**extras.given, "draws": draws, "references": {"no filter": dict.fromkeys(draws, 0.1)}}
    return render_report([folder], folder.parent / "page.html", extras=Extras(**values))


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    with browser(profile) as opened:
        yield opened
    shutil.rmtree(profile, ignore_errors=True)


@pytest.mark.skipif(AXE is None, reason="no axe-core on this machine: npm install axe-core, or its path in AXE_CORE")
@pytest.mark.parametrize("width", [390, 1024, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(tab, page, tmp_path, width, dark):
    """The pages of a run, of several runs and of a sweep have no serious violation at any width or theme."""
    assert AXE is not None
    several = render_report(
        [write_run_folder(tmp_path / name, seed=place) for place, name in enumerate("ab")], tmp_path / "m.html"
    )
    for shown in (page, several, render_report([write_sweep(tmp_path / "sweep")], tmp_path / "s.html")):
        tab.open(shown, width=width, dark=dark)
        tab.run(AXE.read_text() + "; 0")
        found = tab.run(
            "axe.run().then(found => found.violations.filter(one => ['serious', 'critical'].includes(one.impact))"
            ".map(one => [one.id, one.nodes.map(node => node.target.join(' ')).slice(0, 3)]))"
        )
        assert found == [], json.dumps(found)
    assert tab.errors == []


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_nothing_is_wider_than_the_window(tab, page, width):
    """Wide charts and tables scroll by themselves; the page does not."""
    tab.open(page, width=width)
    assert tab.run("document.documentElement.scrollWidth") <= width


_LABELS = """[...document.querySelectorAll('figure .drawing > svg')].flatMap(svg => {
    const outer = svg.getBoundingClientRect(), found = [];
    const texts = [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
    texts.forEach(([text, box], place) => {
        if (box.left < outer.left - 1 || box.right > outer.right + 1) found.push([svg.ariaLabel, 'cut off', text]);
        for (const [other, next] of texts.slice(place + 1)) {
            const across = Math.min(box.right, next.right) - Math.max(box.left, next.left);
            const down = Math.min(box.bottom, next.bottom) - Math.max(box.top, next.top);
            if (across > 1.5 && down > 4) found.push([svg.ariaLabel, text, other]);
        }
    });
    return found;
})"""


def test_no_label_is_cut_off_or_covers_another(tab, page, tmp_path):
    """The labels of every drawing stay inside of it and apart, as the browser measures them."""
    for shown in (page, render_report([write_sweep(tmp_path / "sweep")], tmp_path / "s.html")):
        tab.open(shown, width=1440)
        assert tab.run(_LABELS) == []


def test_the_random_draws_are_seen_whole_on_a_phone(tab, page):
    """Each of the three figures of the strip is within the window, in letters that can be read."""
    for width in (360, 390, 700, 768):
        tab.open(page, width=width)
        shown = tab.run(
            "[...document.querySelectorAll('.strip svg')].map(svg => [svg, svg.getBoundingClientRect()])"
            ".filter(([, box]) => box.width).map(([svg, box]) => [svg.parentElement.scrollWidth, box.left, box.right,"
            " [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect().height])])"
        )
        assert len(shown) == 1
        ((scrolls, left, right, texts),) = shown
        assert 0 <= left < right <= width
        assert scrolls <= width
        assert {"return a year", "Sharpe ratio", "max drawdown"} <= {text for text, _ in texts}
        assert min(height for _, height in texts) > 9.5


def test_the_verdict_is_seen_without_scrolling(tab, page):
    """On a usual screen the sentence, the dots and every statement are above the fold."""
    tab.open(page, width=1440, height=900)
    bottoms = tab.run(
        "[...document.querySelectorAll('h1, .strip svg, .marks li')].map(one => one.getBoundingClientRect().bottom)"
    )
    assert len(bottoms) > 12
    assert max(bottoms) < 900


def test_the_keyboard_reaches_everything(tab, page):
    """Tab walks through links, charts, tables and details in the order of the page, each with a name and a focus that
    is seen, and ends."""
    tab.open(page)
    stops = tab.run("document.querySelectorAll('a[href], summary, [tabindex=\"0\"], button').length")
    seen = set()
    for _ in range(40):
        tab.press("Tab")
        name, outline, top = tab.run(
            "(() => { const at = document.activeElement;"
            " return [at.getAttribute('aria-label') || at.textContent.trim(), getComputedStyle(at).outlineStyle,"
            " at.getBoundingClientRect().top + scrollY] })()"
        )
        assert name
        assert outline != "none"
        seen.add((name, top))
    assert len(seen) == 40 <= stops


def test_arrow_keys_show_the_values_of_the_run(tab, page, folder):
    """From the first session on, each key press goes one session further; every chart over time shows its value."""
    run = read_run(folder)
    tab.open(page)
    tab.run(f"document.querySelector('{EQUITY}').focus()")
    tab.press("ArrowRight", 3)
    text = tab.run(READOUT)
    assert str(run.equity.days[2]) in text
    assert f"net {run.path[2]:,.0f}" in text
    assert f"benchmark {run.equity.benchmark[2]:,.0f}" in text
    tab.press("End")
    assert f"net {run.path[-1]:,.0f}" in tab.run(READOUT)
    lines = tab.run("document.querySelectorAll('figure[data-time] .cross').length")
    assert lines >= tab.run("document.querySelectorAll('figure[data-time]').length")
    tab.press("Escape")
    assert tab.run(READOUT) == ""


SHOWN = "[...document.querySelectorAll('.near > details')].filter(one => one.open).map(one => one.dataset.day)"


def test_a_day_leads_to_its_neighbors(tab, page):
    """A list, the buttons beside it, a key or a click in a chart over time choose the day whose neighbors are shown; a
    span of time leaves only its days in the list."""
    tab.open(page)
    assert tab.run(SHOWN) == ["2017-01-03"]
    tab.run(
        "(() => { const at = document.querySelector('.choice select'); at.value = 0;"
        " at.dispatchEvent(new Event('change')) })()"
    )
    assert tab.run(SHOWN) == ["2016-03-01"]
    tab.run("[...document.querySelectorAll('.choice button')].at(-1).click()")
    assert tab.run(SHOWN) == ["2016-06-01"]
    tab.run(f"document.querySelector('{EQUITY}').focus()")
    tab.press("ArrowRight", 2)
    tab.press("Enter")
    assert tab.run(SHOWN) == ["2016-03-01"]
    assert tab.run("document.activeElement.tagName") == "SELECT"
    left, top, width, height = tab.run(
        f"(() => {{ const at = document.querySelector('{EQUITY}'); at.scrollIntoView({{block: 'center'}});"
        " const box = at.getBoundingClientRect(); return [box.left, box.top, box.width, box.height] })()"
    )
    y = top + height / 3
    tab.mouse("mouseMoved", left + 0.35 * width, y)
    tab.mouse("mousePressed", left + 0.35 * width, y)
    tab.mouse("mouseReleased", left + 0.35 * width, y)
    assert tab.run(SHOWN) != ["2016-03-01"]
    assert "Similar days of" in tab.run("document.querySelector('.zoom').innerText")
    tab.mouse("mousePressed", left + 0.1 * width, y)
    for share in (0.12, 0.15):
        tab.mouse("mouseMoved", left + share * width, y, pressed=True)
    tab.mouse("mouseReleased", left + 0.15 * width, y)
    assert tab.run("[...document.querySelectorAll('.choice option')].filter(one => !one.hidden).length") == 1
    assert tab.run(SHOWN) == ["2016-03-01"]


def test_dragging_zooms_all_charts_over_time(tab, page):
    """The span between press and release is shown in each of them until Escape."""
    tab.open(page)
    left, top, width, height = tab.run(
        f"(() => {{ const at = document.querySelector('{EQUITY}'); at.scrollIntoView({{block: 'center'}});"
        " const box = at.getBoundingClientRect(); return [box.left, box.top, box.width, box.height] })()"
    )
    across = [left + width * share for share in (0.3, 0.4, 0.5)]
    y = top + height / 2
    tab.mouse("mouseMoved", across[0], y)
    assert tab.run(READOUT)
    tab.mouse("mousePressed", across[0], y)
    for x in across:
        tab.mouse("mouseMoved", x, y, pressed=True)
    tab.mouse("mouseReleased", across[2], y)
    zoomed = "document.querySelectorAll('figure[data-zoomed]').length"
    assert tab.run(zoomed) == tab.run("document.querySelectorAll('figure[data-time]').length") > 5
    assert " to " in tab.run("document.querySelector('.zoom.shown').textContent")
    assert tab.run(f"document.querySelectorAll('{EQUITY} .live path').length") >= 5
    tab.press("Escape")
    assert tab.run(zoomed) == 0
    assert tab.errors == []


def test_points_of_a_chart_are_named_on_focus(tab, page):
    """The value under the arrow keys is that of the table below the chart."""
    tab.open(page)
    tab.run("document.querySelector('#chart-from-equal-weights-to-the-net-return .drawing').focus()")
    tab.press("ArrowRight", 2)
    tip = tab.run("document.querySelector('.tip.shown').textContent")
    rows = tab.run(
        "[...document.querySelectorAll('#chart-from-equal-weights-to-the-net-return tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert any(tip.startswith(f"{row[0]}: {row[1]}") for row in rows)


def test_the_table_of_a_sweep_is_sorted_by_a_column(tab, tmp_path):
    """A click sorts downwards, a second one upwards; numbers with signs and percent are compared as numbers."""
    page = render_report([write_sweep(tmp_path / "sweep")], tmp_path / "s.html")
    tab.open(page)
    values = (
        "[...document.querySelectorAll('table[data-sortable] tbody tr')].map(row => "
        "Number(row.cells[{}].textContent.replace('−', '-').replace(/[+%,]/g, '')))"
    )
    heads = tab.run("[...document.querySelectorAll('table[data-sortable] thead th')].map(head => head.textContent)")
    column = heads.index("CAGR")
    for order in (-1, 1):
        tab.run(f"document.querySelectorAll('table[data-sortable] thead button')[{column}].click()")
        found = tab.run(values.format(column))
        assert found == sorted(found, key=lambda value: order * value)
        assert len(found) == 50


def test_the_page_is_whole_without_its_script(tab, page):
    """Drawings, tables, links and data are there with scripts disabled."""
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.call("Page.navigate", url=page.as_uri())
        tab.wait("footer")
        for selector in ("figure svg", "details.data table", ".near td p", "a[download]", ".marks a", ".criteria code"):
            assert tab.count(selector) > 5
        assert tab.count(".readout") == 0
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)
