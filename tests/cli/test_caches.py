"""The commands `cache …`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from encash.cli import main
from encash.testing import write_checkpoint
from tests.cli.commands import LOOKBACK, answer, models, refusal, runs


def test_info_coverage_and_verify_have_their_keys(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The JSON keys that others rely on."""
    cache = str(folder / "c.lance")
    info = answer(capsys, "cache", "info", cache)
    expected = "engine entries tickers sessions first last dim dtype horizons encoder bytes bytes_per_entry versions"
    assert set(expected.split()) <= set(info)
    picture = tmp_path / "coverage.png"
    coverage = answer(capsys, "cache", "coverage", cache, "--data", str(folder / "f.h5"), "--out", str(picture))
    assert coverage["valid"] == info["entries"]
    assert {"stale", "missing", "unavailable", "by_ticker"} < set(coverage)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    verified = answer(capsys, "cache", "verify", cache, *models(folder))
    assert verified["checked"] == info["entries"]
    assert (verified["corrupt"], verified["duplicates"], verified["stale"]) == (0, 0, 0)
    assert verified["max_abs_diff"] < 1e-6


def test_verify_finds_flipped_bits_with_exit_code_3(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A changed byte in the data is a finding."""
    copy = tmp_path / "c.lance"
    shutil.copytree(folder / "c.lance", copy)
    largest = max((copy / "data").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[100] ^= 0x10
    largest.write_bytes(content)
    assert main(["cache", "verify", str(copy), "--json", "--quiet"]) == 3
    assert json.loads(capsys.readouterr().out)["corrupt"] >= 1
    assert main(["cache", "verify", str(copy), "--drop", "--quiet"]) == 3
    assert "--drop" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("found: "))
    assert answer(capsys, "cache", "verify", str(copy))["corrupt"] == 0
    assert answer(capsys, "build", *models(folder), "--cache", str(copy))["computed"] >= 1


def test_a_sample_is_a_number_or_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for anything else."""
    cache = str(folder / "c.lance")
    for wrong in ("-1", "0", "x"):
        with pytest.raises(SystemExit):
            main(["cache", "verify", cache, *models(folder), "--sample", wrong])
        assert "a number from 1, or all" in capsys.readouterr().err
    assert answer(capsys, "cache", "verify", cache, *models(folder), "--sample", "all")["not_compared"] == 0


def test_export_and_import_are_inverse(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Lance → HDF5 → Lance holds the same entries, and a foreign file needs --trust."""
    out, back = tmp_path / "x.h5", tmp_path / "back.lance"
    entries = answer(capsys, "cache", "export", str(folder / "c.lance"), str(out))["entries"]
    assert answer(capsys, "cache", "import", str(out), str(back))["entries"] == entries
    original, copy = (answer(capsys, "cache", "info", str(path)) for path in (folder / "c.lance", back))
    assert (original["entries"], original["encoder"]) == (copy["entries"], copy["encoder"])
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file.create_dataset("AAPL/2024-01-02", data=np.zeros(16, np.float32))
    assert "--trust" in refusal(capsys, "cache", "import", str(foreign), str(tmp_path / "t.lance"))


def test_a_narrow_cache_shows_what_its_type_keeps(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`cache info` has the measured agreement; `--least-agreement` is a share."""
    cache, where = str(tmp_path / "n.lance"), [*models(folder), "--months", "1", "--dtype", "int8"]
    answer(capsys, "build", *where, "--cache", cache, "--least-agreement", "0.5")
    assert answer(capsys, "cache", "info", cache)["agreement"]["vectors"] == 256
    assert answer(capsys, "cache", "info", str(folder / "c.lance"))["agreement"] is None
    assert main(["cache", "info", cache]) == 0
    assert "clusters" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("agreement"))
    for command in (
        ["build", *where, "--cache", cache],
        ["plan", *where, "--cache", cache],
        ["cache", "import", "x", "y"],
    ):
        with pytest.raises(SystemExit):
            main([*command, "--least-agreement", "1.5"])
        assert "from 0 to 1" in capsys.readouterr().err


def test_parts_merge_into_the_whole(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Two caches of half the stocks each, merged: all entries, once."""
    where = [*models(folder), "--months", "1"]
    parts = [str(tmp_path / "a.lance"), str(tmp_path / "b.lance")]
    first = answer(capsys, "build", *where, "--cache", parts[0], "--skip", "0", "--num-stocks", "4")
    second = answer(capsys, "build", *where, "--cache", parts[1], "--skip", "4")
    merged = answer(capsys, "cache", "merge", *parts, "--into", str(tmp_path / "whole.lance"))
    assert merged["added"] == first["computed"] + second["computed"]
    assert answer(capsys, "build", *where, "--cache", str(tmp_path / "whole.lance"))["computed"] == 0


def test_an_old_file_becomes_trusted_by_proof(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Imported on trust, then verified with model and data: from then on the model's own; a wrong model is found."""
    exported, old, taken = tmp_path / "x.h5", tmp_path / "old.h5", str(tmp_path / "taken.lance")
    answer(capsys, "cache", "export", str(folder / "c.lance"), str(exported))
    with h5py.File(exported, "r") as ours, h5py.File(old, "w") as theirs:
        for ticker, group in ours.items():
            for day, vector in group.items():
                theirs.create_dataset(f"{ticker}/{day}", data=vector[:], compression="gzip")
    answer(capsys, "cache", "import", str(old), taken, "--trust")
    assert not answer(capsys, "cache", "info", taken)["verified"]
    other = write_checkpoint(tmp_path / "other.pt", num_features=19, lookback=LOOKBACK, seed=5)
    data = ["--data", str(folder / "f.h5")]
    assert main(["cache", "verify", taken, "--model", str(other), *data, "--json", "--quiet"]) == 3
    capsys.readouterr()
    assert answer(capsys, "cache", "verify", taken, *models(folder))["verified"]
    assert answer(capsys, "cache", "info", taken)["verified"]
    assert answer(capsys, "build", *models(folder), "--cache", taken)["computed"] == 0


def test_a_model_file_is_not_asked_for_the_precision_of_another_one_s_cache(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An ONNX model beside a cache that a checkpoint made in bfloat16: not its own, and refused as another encoder."""
    pytest.importorskip("onnxruntime", reason="onnxruntime comes with the dev install")
    pytest.importorskip("onnxscript", reason="onnxscript comes with the dev install")
    from encash.encoders import load_encoder
    from encash.encoders.torch import TorchEncoder
    from encash.encoders.torch.export import export_onnx

    caches, other = tmp_path / "caches", str(tmp_path / "m.onnx")
    where = ["--data", str(folder / "f.h5"), "--cache", str(caches / "a.lance"), "--months", "1"]
    answer(capsys, "build", "--model", str(folder / "m.pt"), *where, "--precision", "bfloat16")
    plain = load_encoder(folder / "m.pt", precision="float32", lookback=LOOKBACK)
    assert isinstance(plain, TorchEncoder)
    export_onnx(plain, other)
    (found,) = answer(capsys, "cache", "list", str(caches), "--model", other)["caches"]
    assert found["belongs"] is False
    assert "precision: bfloat16" in refusal(capsys, "build", "--model", other, *where)


def test_the_caches_of_a_folder_are_listed(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A line a cache, the model's own marked, whatever file the model lies in; a broken one says so; `cache info` of a
    folder names the command."""
    other = write_checkpoint(tmp_path / "other.pt", num_features=19, lookback=LOOKBACK, seed=5)
    caches = tmp_path / "caches"
    shutil.copytree(folder / "c.lance", caches / "a.lance")
    where = ["--data", str(folder / "f.h5"), "--cache", str(caches / "b.lance"), "--months", "1"]
    answer(capsys, "build", "--model", str(other), *where)
    (caches / "x.lance").write_text("no cache")
    for model in (folder / "m.pt", write_checkpoint(tmp_path / "again.pt", num_features=19, lookback=LOOKBACK)):
        found = answer(capsys, "cache", "list", str(caches), "--model", str(model))["caches"]
        assert [one["belongs"] for one in found] == [True, False, None]
    info = answer(capsys, "cache", "info", str(caches / "a.lance"))
    assert {name: found[0][name] for name in ("encoder", "dim", "dtype", "entries", "first", "last")} == {
        name: info[name] for name in ("encoder", "dim", "dtype", "entries", "first", "last")
    }
    assert "not a cache" in found[2]["problem"]
    assert main(["cache", "list", str(caches), "--model", str(other)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines] == [" ", "*", " "]
    assert "known files 1" in lines[1]
    assert "encash cache list" in refusal(capsys, "cache", "info", str(caches))


def test_a_cache_is_read_as_of_a_version(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """By number or by tag: info, coverage, export and backtest see what was there then."""
    cache, data = str(tmp_path / "c.lance"), ["--data", str(folder / "f.h5")]
    answer(capsys, "build", *models(folder), "--cache", cache)
    answer(capsys, "cache", "versions", cache, "--tag", "whole")
    whole = answer(capsys, "cache", "info", cache)
    from encash.cache import open_cache
    from encash.store import VersionRows

    store = open_cache(cache).store
    store.remove(VersionRows(version=store.version, rows=store.snapshot().index().rows()[10:]))
    assert answer(capsys, "cache", "info", cache)["entries"] == 10
    for version in ("whole", str(whole["version"])):
        assert answer(capsys, "cache", "info", cache, "--as-of", version)["entries"] == whole["entries"]
        assert answer(capsys, "cache", "coverage", cache, *data, "--as-of", version)["valid"] == whole["entries"]
        out = str(tmp_path / "x.h5")
        assert answer(capsys, "cache", "export", cache, out, "--as-of", version)["entries"] == whole["entries"]
    then = runs(folder, "--cache", cache, "--as-of", "whole", "--no-model", "--no-report")
    assert answer(capsys, *then)["misses"] == 0
    assert "no version" in refusal(capsys, "cache", "info", cache, "--as-of", "never")


def test_versions_are_listed_and_tagged(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`cache versions --tag` names the newest version; it stays after compacting."""
    cache = str(tmp_path / "c.lance")
    for month in ("2", "3"):
        answer(capsys, "build", *models(folder), "--cache", cache, "--months", month)
    found = answer(capsys, "cache", "versions", cache, "--tag", "kept")["versions"]
    assert found[-1]["tags"] == ["kept"]
    assert found[-1]["entries"] > found[0]["entries"]
    answer(capsys, "cache", "compact", cache, "--keep-versions", "2")
    assert any(version["tags"] == ["kept"] for version in answer(capsys, "cache", "versions", cache)["versions"])


def test_versions_have_a_header(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The columns are named; with --json they are keys."""
    capsys.readouterr()
    assert main(["cache", "versions", str(folder / "c.lance")]) == 0
    header, first, *_ = capsys.readouterr().out.splitlines()
    assert header.split() == ["number", "time", "entries", "tags"]
    assert first.startswith("1 ")


def test_the_last_stocks_are_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--num-stocks N` says that it takes the last N, with `--skip` which ones, and which tickers these are."""
    plan = ["plan", *models(folder), "--cache", str(tmp_path / "c.lance"), "--num-stocks", "2"]
    for more, expected in (
        ([], "the last 2 of 8 tickers by name: T0006 to T0007"),
        (["--skip", "0"], "tickers 1 to 2 of 8 by name: T0000 to T0001"),
    ):
        capsys.readouterr()
        assert main([*plan, *more]) == 0
        assert expected in capsys.readouterr().err
