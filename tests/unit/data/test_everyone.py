"""Workers that read shares of the files have together what one worker has that reads all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq
from tests import teams, threads, writers

from treeline.data import everyone, reading, shares
from treeline.data.channel import Dataset, resolve
from treeline.data.matrix import Matrix, Schema
from treeline.data.reading import Limits
from treeline.data.records import Csr
from treeline.errors import DataError
from treeline.hyperparameters import DataOptions
from treeline.opt_ml import Channel
from treeline.team import ALONE, Team

TYPES = {
    "csv": "text/csv",
    "parquet": "application/x-parquet",
    "libsvm": "text/libsvm",
    "pbr": "application/x-recordio-protobuf",
}
ARRAYS = ("label", "weight", "group", "lower", "upper", "margin", "time", "hashes")


def dataset(root: Path, options: DataOptions) -> Dataset:
    [kind] = {path.suffix[1:] for path in root.rglob("*.*") if path.is_file()}
    channels = {"train": Channel("train", root, TYPES[kind])}
    return resolve(channels, options).datasets["train"]


def read(
    root: Path,
    options: DataOptions,
    cuts: Sequence[int] | None = None,
    team: Team = ALONE,
    schema: Schema | None = None,
    limits: Limits = Limits(),  # noqa: B008
) -> Matrix:
    """Read the files from a worker's cut to the next; without cuts all of them."""
    found = dataset(root, options)
    if cuts is not None:
        found = replace(found, sources=found.sources[cuts[team.rank] : cuts[team.rank + 1]])
    return reading.read(found, options, 1, schema=schema, limits=limits, team=team)


def plain(features: Any) -> Any:
    if not isinstance(features, Csr):
        return np.asarray(features)
    values = np.full(features.shape, np.nan, np.float32)
    rows = np.repeat(np.arange(features.rows), np.diff(features.indptr))
    values[rows, features.indices] = features.values
    return values


def assert_same(found: Matrix, expected: Matrix, *, features: bool = True) -> None:
    assert found.rows == expected.rows
    for part in ARRAYS:
        one, other = getattr(found, part), getattr(expected, part)
        assert (one is None) == (other is None), part
        if one is not None:
            assert one.dtype == other.dtype, part
            np.testing.assert_array_equal(one, other, part)
    assert found.group_names == expected.group_names
    assert found.schema == expected.schema
    assert found.fingerprint == expected.fingerprint
    for part in ("rows", "present", "smallest", "largest"):
        one, other = getattr(found.stats, part), getattr(expected.stats, part)
        np.testing.assert_array_equal(one, other, part)
    rows = range(expected.rows)
    assert [*map(found.origin.of, rows)] == [*map(expected.origin.of, rows)]
    assert found.origin.positions(np.arange(expected.rows)).tolist() == (
        expected.origin.positions(np.arange(expected.rows)).tolist()
    )
    if features:
        assert isinstance(found.features, Csr) == isinstance(expected.features, Csr)
        assert found.features.shape == expected.features.shape
        np.testing.assert_array_equal(plain(found.features), plain(expected.features))
    else:
        assert found.features.shape == (expected.rows, 0)


def shared(team: Team, root: Path, options: DataOptions, cuts: Sequence[int], **more: Any) -> Any:
    own = read(root, options, cuts, team, **more)
    whole = everyone.whole(own, team)
    features = everyone.features(own.features, team)
    return own, whole, replace(whole, features=features)


def check_shared(found: Any, expected: Matrix) -> None:
    """Hold what every worker has against what one worker has."""
    assert [own.notes for own, *_ in found] == [expected.notes, *[()] * (len(found) - 1)]
    seen = 0
    for own, all_, gathered in found:
        numbers = np.arange(seen, seen + own.rows)
        seen += own.rows
        assert own.schema == expected.schema
        assert own.features.shape == (own.rows, expected.schema.features)
        np.testing.assert_array_equal(plain(own.features), plain(expected.features)[numbers])
        for part in ARRAYS:
            values = getattr(own, part)
            if values is not None:
                np.testing.assert_array_equal(values, getattr(expected, part)[numbers], part)
        assert_same(all_, expected, features=False)
        assert_same(gathered, expected)
    assert seen == expected.rows


# --- what is read


def put(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / f"{name}.csv").write_text(text)
    return root


def texts_csv(root: Path) -> tuple[Path, DataOptions]:
    head = "y,city,x,w,q,t,m\n"
    put(
        root,
        a=head + "no,b,1,1,q9,2024-01-31,0\n,b,1,1,q9,2024-01-31,0\nno,,2,2,q3,2024-01-30,1\n",
        b=head + "maybe,a,3,1,q3,2024-01-01,.5\nyes,d,,0,q1,2023-01-01,2\n",
        c="t,x,city,y,m,q,w\n2024-02-01,5,c,no,1,q9,1\n",
        d=head,
        e=head + "no,a,7,1,q0,2022-01-01,0\n",
    )
    return root, DataOptions(
        label_column="y",
        weight_column="w",
        group_column="q",
        time_column="t",
        base_margin_column=("m",),
        missing_label="drop",
    )


def numbers_csv(root: Path) -> tuple[Path, DataOptions]:
    files = {name: f"{i},{i + 1},,{i / 3}\n{i},2,{i * i},4\n" for i, name in enumerate("abcde")}
    put(root, **files | {"c": "3,1.5,2,1e3\n"})  # one time that is no whole number
    return root, DataOptions(time_column="1")


def bounds_csv(root: Path) -> tuple[Path, DataOptions]:
    files = {name: f"1,{i + 1},,{i}\n2,3,9,{i}\n" for i, name in enumerate("abcde")}
    return put(root, **files), DataOptions(
        label_lower_bound_column="1", label_upper_bound_column="2"
    )


def delimited_csv(root: Path) -> tuple[Path, DataOptions]:
    """Of the second file alone nobody could tell what separates the fields."""
    files = {"a": "1;u,v;3\n0;w;2\n", "b": "1;u,v;7\n", "c": "1;w;1\n0;u,v;1\n", "d": "1;u,v;1\n"}
    return put(root, **files, e="0;u,v;3\n"), DataOptions()


def parquet(root: Path) -> tuple[Path, DataOptions]:
    root.mkdir()
    rng = np.random.default_rng(0)
    for i, name in enumerate("abcde"):
        n = (5, 0, 3, 4, 1)[i]
        columns = {
            "y": rng.integers(0, 3, n).astype(np.float32),
            "x": rng.normal(size=n),
            "c": pa.array(rng.choice(["u", "v", f"w{i}"], n).tolist(), pa.string()),
            "q": rng.integers(0, 9, n),
        }
        pq.write_table(pa.table(columns), root / f"{name}.parquet", row_group_size=2)
    return root, DataOptions(label_column="y", group_column="q")


def folders(root: Path) -> tuple[Path, DataOptions]:
    """One folder's name is no number, so all are texts."""
    for i, name in enumerate("abcde"):
        put(root / f"k={i if name != 'e' else 'x'}", **{name: f"1,{i},2\n0,2,{i}\n"})
    return root, DataOptions(hive_partitions=True)


def libsvm(root: Path) -> tuple[Path, DataOptions]:
    root.mkdir()
    rows = ["1:2 qid:7 1:0.5 4:2\n0:1 qid:7\n", "1:1 qid:8 1:1\n", "0:1 qid:3 1:4 9:1\n", "", ""]
    for name, text in zip("abcde", rows, strict=True):
        (root / f"{name}.libsvm").write_text(text or "# nothing\n2:1 qid:7 1:1\n")
    return root, DataOptions()


def recordio(root: Path, sparse: str) -> tuple[Path, DataOptions]:
    root.mkdir()
    rng = np.random.default_rng(1)
    for name in "abcde":
        columns: dict[str, Any] = {f"f{i}": rng.normal(size=3).astype(np.float32) for i in range(4)}
        columns["f2"][rng.random(3) < 0.5] = np.nan if name in sparse else 1
        table = writers.Table(rng.integers(0, 2, 3).astype(np.float32), columns)
        content = writers._recordio(table, sparse=name in sparse)
        (root / f"{name}.pbr").write_bytes(content)
    return root, DataOptions()


CASES: dict[str, Callable[[Path], tuple[Path, DataOptions]]] = {
    "texts": texts_csv,
    "numbers": numbers_csv,
    "bounds": bounds_csv,
    "delimiter": delimited_csv,
    "parquet": parquet,
    "folders": folders,
    "libsvm": libsvm,
    "dense records": lambda root: recordio(root, ""),
    "sparse, then dense records": lambda root: recordio(root, "a"),
    "dense, then sparse records": lambda root: recordio(root, "de"),
}
CUTS = ((0, 2, 5), (0, 0, 5), (0, 1, 3, 5), (0, 2, 2, 5), (0, 0, 4, 5), (0, 5, 5, 5), (0, 3, 4, 5))


@pytest.mark.parametrize("cuts", CUTS, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_all_workers_have_what_one_has(tmp_path: Path, case: str, cuts: tuple[int, ...]) -> None:
    root, options = CASES[case](tmp_path / "train")
    expected = read(root, options)
    check_shared(threads.run(len(cuts) - 1, shared, root, options, cuts), expected)


def over_network(team: Team, cases: dict[str, Any], cuts: Sequence[int]) -> Any:
    return {name: shared(team, root, options, cuts) for name, (root, options) in cases.items()}


def test_the_network_moves_it_unchanged(tmp_path: Path) -> None:
    cases = {name: make(tmp_path / name.replace(",", "")) for name, make in CASES.items()}
    found = teams.run(3, over_network, cases, (0, 1, 1, 5))
    for name, case in cases.items():
        check_shared([each[name] for each in found], read(*case))


# --- what only all rows tell


def test_rows_are_coded_by_train_and_the_unknown_counted(tmp_path: Path) -> None:
    options = DataOptions(csv_header=False)
    train = put(tmp_path / "train", a="no,a,1\nyes,b,2\n")
    other = put(tmp_path / "other", a="no,x,1\n", b="yes,b,2\nno,y,3\n", c="no,y,1\nno,,1\n")
    known = read(train, options).schema
    expected = read(other, options, schema=known)
    assert expected.notes == (
        "feature 0: 3 of 5 rows have a category that train does not have, and are missing there: "
        "'y', 'x'",
    )
    found = threads.run(3, lambda team: shared(team, other, options, (0, 1, 2, 3), schema=known))
    check_shared(found, expected)


def test_rows_in_a_file_are_gathered_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(everyone, "_PIECE", 64)
    root, options = texts_csv(tmp_path / "train")
    expected = read(root, options)

    def work(team: threads.Threaded) -> Any:
        spilled = Limits(budget=lambda _: 1)
        found = shared(team, root, options, (0, 1, 5), limits=spilled)
        team.sent = 0
        everyone.features(np.zeros((100, 3), np.float32), team)
        assert team.sent < 400
        return found

    check_shared(threads.run(2, work), expected)


def test_a_file_is_divided_into_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "SMALLEST", 64)
    rng = np.random.default_rng(0)
    lines = [f"{rng.choice(['u', 'v', 'w'])},{i},t{i % 37}" for i in range(400)]
    root = put(tmp_path / "train", a="y,x,c\n" + "\n".join(lines[:300]), b="\n".join(lines[300:]))
    options = DataOptions(label_column="0", group_column="2")
    expected = read(root, options)

    def work(team: Team) -> Any:
        seat = shares.Seat(0, 1, team.rank, team.size)
        share = shares.divide(dataset(root, options), "train", seat, team)
        assert share is not None
        own = reading.read(share, options, 1, team=team)
        features = everyone.features(own.features, team)
        return replace(everyone.whole(own, team), features=features)

    for found in threads.run(3, work):
        # A window names its rows by itself.
        assert_same(replace(found, origin=expected.origin), expected)


@pytest.mark.parametrize(
    ("files", "options", "cause"),
    [
        (
            {"a": "1,2\n", "b": "1,x\n"},
            {},
            "train/b.csv: row 1, column 1: text 'x' where numbers stand",
        ),
        ({"a": "1,2\n", "b": "1,2,3\n"}, {}, "train/b.csv: has 3 columns, train/a.csv has 2"),
        (
            {"a": "1,2,0\n", "b": "1,2,0\n"},
            {"weight_column": "2"},
            "train/a.csv row 1: every weight",
        ),
        (
            {"a": "1,2,5\n", "b": "1,2,2024-01-01\n"},
            {"time_column": "2"},
            "train/b.csv row 1: the times are dates, where the rows before hold numbers",
        ),
        (
            {"a": ",2\n", "b": ",2\n,3\n"},
            {"missing_label": "drop"},
            "Channel train: 2 file(s) and not one of their 3 rows has a label",
        ),
    ],
)
@pytest.mark.parametrize("cuts", [(0, 1, 2), (0, 1, 1, 2)])
def test_refused(
    tmp_path: Path, files: Any, options: Any, cause: str, cuts: tuple[int, ...]
) -> None:
    root = put(tmp_path / "train", **files)
    with pytest.raises(DataError) as caught:
        threads.run(len(cuts) - 1, shared, root, DataOptions(**options), cuts)
    assert cause in caught.value.cause


@pytest.mark.parametrize(
    ("texts", "cause"),
    [
        (["1:2 1:1\n", "1 1:1\n"], "some rows of the channel have a weight and others have none"),
        (
            ["1 qid:1 1:1\n", "1 1:1\n"],
            "some rows of the channel have a group and others have none",
        ),
    ],
)
def test_refused_records(tmp_path: Path, texts: list[str], cause: str) -> None:
    for name, text in zip("ab", texts, strict=True):
        (tmp_path / f"{name}.libsvm").write_text(text)
    with pytest.raises(DataError, match=f"train/b.libsvm: {cause}"):
        threads.run(2, shared, tmp_path, DataOptions(), (0, 1, 2))


def test_refused_widths_of_dense_records(tmp_path: Path) -> None:
    for name, columns in (("a", "xy"), ("b", "xyz")):
        table = writers.Table(
            np.ones(1, np.float32), dict.fromkeys(columns, np.ones(1, np.float32))
        )
        (tmp_path / f"{name}.pbr").write_bytes(writers._recordio(table))
    with pytest.raises(DataError, match=r"train/b\.pbr: rows of 3 features after rows of 2"):
        threads.run(2, shared, tmp_path, DataOptions(), (0, 1, 2))
