"""The commands `clusters …`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from encash.cli import main
from tests.cli.commands import answer, models, refusal, runs


def test_what_a_folder_of_clusters_holds_is_shown(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`show` tells the clusters and every ranking of a folder, and the refits of a walk."""
    shown = answer(capsys, "clusters", "show", str(folder / "k"))
    assert (shown["k"], [one["horizon"] for one in shown["rankings"]]) == (3, [5])
    assert len(shown["rankings"][0]["best"]) == 2
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    walk = ["clusters", "walk", *data, "--every", "20", "--horizon", "5", "--embargo", "5", "-k", "3", "--top", "1"]
    walked = answer(capsys, *walk, "--history", "60", "--out", str(tmp_path / "walk"))
    assert answer(capsys, "clusters", "show", str(tmp_path / "walk")) == walked
    assert walked["terms"][0]["agreement"] is None


def test_a_stopped_walk_says_what_is_kept_and_goes_on_from_there(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Ctrl-C in the middle: exit 1 and one line; `show` finds no walk yet; the same command makes the rest alone, and
    leaves the folder of a walk that was never stopped."""
    from encash.clusters import walk as room

    out, made = tmp_path / "walk", list[object]()
    walk = ["clusters", "walk", "--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5"), "-k", "3"]
    walk += ["--every", "20", "--horizon", "5", "--embargo", "5", "--top", "1", "--history", "60"]
    refit, stop_at = room._refit, 2

    def counted(*given: Any) -> object:
        if len(made) == stop_at:
            raise KeyboardInterrupt
        made.append(given[2])
        return refit(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_refit", counted)
        assert main([*walk, "--out", str(out), "--quiet"]) == 1
        assert f"stopped; 2 refits are stored: the same walk into {out} resumes from there" in capsys.readouterr().err
        assert "no clusters.json" in refusal(capsys, "clusters", "show", str(out))
        stop_at = 99
        walked = answer(capsys, *walk, "--out", str(out))
    assert walked["refits"] == len(made) == len(set(made))
    answer(capsys, *walk, "--out", str(tmp_path / "whole"))
    ours, theirs = (
        {str(path.relative_to(where)): path.read_bytes() for path in where.rglob("*") if path.is_file()}
        for where in (out, tmp_path / "whole")
    )
    assert ours == theirs


HELD = """
import sys
from encash import pipeline
from encash.clusters import FitConfig, SelectionRule, WalkConfig
from encash.panel import open_prices
from pathlib import Path

def wait(done, total):
    print(done, flush=True)
    sys.stdin.readline()

cache, prices, out = pipeline.Sources(cache=sys.argv[1]).the_cache(), open_prices(sys.argv[2]), Path(sys.argv[3])
config = WalkConfig(every=20, horizon=5, embargo=5, history=60, fit=FitConfig(k=3), rule=SelectionRule(top_k=1))
pipeline.write_walk(cache, prices, config, out, progress=wait)
"""


def test_two_processes_never_walk_into_one_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The second is refused in one line; the first ends with the walk that it makes alone, and a killed one keeps
    nobody out."""
    out = tmp_path / "walk"
    where = [str(folder / "c.lance"), str(folder / "p.h5"), str(out)]
    walk = ["clusters", "walk", "--cache", where[0], "--prices", where[1], "-k", "3", "--top", "1"]
    walk += ["--every", "20", "--horizon", "5", "--embargo", "5", "--history", "60"]

    def begin() -> subprocess.Popen[str]:
        first = subprocess.Popen(
            [sys.executable, "-c", HELD, *where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert first.stdout is not None
        assert first.stdout.readline() == "1\n"
        return first

    first = begin()
    first.kill()
    first.wait()
    first = begin()
    assert main([*walk, "--out", str(out), "--quiet"]) == 1
    refused = capsys.readouterr().err
    assert f"{out} is being written by another walk, process {first.pid};" in refused
    assert refused.count("\n") == 1
    told, _ = first.communicate("\n" * 9)
    assert first.returncode == 0
    walked = answer(capsys, "clusters", "show", str(out))
    assert walked["refits"] == len(told.splitlines()) + 1 > 2
    assert walked["terms"] == answer(capsys, *walk, "--out", str(tmp_path / "alone"))["terms"]


def test_the_metrics_of_the_flags_are_those_of_the_ranking() -> None:
    """The command line writes them down once more, so that help imports no clusters."""
    from encash import clusters
    from encash.cli import clusters as commands

    assert commands.METRICS == clusters.METRICS


def test_a_walk_takes_several_numbers_of_clusters_as_a_fit_does(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A list or auto: the one chosen at the first refit, and all that were tried, stand in JSON and text of `walk` and
    `show`; a backtest takes the walk as any other, and the audit makes the choice again."""
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    walk = ["clusters", "walk", *data, "--every", "20", "--horizon", "5", "--embargo", "5", "--top", "1"]
    days = (folder / "days.txt").read_text().split()
    for given, tried in (("2,3,4", [2, 3, 4]), ("auto", [3, 5, 10, 20, 35, 50, 75, 100])):
        out = str(tmp_path / given)
        walked = answer(capsys, *walk, "--history", "60", "-k", given, "--out", out)
        assert [one["k"] for one in walked["choice"]] == tried
        assert walked["k"] == max(walked["choice"], key=lambda one: one["score"])["k"]
        assert answer(capsys, "clusters", "show", out) == walked
        assert main(["clusters", "show", out]) == 0
        text = capsys.readouterr().out
        assert text.count("Calinski–Harabasz index") == len(tried)
        assert f"refits of {walked['k']} clusters" in text
    run = runs(folder, *data[:2])
    run[run.index("--clusters") + 1] = out
    assert answer(capsys, *run)["misses"] == 0
    audit = ["audit", *models(folder), *data, "--clusters", out, "--start", days[100], "--days", "2", "--sample", "8"]
    capsys.readouterr()
    main([*audit, "--json", "--quiet"])
    checks = {one["name"]: one["passed"] for one in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["clusters: walk repeated on truncated data"]


def test_several_horizons_are_ranked_at_once(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A ranking and its files for each horizon; alone, a horizon gives the same."""
    days = (folder / "days.txt").read_text().split()
    shutil.copytree(folder / "k", tmp_path / "k")
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5"), "--end", days[80]]
    rank = ["clusters", "rank", "--clusters", str(tmp_path / "k"), *data, "--top", "2", "--horizon"]
    found = answer(capsys, *rank, "1", "5", "10")
    assert [one["embargo"] for one in found["horizons"]] == [1, 5, 10]
    assert (tmp_path / "k" / "best_clusters_10d.txt").is_file()
    alone = answer(capsys, *rank, "5")
    assert alone == {**found["horizons"][1], "warnings": []}
    assert "horizons" not in alone


def test_clusters_and_a_walk_do_not_share_a_folder(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A fit into the folder of a walk, a walk into that of a fit, and a ranking of a walk are refused; a new fit takes
    the rankings of the old one away; a walk of another horizon is no filter of a run."""
    days = (folder / "days.txt").read_text().split()
    data = ["--cache", str(folder / "c.lance"), "--prices", str(folder / "p.h5")]
    walk = [
        "clusters",
        "walk",
        *data,
        "--every",
        "20",
        "--horizon",
        "5",
        "--embargo",
        "5",
        "-k",
        "3",
        "--history",
        "60",
    ]
    answer(capsys, *walk, "--out", str(tmp_path / "walk"))
    shutil.copytree(folder / "k", tmp_path / "k")
    fit = ["clusters", "fit", "--cache", str(folder / "c.lance"), "--end", days[70], "-k", "2", "--out"]
    assert "holds a walk" in refusal(capsys, *fit, str(tmp_path / "walk"))
    assert "clusters of one period" in refusal(capsys, *walk, "--out", str(tmp_path / "k"))
    rank = ["clusters", "rank", *data, "--end", days[80], "--horizon", "5", "--clusters"]
    assert "already ranked" in refusal(capsys, *rank, str(tmp_path / "walk"))
    answer(capsys, *walk[:-1], "110", "--out", str(tmp_path / "walk"))
    shown = answer(capsys, "clusters", "show", str(tmp_path / "walk"))
    assert len(list((tmp_path / "walk").glob("0*"))) == shown["refits"]
    assert answer(capsys, "clusters", "show", str(tmp_path / "k"))["rankings"]
    answer(capsys, *fit, str(tmp_path / "k"))
    assert not answer(capsys, "clusters", "show", str(tmp_path / "k"))["rankings"]
    run = runs(folder, "--cache", str(folder / "c.lance"), "--horizon", "10")
    run[run.index("--clusters") + 1] = str(tmp_path / "walk")
    assert "ranked over 5 sessions" in refusal(capsys, *run)
    for wrong in (["--top", "-2"], ["--coverage", "2"], ["--min-sharpe", "nan"]):
        assert "expected" in refusal(capsys, *rank, str(folder / "k"), *wrong)


def test_the_number_of_clusters_is_chosen_by_a_criterion(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of several -k the one with the highest index is fitted, and the scores of all are told; nonsense is refused."""
    days = (folder / "days.txt").read_text().split()
    fit = ["clusters", "fit", "--cache", str(folder / "c.lance"), "--end", days[80], "--out", str(tmp_path / "k")]
    found = answer(capsys, *fit, "-k", "2,4,8")
    assert [row["k"] for row in found["choice"]] == [2, 4, 8]
    assert found["k"] == max(found["choice"], key=lambda row: row["score"])["k"]
    assert "dbscan" in refusal(capsys, *fit, "--method", "dbscan")
    with pytest.raises(SystemExit) as stopped:
        main([*fit, "-k", "few"])
    assert stopped.value.code == 2
    assert "10,20,50 or auto" in capsys.readouterr().err
