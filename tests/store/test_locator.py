from pathlib import Path

import lance
import pyarrow as pa
import pytest

from encash.errors import ConflictError, FormatError, InputError, MismatchError, MissingFileError, WorkError
from encash.store import create_store, ensure_store, open_store
from encash.store.base import StoreSpec
from encash.testing.store_contract import make_entries, make_spec


def test_the_suffix_selects_the_engine(tmp_path):
    """A name that ends in neither .lance nor .h5 is refused."""
    for name in ("cache", "cache.zarr", "cache.lance.bak"):
        with pytest.raises(InputError, match=r"\.lance or \.h5"):
            open_store(tmp_path / name)


def test_a_url_as_a_path_is_refused():
    """A URL that was wrapped in a Path, which drops one of its slashes, is refused; no local folder is created."""
    for work in (open_store, lambda location: create_store(location, make_spec())):
        with pytest.raises(InputError, match="as text: s3://"):
            work(Path("s3://bucket/a.lance"))
    assert not Path("s3:").exists()


def test_a_missing_cache_is_an_error(tmp_path):
    """A missing folder, or one with only a lock file, is not a cache."""
    with pytest.raises(MissingFileError, match="no cache at"):
        open_store(tmp_path / "none.lance")
    (tmp_path / "begun.lance").mkdir()
    (tmp_path / "begun.lance" / "_encash.lock").touch()
    with pytest.raises(MissingFileError, match="no cache at"):
        open_store(tmp_path / "begun.lance")
    create_store(tmp_path / "begun.lance", make_spec())


def test_a_path_to_something_else_is_refused(tmp_path):
    """A file, a folder of other files, or a Lance dataset of a different program is refused."""
    (tmp_path / "file.lance").write_text("hello")
    with pytest.raises(FormatError, match="is not a cache"):
        open_store(tmp_path / "file.lance")
    (tmp_path / "folder.lance").mkdir()
    (tmp_path / "folder.lance" / "notes.txt").touch()
    with pytest.raises(FormatError, match="is not a cache"):
        open_store(tmp_path / "folder.lance")
    lance.write_dataset(pa.table({"a": [1]}), tmp_path / "foreign.lance")
    with pytest.raises(FormatError, match="not a cache of encash"):
        open_store(tmp_path / "foreign.lance")


def test_create_does_not_overwrite(tmp_path):
    """Creating a store at the path of an existing one is an error and changes nothing."""
    store = create_store(tmp_path / "a.lance", make_spec())
    store.write(make_entries(make_spec(), ["2024-01-02"], ["A"]))
    with pytest.raises(ConflictError, match="already has a store"):
        create_store(tmp_path / "a.lance", make_spec("int8"))
    assert open_store(tmp_path / "a.lance").snapshot().index().entries == 1
    (tmp_path / "file.lance").write_text("hello")
    with pytest.raises(WorkError):
        create_store(tmp_path / "file.lance", make_spec())


def test_ensure_opens_or_creates(tmp_path):
    """The first of several builders creates the store, the others open it; a different spec is an error that names the
    fields that differ."""
    first = ensure_store(tmp_path / "a.lance", make_spec())
    first.write(make_entries(make_spec(), ["2024-01-02"], ["A"]))
    assert ensure_store(tmp_path / "a.lance", make_spec()).snapshot().index().entries == 1
    with pytest.raises(MismatchError, match="dtype: float16 here, float32 there"):
        ensure_store(tmp_path / "a.lance", make_spec("float16"))
    other = StoreSpec(dim=8, dtype="float32", horizons=(1, 5), encoder={"dim": 9}, fingerprint="f" * 64)
    with pytest.raises(MismatchError, match="encoder dim: 9 here, 8 there"):
        ensure_store(tmp_path / "a.lance", other)


@pytest.mark.parametrize(
    ("spec", "message"), [(make_spec(dim=0), "dim is 0"), (make_spec("float64"), "unknown storage type")]
)
def test_an_invalid_spec_is_refused(tmp_path, spec, message):
    """A spec with an invalid dim or dtype is refused."""
    with pytest.raises(InputError, match=message):
        create_store(tmp_path / "a.lance", spec)
