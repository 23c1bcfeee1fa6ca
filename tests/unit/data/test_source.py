"""The bytes of a file or a FIFO: decompressed, whole, and refused when they cannot be."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import combinations_with_replacement, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv, ipc

from treeline.data import source as module
from treeline.data.source import Source
from treeline.errors import ChannelError, DataError, ResourceError, Stopped

ROWS = b"".join(b"%d,%d\n" % (i, i * i) for i in range(20_000))


def zstd(data: bytes) -> bytes:
    compressed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return compressed


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "bz2": lambda data: bz2.compress(data, 1),
    "zstd": zstd,
}


def put(tmp_path: Path, data: bytes, name: str = "a.csv") -> Source:
    (tmp_path / name).write_bytes(data)
    return Source(tmp_path / name, f"train/{name}")


def content(source: Source) -> bytes:
    with source.stream() as stream:
        return stream.read()


def refused(source: Source) -> DataError:
    with pytest.raises(DataError) as caught:
        content(source)
    assert caught.value.cause.startswith(f"{source.name}: ")
    assert "\n" not in caught.value.cause
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("data", [ROWS, b"x", b"no newline"])
def test_a_plain_file(tmp_path: Path, data: bytes) -> None:
    source = put(tmp_path, data)
    assert source.compression is None
    assert (content(source), content(source)) == (data, data)
    assert source.random_access() == tmp_path / "a.csv"


def test_the_stream_is_what_python_and_arrow_read_from(tmp_path: Path) -> None:
    source = put(tmp_path, gzip.compress(ROWS))
    with source.stream() as stream:
        assert (stream.readline(), stream.read(5)) == (b"0,0\n", b"1,1\n2")
        rest = bytearray(3)
        assert stream.readinto(rest) == 3  # type: ignore[attr-defined]
        assert (bytes(rest), stream.readable(), stream.seekable()) == (b",4\n", True, False)
        assert b"".join(stream) == ROWS[len(b"0,0\n1,1\n2,4\n") :]
        assert stream.read(1) == b""
    assert csv.read_csv(source.stream()).num_rows == 19_999
    reader = csv.open_csv(source.stream(), read_options=csv.ReadOptions(block_size=4096))
    assert sum(batch.num_rows for batch in reader) == 19_999
    batch = pa.record_batch({"x": [1.5, 2.5]})
    sink = io.BytesIO()
    with ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    assert ipc.open_stream(put(tmp_path, zstd(sink.getvalue())).stream()).read_all().num_rows == 2


@pytest.mark.parametrize("name", COMPRESS)
def test_compression_is_told_by_the_first_bytes_not_by_the_name(tmp_path: Path, name: str) -> None:
    source = put(tmp_path, COMPRESS[name](ROWS), "a.csv")
    assert source.compression == name
    assert content(source) == ROWS
    source = put(tmp_path, ROWS, "b.csv.gz")
    assert (source.compression, content(source)) == (None, ROWS)


@pytest.mark.parametrize("text", [b"BZh,a\n1,2\n", b"BZh9,a\n", b"(\xb5/,1\n", b"\x1f\x8b,"])
def test_text_that_begins_like_a_compression_is_text(tmp_path: Path, text: bytes) -> None:
    source = put(tmp_path, text)
    assert (source.compression, content(source)) == (None, text)


@pytest.mark.parametrize("name", COMPRESS)
def test_all_members_are_read_whatever_their_sizes(tmp_path: Path, name: str) -> None:
    draw = random.Random(3)
    for _ in range(12):
        sizes = [draw.choice([0, 1, 1000, 65_530, 65_536, 150_000]) for _ in range(4)]
        parts = [draw.choice([draw.randbytes(size), b"1,2\n" * (size // 4)]) for size in sizes]
        whole = b"".join(COMPRESS[name](part) for part in parts)
        assert content(put(tmp_path, whole)) == b"".join(parts), sizes


def test_zstd_frames_to_be_skipped(tmp_path: Path) -> None:
    skipped = struct.pack("<II", 0x184D2A53, 5) + b"hello"
    source = put(tmp_path, skipped + zstd(b"1,2\n") + skipped + zstd(b"3,4\n"))
    assert (source.compression, content(source)) == ("zstd", b"1,2\n3,4\n")


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("cut", ["middle", "last byte", "second header"])
def test_a_compressed_file_that_is_cut_off(tmp_path: Path, name: str, cut: str) -> None:
    one = COMPRESS[name](ROWS)
    data = {"middle": one[: len(one) // 2], "last byte": one[:-1], "second header": one + one[:3]}
    error = refused(put(tmp_path, data[cut]))
    assert error.cause.startswith(f"train/a.csv: the {name} stream ends early: after about ")
    if cut == "second header":  # what was decompressed last may not have been handed out
        given = int(error.cause.split()[-5].replace(",", ""))
        assert len(ROWS) - 65_536 <= given <= len(ROWS)


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("tail", [b"garbage" * 9, bytes(64), b"1,2\n" * 50_000])
def test_bytes_after_the_compressed_data(tmp_path: Path, name: str, tail: bytes) -> None:
    error = refused(put(tmp_path, COMPRESS[name](b"1,2\n") + tail))
    assert f"the {name} stream is damaged (" in error.cause


@pytest.mark.parametrize("name", ["gzip", "bz2"])
def test_a_damaged_compressed_file(tmp_path: Path, name: str) -> None:
    data = bytearray(COMPRESS[name](random.Random(1).randbytes(200_000)))
    data[120_000] ^= 0xFF
    assert f"the {name} stream is damaged (" in refused(put(tmp_path, bytes(data))).cause


def test_a_compressed_file_of_nothing(tmp_path: Path) -> None:
    for compress in COMPRESS.values():
        assert content(put(tmp_path, compress(b""))) == b""


def test_the_error_reaches_who_reads_through_arrow(tmp_path: Path) -> None:
    source = put(tmp_path, gzip.compress(ROWS)[:-100])
    with pytest.raises(DataError, match="ends early"):
        csv.read_csv(source.stream())


def test_the_head_is_looked_at_without_being_lost(tmp_path: Path) -> None:
    for data in (ROWS, gzip.compress(ROWS)):
        source = put(tmp_path, data)
        assert source.head(7) == ROWS[:7]
        assert source.head() == ROWS[:4096]
        assert source.head(5) == ROWS[:5]
        assert (content(source), source.head(30_000)) == (ROWS, ROWS[:30_000])
        assert content(source) == ROWS
        source.close()
    assert put(tmp_path, b"1,2\n").head() == b"1,2\n"


def test_head_and_stream_open_the_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    real = module._opened

    def counted(path: Path, name: str) -> io.FileIO:
        opened.append(path)
        return real(path, name)

    monkeypatch.setattr(module, "_opened", counted)
    source = put(tmp_path, ROWS)
    assert source.head(10) + content(source)[10:] == ROWS
    assert len(opened) == 1


def test_closing_gives_everything_back(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for data in (ROWS, zstd(ROWS)):
        source = put(tmp_path, data)
        source.head()
        source.close()
        source.close()
        with source.stream() as stream:
            stream.read(10)
        copy = source.random_access()
        if not isinstance(copy, Path):
            copy.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("how", ["append", "rewrite", "replace", "touch", "remove"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, how: str, compressed: bool) -> None:
    source = put(tmp_path, gzip.compress(ROWS, 0) if compressed else ROWS)
    data = source.path.read_bytes()
    stream = source.stream()
    stream.read(10)
    if how == "append":
        with source.path.open("ab") as file:
            file.write(gzip.compress(b"1,2\n"))
    elif how == "rewrite":
        source.path.write_bytes(data[::-1])
        source.path.write_bytes(data)
        os.utime(source.path, ns=(1, 1))
    elif how == "replace":
        times = source.path.stat()
        (tmp_path / "new").write_bytes(data)
        os.utime(tmp_path / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
        (tmp_path / "new").rename(source.path)
    elif how == "touch":
        os.utime(source.path, ns=(1, 1))
    else:
        source.path.unlink()
    with stream, pytest.raises(DataError) as caught:
        stream.read()
    expected = {
        "append": "changed while it was read (its size is not what it was)",
        "rewrite": "changed while it was read (its time is not what it was)",
        "replace": "changed while it was read (its identity is not what it was)",
        "touch": "changed while it was read (its time is not what it was)",
        "remove": "cannot be read: No such file or directory",
    }
    assert caught.value.cause == f"train/a.csv: {expected[how]}"


def test_storage_that_gives_less_than_the_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = put(tmp_path, ROWS)

    class Short(io.FileIO):
        def readinto(self, buffer: Any, /) -> int | None:
            return super().readinto(buffer) if self.tell() < 8000 else 0

    monkeypatch.setattr(io, "FileIO", Short)
    error = refused(source)
    assert "ends after " in error.cause
    assert error.cause.endswith(f" bytes of {len(ROWS):,}")


def test_a_file_read_by_its_path_can_be_watched(tmp_path: Path) -> None:
    source = put(tmp_path, ROWS)
    with source.watched():
        source.path.read_bytes()
    with pytest.raises(DataError, match="changed while it was read"), source.watched():
        os.utime(source.path, ns=(1, 1))
    with pytest.raises(ZeroDivisionError), source.watched():  # the first error is what counts
        source.path.write_bytes(b"%d" % (1 / 0))
    source.path.unlink()
    with pytest.raises(DataError, match="No such file"), source.watched():
        pass


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path: Path) -> None:
    assert "No such file" in refused(Source(tmp_path / "gone", "train/gone")).cause
    assert "s a directory" in refused(Source(tmp_path, "train/x")).cause


@pytest.mark.parametrize("name", COMPRESS)
def test_compressed_data_can_be_sought_in_a_temporary_copy(tmp_path: Path, name: str) -> None:
    source = put(tmp_path, COMPRESS[name](ROWS))
    spool = source.random_access()
    assert not isinstance(spool, Path)
    with spool:
        assert spool.read() == ROWS
        assert spool.seek(-5, os.SEEK_END) == len(ROWS) - 5
        assert spool.read() == ROWS[-5:]


def test_a_full_temporary_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(tmp_path, gzip.compress(ROWS))
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(Path("/dev/full").open, "wb"))
    with pytest.raises(ResourceError) as caught:
        source.random_access()
    assert f"train/a.csv: its bytes do not fit into {tempfile.gettempdir()}" in caught.value.cause
    assert "MiB are free (No space left on device)" in caught.value.cause
    assert "TMPDIR" in caught.value.remedy
    assert caught.value.exit_status == 1


def test_no_temporary_folder_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(tmp_path, gzip.compress(ROWS))

    def gone() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", gone)
    monkeypatch.setattr(tempfile, "gettempdir", gone)
    with pytest.raises(ResourceError, match="No usable temporary directory"):
        source.random_access()


def test_a_cut_off_file_is_no_lack_of_room(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ends early"):
        put(tmp_path, gzip.compress(ROWS)[:-50]).random_access()


# FIFOs

READ: dict[bool, Callable[[Any], object]] = {
    False: lambda stream: stream.read(),
    True: csv.read_csv,  # which reads in a thread of Arrow's
}


def fifo(tmp_path: Path, **more: Any) -> Source:
    path = tmp_path / "train_0"
    if not path.exists():
        os.mkfifo(path)
    return Source(path, "train_0", fifo=True, **more)


@contextmanager
def writer(source: Source, *parts: bytes, hold: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """Write the parts from another process, one flush each; with ``hold``, do not close then."""
    program = (
        "import sys, time\n"
        "data = open(sys.argv[2], 'rb')\n"
        "fifo = open(sys.argv[1], 'wb', buffering=0)\n"
        "for size in map(int, sys.argv[4:]):\n"
        "    fifo.write(data.read(size)); time.sleep(0.01)\n"
        "print('written', flush=True)\n"
        "time.sleep(60 * int(sys.argv[3]))\n"
    )
    data = source.path.with_name("to-write")
    data.write_bytes(b"".join(parts))
    command = [sys.executable, "-I", "-S", "-c", program, str(source.path), str(data)]
    command += [str(int(hold)), *(str(len(part)) for part in parts)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def killed_after_writing(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    os.kill(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("compress", [bytes, *COMPRESS.values()])
def test_a_fifo_is_read_to_its_end(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    source = fifo(tmp_path)
    data = compress(ROWS)
    with writer(source, data[:1], data[1:3], data[3:70_000], data[70_000:]):
        assert source.head(20) == ROWS[:20]
        with source.text_stream() as stream:
            assert stream.read() == ROWS
            assert stream.read() == b""


def test_a_fifo_can_be_read_once(tmp_path: Path) -> None:
    source = fifo(tmp_path)
    with writer(source, ROWS):
        assert content(source) == ROWS
    with pytest.raises(ChannelError) as caught:
        source.stream()
    assert caught.value.cause == "train_0: the data of a Pipe channel can be read only once"
    assert "File or FastFile" in caught.value.remedy


def test_a_fifo_can_be_sought_in_a_temporary_copy(tmp_path: Path) -> None:
    source = fifo(tmp_path)
    with writer(source, ROWS):
        spool = source.random_access()
    assert not isinstance(spool, Path)
    with spool:
        spool.seek(len(ROWS) - 3)
        assert spool.read() == ROWS[-3:]
    with source.watched():
        pass


@pytest.mark.parametrize("head", [True, False])
def test_a_fifo_that_ends_without_a_byte(tmp_path: Path, head: bool) -> None:
    source = fifo(tmp_path)
    with writer(source), pytest.raises(ChannelError) as caught:
        source.head() if head else source.stream().read()
    assert caught.value.cause == "train_0: the FIFO ended without a single byte"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STEP", 0.02)


@pytest.mark.usefixtures("quick")
def test_a_writer_that_never_comes(tmp_path: Path) -> None:
    source = fifo(tmp_path, first_byte_timeout=0.1)
    with pytest.raises(DataError) as caught:
        source.head()
    assert caught.value.cause == "train_0: nothing was written to the FIFO for 0.1 seconds"


@pytest.mark.usefixtures("quick")
def test_a_writer_that_is_late_or_slow_is_waited_for(tmp_path: Path) -> None:
    source = fifo(tmp_path, first_byte_timeout=60)
    timer = threading.Timer(0.1, lambda: source.path.write_bytes(ROWS))
    timer.start()
    assert content(source) == ROWS
    timer.join()
    # After the first byte there is no limit.
    source = fifo(tmp_path, first_byte_timeout=2)
    with writer(source, ROWS[:41], hold=True) as process:
        assert source.head(41) == ROWS[:41]
        timer = threading.Timer(2.5, process.kill)
        timer.start()
        with source.text_stream() as stream:
            assert stream.read() == ROWS[:41]
        timer.join()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("data", [b"", b"1,2\n", gzip.compress(ROWS)[:5000]])
@pytest.mark.parametrize("through_arrow", [False, True])
def test_whoever_waits_for_a_fifo_can_be_stopped(
    tmp_path: Path, data: bytes, through_arrow: bool
) -> None:
    looks = []

    def check() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise Stopped

    source = fifo(tmp_path, check=check)
    with writer(source, data, hold=True), pytest.raises(Stopped):
        READ[through_arrow](source.text_stream())
    assert len(looks) == 3


@pytest.mark.parametrize("through_arrow", [False, True])
def test_a_killed_writer_of_text_shows_in_a_row_without_an_end(
    tmp_path: Path, through_arrow: bool
) -> None:
    source = fifo(tmp_path)
    with writer(source, ROWS[:60_001], hold=True) as process:
        stream = source.text_stream()
        assert ROWS[60_000:60_001] != b"\n"
        killed_after_writing(process)
        with stream, pytest.raises(DataError) as caught:
            READ[through_arrow](stream)
    assert caught.value.cause == (
        "train_0: the stream ends in the middle of a row, without a newline"
    )
    assert "newline" in caught.value.remedy


@pytest.mark.parametrize("name", COMPRESS)
def test_a_killed_writer_of_compressed_data_shows_as_a_stream_cut_off(
    tmp_path: Path, name: str
) -> None:
    source = fifo(tmp_path)
    with writer(source, COMPRESS[name](ROWS)[:20_000], hold=True) as process:
        stream = source.stream()
        killed_after_writing(process)
        with stream, pytest.raises(DataError, match=f"the {name} stream ends early"):
            stream.read()


def test_only_text_from_a_fifo_has_to_end_its_last_row(tmp_path: Path) -> None:
    with put(tmp_path, b"1,2\n3,4").text_stream() as stream:
        assert stream.read() == b"1,2\n3,4"
    source = fifo(tmp_path)
    with writer(source, b"PAR1 not text"):
        assert content(source) == b"PAR1 not text"
    source = fifo(tmp_path)
    with writer(source, gzip.compress(b"")), source.text_stream() as stream:
        assert stream.read() == b""  # no row at all is for the reader to say


# Windows of a text


@pytest.mark.parametrize("text", [b"a\nbb\n\nccc\nd", b"\n\na\n", b"abc", b"abc\n", b"\r\na\r\n"])
def test_a_line_is_in_the_window_that_has_its_first_byte(tmp_path: Path, text: bytes) -> None:
    source = put(tmp_path, text)
    starts = [0, *(i + 1 for i, byte in enumerate(text[:-1]) if byte == ord("\n")), len(text)]
    lines = {begin: text[begin:end] for begin, end in pairwise(starts)}
    for begin, end in combinations_with_replacement(range(len(text) + 1), 2):
        expected = b"".join(line for start, line in lines.items() if begin <= start < end)
        with replace(source, window=(begin, end)).text_stream() as stream:
            assert stream.read() == expected, (begin, end)


def test_the_first_bytes_of_a_file_can_be_left_out_of_its_windows(tmp_path: Path) -> None:
    source = put(tmp_path, b"head\nline\n1\n2\n3\n")
    for cut in range(17):
        found = b""
        for window in ((0, cut), (cut, 16)):
            with replace(source, window=window).text_stream(skip=10) as stream:
                found += stream.read()
        assert found == b"1\n2\n3\n"


def test_a_window_is_read_and_little_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"".join(b"%099d\n" % i for i in range(20_000))
    source = replace(put(tmp_path, text), window=(500_050, 1_000_050))
    files: list[io.FileIO] = []
    opened = module._opened

    def noted(*each: Any) -> io.FileIO:
        files.append(opened(*each))
        return files[-1]

    monkeypatch.setattr(module, "_opened", noted)
    with source.text_stream() as stream:
        found = stream.read()
        assert found == text[500_100:1_000_100]
        assert files[0].tell() <= 1_000_050 + module.HEAD_SIZE
    assert len(files) == 1


def test_a_line_longer_than_what_is_read_at_a_time(tmp_path: Path) -> None:
    text = b"a\n" + b"b" * 1_000_000 + b"\nc\n"
    source = put(tmp_path, text)
    expected = {(0, 2): text[:2], (1, 3): text[2:-2], (3, 900_000): b"", (3, len(text)): b"c\n"}
    for window, lines in expected.items():
        with replace(source, window=window).text_stream() as stream:
            assert stream.read() == lines


def test_a_window_of_a_file_that_is_not_what_it_was(tmp_path: Path) -> None:
    source = replace(put(tmp_path, ROWS), window=(0, 1000), size=len(ROWS) + 1)
    with pytest.raises(DataError, match="when it was divided among the workers"):
        source.text_stream()
    with pytest.raises(DataError, match="when it was divided"), source.watched():
        pass
    source = replace(source, size=len(ROWS))
    with source.text_stream() as stream:
        os.utime(source.path, (1, 1))
        with pytest.raises(DataError, match="changed while it was read"):
            stream.read()
    source = replace(source, window=(1000, len(ROWS)), size=None)
    with source.text_stream() as stream:
        os.truncate(source.path, 2000)
        with pytest.raises(DataError, match=r"ends after 2,000 bytes of \d+"):
            stream.read()
