"""Commands and functions whose features, prices and tables are at URLs: the results of local files, under faults."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import encash
import encash.pipeline
from encash.cli import main
from encash.panel import open_panel, open_prices, toy_panel, write_panel
from tests.cli.commands import answer, refusal, runs
from tests.store.faulty_proxy import FaultyProxy
from tests.store.s3_server import s3_server

pytest.importorskip("obstore", reason="obstore comes with the dev install")
FILES = ("f.h5", "p.h5")
OF_A_PLACE = ("seconds", "run_dir", "run", "stages")
"""What differs between two runs of one command."""


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of a server with one bucket."""
    with s3_server() as found:
        yield found


@pytest.fixture
def bucket(client: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a folder with features and prices that have no local copies yet."""
    monkeypatch.setenv("ENCASH_COPIES", str(tmp_path / "copies"))
    for name in FILES:
        client.upload_file(str(folder / name), "bucket", f"{tmp_path.name}/{name}")
    return f"s3://bucket/{tmp_path.name}"


@pytest.fixture
def place(folder: Path, tmp_path: Path) -> Path:
    """A folder with all but features and prices."""
    for name in ("m.pt", "days.txt"):
        shutil.copy(folder / name, tmp_path)
    for name in ("c.lance", "k"):
        shutil.copytree(folder / name, tmp_path / name)
    return tmp_path


def at(url: str, command: list[str]) -> list[str]:
    """A command with the files of a bucket in place of local ones."""
    return [f"{url}/{Path(word).name}" if Path(word).name in FILES else word for word in command]


def test_features_and_prices_behind_a_bad_connection(
    bucket: str, place: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Build, backtest and report through 503s, cut connections and truncated bodies: entries, results and pages are
    those of local files, and what is recorded names the URLs; a second run fetches nothing."""
    build = ["build", "--model", str(place / "m.pt"), "--data", f"{bucket}/f.h5", "--precision", "float32"]
    with FaultyProxy(os.environ["AWS_ENDPOINT_URL"], "busy", "cut", "truncated") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        made = answer(capsys, *build, "--cache", str(place / "new.lance"))
        command = at(bucket, runs(place, "--cache", str(place / "c.lance"), "--no-model"))
        remote = answer(capsys, *command)
        fetched = proxy.methods.count("GET")
        answer(capsys, *command)
        assert (proxy.methods.count("GET"), "HEAD" in proxy.methods) == (fetched, True)
    assert (remote["misses"], remote["stale"]) == (0, 0)
    whole, cached = (encash.open_cache(place / name).index() for name in ("new.lance", "c.lance"))
    assert made["computed"] == whole.entries == cached.entries
    assert whole.digest.tobytes() == cached.digest.tobytes()
    recorded = (place / "run" / "command.json").read_text()
    assert f"{bucket}/f.h5" in recorded
    assert "copies" not in recorded
    assert main(["report", str(place / "run"), "--out", str(place / "page.html"), "--quiet"]) == 0
    page = (place / "page.html").read_text()
    assert f"{bucket}/p.h5" in page
    assert "copies/" not in page
    ours = {one.name: one.read_bytes() for one in (place / "run").iterdir()}
    local = runs(place, "--cache", str(place / "c.lance"), "--no-model")
    at_home = [str(folder / Path(word).name) if Path(word).name in FILES else word for word in local]
    values = answer(capsys, *at_home)
    assert {name: remote[name] for name in remote if name not in OF_A_PLACE} == {
        name: values[name] for name in values if name not in OF_A_PLACE
    }
    theirs = {one.name: one.read_bytes() for one in (place / "run").iterdir()}
    assert ours.keys() == theirs.keys()
    named = {"command.json", "digests.json", "report.html", "result.json"}  # commands, their digest, and clocks
    assert {name for name in ours if ours[name] != theirs[name]} <= named


def test_a_file_that_changes_between_two_commands_is_fetched(
    bucket: str, place: Path, client: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Restated features at the same URL make entries stale in the next command, as those of a local file do."""
    plan = ["plan", "--model", str(place / "m.pt"), "--data", f"{bucket}/f.h5", "--cache", str(place / "c.lance")]
    with FaultyProxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        assert answer(capsys, *plan)["stale"] == 0
        before = proxy.methods.count("GET")
        assert answer(capsys, *plan)["stale"] == 0
        assert proxy.methods.count("GET") == before
        restated = toy_panel(seed=2, num_tickers=8, num_sessions=160)
        write_panel(restated, place / "other.h5", place / "q.h5")
        client.upload_file(str(place / "other.h5"), "bucket", f"{place.name}/f.h5")
        assert answer(capsys, *plan)["stale"] > 0
        assert proxy.methods.count("GET") > before


def test_functions_take_urls(bucket: str, place: Path, folder: Path) -> None:
    """`open_panel`, `open_prices` and `backtest` in Python, and a panel and prices that are open, give one result."""
    days = (place / "days.txt").read_text().split()
    settings: dict[str, Any] = {"start": days[100], "end": days[150], "top_k": 2, "cache": place / "c.lance"}
    panel = open_panel(f"{bucket}/f.h5", f"{bucket}/p.h5")
    assert panel.rows().values.tobytes() == open_panel(folder / "f.h5").rows().values.tobytes()
    assert open_prices(f"{bucket}/p.h5").close.tobytes() == open_prices(folder / "p.h5").close.tobytes()
    capitals = {
        encash.backtest(panel=one, prices=two, run_dir=place / "api", **settings).to_json()["final_capital"]
        for one, two in (
            (f"{bucket}/f.h5", f"{bucket}/p.h5"),
            (panel, panel.prices),
            (folder / "f.h5", folder / "p.h5"),
        )
    }
    assert len(capitals) == 1


def test_tables_at_urls(bucket: str, place: Path, client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables for `prepare`, scores, memberships, groups, series and lists of tickers are read from URLs."""
    prices = open_prices(f"{bucket}/p.h5")
    rows = [
        f"{day},{ticker},{close}"
        for day, line in zip(prices.days, prices.close, strict=True)
        for ticker, close in zip(prices.tickers, line, strict=True)
    ]
    files = {
        "table.csv": "date,ticker,close\n" + "\n".join(rows),
        "scores.csv": "date,ticker,score\n" + "\n".join(rows),
        "members.csv": "ticker,from,until\n" + "\n".join(f"{name},2000-01-01," for name in prices.tickers),
        "groups.csv": "ticker,group\n"
        + "\n".join(f"{name},{number % 2}" for number, name in enumerate(prices.tickers)),
        "series.csv": "date,value\n" + "\n".join(f"{day},{100 + n}" for n, day in enumerate(prices.days)),
        "tickers.txt": "\n".join(prices.tickers[:2]),
    }
    for name, text in files.items():
        client.put_object(Bucket="bucket", Key=f"{place.name}/{name}", Body=text.encode())
        (place / name).write_text(text)
    outputs = {}
    for where in (bucket, str(place)):
        out = place / ("at-url" if where == bucket else "local")
        paths = [str(out / name) for name in FILES]
        prepare = ["prepare", f"{where}/table.csv", "--features-out", paths[0], "--prices-out", paths[1]]
        answer(capsys, *prepare, "--max-gap", "60")
        flags = {"--scores": "scores.csv", "--membership": "members.csv", "--groups": "groups.csv"}
        given = [word for flag, name in flags.items() for word in (flag, f"{where}/{name}")]
        run = [*given, "--group-neutral", "--reference", f"{where}/series.csv"]
        days = [str(prices.days[at]) for at in (100, 150)]
        command = ["backtest", "--prices", f"{bucket}/p.h5", "--start", days[0], "--end", days[1], "--top-k", "2", *run]
        values = answer(capsys, *command, "--run-dir", str(out), "--no-report")
        outputs[where] = [values["final_capital"], *(Path(path).read_bytes() for path in paths)]
    assert outputs[bucket] == outputs[str(place)]
    listed = ["plan", "--model", str(place / "m.pt"), "--data", f"{bucket}/f.h5", "--cache", str(place / "n.lance")]
    named, whole = answer(capsys, *listed, "--tickers", ",".join(prices.tickers[:2])), answer(capsys, *listed)
    assert answer(capsys, *listed, "--tickers", f"@{bucket}/tickers.txt")["missing"] == named["missing"]
    assert named["missing"] < whole["missing"]


def test_the_commands_of_the_guide_take_urls(
    bucket: str, place: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache of the guide, made from features at a URL, has the bytes of one from a local file."""
    from encash.guide.__main__ import main as guide

    monkeypatch.chdir(place)
    for data, name in ((f"{bucket}/f.h5", "url.h5"), (str(folder / "f.h5"), "local.h5")):
        call = ["cache-embeddings", "--model-path", "m.pt", "--dataset-path", data, "--output-path", name]
        assert guide(call) == 0
    capsys.readouterr()
    one, two = (encash.open_cache(place / name).index() for name in ("url.h5", "local.h5"))
    assert one.entries > 0
    assert one.digest.tobytes() == two.digest.tobytes()


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("s3://bucket/none/f.h5", "s3://bucket/none/f.h5 does not exist; give the URL of a file"),
        ("s3://bucket", "s3://bucket does not exist; give the URL of a file"),
        ("s3://key:hunter2@bucket/f.h5", "s3://bucket/f.h5 has a user, a password, a query or a fragment"),
        ("file://data/f.h5", "file://data/f.h5 "),
    ],
)
def test_a_url_that_cannot_be_read_is_one_line(
    url: str, line: str, client: Any, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line begins with the URL, and has no secret."""
    said = refusal(capsys, "plan", "--model", str(place / "m.pt"), "--data", url, "--cache", str(place / "n.lance"))
    assert line in said
    assert "hunter2" not in said


def test_credentials_and_addresses_that_fail_are_named(
    client: Any, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http must be allowed, and something must answer, as for caches."""
    plan = ["plan", "--model", str(place / "m.pt"), "--data", "s3://bucket/f.h5", "--cache", str(place / "n.lance")]
    for name, value, line in (
        ("AWS_ALLOW_HTTP", "false", "set AWS_ALLOW_HTTP=true"),
        (
            "AWS_ENDPOINT_URL",
            "http://127.0.0.1:9",
            "no server answers at its address; check the network and AWS_ENDPOINT",
        ),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert main([*plan, "--quiet"]) == 1
            said = capsys.readouterr().err
            assert line in said
            assert said.count("\n") == 1


def test_an_error_as_json_names_the_url(client: Any, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get the same line."""
    plan = ["plan", "--model", str(place / "m.pt"), "--data", "s3://bucket/no.h5", "--cache", str(place / "n.lance")]
    assert main([*plan, "--json"]) == 2
    assert "s3://bucket/no.h5 does not exist" in json.loads(capsys.readouterr().out)["error"]


def test_another_node_reads_the_version_of_the_driver(
    bucket: str, place: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a build sends to its workers reads the same features from a folder of copies of their own; if the file has
    changed, the worker refuses."""
    from encash.pipeline.caches import _anywhere

    sent = pickle.dumps(_anywhere(encash.pipeline.Sources(data=f"{bucket}/f.h5", model=str(place / "m.pt"))))
    script = (
        "import pickle, sys; sources = pickle.load(sys.stdin.buffer)\n"
        "try: print(sources.the_panel().num_features, sources.encoder().spec.lookback)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    monkeypatch.setenv("ENCASH_COPIES", str(place / "node"))

    def on_node() -> str:
        return subprocess.run(
            [sys.executable, "-c", script], input=sent, capture_output=True, check=True
        ).stdout.decode()

    assert on_node() == "19 8\n"
    assert [one.name for one in (place / "node").rglob("*.h5")] == ["f.h5"]
    client.upload_file(str(place / "c.lance" / "_encash.lock"), "bucket", f"{place.name}/f.h5")
    assert on_node() == "19 8\n"
    shutil.rmtree(place / "node")
    assert on_node().startswith(f"MismatchError {bucket}/f.h5 changed while it was used; run the same command again")


@pytest.mark.slow
@pytest.mark.parametrize("to_bucket", [False, True], ids=["local cache", "cache in the bucket"])
def test_workers_of_ray_open_features_at_a_url(
    bucket: str, place: Path, capsys: pytest.CaptureFixture[str], to_bucket: bool
) -> None:
    """The entries equal those of a build in this process, in a local cache and in one in the object store."""
    pytest.importorskip("ray", reason="ray comes with the dev install")
    cache = f"{bucket}/ray.lance" if to_bucket else str(place / "ray.lance")
    build = ["build", "--model", str(place / "m.pt"), "--data", f"{bucket}/f.h5", "--cache", cache]
    made = answer(capsys, *build, "--executor", "ray", "--workers", "2")
    assert made["failed"] == 0 < made["computed"]
    one, two = (encash.open_cache(path).index() for path in (cache, place / "c.lance"))
    assert one.digest.tobytes() == two.digest.tobytes()
