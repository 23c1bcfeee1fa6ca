"""A row's hash: the same however the row is stored, another one for another row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from treeline.data import rowhash
from treeline.data.records import Csr, Floats
from treeline.data.rowhash import Fingerprint, Hashes

NAN = np.float32(np.nan)


def rows(values: Any) -> Floats:
    return np.array(values, np.float32)


def as_csr(block: Floats, width: int | None = None) -> Csr:
    """The same rows, without what is missing."""
    there = ~np.isnan(block)
    indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int64)
    indices = np.nonzero(there)[1].astype(np.int32)
    return Csr(indptr, indices, block[there], width or block.shape[1])


def random_rows(count: int, columns: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    block = rng.normal(size=(count, columns)).astype(np.float32)
    block[rng.random(block.shape) < 0.3] = NAN
    return block


def distinct(hashes: Hashes) -> int:
    return int(1 + np.count_nonzero(np.diff(np.sort(hashes)))) if len(hashes) else 0


def test_dense_and_sparse_agree() -> None:
    block = random_rows(500, 7)
    block[3] = NAN
    label = random_rows(500, 1)[:, 0]
    assert np.array_equal(rowhash.dense(block, label), rowhash.sparse(as_csr(block), label))
    assert np.array_equal(rowhash.dense(block, None), rowhash.sparse(as_csr(block), None))


def test_rows_without_any_value_at_the_end_and_in_between() -> None:
    block = rows([[NAN, NAN], [1, NAN], [NAN, NAN], [NAN, 2], [NAN, NAN], [NAN, NAN]])
    found = rowhash.sparse(as_csr(block), None)
    assert np.array_equal(found, rowhash.dense(block, None))
    assert (found == found[0]).tolist() == [True, False, True, False, True, True]


def test_what_is_stored_as_nan_is_missing() -> None:
    stored = Csr(np.array([0, 2]), np.array([0, 1], np.int32), rows([NAN, 5]), 2)
    assert rowhash.sparse(stored, None) == rowhash.dense(rows([[NAN, 5]]), None)


def test_the_declared_width_does_not_matter() -> None:
    block = random_rows(50, 5)
    expected = rowhash.dense(block, None)
    assert np.array_equal(rowhash.sparse(as_csr(block, 3_000_000), None), expected)
    wider = np.full((50, 9), NAN)
    wider[:, :5] = block
    assert np.array_equal(rowhash.dense(wider, None), expected)


def test_wide_columns_have_keys_of_their_own() -> None:
    # Beyond the table of keys; the same keys as in it.
    indices = np.array([0, 1, 2_000_000, 2_000_001], np.int32)
    wide = Csr(np.arange(5), indices, rows([1, 1, 1, 1]), 2_000_002)
    narrow = Csr(np.arange(3), indices[:2], rows([1, 1]), 2)
    assert distinct(rowhash.sparse(wide, None)) == 4
    assert np.array_equal(rowhash.sparse(wide, None)[:2], rowhash.sparse(narrow, None))


@pytest.mark.parametrize("pieces", [1, 5, 64])
def test_pieces_do_not_show(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    block, label = random_rows(200, 6), random_rows(200, 1)[:, 0]
    expected = rowhash.dense(block, label)
    monkeypatch.setattr(rowhash, "_PIECE", pieces)
    assert np.array_equal(rowhash.dense(block, label), expected)
    assert np.array_equal(rowhash.sparse(as_csr(block), label), expected)


def test_blocks_do_not_show() -> None:
    block = random_rows(100, 4)
    parts = [rowhash.dense(part, None) for part in np.split(block, [1, 40])]
    assert np.array_equal(np.concatenate(parts), rowhash.dense(block, None))


def test_any_strides() -> None:
    block = random_rows(300, 8)
    expected = rowhash.dense(np.ascontiguousarray(block[::2, 1::3]), None)
    assert np.array_equal(rowhash.dense(block[::2, 1::3], None), expected)
    assert np.array_equal(rowhash.dense(np.asfortranarray(block[::2, 1::3]), None), expected)


def test_the_data_are_left_alone() -> None:
    block = rows([[-0.0, NAN, 1]])
    rowhash.dense(block, block[0, :1])
    assert np.signbit(block[0, 0])
    assert np.isnan(block[0, 1])


def test_both_zeros_are_one_value_and_not_missing() -> None:
    found = rowhash.dense(rows([[0.0, 1], [-0.0, 1], [NAN, 1]]), None)
    assert found[0] == found[1] != found[2]
    labels = rowhash.dense(rows([[1]] * 3), rows([0.0, -0.0, NAN]))
    assert labels[0] == labels[1] != labels[2]


def test_every_nan_is_missing() -> None:
    bits = [0x7FC00000, 0xFFC00000, 0x7FC00001, 0x7F800001, 0xFF800001, 0xFFFFFFFF]
    nans = np.array(bits * 40, np.uint32).view(np.float32)
    assert rowhash.dense(nans[:, None], nans).tolist() == [0] * len(nans)


def test_a_hash_stays_what_it_is() -> None:
    # Fingerprints are kept in manifests: another hash would be another fingerprint.
    found = rowhash.dense(rows([[0, 1.5, NAN]]), rows([1]))
    assert hex(int(found[0])) == "0x39a83b05c6a3ffd7"


def test_the_label_counts() -> None:
    block = rows([[1, 2], [1, 2], [2, 1]])
    found = rowhash.dense(block, rows([0, 1, 0]))
    assert distinct(found) == 3
    assert rowhash.dense(block[:1], None) != found[0]
    # The label is not one more feature.
    assert rowhash.dense(rows([[1]]), rows([2])) != rowhash.dense(rows([[2]]), rows([1]))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_no_rows_or_no_columns(shape: tuple[int, int]) -> None:
    found = rowhash.dense(np.empty(shape, np.float32), None)
    assert found.tolist() == [0] * shape[0]
    assert np.array_equal(rowhash.sparse(as_csr(np.empty(shape, np.float32)), None), found)


def grid(values: Any, columns: int) -> Floats:
    """Every combination of ``values``."""
    return rows(np.meshgrid(*[values] * columns)).reshape(columns, -1).T


def two_columns(columns: int) -> tuple[Any, Any]:
    """Every pair of different columns."""
    return np.nonzero(~np.eye(columns, dtype=bool))


def plus_and_minus_one() -> Floats:
    one, other = two_columns(100)
    block = np.tile(np.arange(100) % 10, (len(one), 1)).astype(np.float32)
    at = np.arange(len(one))
    block[at, one] += 1
    block[at, other] -= 1
    return block


def swapped() -> Floats:
    one, other = np.triu_indices(100, 1)
    block = np.tile(np.arange(100), (len(one), 1)).astype(np.float32)
    at = np.arange(len(one))
    block[at, one], block[at, other] = other, one
    return block


def pairs_of_ones() -> Floats:
    eye = np.eye(120, dtype=np.float32)
    one, other = np.triu_indices(120)
    return np.maximum(eye[one], eye[other])


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(grid(np.arange(1000), 2), id="small whole numbers"),
        pytest.param(grid(np.arange(-4, 4), 6), id="around zero"),
        pytest.param(grid([0, 1], 17), id="yes or no"),
        pytest.param(grid([0, 1, NAN], 11), id="yes, no or missing"),
        pytest.param(grid(2.0 ** np.arange(-30, 31), 3), id="powers of two"),
        pytest.param(grid(np.arange(500) / 100, 2), id="hundredths"),
        pytest.param(grid([1, np.nextafter(rows(1), rows(2)), 1e30, -1], 8), id="last bits"),
        pytest.param(plus_and_minus_one(), id="+1 in one column, -1 in another"),
        pytest.param(swapped(), id="two columns swapped"),
        pytest.param(pairs_of_ones(), id="one-hot"),
        pytest.param(
            np.random.default_rng(0).normal(size=(1_000_000, 2)).astype(np.float32), id="random"
        ),
    ],
)
def test_different_rows_have_different_hashes(block: Floats) -> None:
    found = rowhash.dense(block, None)
    assert distinct(found) == len(block)


def test_differences_do_not_leave_the_low_bits_alone() -> None:
    # Small whole numbers end in 16 bits of 0. Were these handed on, 48 bits would be left.
    found = rowhash.dense(grid(np.arange(300), 2), None)
    assert distinct(found & np.uint64(0xFFFFFFFF)) > 0.999 * len(found)


def test_fingerprint_does_not_depend_on_blocks() -> None:
    hashes = rowhash.dense(random_rows(100, 3), None)
    weight = np.arange(100, dtype=np.float32)
    whole, parts = Fingerprint(), Fingerprint()
    whole.update(hashes)
    whole.update_array("weight", weight)
    for part in np.split(np.arange(100), [0, 7, 50]):
        parts.update_array("weight", weight[part])
        parts.update(hashes[part])
    assert whole.hexdigest() == parts.hexdigest()
    assert len(whole.hexdigest()) == 32


def fingerprint(hashes: Any, **arrays: Any) -> str:
    found = Fingerprint()
    found.update(np.array(hashes, np.uint64))
    for name, array in arrays.items():
        found.update_array(name, array)
    return found.hexdigest()


def test_fingerprint_tells_apart() -> None:
    one = rows([1, 2])
    found = [
        fingerprint([1, 2]),
        fingerprint([2, 1]),
        fingerprint([1]),
        fingerprint([1, 2], weight=one),
        fingerprint([1, 2], weight=one[::-1]),
        fingerprint([1, 2], margin=one),
        fingerprint([1, 2], weight=one, margin=one),
        fingerprint([1, 2], margin=rows([[1, 2], [3, 4]])),
        fingerprint([1, 2], margin=rows([1, 2, 3, 4])),
        fingerprint([1, 2], weight=one.astype(np.float64)),
        fingerprint([1, 2], group=np.array([1, 2])),
    ]
    assert len({*found}) == len(found)
    assert fingerprint([1, 2], a=one, b=-one) == fingerprint([1, 2], b=-one, a=one)


def test_fingerprint_of_nans_and_zeros() -> None:
    nans = np.array([0x7FC00000, 0xFFC00001, 0x80000000], np.uint32).view(np.float32)
    assert fingerprint([], m=nans) == fingerprint([], m=rows([NAN, NAN, 0]))


def test_fingerprint_of_text_is_refused() -> None:
    with pytest.raises(TypeError, match="'group'"):
        fingerprint([], group=np.array(["a"], object))
