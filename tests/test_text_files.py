"""Text files from outside are read in one way, or refused in one line with the file and the place."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encash.errors import AccessError, EncashError, FormatError, InputError, MissingFileError
from encash.text_files import MOST_BYTES, parse_json, read_csv, read_json, read_lines, read_text, read_toml, to_number

STAYS = ("ticker", "from", "until")


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_marks_line_ends_and_spaces_do_not_matter(tmp_path, mark, end):
    """A byte order mark, any line end, blank lines and spaces around cells are not content."""
    lines = [b"Ticker , from,until", b"", b" AAA ,2020-01-01, ", b"BBB,2020-01-01,2021-01-01", b""]
    path = written(tmp_path / "m.csv", mark + end.join(lines))
    header, rows = read_csv(path, STAYS, kind="membership file")
    assert header == ["Ticker", "from", "until"]
    assert [cells for _, cells in rows] == [["AAA", "2020-01-01", ""], ["BBB", "2020-01-01", "2021-01-01"]]
    assert [number for number, _ in rows] == [3, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ticker;from;until\nA;2020-01-01;\n", "separated by commas"),
        (b"", "line 1: the columns are ''"),
        (b"ticker,from,until\nA,2020-01-01\n", "line 2: 'A,2020-01-01'; expected ticker,from,until"),
        (b'ticker,from,until\n"A,2020-01-01,\nB,2020-01-01,\n', "line 3: not CSV"),
        (b"ticker,from,until\nA\x00,2020-01-01,\n", "line 2: an invisible character"),
        ("ticker,from,until\nA\u200b,2020-01-01,\n".encode(), "line 2: an invisible character"),
        ("ticker,from,until\nÄ,2020-01-01,\n".encode("latin-1"), "line 2: not UTF-8"),
        ("ticker,from,until\n".encode("utf-16"), "is UTF-16"),
    ],
)
def test_a_csv_file_that_can_be_read_in_two_ways_is_refused(tmp_path, content, message):
    """Different separators and encodings, unclosed quotes and invisible characters are named with their line."""
    with pytest.raises(FormatError, match=message):
        read_csv(written(tmp_path / "m.csv", content), STAYS, kind="membership file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 1}', "the key 'a' is given twice"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": 1e999}', "beyond the range"),
        ('{"a": ' + "9" * 30 + "}", "more than 64 bits"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": "\\ud800"}', "incomplete character"),
        ("", "Expecting value"),
    ],
)
def test_json_has_one_meaning_or_is_refused(text, message):
    """Duplicate keys, numbers that no float64 or int64 holds, half characters and endless nesting are errors."""
    with pytest.raises(FormatError, match=message):
        parse_json(text, "a.json", fix="make it again")


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(), st.lists, max_leaves=9))
def test_what_json_writes_is_read(value):
    """Every plain value comes back."""
    try:
        text = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert parse_json(text, "a.json", fix="") == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    """No content raises anything else than an error of this package, in one line."""
    path = written(tmp_path_factory.mktemp("bytes") / "file", content)
    for read in (
        lambda: read_csv(path, STAYS, kind="membership file"),
        lambda: read_json(path, kind="file", fix="make it again"),
        lambda: read_toml(path, kind="file", expected="TOML"),
        lambda: read_lines(path, kind="file", expected="lines"),
    ):
        with suppress(EncashError):
            read()


def test_what_is_not_a_readable_file_is_refused(tmp_path):
    """No file, a folder, a dangling link, a file that is too long, and one without permission."""
    with pytest.raises(MissingFileError, match=r"no file of x .*nowhere; expected y"):
        read_text(tmp_path / "nowhere", kind="file of x", expected="y")
    with pytest.raises(FormatError, match="Is a directory"):
        read_text(tmp_path, kind="file", expected="y")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(MissingFileError):
        read_text(tmp_path / "link", kind="file", expected="y")
    with (tmp_path / "long").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(FormatError, match="longer than 64 MiB"):
        read_text(tmp_path / "long", kind="file", expected="y")
    closed = written(tmp_path / "closed", b"a")
    closed.chmod(0)
    if not os.access(closed, os.R_OK):
        with pytest.raises(AccessError):
            read_text(closed, kind="file", expected="y")


def test_a_pipe_is_read_to_its_end_and_never_waited_for(tmp_path):
    """A pipe with a writer gives its text; one that nobody writes to is empty."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert read_text(pipe, kind="pipe", expected="y") == ""
    reading, writing = os.pipe()

    def write() -> None:
        os.write(writing, b"AAA\n")
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_lines(f"/dev/fd/{reading}", kind="pipe", expected="y") == ["AAA", ""]
    writer.join()
    os.close(reading)


@pytest.mark.parametrize("text", ["1_000", "1,5", "nan", "inf", "1e999", "٣", "", " 1", "0x10"])
def test_a_number_is_plain_digits(text):
    """What Python alone takes for a number is refused."""
    with pytest.raises(InputError, match="invalid number"):
        to_number(text)


def test_toml_numbers_have_64_bits(tmp_path):
    """A whole number beyond that is refused in any base, before anything calculates with it."""
    for number in ("9" * 30, "9" * 5000, "0x" + "f" * 5000, "[[1], [0x1" + "0" * 16 + "]]"):
        path = written(tmp_path / "grid.toml", f"a = {number}\n".encode())
        with pytest.raises(FormatError, match=r"is not TOML"):
            read_toml(path, kind="grid", expected="TOML")
