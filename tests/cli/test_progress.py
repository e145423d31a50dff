import io
import time

from encash.cli.progress import Bar, bytes_below


def test_the_bar_says_rate_remaining_time_and_bytes_written(tmp_path, monkeypatch):
    """A line holds entries a second, what is left of the time, and what lies on the disk by now."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one").write_bytes(bytes(3 * 2**20))
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    bar = Bar("encoding", "entries", stream=stream, written=lambda: bytes_below(str(tmp_path)))
    now[0] = 20.0
    bar(200, 1_000)
    assert stream.getvalue() == "encoding  200 of 1,000 entries  10/s  1:20 left  3.0 MiB written\n"
