"""Which worker reads what: the files of a channel divided into contiguous shares.

The shares of workers 0, 1, 2 … end to end are all files in reading order, so that each row is read
by one worker, once. Shares are even by bytes. Uncompressed text is cut between any two lines and
Parquet between row groups; everything else is read by one worker from end to end. Only files
that a cut would fall into are looked at before they are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Never

from treeline.data.channel import Dataset
from treeline.data.formats import FORMATS
from treeline.errors import ChannelError, DataError

if TYPE_CHECKING:
    from treeline.data.source import Source
    from treeline.team import Team

SMALLEST = 1 << 20  # bytes of a text that are worth a worker of their own
_SAMPLE = 1 << 16  # bytes that show whether a text can be cut at its line ends

_TEXTS = ("csv", "libsvm")
REPLICATED, SHARDED = "FullyReplicated", "ShardedByS3Key"
_DECLARE = f"Declare the channel's S3DistributionType as {SHARDED} or {REPLICATED}."

# A place between two rows: the number of a file, and bytes or row groups from its beginning.
type Cut = tuple[int, int]
# How a file can be cut: anywhere (None), nowhere (one part), or between parts of these sizes.
type Parts = tuple[int, ...] | None


@dataclass(frozen=True)
class Seat:
    """Where a worker is: on host ``host`` of ``hosts``, there worker ``local`` of ``locals``.

    Workers are ranked by host, then by ``local``; hosts may differ in ``locals``.
    """

    host: int
    hosts: int
    local: int
    locals: int


@dataclass(frozen=True)
class _Listing:
    """What one host has of a channel: its files in reading order, by name and size."""

    format: str
    partition_names: tuple[str, ...]
    distribution: str | None
    fifo: bool
    files: tuple[tuple[str, int], ...]


def divide(dataset: Dataset | None, role: str, seat: Seat, team: Team) -> Dataset | None:
    """Return the data set with this worker's sources only, None if no host has the role.

    Collective. ``dataset`` is what this worker's host has, None for nothing. The first worker's
    notes say how the rows are divided. A worker without rows gets a data set without sources.
    ``bytes`` are those of all workers. Raises ``ChannelError`` for hosts whose files cannot be
    those of one job, and for ``train`` without a file on any host.
    """
    if team.alone and dataset is not None:
        return dataset
    seats: list[Seat] = team.gather(seat)
    own = _listing(dataset) if dataset is not None and seat.local == 0 else None
    found = [(at, each) for at, each in zip(seats, team.gather(own), strict=True) if at.local == 0]
    listings = [each for _, each in found]
    first = next((each for each in listings if each is not None), None)
    if first is None:
        if role == "train":
            raise ChannelError(
                f"Channel 'train' is missing or has no data, on each of {seat.hosts} host(s)",
                "Give the job an input channel named train (or training) with files, and check "
                "its S3 prefix.",
            )
        return None
    _check_alike(role, listings)
    readers = [1 if first.fifo else at.locals for at, _ in found]
    if shared := _is_replicated(role, listings):
        divisions = [_Division(first, sum(readers))]
    else:
        divisions = [_Division(each, count) for each, count in zip(listings, readers, strict=True)]
    _look(divisions, 0 if shared else seat.host, dataset, seat, team)
    cuts = [division.cuts() for division in divisions]
    spans = [_span(at, seats, cuts, shared=shared, fifo=first.fifo) for at in seats]
    begin, end = spans[team.rank]
    sources: tuple[Source, ...] = ()
    if dataset is not None:
        sources = _sources(dataset, divisions[0 if shared else seat.host], begin, end)
        for source in {*dataset.sources}.difference(sources):
            source.close()
    notes = dataset.notes if dataset is not None else ()
    if team.leads:
        idle = [rank for rank, (begin, end) in enumerate(spans) if begin == end]
        notes = (*notes, *_notes(role, divisions, cuts, len(seats), idle))
    return Dataset(
        role,
        dataset.root if dataset is not None else Path(),
        sources,
        FORMATS[first.format],
        notes,
        0 if first.fifo else sum(division.total for division in divisions),
        first.partition_names,
        first.distribution,
    )


def check_quotes(sources: Iterable[Source], team: Team) -> None:
    """Refuse a CSV file that was cut within a quoted field; to be called once it has been read.

    Collective. A cut is within quotes if an odd number of them stands before it in the file.
    """
    own = [
        (source.window[0], source.quotes, source.file or source.name)
        for source in sources
        if source.window is not None
    ]
    before = 0
    for begin, quotes, name in (each for one in team.gather(own) for each in one):
        if begin == 0:
            before = 0
        elif before % 2:
            raise DataError(
                f"{name}: has an odd number of quotes ({before:,}) before byte {begin:,}, where "
                "it is divided among the workers: a field with a line break may have been cut",
                "A CSV file with line breaks, or with single quotes, inside its fields cannot be "
                "divided: give several smaller files, or Parquet, or train on one worker.",
            )
        before += quotes


def _listing(dataset: Dataset) -> _Listing:
    fifo = any(source.fifo for source in dataset.sources)
    return _Listing(
        dataset.format.name,
        dataset.partition_names,
        dataset.distribution,
        fifo,
        tuple((each.name, 1 if fifo else each.on_disk()) for each in dataset.sources),
    )


# Whose files are whose.


def _check_alike(role: str, listings: Sequence[_Listing | None]) -> None:
    """Refuse hosts that read the channel differently."""
    given = [(host, each) for host, each in enumerate(listings) if each is not None]
    host, first = given[0]
    for other, each in given[1:]:
        for what, one, two in (
            ("the format", first.format, each.format),
            ("the partition columns", first.partition_names, each.partition_names),
            ("S3DistributionType", first.distribution, each.distribution),
            ("a FIFO", first.fifo, each.fifo),
        ):
            if one != two:
                raise ChannelError(
                    f"Channel {role!r}: {what} is {one!r} on host {host + 1} and {two!r} on host "
                    f"{other + 1}",
                    "Give all hosts the same input channels, with files of one format.",
                )


def _is_replicated(role: str, listings: Sequence[_Listing | None]) -> bool:
    """Return whether all hosts have the same files; False where each has its own."""
    if len(listings) == 1:
        return True
    first = next(each for each in listings if each is not None)
    files = [each.files if each is not None else () for each in listings]
    same = all(each == files[0] for each in files)
    declared = first.distribution
    if first.fifo and declared != SHARDED:
        raise ChannelError(
            f"Channel {role!r}: S3DistributionType is {declared}, so that each of "
            f"{len(files)} hosts is sent all rows through its FIFO",
            f"Set S3DistributionType to {SHARDED}, or TrainingInputMode to File.",
        )
    if declared == SHARDED:
        if same and not first.fifo:
            raise ChannelError(
                f"Channel {role!r}: S3DistributionType is {SHARDED}, but all {len(files)} hosts "
                f"have the same files ({files[0][0][0]}, …), whose rows would count several times",
                f"Set S3DistributionType to {REPLICATED}, or give each host files of its own.",
            )
        return False
    if same:
        return True
    if declared == REPLICATED:
        _refuse_different(role, files)
    names = [{name for name, _ in each} for each in files]
    if sum(map(len, names)) != len(set().union(*names)):
        raise ChannelError(
            f"Channel {role!r}: some files are on several hosts and others are not, for example "
            f"{_differing(files)[1]}; S3DistributionType is not declared",
            _DECLARE,
        )
    return False


def _refuse_different(role: str, files: Sequence[tuple[tuple[str, int], ...]]) -> Never:
    host, name = _differing(files)
    sizes = [dict(files[i]).get(name) for i in (0, host)]
    here, there = (f"{size:,} bytes" if size is not None else "missing" for size in sizes)
    raise ChannelError(
        f"Channel {role!r}: S3DistributionType is {REPLICATED}, but the hosts have different "
        f"files: {name} is {here} on host 1 and {there} on host {host + 1}",
        f"Set S3DistributionType to {SHARDED} if each host has its own files, or give all hosts "
        "the same.",
    )


def _differing(files: Sequence[tuple[tuple[str, int], ...]]) -> tuple[int, str]:
    """Return the first host that has not the files of host 0, and a file that differs."""
    host = next(i for i, each in enumerate(files) if each != files[0])
    return host, min({*files[0]} ^ {*files[host]})[0]


# Where the files are cut.


class _Division:
    """The files of a host, or of all hosts alike, to be divided among ``workers``."""

    def __init__(self, listing: _Listing | None, workers: int) -> None:
        self.format = listing.format if listing is not None else ""
        self.sizes = [size for _, size in listing.files] if listing is not None else []
        self.total = sum(self.sizes)
        self.parts: dict[int, Parts] = {}  # of the files that an even division cuts
        self._workers = workers

    def even(self) -> list[Cut]:
        """Return where cuts stand that divide the bytes evenly."""
        found = []
        number = start = 0
        for worker in range(1, self._workers):
            target = self.total * worker // self._workers
            while number < len(self.sizes) and start + self.sizes[number] <= target:
                start += self.sizes[number]
                number += 1
            found.append((number, target - start))
        return found

    def cuts(self) -> list[Cut]:
        """Return the cuts before, between and after the workers' shares, in order."""
        cuts = [(0, 0)]
        for number, offset in self.even():
            cut = self._allowed(number, offset) if offset else (number, 0)
            before = cuts[-1]
            if cut[0] == before[0] and self.is_text(cut[0]) and 0 < cut[1] - before[1] < SMALLEST:
                cut = before
            cuts.append(max(cut, before))
        return [*cuts, (len(self.sizes), 0)]

    def is_text(self, number: int) -> bool:
        """Whether file ``number`` is a text that can be cut anywhere."""
        return self.parts.get(number, ()) is None

    def whole(self, number: int) -> int:
        """Return where file ``number`` ends, in the unit of its cuts."""
        parts = self.parts[number]
        return self.sizes[number] if parts is None else len(parts)

    def _allowed(self, number: int, offset: int) -> Cut:
        """Return the place nearest to byte ``offset`` where file ``number`` can be cut."""
        size, parts = self.sizes[number], self.parts[number]
        if parts is None:
            if SMALLEST <= offset <= size - SMALLEST:
                return number, offset
            return (number, 0) if 2 * offset <= size else (number + 1, 0)
        places = [0, *accumulate(parts)]
        wanted = offset / size * places[-1]
        nearest = min(range(len(places)), key=lambda i: abs(places[i] - wanted))
        return (number, nearest) if nearest < len(parts) else (number + 1, 0)


def _look(
    divisions: Sequence[_Division], number: int, dataset: Dataset | None, seat: Seat, team: Team
) -> None:
    """Find out how the files can be cut that a cut would fall into; each is looked at once."""
    looks = seat.local == 0 and seat.host == number and dataset is not None
    own: dict[int, Parts] = {}
    if looks and dataset is not None:
        inside = {at for at, offset in divisions[number].even() if offset}
        own = {at: _parts(dataset.sources[at], dataset.format.name) for at in sorted(inside)}
    for host, parts in team.gather((number, own) if looks else (number, {})):
        divisions[host].parts |= parts


def _parts(source: Source, format_: str) -> Parts:
    whole = (1,)
    if source.fifo or source.compression is not None:
        return whole
    if format_ == "parquet":
        from treeline.data import parquet

        sizes = tuple(parquet.group_sizes(source))
        return sizes if sum(sizes) else whole
    plain = format_ == "libsvm" or (format_ == "csv" and _is_plain(source.head(_SAMPLE)))
    return None if plain else whole


def _is_plain(sample: bytes) -> bool:
    """Whether every line of a CSV closes its quotes, and lines end in newlines."""
    lines = sample.split(b"\n")[:-1]
    whole = all(line.count(b'"') % 2 == 0 and b"\r" not in line[:-1] for line in lines)
    return whole and bool(lines)


# What a worker takes.


def _span(
    at: Seat, seats: Sequence[Seat], cuts: Sequence[Sequence[Cut]], *, shared: bool, fifo: bool
) -> tuple[Cut, Cut]:
    """Return between which cuts the worker at ``at`` reads; the same two for nothing."""
    if fifo and at.local:
        return (0, 0), (0, 0)
    number, place = (0, seats.index(at)) if shared else (at.host, at.local)
    return cuts[number][place], cuts[number][place + 1]


def _sources(dataset: Dataset, division: _Division, begin: Cut, end: Cut) -> tuple[Source, ...]:
    """Return what stands between two cuts."""
    found = []
    for number in range(begin[0], end[0] + (end[1] > 0)):
        first = begin[1] if number == begin[0] else 0
        last = end[1] if number == end[0] else None
        source = dataset.sources[number]
        if first or last is not None:
            last = division.whole(number) if last is None else last
            unit = "byte" if division.is_text(number) else "row group"
            source = replace(
                source,
                name=f"{source.name} from {unit} {first} on" if first else source.name,
                window=(first, last),
                size=division.sizes[number],
                file=source.name,
            )
        if last is None or first < last:
            found.append(source)
    return tuple(found)


def _notes(
    role: str,
    divisions: Sequence[_Division],
    cuts: Sequence[Sequence[Cut]],
    workers: int,
    idle: Sequence[int],
) -> list[str]:
    units = {
        "byte ranges" if division.is_text(number) else "row groups"
        for division, each in zip(divisions, cuts, strict=True)
        for number, offset in each
        if offset
    }
    files = sum(len(division.sizes) for division in divisions)
    hosts = f" of {len(divisions)} hosts" if len(divisions) > 1 else ""
    how = " and ".join(("files", *sorted(units)))
    notes = [f"{role}: {files} file(s){hosts} divided among {workers} workers by {how}"]
    if idle:
        which = ", ".join(map(str, idle))
        notes.append(f"{role}: no rows for worker(s) {which} of 0 to {workers - 1}")
    return notes
