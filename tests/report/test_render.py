"""The page: whole, self-contained, escaped, the same bytes each time."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from encash.clusters import ClusterMap, WalkDrift
from encash.errors import FormatError, InputError, MissingFileError
from encash.report import (
    Alternative,
    ClusterReturn,
    Extras,
    Neighborhood,
    Range,
    Skill,
    Spread,
    read_run,
    render_report,
)
from encash.report.charts import run_charts
from tests.report.conftest import make_test

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """A page as its tags, with every element that is opened closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.text = [], [], [], []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("src", "href") if name in values]
        self.links += re.findall(r"url\(([^)]*)\)", " ".join(value or "" for value in values.values()))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        """The text of the page, spaces drawn together."""
        return " ".join(" ".join(self.text).split())


def everything(folder):
    """Extras that fill every part of the page."""
    net = read_run(folder).equity.net
    final = float(net[-1])
    spread = Spread(mean=final, deviation=100.0)
    return Extras(
        no_filter=final * 0.9,
        random_filters=(final * np.linspace(0.8, 1.1, 60)).tolist(),
        random_range=Range(low=net * 0.9, high=net * 1.1),
        test=make_test(p_better=0.3),
        shuffled_clusters=[final * 0.95, final],
        phases={0: final, 1: final * 0.9},
        phase_range=Range(low=net * 0.95, high=net),
        later=final * 0.99,
        alternatives=[
            Alternative(
                name="phases", meaning="other days", runs=2, final_capital=spread, sharpe=spread, max_drawdown=spread
            )
        ],
        seeds=[final, final * 0.9, final * 1.1],
        trials=12,
        deflated_sharpe=0.4,
        ranking=[
            ClusterReturn(
                cluster=n,
                mean_return=0.01 - n / 100,
                error=0.002,
                win_rate=0.54 - n / 50,
                win_error=0.01,
                best=n == 0,
                selected_share=0.6,
            )
            for n in range(3)
        ],
        ranking_horizon=5,
        cluster_map=ClusterMap(
            centroids=np.array([[0.0, 1.0], [2.0, 0.0], [-1.0, -1.0]]),
            entries=np.random.default_rng(0).normal(size=(1500, 2)),
            cluster=np.arange(1500, dtype=np.int32) % 3,
            explained=0.4,
        ),
        refits=WalkDrift(
            first_days=np.array(["2016-02-01", "2016-05-02", "2016-08-01"], dtype="datetime64[D]"),
            drift=np.array([[np.nan] * 3, [0.1, 0.2, 0.4], [0.2, 0.3, 0.1]]),
            agreement=np.array([np.nan, 0.9, 0.8]),
            best=np.eye(3, dtype=bool),
            best_kept=np.array([np.nan, 1.0, 0.5]),
            mean_return=np.zeros((3, 3)),
        ),
        skill=[Skill(horizon=5, rank_ic=0.02, rank_ic_t=2.0, quantile_returns=(0.0, 0.001, 0.002), spread_t=1.5)],
        neighborhoods=[
            Neighborhood(
                ticker=ticker,
                day=day,
                days=("2015-03-02", "2015-07-01", "2014-01-02"),
                tickers=("CCC", ticker, "BBB"),
                distance=np.array([0.1, 0.2, 0.25]),
                returns=np.array([0.01, -0.03, 0.002]) * (1 + place),
                actual=0.004 * (1 - place),
            )
            for place, day in enumerate(("2016-03-01", "2016-06-01", "2017-01-03"))
            for ticker in ("AAA", "A&B <i>")
        ],
        timings={"live": 40.0, "cached": 0.8},
        same_picks=True,
    )


def num_drawings(folder, extras):
    """Registered charts of a run that are drawings, not tables; at least the equity."""
    number = sum(chart.figure is not None for chart in run_charts(read_run(folder), extras))
    assert number
    return number


@pytest.fixture
def render(write_run, tmp_path):
    """Renders one run: ``render(extras, **keys of result.json)``."""

    def page(extras=None, **options):
        return render_report([write_run(**options)], tmp_path / "report.html", extras=extras).read_text()

    return page


def test_the_page_of_one_run_is_whole(write_run, tmp_path):
    """Every part is there, every element is closed, no identifier is repeated, and each drawing is described."""
    folder = write_run()
    text = render_report([folder], tmp_path / "report.html", extras=everything(folder)).read_text()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    drawings = num_drawings(folder, everything(folder))
    assert page.tags.count("svg") == drawings
    assert len(re.findall(r'<svg viewBox="[^"]*" role="img" aria-label="[^"]{20,}"', text)) == drawings
    for words in ("Comparisons", "Forecast skill", "50 times faster than live", "with the same picks"):
        assert words in page.words
    for words in (
        "2-D projection of the clusters (40% of the variance)",
        "At the last of 3 refits, cluster 0 had the highest win rate",
        "From one refit to the next, 85%",
        "60% of the draws",
        "number of random filters",
        "number of seeds",
    ):
        assert words in page.words
    for words in ("Configuration", "Fingerprints", "Library versions", "Definitions and conventions", "seed"):
        assert words in page.words


def test_the_page_needs_nothing_else(write_run, tmp_path):
    """No address: every link stays within the page or holds its data, and the one script is small and inline."""
    folder = write_run()
    text = render_report([folder], tmp_path / "report.html", extras=everything(folder)).read_text()
    page = Page(text)
    assert page.links
    assert all(link.startswith(("#", "data:image/png;base64,", "data:text/csv;")) for link in page.links)
    assert not {"link", "iframe", "img"} & set(page.tags)
    assert page.tags.count("script") == 1
    script = text.partition("<script>")[2].partition("</script>")[0]
    assert 0 < len(script.encode()) < 30_000
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert len(text) < 420_000


def test_the_drawings_refer_to_their_own_parts(write_run, tmp_path):
    """Each reference within a drawing has its target on the page."""
    folder = write_run()
    page = Page(render_report([folder], tmp_path / "report.html", extras=everything(folder)).read_text())
    targets = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert targets
    assert targets <= set(page.ids)


def test_the_same_run_gives_the_same_bytes(write_run, tmp_path):
    """Two pages of one run do not differ in a byte."""
    folder = write_run()
    one, two = (
        render_report([folder], tmp_path / name, extras=everything(folder)).read_bytes()
        for name in ("a.html", "b.html")
    )
    assert one == two


def test_what_comes_from_outside_is_escaped(render):
    """A name, a setting or a reason that looks like HTML is shown as text, in drawings too."""
    evil = "<b>$x$ & <script>alert(1)</script>"
    extras = Extras(timings={evil: 2.0, "cached": 1.0})
    text = render(extras, name="<b>run & co", lookahead=evil, configuration={evil: evil}, stages={evil: 1.0})
    assert text.count("<script") == 1
    assert "alert(1)" not in text.partition("<script>")[2]
    assert "<b>run" not in text
    assert "&lt;b&gt;$x$ &amp; &lt;script&gt;" in text
    Page(text)


def test_names_in_drawings_are_escaped(write_run, tmp_path):
    """Names of runs stand in a drawing as text."""
    folders = [write_run("<i>one & $a$"), write_run("two $b$", seed=1)]
    text = render_report(folders, tmp_path / "report.html").read_text()
    assert "<i>" not in text
    assert "&lt;i&gt;one &amp; $a$" in text
    Page(text)


def test_look_ahead_is_a_band_across_the_page(render):
    """The reason comes first on the page; an honest run has no warning."""
    text = render(lookahead="I wanted to see (ranked up to 2020-01-01)")
    assert text.index('class="warning"') < text.index("<h1>")
    assert "I wanted to see (ranked up to 2020-01-01)" in text
    assert 'class="warning"' not in render(name="honest")


def test_the_verdict_is_the_first_headline(render):
    """The first headline holds the statement and the finding; the sentences after it are below, above the figures."""
    words = Page(render()).words
    assert "Holding all candidates returned" in words
    assert "the filter, after costs, +" in words
    assert words.index("after costs,") < words.index("Max drawdown:") < words.index("Final capital")


def test_every_count_of_the_entries_is_shown(render):
    """From the cache, computed, stale, unavailable; what was not compared is said to be so, and what no run counts (a
    failure ends it) has no number."""
    words = Page(render(hits=1234, computed=5, stale=None, unavailable=7)).words
    for count in ("1,234 from the cache", "5 computed", "not compared: stale", "7 unavailable"):
        assert count in words
    assert "0 failed" not in words


def test_a_figure_of_the_equity_is_a_tile_that_older_runs_lack(render):
    """The tile has its meaning and the figure of the benchmark; a run without the key has a page without the tile."""
    tile = (
        r'title="Root mean square[^"]*">Ulcer index</abbr></dt><dd class="value">3.2%</dd><dd class="note">benchmark 5'
    )
    assert re.search(tile, render(ulcer_index=0.0321))
    assert "Ulcer index</abbr>" not in render(name="older")


def test_undefined_figures_are_dashes(render):
    """A Sharpe ratio that is not defined is a dash."""
    assert re.search(r"Sharpe ratio</abbr></dt><dd class=\"value\">–<", render(sharpe=float("nan")))


def test_a_run_without_benchmark_clusters_or_stages_still_has_a_page(write_run, tmp_path):
    """Nothing but the four files is needed."""
    import pyarrow.parquet as pq

    folder = write_run(stages=None, final_capital_by_delisting=None, fingerprints=None, versions=None, filter=None)
    table = pq.read_table(folder / "equity.parquet")
    gone = np.full(table.num_rows, np.nan)
    pq.write_table(table.set_column(3, "benchmark", [gone]), folder / "equity.parquet")
    picks = pq.read_table(folder / "picks.parquet")
    no_cluster = np.full(picks.num_rows, -1, dtype=np.int32)
    pq.write_table(picks.set_column(2, "cluster", [no_cluster]), folder / "picks.parquet")
    page = Page(render_report([folder], tmp_path / "report.html").read_text())
    assert "no benchmark to compare with" in page.words
    assert page.tags.count("svg") == num_drawings(folder, Extras())


def test_several_runs_stand_side_by_side(write_run, tmp_path):
    """One table, one drawing, what differs between them, and the warning of the one that knew its future."""
    folders = [
        write_run("calm"),
        write_run("bold", seed=1, configuration={"top_k": 50}),
        write_run("seer", seed=2, drift=0.01, lookahead="told so"),
    ]
    page = Page(render_report(folders, tmp_path / "report.html").read_text())
    assert page.tags.count("svg") == 1
    assert "Differences in configuration" in page.words
    assert "top_k" in page.words
    assert "seer was allowed to use future data: told so" in page.words
    assert "Of the runs without look-ahead, calm grew the most" in page.words
    assert "the best" not in page.words.partition("Rules of the verdict")[0]


def test_runs_with_the_same_name_are_distinguished(write_run, tmp_path):
    """Two folders with the same name are shown by their paths."""
    folders = [write_run("a/run"), write_run("b/run", seed=1)]
    words = Page(render_report(folders, tmp_path / "report.html").read_text()).words
    assert str(folders[0]) in words
    assert str(folders[1]) in words


def test_many_runs_make_a_small_page(write_run, tmp_path):
    """Two hundred runs stay below 400 KB."""
    folders = [write_run(f"run{number}", seed=number, sessions=400) for number in range(4)] * 50
    assert render_report(folders, tmp_path / "report.html").stat().st_size < 400_000


def test_a_wide_range_is_drawn_on_a_logarithmic_axis(render):
    """Capital that grows many times over is logarithmic, and says so."""
    assert "prices; logarithmic" in render(sessions=900, drift=0.004)
    assert "prices; logarithmic" not in render(name="calm")


def test_no_run_is_refused(tmp_path):
    """A page needs a run."""
    with pytest.raises(InputError, match="no runs"):
        render_report([], tmp_path / "report.html")


def test_extras_of_several_runs_are_refused(write_run, tmp_path):
    """Comparisons belong to one run; empty extras are none."""
    folders = [write_run("a"), write_run("b", seed=1)]
    with pytest.raises(InputError, match="one run"):
        render_report(folders, tmp_path / "report.html", extras=Extras(no_filter=1.0))
    assert render_report(folders, tmp_path / "report.html", extras=Extras()).is_file()


def test_a_range_of_other_sessions_is_refused(write_run, tmp_path):
    """A band that does not cover the run is an error, never a shorter band."""
    short = Range(low=np.ones(3), high=np.ones(3))
    with pytest.raises(InputError, match="3 sessions"):
        render_report([write_run()], tmp_path / "report.html", extras=Extras(random_range=short))


def test_bad_input_leaves_the_old_page(write_run, tmp_path):
    """A run that cannot be read leaves the page of the last one, and no part of a new one."""
    out = tmp_path / "out" / "report.html"
    folder = write_run()
    before = render_report([folder], out).read_bytes()
    (folder / "result.json").write_text("{")
    with pytest.raises(FormatError):
        render_report([folder], out)
    with pytest.raises(MissingFileError):
        render_report([tmp_path / "nowhere"], out)
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
