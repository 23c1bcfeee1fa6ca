"""Who reads what: the files of hosts divided among workers, and what is refused."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq
from tests import teams, threads

from treeline.data import channel, csv, libsvm, shares, source
from treeline.data.channel import Dataset
from treeline.data.columns import resolve
from treeline.data.shares import Seat, check_quotes, divide
from treeline.errors import ChannelError, DataError
from treeline.hyperparameters import DataOptions
from treeline.opt_ml import Channel
from treeline.team import ALONE, Team

MIB = 1 << 20
CSV = "text/csv"


def seats(*workers: int) -> list[Seat]:
    """Return the seats of hosts with so many workers each."""
    return [
        Seat(host, len(workers), local, count)
        for host, count in enumerate(workers)
        for local in range(count)
    ]


def divided(
    hosts: Sequence[Channel | None], *workers: int, role: str = "train"
) -> list[Dataset | None]:
    """Return each worker's share, where host i has the channel ``hosts[i]``."""
    at = seats(*workers)

    def work(team: Team) -> Dataset | None:
        seat = at[team.rank]
        given = hosts[seat.host]
        inputs = channel.resolve(
            {role: given} if given else {}, DataOptions(), None, True, seat.local == 0
        )
        return divide(inputs.datasets.get(role), role, seat, team)

    return threads.run(len(at), work)


def parts(found: Sequence[Dataset | None]) -> list[list[str]]:
    return [[each.name for each in dataset.sources] for dataset in found if dataset is not None]


def refused(hosts: Sequence[Channel | None], *workers: int) -> str:
    with pytest.raises(ChannelError) as caught:
        divided(hosts, *workers)
    assert "\n" not in caught.value.cause
    assert caught.value.remedy
    return caught.value.cause


def folder(
    root: Path, distribution: str | None = None, content_type: str = CSV, **files: bytes | int
) -> Channel:
    """Write ``files`` (a number is that many bytes of rows) into the channel train of ``root``."""
    (root / "train").mkdir(parents=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else b"1,2\n" * (content // 4)
        (root / "train" / name).write_bytes(data)
    return Channel("train", root / "train", content_type, distribution=distribution)


def first(found: Sequence[Dataset | None]) -> Dataset:
    assert found[0] is not None
    return found[0]


# One host.


def test_a_worker_alone_reads_everything(tmp_path: Path) -> None:
    given = folder(tmp_path, a=8, b=4 * MIB)
    dataset = channel.resolve({"train": given}, DataOptions()).datasets["train"]
    assert divide(dataset, "train", Seat(0, 1, 0, 1), ALONE) is dataset


def test_files_of_text_are_cut_evenly(tmp_path: Path) -> None:
    found = divided([folder(tmp_path, a=4 * MIB, b=2 * MIB)], 3)
    assert parts(found) == [
        ["train/a"],
        ["train/a from byte 2097152 on"],
        ["train/b"],
    ]
    windows = [[each.window for each in dataset.sources] for dataset in found if dataset]
    assert windows == [[(0, 2 * MIB)], [(2 * MIB, 4 * MIB)], [None]]
    assert [dataset.bytes for dataset in found if dataset] == [6 * MIB] * 3
    assert first(found).notes == (
        "train: 2 file(s) divided among 3 workers by files and byte ranges",
    )
    assert found[1] is not None
    assert found[1].notes == ()
    assert {(s.file, s.size) for s in first(found).sources} == {("train/a", 4 * MIB)}


def test_small_files_go_whole_and_some_workers_get_nothing(tmp_path: Path) -> None:
    found = divided([folder(tmp_path, a=400, b=4000)], 4)
    assert parts(found) == [["train/a"], [], ["train/b"], []]
    assert first(found).notes == (
        "train: 2 file(s) divided among 4 workers by files",
        "train: no rows for worker(s) 1, 3 of 0 to 3",
    )


def test_no_window_is_smaller_than_what_is_worth_it(tmp_path: Path) -> None:
    found = divided([folder(tmp_path, a=3 * MIB)], 8)
    windows = [each.window for dataset in found if dataset for each in dataset.sources]
    assert all(window and window[1] - window[0] >= shares.SMALLEST for window in windows)
    assert sum(window[1] - window[0] for window in windows if window) == 3 * MIB


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gzip.compress(b"1,2\n" * MIB, 0), "compressed"),
        (b'1,"two\nlines"\n' * (MIB // 4), "line breaks within quotes"),
        (b"1,2\r3,4\n" * MIB, "lines that end in carriage returns"),
    ],
)
def test_files_that_are_read_by_one_worker(tmp_path: Path, content: bytes, why: str) -> None:
    assert parts(divided([folder(tmp_path, a=content)], 2)) in (
        [["train/a"], []],
        [[], ["train/a"]],
    )


def parquet_file(root: Path, groups: int, copies: int = 1) -> Channel:
    (root / "train").mkdir()
    file = root / "train" / "a.parquet"
    table = pa.table({"y": pa.array(range(groups * 10), pa.float32()), "x": [1.0] * groups * 10})
    pq.write_table(table, file, row_group_size=10)
    file.write_bytes(file.read_bytes() * copies)
    return Channel("train", root / "train", "parquet")


def test_parquet_is_cut_at_row_groups(tmp_path: Path) -> None:
    found = divided([parquet_file(tmp_path, 5)], 2)
    assert parts(found) == [["train/a.parquet"], ["train/a.parquet from row group 2 on"]]
    windows = [[each.window for each in dataset.sources] for dataset in found if dataset]
    assert windows == [[(0, 2)], [(2, 5)]]
    assert "by files and row groups" in first(found).notes[0]


def test_parquet_of_several_files_in_one_is_read_by_one_worker(tmp_path: Path) -> None:
    found = divided([parquet_file(tmp_path, 5, copies=2)], 3)
    assert [*chain(*parts(found))] == ["train/a.parquet"]


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9 * MIB), min_size=1, max_size=6),
    workers=st.integers(1, 9),
    data=st.data(),
)
def test_any_division_is_all_there_is(sizes: list[int], workers: int, data: st.DataObject) -> None:
    listing = shares._Listing("csv", (), None, False, tuple((str(n), n) for n in sizes))
    division = shares._Division(listing, workers)
    for number in {number for number, offset in division.even() if offset}:
        ways = st.none() | st.just((1,)) | st.lists(st.integers(1, 99), min_size=1).map(tuple)
        division.parts[number] = data.draw(ways)
    cuts = division.cuts()
    assert len(cuts) == workers + 1
    assert cuts == sorted(cuts)
    assert (cuts[0], cuts[-1]) == ((0, 0), (len(sizes), 0))
    assert all(offset < division.whole(number) for number, offset in cuts if offset)
    if None in division.parts.values() and min(sizes) > 3 * MIB * workers:
        starts = [0, *accumulate(sizes)]
        at = [starts[n] + (o if division.is_text(n) else 0) for n, o in cuts]
        assert max(at) == sum(sizes)


# Several hosts.


def test_hosts_with_the_same_files_divide_them(tmp_path: Path) -> None:
    for declared in (None, "FullyReplicated"):
        root = tmp_path / str(declared)
        hosts = [folder(root / str(i), declared, a=4 * MIB, b=2 * MIB) for i in range(2)]
        found = divided(hosts, 1, 2)
        assert parts(found) == [["train/a"], ["train/a from byte 2097152 on"], ["train/b"]]
        for dataset, host in zip(found, (0, 1, 1), strict=True):
            assert dataset is not None
            assert all(each.path.parent == hosts[host].path for each in dataset.sources)


def test_hosts_with_their_own_files_divide_those(tmp_path: Path) -> None:
    for declared in (None, "ShardedByS3Key"):
        root = tmp_path / str(declared)
        hosts = [folder(root / "0", declared, a=4), folder(root / "1", declared, b=4 * MIB)]
        found = divided(hosts, 1, 2)
        assert parts(found) == [["train/a"], ["train/b"], ["train/b from byte 2097152 on"]]
        assert first(found).notes[0] == (
            "train: 2 file(s) of 2 hosts divided among 3 workers by files and byte ranges"
        )


def test_a_host_without_the_channel_has_workers_without_rows(tmp_path: Path) -> None:
    empty = Channel("train", tmp_path / "none", distribution="ShardedByS3Key")
    for other in (None, empty):
        root = tmp_path / str(other is None)
        hosts = [other, folder(root, "ShardedByS3Key", b=8)]
        found = divided(hosts, 2, 1)
        assert parts(found) == [[], [], ["train/b"]]
        assert {dataset.format.name for dataset in found if dataset} == {"csv"}
        assert first(found).notes[-1] == "train: no rows for worker(s) 0, 1 of 0 to 2"


def test_a_role_that_no_host_has(tmp_path: Path) -> None:
    assert divided([None, None], 1, 1, role="validation") == [None, None]
    assert "Channel 'train' is missing or has no data" in refused([None, None], 1, 1)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (("FullyReplicated", {"a": 4, "b": 8}), ("FullyReplicated", {"a": 4}),
         "different files: train/b is 8 bytes on host 1 and missing on host 2"),
        (("FullyReplicated", {"a": 4}), ("FullyReplicated", {"a": 8}),
         "train/a is 4 bytes on host 1 and 8 bytes on host 2"),
        (("ShardedByS3Key", {"a": 4}), ("ShardedByS3Key", {"a": 4}), "would count several times"),
        ((None, {"a": 4, "b": 4}), (None, {"b": 4, "c": 4}),
         "some files are on several hosts and others are not, for example train/a"),
        ((None, {"a": 4}), ("ShardedByS3Key", {"b": 4}), "S3DistributionType is None on host 1"),
    ],
)  # fmt: skip
def test_hosts_that_do_not_agree(tmp_path: Path, one: Any, other: Any, said: str) -> None:
    hosts = [
        folder(tmp_path / str(i), each, **files) for i, (each, files) in enumerate((one, other))
    ]
    assert said in refused(hosts, 1, 1)


def test_hosts_with_different_formats(tmp_path: Path) -> None:
    hosts = [folder(tmp_path / "0", a=4), folder(tmp_path / "1", None, "text/libsvm", b=b"1 1:2\n")]
    assert "the format is 'csv' on host 1 and 'libsvm' on host 2" in refused(hosts, 1, 1)


def fifo(root: Path, distribution: str | None = None) -> Channel:
    import os

    root.mkdir()
    os.mkfifo(root / "train_0")
    return Channel("train", root / "train", CSV, "Pipe", distribution)


def test_a_fifo_is_read_by_the_first_worker_of_its_host(tmp_path: Path) -> None:
    assert parts(divided([fifo(tmp_path / "0")], 3)) == [["train_0"], [], []]
    hosts = [fifo(tmp_path / str(i), "ShardedByS3Key") for i in (1, 2)]
    assert parts(divided(hosts, 2, 2)) == [["train_0"], [], ["train_0"], []]


@pytest.mark.parametrize("declared", [None, "FullyReplicated"])
def test_a_fifo_that_sends_every_row_to_every_host(tmp_path: Path, declared: str | None) -> None:
    hosts = [fifo(tmp_path / str(i), declared) for i in (1, 2)]
    assert "is sent all rows through its FIFO" in refused(hosts, 1, 1)


# Reading.


def read(dataset: Dataset) -> list[tuple[Any, ...]]:
    reader = dataset.format.reader(DataOptions(), 1)
    found: list[tuple[Any, ...]] = []
    for each in dataset.checked():
        table = reader.open(each)
        layout = resolve(DataOptions(), table.names, table.width, each.name, csv=True)
        layout = replace(layout, number=frozenset({0}), text=frozenset({1}))
        for batch in table.batches(layout):
            found += zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return found


def test_every_byte_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(float(i), f"text {i % 7}") for i in range(300_000)]
    content = b"label,text\n" + b"".join(b"%d,%s\n" % (i, t.encode()) for i, t in rows)
    given = folder(tmp_path, a=content[: len(content) // 3], b=b"label,text\n7,text 0\n")
    (tmp_path / "train" / "c").write_bytes(content)
    taken: list[int] = []
    opened = source._opened

    class Spy:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def readinto(self, buffer: Any) -> int:
            n: int = self._file.readinto(buffer)
            taken.append(n)
            return n

        def read(self, size: int = -1) -> bytes:
            data: bytes = self._file.read(size)
            taken.append(len(data))
            return data

    monkeypatch.setattr(source, "_opened", lambda *each: Spy(opened(*each)))
    (tmp_path / "train" / "a").write_bytes(content)
    found = divided([given], 3)
    lists = [read(each) for each in found if each is not None]
    assert sum(map(bool, lists)) == 3
    assert [*chain(*lists)] == [*rows, (7.0, "text 0"), *rows]
    # Beside the rows: the beginnings of cut files, and the rest of the line at each cut.
    size = sum(file.stat().st_size for file in given.path.iterdir())
    windows = [each for one in found if one for each in one.sources if each.window]
    assert len(windows) == 4
    assert sum(taken) <= size + (len(windows) + 2) * 80_000


def windows_of(tmp_path: Path, content: bytes, cut: int) -> list[Dataset]:
    given = folder(tmp_path, a=content)
    dataset = channel.resolve({"train": given}, DataOptions()).datasets["train"]
    (only,) = dataset.sources
    return [
        replace(dataset, sources=(replace(only, window=window, file=only.name, name=name),))
        for window, name in (
            ((0, cut), "train/a"),
            ((cut, len(content)), f"train/a from byte {cut} on"),
        )
    ]


def test_a_cut_within_quotes_is_refused(tmp_path: Path) -> None:
    content = b'1,"a"\n' * 3 + b'2,"b\n3,c"\n' + b'1,"d"\n' * 3
    cut = content.index(b"\n3,c") + 1
    halves = windows_of(tmp_path, content, cut)

    def work(team: Team) -> None:
        table = halves[team.rank]
        (each,) = table.sources
        each.quotes = content[:cut].count(b'"') if team.rank == 0 else 1
        check_quotes(table.sources, team)

    with pytest.raises(DataError) as caught:
        threads.run(2, work)
    assert "train/a: has an odd number of quotes (7) before byte 23" in caught.value.cause
    assert "line breaks" in caught.value.remedy


def test_the_reader_counts_the_quotes_of_a_window(tmp_path: Path) -> None:
    content = b'1,"a"\n2,b\n3,"c"\n4,d\n5,"e""e"\n'
    halves = windows_of(tmp_path, content, 12)
    assert [*chain(*map(read, halves))] == [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, 'e"e')]
    counts = [each.quotes for half in halves for each in half.sources]
    assert counts == [4, 4]
    threads.run(2, lambda team: check_quotes(halves[team.rank].sources, team))
    threads.run(2, lambda team: check_quotes((), team))


@pytest.mark.parametrize(
    "content",
    [
        b"\n" * 70_000 + b"y,x\n1,a\n2,b\n",  # a header behind the sample
        "\ufeff  1 a\n2  b\n".encode(),  # blanks behind a byte order mark
    ],
)
@pytest.mark.parametrize("cut", [1, 4, 70_002])
def test_what_stands_before_the_rows_of_a_file(tmp_path: Path, content: bytes, cut: int) -> None:
    halves = windows_of(tmp_path, content, min(cut, len(content)))
    assert [*chain(*map(read, halves))] == [(1, "a"), (2, "b")]


def test_a_fault_beside_a_cut_within_quotes_says_so(tmp_path: Path) -> None:
    content = b"1,a\n" * 3 + b'2,"b\nmore"\n' + b"1,d\n" * 3
    halves = windows_of(tmp_path, content, content.index(b"more"))
    with pytest.raises(DataError) as caught:
        read(halves[1])
    assert caught.value.cause.startswith("train/a from byte 17 on: row 1 has 1 fields")
    assert "it cannot be divided among workers" in caught.value.remedy
    with pytest.raises(DataError) as caught:
        read(halves[0])
    assert "not closed" in caught.value.cause
    assert "it cannot be divided among workers" in caught.value.remedy


def test_a_file_that_has_grown_since_it_was_divided(tmp_path: Path) -> None:
    (found, _) = divided([folder(tmp_path, a=4 * MIB)], 2)
    with (tmp_path / "train" / "a").open("ab") as file:
        file.write(b"1,2\n")
    assert found is not None
    with pytest.raises(DataError, match="when it was divided among the workers"):
        read(found)


def test_a_parquet_file_that_has_changed_since_it_was_divided(tmp_path: Path) -> None:
    given = parquet_file(tmp_path, 4)
    (found, _) = divided([given], 2)
    pq.write_table(pa.table({"y": [1.0], "x": ["a"]}), given.path / "a.parquet")
    assert found is not None
    with pytest.raises(DataError, match="when it was divided among the workers"):
        read(found)


def test_a_window_is_named_by_where_its_rows_begin(tmp_path: Path) -> None:
    content = b"1,2\n" * 5 + b"1,2,3\n"
    halves = windows_of(tmp_path, content, 7)
    with pytest.raises(DataError) as caught:
        read(halves[1])
    assert caught.value.cause.startswith("train/a from byte 7 on: row 4 has 3 fields")
    assert "divided" not in caught.value.remedy


def test_sources_are_closed_that_others_read(tmp_path: Path) -> None:
    given = folder(tmp_path, a=400, b=400)
    looked_into = replace(given, content_type=None)

    def work(team: Team) -> tuple[Dataset, Dataset | None]:
        whole = channel.resolve({"train": looked_into}, DataOptions()).datasets["train"]
        assert whole.sources[0]._opened is not None
        return whole, divide(whole, "train", Seat(0, 1, team.rank, 2), team)

    for rank, (whole, share) in enumerate(threads.run(2, work)):
        assert share is not None
        assert share.sources == whole.sources[rank : rank + 1]
        assert whole.sources[1 - rank]._opened is None
        share.sources[0].close()


def test_notes_count_over_all_workers(tmp_path: Path) -> None:
    header = b"y,x\n"
    given = folder(tmp_path, a=b"1,2\n3,4\n", b=header + b"1,2\n", c=header, d=header + b"3,4\n")
    found = divided([given], 3)

    def notes(team: Team) -> list[str]:
        dataset = found[team.rank]
        assert dataset is not None
        reader = dataset.format.reader(DataOptions(), 1)
        reader.first = csv.First("train/a", ",", None)
        for each in dataset.sources:
            reader.open(each).close()
        reader.settle(team)
        return [*reader.notes]

    every = dict.fromkeys(chain(*threads.run(3, notes)))
    assert [*every] == [
        "2 file(s) have a header that the first file has not, and are read by position "
        "(first in train/b)",
        "1 file(s) have a header and no row (first in train/c)",
    ]


def test_notes_on_libsvm_are_of_all_rows(tmp_path: Path) -> None:
    given = folder(tmp_path, None, "text/libsvm", a=b"1:2 3:4\n", b=b"1:2 1:5\n")
    found = divided([given], 2)

    def notes(team: Team) -> list[str]:
        dataset = found[team.rank]
        assert dataset is not None
        reader = libsvm.Reader(DataOptions(), 1)
        for each in dataset.sources:
            assert len(list(reader.read(each))) == 1
        reader.settle(team)
        return reader.notes

    one, other = threads.run(2, notes)
    assert one == other
    assert one[0] == "the number after the label's colon is the row's weight"
    assert one[1].startswith("indices start at 1 ")


def shared_by_processes(team: Team, root: Path) -> list[tuple[Any, ...]]:
    given = Channel("train", root / "train", CSV)
    inputs = channel.resolve({"train": given}, DataOptions(), several_hosts=True)
    dataset = divide(inputs.datasets["train"], "train", Seat(0, 1, team.rank, team.size), team)
    assert dataset is not None
    found = read(dataset)
    check_quotes(dataset.sources, team)
    return found


def test_workers_that_are_processes(tmp_path: Path) -> None:
    rows = [(float(i), f"text {i % 7}") for i in range(200_000)]
    folder(tmp_path, a=b"".join(b"%d,%s\n" % (i, t.encode()) for i, t in rows))
    one, other = teams.run(2, shared_by_processes, tmp_path)
    assert min(len(one), len(other)) > 80_000
    assert one + other == rows
