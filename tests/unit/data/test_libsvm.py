"""libsvm text as people and tools write it: what is read, what is refused and where."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from treeline.data import libsvm
from treeline.data.records import Csr, Records
from treeline.data.source import Source
from treeline.errors import DataError
from treeline.hyperparameters import DataOptions

Row = dict[int, float]


def read(folder: Path, *contents: bytes) -> tuple[list[Records], list[str]]:
    reader = libsvm.Reader(DataOptions(), 1)
    found = []
    for i, content in enumerate(contents):
        file = folder / f"{i}.txt"
        file.write_bytes(content)
        found += list(reader.read(Source(file, f"train/{i}.txt")))
    return found, reader.notes


def rows(folder: Path, *contents: bytes) -> list[tuple[float, Row]]:
    """Return label and entries of each row; holds the invariants of ``Csr``."""
    found = []
    for block in read(folder, *contents)[0]:
        assert isinstance(block.features, Csr)
        features = block.features
        assert block.names is None
        assert block.label.dtype == features.values.dtype == np.float32
        assert features.indices.dtype == np.int32
        assert features.indptr.dtype == np.int64
        assert features.indptr[-1] == len(features.values) == len(features.indices)
        assert features.rows == len(block.label) > 0
        for i, label in enumerate(block.label.tolist()):
            part = slice(features.indptr[i], features.indptr[i + 1])
            keys, values = features.indices[part].tolist(), features.values[part].tolist()
            assert keys == sorted(set(keys))
            assert all(key < features.width for key in keys)
            found.append((label, dict(zip(keys, values, strict=True))))
    return found


def refused(folder: Path, *contents: bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, *contents)
    assert "\n" not in caught.value.cause
    assert caught.value.remedy
    return caught.value.cause


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"1 0:1.5 3:2\n0 1:-1\n", [(1, {0: 1.5, 3: 2}), (0, {1: -1})]),
        (b"1 0:1.5 3:2\n0 1:-1", [(1, {0: 1.5, 3: 2}), (0, {1: -1})]),
        (b"1 0:1.5 3:2\r\n0 1:-1\r\n", [(1, {0: 1.5, 3: 2}), (0, {1: -1})]),
        (b"\xef\xbb\xbf1 0:1\n", [(1, {0: 1})]),
        (b" 1 \t 0:1\t\t3:2  \n\t0  1:-1 \n", [(1, {0: 1, 3: 2}), (0, {1: -1})]),
        (b"\n\n1 0:1\n  \n\r\n0 1:2\n\n", [(1, {0: 1}), (0, {1: 2})]),
        (b"# head: 1\n1 0:1 # a:b #c\n#\n0 1:2#\n", [(1, {0: 1}), (0, {1: 2})]),
        (b"1\n0 1:2\n-1\n", [(1, {}), (0, {1: 2}), (-1, {})]),
        (b"+1 0:+2 1:-3\n", [(1, {0: 2, 1: -3})]),
        (b"1e2 0:1e-3 1:2.5E+2 2:.5 3:4.\n", [(100, {0: 1e-3, 1: 250, 2: 0.5, 3: 4})]),
        (b"1 0:nan 2:NaN 3:1\n0 1:nan\n", [(1, {3: 1}), (0, {})]),
        (b"1 9:9 3:3 5:5\n0 2:2 1:1\n", [(1, {3: 3, 5: 5, 9: 9}), (0, {1: 1, 2: 2})]),
        (b"1 007:1 2147483647:2\n", [(1, {7: 1, 2**31 - 1: 2})]),
        (b"1 5:1\n0 5:2\n1 5:3\n", [(1, {5: 1}), (0, {5: 2}), (1, {5: 3})]),
        (b"", []),
        (b"\n# nothing\n", []),
    ],
)
def test_rows(tmp_path: Path, content: bytes, expected: list[tuple[float, Row]]) -> None:
    expected = [(label, {k: float(np.float32(v)) for k, v in r.items()}) for label, r in expected]
    assert rows(tmp_path, content) == expected


def test_a_missing_label_is_nan_and_too_large_a_value_infinite(tmp_path: Path) -> None:
    (found,), _ = read(tmp_path, b"nan 0:1e300 1:-inf 2:1e-60\n")
    assert np.isnan(found.label[0])
    assert isinstance(found.features, Csr)
    assert found.features.values.tolist() == [float("inf"), float("-inf"), 0]


def test_weights_and_groups(tmp_path: Path) -> None:
    (found,), notes = read(tmp_path, b"1:0.5 qid:7 0:1 2:3\n0:2 qid:900000000000\n")
    assert found.label.tolist() == [1, 0]
    assert found.weight is not None
    assert found.weight.dtype == np.float32
    assert found.weight.tolist() == [0.5, 2]
    assert found.group is not None
    assert found.group.dtype == np.int64
    assert found.group.tolist() == [7, 900000000000]
    assert isinstance(found.features, Csr)
    assert found.features.indices.tolist() == [0, 2]
    assert notes == ["the number after the label's colon is the row's weight"]
    (found,), notes = read(tmp_path, b"3 qid:1 0:1\n")
    assert (found.weight, notes) == (None, [])
    assert found.group is not None
    (found,), _ = read(tmp_path, b"3:1 0:1\n")
    assert found.group is None


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ([b"1 1:1\n0 2:1\n"], "indices start at 1 and are taken as written, from 0,"),
        ([b"1 1:nan\n"], "indices start at 1 "),
        ([b"1 4:1\n", b"1 3:1\n0 9:1\n"], "columns 0 to 2 are all missing"),
        ([b"1 1:1\n", b"1 0:1\n", b"1 1:1\n"], None),
        ([b"1 0:1\n", b"1 1:1\n"], None),
        ([b"1\n0\n"], None),
    ],
)
def test_indices_from_1_are_noted_for_the_whole_channel(
    tmp_path: Path, files: list[bytes], note: str | None
) -> None:
    _, notes = read(tmp_path, *files)
    assert len(notes) == (note is not None)
    assert all(note in text for text in notes if note)


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (b"yes 0:1", "the label 'yes' is not a number"),
        (b"1,2 0:1", "has several labels: '1,2'"),
        (b"1,0.5,2.5", "has several labels: '1,0.5,2.5'"),
        (b"0:1 1:2:3", "has a weight (label:weight), the channel's first row has no weight"),
        (b":1 0:1", "has no label before the colon"),
        (b"1_0 0:1", "the label '1_0' is not a number"),
        (b"\xff\xfe1 0:1", "the label '\ufffd\ufffd1' is not a number"),
        (b"1 qid:1 0:1", "has a group (qid:n), the channel's first row has no group"),
        (b"1 0:1 qid:1", "'qid:1' is not right after the label"),
        (b"1 -1:1", "the index in '-1:1' is not an integer from 0"),
        (b"1 +1:1", "the index in '+1:1' is not an integer from 0"),
        (b"1 1.0:1", "the index in '1.0:1' is not an integer from 0"),
        (b"1 a:1", "the index in 'a:1' is not an integer from 0"),
        (b"1 :1", "the index in ':1' is not an integer from 0"),
        (b"1 : 1", "the index in ':' is not an integer from 0"),
        (b"1 2147483648:1", "the index in '2147483648:1' is above 2147483647"),
        (b"1 99999999999999999999:1", "is not an integer from 0"),
        (b"1 0:", "'0:' has no value after the colon"),
        (b"1 0: 1", "'0:' has no value after the colon"),
        (b"1 0 :1", "'0' has no colon"),
        (b"1 0:1 2", "'2' has no colon"),
        (b"1 2 3 4:5", "'2' has no colon"),
        (b"1 0:x", "the value in '0:x' is not a number"),
        (b"1 0:1:2", "the value in '0:1:2' is not a number"),
        (b"1 0::2", "the value in '0::2' is not a number"),
        (b"1 0:1,5", "the value in '0:1,5' is not a number"),
        (b"1 0:0x1", "the value in '0:0x1' is not a number"),
        (b"1 0:1\x00", "the value in '0:1\\x00' is not a number"),
        (b"1 3:1 4:1 3:2", "index 3 is there twice"),
        (b"1 3:1 3:1", "index 3 is there twice"),
        (b"1 3:nan 3:1", "index 3 is there twice"),
    ],
)
def test_broken_rows_are_refused_by_row_and_line(tmp_path: Path, bad: bytes, cause: str) -> None:
    good = b"1 0:1 3:2\n\n# comment\n0 1:1\n"
    found = refused(tmp_path, good, good + bad + b"\n" + good)
    assert found.startswith("train/1.txt: row 3 (line 5): ")
    assert cause in found


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (b"1:1 qid:", "'qid:' is not qid:n with an integer from 0"),
        (b"1:1 qid:-1", "'qid:-1' is not qid:n"),
        (b"1:1 qid:1.5", "'qid:1.5' is not qid:n"),
        (b"1:1 qid:1:2:3", "'qid:1:2:3' is not qid:n"),
        (b"1:1 qid 1:1", "'qid' is not qid:n"),
        (b"1:1 qidx:1", "'qidx:1' is not qid:n"),
        (b"1:1 qid:1 qid:2", "'qid:2' is not right after the label"),
        (b"1:1 0:1", "has no group (qid:n), the channel's first row has a group"),
        (b"1:1 1:1 qid:1", "has no group"),
        (b"1 qid:1 0:1", "has no weight (label:weight), the channel's first row has a weight"),
        (b"1: qid:1", "the weight in '1:' is not a number"),
        (b"1:x qid:1", "the weight in '1:x' is not a number"),
        (b"1:2:3:4 qid:1", "'1:2:3:4' is not a label with a weight"),
    ],
)
def test_broken_weights_and_groups(tmp_path: Path, bad: bytes, cause: str) -> None:
    found = refused(tmp_path, b"1:2 qid:1 0:1\n", bad + b"\n1:2 qid:1 0:1")
    assert found.startswith("train/1.txt: row 1 (line 1): ")
    assert cause in found


def test_the_first_row_decides_within_a_block_too(tmp_path: Path) -> None:
    assert "row 2 (line 2): has no weight" in refused(tmp_path, b"1:1 0:1\n1 0:1\n")
    assert "row 2 (line 2): has a weight" in refused(tmp_path, b"1 0:1\n1:1 0:1\n")
    assert "row 2 (line 2): has no group" in refused(tmp_path, b"1 qid:1 0:1\n1\n")


def test_blocks_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{i} 0:{i / 8} {i + 1}:1 # {'x' * (i % 9)}" for i in range(60)]
    content = "\n".join(lines).encode()
    expected = [(float(i), {0: i / 8, i + 1: 1.0}) for i in range(60)]
    for size in (1, 5, 64, 1000):
        monkeypatch.setattr(libsvm, "_BLOCK", size)
        assert rows(tmp_path, content) == expected
        assert rows(tmp_path, content + b"\n") == expected
        cause = refused(tmp_path, content + b"\n\n1 x:1")
        assert cause.startswith("train/0.txt: row 61 (line 62): the index in 'x:1'")
    monkeypatch.setattr(libsvm, "_LONGEST_ROW", 5000)
    assert "a line is longer than" in refused(tmp_path, b"1 " * 5000)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    reader = libsvm.Reader(DataOptions(), 1)
    with pytest.raises(DataError, match="train/a"):
        list(reader.read(Source(tmp_path / "a", "train/a")))


@pytest.mark.parametrize("seed", range(6))
def test_the_same_rows_as_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(libsvm, "_BLOCK", int(rng.choice([100, 3000, 1 << 19])))
    dense = rng.normal(size=(80, 30)) * 10.0 ** rng.integers(-9, 9, (80, 30))
    dense[rng.random(dense.shape) < 0.6] = 0
    buffer = io.BytesIO()
    qid = rng.integers(0, 50, 80) if seed % 2 else None
    dump_svmlight_file(dense, rng.normal(size=80), buffer, query_id=qid, comment="by a test")
    buffer.seek(0)
    x, y, groups = load_svmlight_file(buffer, n_features=30, query_id=True, zero_based=True)
    found, _ = read(tmp_path, buffer.getvalue())
    assert np.concatenate([block.label for block in found]).tolist() == y.astype("f4").tolist()
    expected = [
        dict(zip(row.indices.tolist(), row.data.astype("f4").tolist(), strict=True)) for row in x
    ]
    assert [row for _, row in rows(tmp_path, buffer.getvalue())] == expected
    if qid is not None:
        group = [block.group for block in found if block.group is not None]
        assert np.concatenate(group).tolist() == groups.tolist()


def by_hand(line: str, *, weighted: bool, grouped: bool) -> tuple[float, Row] | None:
    """Return a row, or None for one that does not follow the format: a token at a time."""
    number = r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?"
    head = (
        f"({number})" + (f":{number}" if weighted else "") + (r" qid:\d{1,18}" if grouped else "")
    )
    match = re.fullmatch(rf"{head}(( \d{{1,9}}:{number})*)", line)
    if match is None:
        return None
    tokens = [token.split(":") for token in line.split()[1 + grouped :]]
    row = {int(index): float(np.float32(float(value))) for index, value in tokens}
    return (float(np.float32(float(match[1]))), row) if len(row) == len(tokens) else None


@pytest.mark.parametrize("seed", range(4))
def test_damaged_rows_are_read_as_by_hand_or_refused(tmp_path: Path, seed: int) -> None:
    """Never a row with other numbers than those written."""
    rng = random.Random(seed)
    weighted, grouped = bool(seed & 1), bool(seed & 2)
    head = "1" + weighted * ":2" + grouped * " qid:3"
    accepted = 0
    for _ in range(80):
        line = list(f"{head} 0:1.5 12:-3 7:4e1")
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(len(line))
            line[at : at + rng.randint(0, 1)] = rng.choice(["", ":", " ", "1", "q", "-", ".", "e"])
        text = " ".join("".join(line).split())
        expected = by_hand(text, weighted=weighted, grouped=grouped)
        content = f"{head} 0:1\n{text}\n".encode()
        if expected is None and text:
            assert "row 2" in refused(tmp_path, content), text
        else:
            accepted += 1
            found = rows(tmp_path, content)[1:]
            assert found == ([(expected[0], dict(sorted(expected[1].items())))] if expected else [])
    assert accepted > 10


def test_a_byte_order_mark_in_the_middle_of_a_file_is_refused_in_a_window_too(
    tmp_path: Path,
) -> None:
    content = "1 1:2\n\ufeff1 1:2\n".encode()
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    for window in (None, (6, len(content))):
        with pytest.raises(DataError, match=r"the label '\\ufeff1' is not a number"):
            list(libsvm.Reader(DataOptions(), 1).read(Source(file, "train/a", window=window)))
