import numpy as np
import pytest
import xxhash

from encash.fingerprint import explain_difference, row_digests


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
