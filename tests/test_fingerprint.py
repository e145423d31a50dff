"""Fingerprints and digests: what is equal, and what stays equal from version to version."""

import numpy as np
import pytest
import xxhash

from encash.fingerprint import explain_difference, fingerprint, row_digests


@pytest.mark.parametrize("width", [1, 4, 63, 256, 512, 513, 4_096])
def test_a_row_has_the_digest_of_its_bytes(width):
    """Whatever its width and however many rows there are, a row's digest is XXH3 of its bytes: caches keep them."""
    for count in (1, 2, 3_000):
        rows = np.random.default_rng(count).integers(0, 256, (count, width)).astype(np.uint8)
        expected = [xxhash.xxh3_64_intdigest(row.tobytes()) for row in rows]
        assert row_digests(rows).tolist() == expected
        assert row_digests(np.asfortranarray(rows)).tolist() == expected


def test_rows_without_bytes():
    """No rows have no digests; rows without a column have the digest 0."""
    assert row_digests(np.empty((0, 5))).tolist() == []
    assert row_digests(np.empty((3, 0))).tolist() == [0, 0, 0]


def test_long_lists_that_are_equal_in_value_alone():
    """1 and 1.0 have two fingerprints, so two long lists of them differ, and that can be said."""
    said = explain_difference({"names": [1] * 9}, {"names": [1] * 8 + [1.0]})
    assert said == ["names: 1 of 9 items differ, item 8 first: 1 here, 1.0 there"]


LITERALS = {
    None: "cbbc0720c047ffe60fa947b7b77fa03a54d75686c374ddc44dd3cc7573ad0c5a",
    True: "d225c3e3e088104e49f40e697cf4a77eddebc17ee1956094e6c70d64ffc259c9",
    -3: "8aeda0d7d68ecaa6ec9d6f992cdb0f8c4f1d375dcd0d86489ec8755dd76d4ff0",
    0.5: "a3d5b03f01b30fc002bf2c2875f70725066319e982b6fac49780c8fdda787d9a",
    1e300: "eb3ef710915b5181820703f47c51193c1d4b45174fed9e3216d03365f4431b6b",
    "a": "05331ba8ed67d1d919325bbeeffc2b8ffce04a2cb86256c9b1881bc8c79326f4",
    b"b": "84d1ba1d9b7a37123181c9cd03ad2854da5f93318af1bf3121d4762bd2fed476",
    (1, 2.0, "x", None): "87850c8fc728853cae6dd3b0e8e95958f3bfddf678f2ab08a57f0b6d8075b951",
}


@pytest.mark.parametrize("value", LITERALS, ids=repr)
def test_the_fingerprints_of_python_values_stay(value):
    """Caches, cluster models and runs hold these fingerprints (literal values of the first format)."""
    assert fingerprint(value) == LITERALS[value]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.int64(-3), -3),
        (np.uint8(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.bytes_(b"b"), b"b"),
    ],
    ids=repr,
)
def test_a_numpy_scalar_has_the_fingerprint_of_the_python_value(ours, theirs):
    """Alone, in a list, and as a value or a key of a mapping."""
    assert fingerprint(ours) == fingerprint(theirs)
    assert fingerprint([ours, (ours,)]) == fingerprint([theirs, (theirs,)])
    assert fingerprint({"a": ours}) == fingerprint({"a": theirs})
    assert fingerprint({ours: 1}) == fingerprint({theirs: 1})


@pytest.mark.parametrize("value", [np.datetime64("2024-01-02"), np.timedelta64(1, "ns"), object(), {1, 2}, 1j])
def test_what_has_no_canonical_encoding_is_refused(value):
    """Days are written as text first; sets and objects have no order and no encoding."""
    with pytest.raises(TypeError, match="cannot fingerprint"):
        fingerprint([value])
