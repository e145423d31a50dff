"""Copies of files at URLs: whole, of the present version, fetched once, under faults of every kind."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from encash import remote_files
from encash.errors import AccessError, InputError, MismatchError, MissingFileError, WorkError
from encash.live_progress import progress_bars
from encash.panel import open_panel, open_prices, toy_panel, write_panel
from encash.progress import Progress
from encash.remote_files import local_copy, one_version
from tests.store.faulty_proxy import FaultyProxy
from tests.store.s3_server import s3_server

CONTENT = bytes(range(256)) * 4096
TAGGED = {"ETag": '"1"'}
FETCH = "import sys; from encash.remote_files import local_copy; print(local_copy(sys.argv[1]), flush=True)"


@pytest.fixture(autouse=True)
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of copies, empty; failures are repeated at once."""
    monkeypatch.setenv("ENCASH_COPIES", str(tmp_path / "copies"))
    monkeypatch.setattr(remote_files, "_PAUSE_SECONDS", 0.001)
    return tmp_path / "copies"


@contextmanager
def served(
    content: bytes = CONTENT,
    *,
    headers: Mapping[str, str] | None = None,
    status: int = 200,
    sends: int | None = None,
    waits: bool = False,
) -> Iterator[SimpleNamespace]:
    """A web server of one file, whose content and headers a test may change; `sends` is where an answer ends, or where
    it waits for `go`."""
    state = SimpleNamespace(content=content, headers=dict(headers or {}), status=status, sends=sends, methods=[])
    state.go, state.before_get = threading.Event(), lambda: None

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

        def do_HEAD(self) -> None:
            state.methods.append(self.command)
            self.send_response(state.status)
            for name, value in {"Content-Length": str(len(state.content)), **state.headers}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()

        def do_GET(self) -> None:
            state.before_get()
            self.do_HEAD()
            self.wfile.write(state.content[: state.sends])
            if waits and not state.go.is_set():
                self.wfile.flush()
                state.go.wait(30)
                self.wfile.write(state.content[state.sends :])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/a/prices%20x.csv.gz"
    try:
        yield state
    finally:
        state.go.set()
        server.shutdown()
        server.server_close()


def whole_copies(copies: Path) -> list[Path]:
    """The files of the folder that a reader could take for a copy."""
    return [one for one in copies.rglob("*") if one.is_file() and one.name != "lock"]


@pytest.mark.parametrize("headers", [{"ETag": '"1"'}, {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}])
def test_a_file_is_fetched_once_until_it_changes(headers: dict[str, str], copies: Path) -> None:
    """A copy has the name of its file and is used again; a new version is fetched, and the earlier one is kept a day
    for those that still read it."""
    with served(headers=headers) as web:
        first = local_copy(web.url)
        assert (first.name, first.read_bytes()) == ("prices x.csv.gz", CONTENT)
        assert local_copy(web.url) == first
        assert web.methods.count("GET") == 1
        web.content = CONTENT[::-1]
        web.headers = {name: value.replace("1", "2") for name, value in headers.items()}
        assert local_copy(web.url).read_bytes() == CONTENT[::-1]
        assert web.methods.count("GET") == 2
    assert first.exists()


def test_a_version_that_cannot_be_told_is_fetched_each_time() -> None:
    """Without a version, and with the time of a change that was just now, a file is fetched again; a command asks once,
    so that it reads one content."""
    just_now = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    for headers in ({}, {"Last-Modified": just_now}):
        with served(headers=headers) as web:
            local_copy(web.url)
            web.content = CONTENT[::-1]
            assert local_copy(web.url).read_bytes() == CONTENT[::-1]
            with one_version(progress_bars):
                kept = local_copy(web.url)
                web.content = b"third"
                assert local_copy(web.url) == kept
                assert kept.read_bytes() == CONTENT[::-1]


def test_a_web_server_that_fails_often_gives_the_whole_file() -> None:
    """Answers of 503, cut connections and truncated bodies are repeated: by ranges from a server that has them and
    versions, and from the start from one that has neither."""
    with s3_server() as client, FaultyProxy(os.environ["AWS_ENDPOINT_URL"], "busy", "cut", "truncated") as proxy:
        for number in range(6):
            client.put_object(Bucket="bucket", Key=f"{number}.csv", Body=CONTENT + bytes([number]), ACL="public-read")
            assert local_copy(f"{proxy.url}/bucket/{number}.csv").read_bytes() == CONTENT + bytes([number])
    with served() as web, FaultyProxy(web.url.removesuffix("/a/prices%20x.csv.gz"), "busy", "truncated") as proxy:
        for number in range(6):
            web.content = CONTENT + bytes([number])
            assert local_copy(f"{proxy.url}/{number}.csv").read_bytes() == CONTENT + bytes([number])


def test_a_file_that_is_always_cut_is_refused(copies: Path) -> None:
    """The line says how much came; nothing is left that could be taken as the file."""
    with served(sends=1000, headers=TAGGED) as web:
        with pytest.raises(
            WorkError, match=r"x\.csv\.gz could not be fetched \(1,000 of 1,048,576 bytes came\): it ended"
        ):
            local_copy(web.url)
        assert web.methods.count("GET") == 5
        assert whole_copies(copies) == []


def test_a_file_that_changes_while_it_is_fetched_is_refused(copies: Path) -> None:
    """The version of the content is not the announced one: nothing is kept."""
    with served(headers=TAGGED) as web:
        web.before_get = lambda: web.headers.update(ETag='"2"')
        with pytest.raises(MismatchError, match=r"x\.csv\.gz changed while it was used; run the same command again"):
            local_copy(web.url)
        assert whole_copies(copies) == []


@pytest.mark.parametrize(
    ("status", "headers", "error", "line"),
    [
        (404, {}, MissingFileError, "does not exist"),
        (403, {}, AccessError, "no permission to read"),
        (418, {}, InputError, "cannot be read: 418"),
        (503, {}, WorkError, "could not be fetched: 503 Service Unavailable"),
        (200, {"Content-Length": ""}, InputError, "does not announce its size"),
        (200, {"Content-Length": str(1 << 60)}, WorkError, "free disk space, or set ENCASH_COPIES"),
    ],
)
def test_what_a_server_refuses_is_one_line(
    status: int, headers: dict[str, str], error: type[Exception], line: str, copies: Path
) -> None:
    """Each error names the URL and has its own kind and remedy."""
    with served(status=status, headers=headers) as web, pytest.raises(error, match=line) as caught:
        local_copy(web.url)
    assert web.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert whole_copies(copies) == []


def test_a_server_that_refuses_head_is_read() -> None:
    """Some give files to GET only."""
    with served(status=405, headers=TAGGED) as web:
        web.before_get = lambda: setattr(web, "status", 200)
        assert local_copy(web.url).read_bytes() == CONTENT


def test_no_answer_is_one_line() -> None:
    """Nothing listens there."""
    with pytest.raises(WorkError, match=r"^http://127\.0\.0\.1:9/f\.h5 could not be fetched: no server answers"):
        local_copy("http://127.0.0.1:9/f.h5")


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@host/f.h5",
        "https://hunter2@host/f.h5",
        "s3://key:hunter2@bucket/f",
        "https://host/f?sig=hunter2",
    ],
)
def test_secrets_in_a_url_are_refused_and_not_shown(url: str) -> None:
    """They would be recorded with the command of a run."""
    with pytest.raises(InputError, match="which may be secret") as caught:
        open_prices(url)
    assert "hunter2" not in str(caught.value)


def test_a_url_as_a_path_is_refused() -> None:
    """It has lost a slash; the line says how to give it."""
    with pytest.raises(InputError, match=r"^s3://bucket/p\.h5 is a URL; .*given as text"):
        open_prices(Path("s3://bucket/p.h5"))


def test_two_processes_fetch_a_file_once() -> None:
    """The second one waits for the first, and uses its copy."""
    with served(headers=TAGGED, waits=True, sends=1000) as web:
        command = [sys.executable, "-c", FETCH, web.url]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        while web.methods.count("HEAD") < 2 or "GET" not in web.methods:
            time.sleep(0.01)
        web.go.set()
        paths = [one.communicate(timeout=60)[0].strip() for one in both]
        assert web.methods.count("GET") == 1
    assert paths[0] == paths[1]
    assert Path(paths[0]).read_bytes() == CONTENT


def test_a_fetch_that_is_killed_leaves_no_copy(copies: Path) -> None:
    """What was half fetched is never taken as the file, and the next fetch removes it."""
    with served(headers=TAGGED, waits=True, sends=500_000) as web:
        process = subprocess.Popen([sys.executable, "-c", FETCH, web.url])
        while not any(one.suffix == ".part" and one.stat().st_size for one in whole_copies(copies)):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert [one.suffix for one in whole_copies(copies)] == [".part"]
        web.sends = None
        path = local_copy(web.url)
        assert path.read_bytes() == CONTENT
        assert whole_copies(copies) == [path]


def test_a_full_disk_is_one_line(copies: Path) -> None:
    """The disk refuses in the middle: the line names the URL and the variable that moves the copies."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); {FETCH}"
    with served(headers=TAGGED) as web:
        ended = subprocess.run([sys.executable, "-c", limited, web.url], capture_output=True, text=True, check=False)
    line = ended.stderr.splitlines()[-1]
    assert line.startswith(
        f"encash.errors.WorkError: {web.url} is copied to {copies}, which cannot be written: File too"
    )
    assert "set ENCASH_COPIES" in line
    assert whole_copies(copies) == []


def test_copies_that_nobody_uses_are_removed() -> None:
    """A fetch removes what was not used for 30 days, and earlier versions of its file after one; nothing else."""
    with served(headers=TAGGED) as web, served(headers=TAGGED) as other:
        one, two = local_copy(web.url), local_copy(other.url)
        own = remote_files.copies_folder() / "mine"
        own.mkdir()
        long_ago = time.time() - 31 * 86_400
        for folder in (one.parent, two.parent.parent, own):
            os.utime(folder, (long_ago, long_ago))
        web.headers = {"ETag": '"2"'}
        local_copy(web.url)
    assert (one.exists(), two.exists(), own.exists()) == (False, False, True)


def test_a_name_cannot_leave_the_folder(copies: Path) -> None:
    """The name of a copy is the last part of the URL, without what a path could be."""
    with served(headers=TAGGED) as web:
        for name in ("..%2F..%2Fx", "%2e%2e", "a b ü.h5", "a" * 500 + ".h5", ""):
            path = local_copy(f"{web.url.rpartition('/')[0]}/{name}")
            assert path.resolve().parent.parent.parent == copies.resolve()
    assert path.name == "file"


def test_other_schemes_are_opened_by_fsspec() -> None:
    """A file in memory is fetched, and again after it was replaced; unknown schemes and missing files are one line."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.pipe("/a/f.csv", CONTENT)
    assert local_copy("memory://a/f.csv").read_bytes() == CONTENT
    memory.pipe("/a/f.csv", b"2")
    assert local_copy("memory://a/f.csv").read_bytes() == b"2"
    with pytest.raises(MissingFileError, match="memory://a/none does not exist"):
        local_copy("memory://a/none")
    with pytest.raises(MissingFileError, match="not of a folder"):
        local_copy("memory://a")
    with pytest.raises(InputError, match=r"nosuch://a/f cannot be opened \(.*nosuch"):
        local_copy("nosuch://a/f")
    with pytest.raises(WorkError, match=r"ftp://127\.0\.0\.1:9/f could not be fetched: its server failed"):
        local_copy("ftp://127.0.0.1:9/f")


def test_a_panel_at_a_url_is_pickled_with_its_version(tmp_path: Path, copies: Path) -> None:
    """Another process reads the same content, without a request if it has a copy; if the file has changed, it
    refuses."""
    panel = toy_panel(seed=1, num_tickers=3, num_sessions=30)
    write_panel(panel, tmp_path / "f.h5", tmp_path / "p.h5")
    local = open_panel(tmp_path / "f.h5", tmp_path / "p.h5")
    with served((tmp_path / "f.h5").read_bytes(), headers=TAGGED) as web:
        remote = open_panel(web.url)
        sent, before = pickle.dumps(remote), len(web.methods)
        assert pickle.loads(sent).rows().values.tobytes() == local.rows().values.tobytes()
        assert len(web.methods) == before
        web.headers = {"ETag": '"2"'}
        assert pickle.loads(sent).rows().values.tobytes() == local.rows().values.tobytes()
        for one in whole_copies(copies):
            one.unlink()
        with pytest.raises(MismatchError, match="changed while it was used"):
            pickle.loads(sent)


def test_a_damaged_file_is_named_by_its_url() -> None:
    """Messages never name the copy."""
    with served(b"no HDF5", headers=TAGGED) as web, pytest.raises(InputError, match="it is not an HDF5 file") as caught:
        open_prices(web.url)
    assert str(caught.value).startswith(web.url)
    assert "copies" not in str(caught.value)


def test_local_files_load_none_of_it(tmp_path: Path) -> None:
    """A command on local files does not import what reads URLs."""
    write_panel(toy_panel(seed=1, num_tickers=2, num_sessions=30), tmp_path / "f.h5", tmp_path / "p.h5")
    script = (
        "import sys; from encash.panel import open_panel; open_panel(*sys.argv[1:]);"
        "print({'fsspec', 'obstore', 'aiohttp', 'http.client', 'encash.remote_stores'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "f.h5"), str(tmp_path / "p.h5")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_fetch_reports_its_progress() -> None:
    """A command shows its bar, with the URL, in MiB."""
    seen: list[object] = []

    def bars(title: str, unit: str) -> AbstractContextManager[Progress]:
        seen.extend((title, unit))
        return nullcontext(lambda done, total: seen.append((done, total)))

    with served(headers=TAGGED) as web, one_version(bars):
        local_copy(web.url)
    assert seen[:2] == [f"fetching {web.url}", "MiB"]
    assert seen[-1] == (1, 1)


def test_copies_are_private_and_need_a_home(copies: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Others cannot read the folder, which is where the user's caches are; without a home, it must be named."""
    with served(headers=TAGGED) as web:
        local_copy(web.url)
    assert copies.stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("ENCASH_COPIES")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert remote_files.copies_folder() == tmp_path / "cache" / "encash" / "copies"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(InputError, match="set ENCASH_COPIES to a folder"):
        remote_files.copies_folder()
