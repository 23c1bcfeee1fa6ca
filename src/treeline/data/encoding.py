"""Text as numbers: every distinct text of a column gets a code, and the codes keep their text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Floats = NDArray[np.float32]

MISSING = -1


class Categories:
    """The distinct texts of one column, learned block by block, or known from earlier data.

    Where they are known, a text that is not among them is missing, and ``unseen`` counts it.
    """

    def __init__(self, known: Sequence[str] | None = None) -> None:
        self._codes: dict[str, int] = {text: i for i, text in enumerate(known or ())}
        self._closed = known is not None
        self.unseen: Counter[str] = Counter()

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text, in the order of the codes."""
        return tuple(self._codes)

    @property
    def open(self) -> bool:
        """Whether texts are learned, so that codes may still move."""
        return not self._closed

    def codes(self, column: pa.Array) -> Codes:
        """Return (rows,) the code of every row's text, ``MISSING`` for null and the unseen."""
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        texts = column.dictionary.to_pylist()
        indices = values(column.indices, np.dtype(np.int32), fill=MISSING)
        present = indices[indices != MISSING]
        # A dictionary may hold texts that no row uses; they are no categories of this data.
        counts = np.bincount(present, minlength=len(texts))
        table = np.full(len(texts) + 1, MISSING, np.int64)  # the last one: an index of -1, null
        for i in np.flatnonzero(counts):
            table[i] = self._code(texts[i], int(counts[i]))
        codes: Codes = table[indices]
        return codes

    def _code(self, text: str | None, count: int) -> int:
        if text is None:
            return MISSING
        if not self._closed:
            return self._codes.setdefault(text, len(self._codes))
        code = self._codes.get(text, MISSING)
        if code == MISSING:
            self.unseen[text] += count
        return code

    def order(self, others: Iterable[str] = ()) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
        """Return the texts sorted, and the new code of each old one (None: nothing moves).

        Sorted, so that the codes do not depend on the order of the rows. ``others`` are the
        texts of other workers' rows, which get codes too where texts are learned.
        """
        texts = self.texts
        if self._closed:
            return texts, None
        ordered = tuple(sorted({*texts, *others}))
        if ordered[: len(texts)] == texts:
            return ordered, None
        place = {text: i for i, text in enumerate(ordered)}
        return ordered, np.array([place[text] for text in texts], np.int64)


class Groups:
    """The group of every row as a number: 0 for the first group seen, 1 for the next one."""

    def __init__(self) -> None:
        self._categories = Categories()
        self._ids: dict[int, int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The ids as text, in the order of the numbers."""
        return self._categories.texts or tuple(map(str, self._ids))

    def codes(self, ids: pa.Array | Codes) -> Codes:
        """Return (rows,) int64; ``MISSING`` for null."""
        if isinstance(ids, pa.Array):
            return self._categories.codes(ids)
        distinct, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        for i in np.argsort(first):
            self._ids.setdefault(int(distinct[i]), len(self._ids))
        return np.array([self._ids[int(each)] for each in distinct], np.int64)[inverse]


def among_all(
    group: Codes, names: Sequence[str], all_names: Sequence[Sequence[str]]
) -> tuple[Codes, tuple[str, ...]]:
    """Return (rows,) the groups numbered among those of all workers, and the names of all.

    ``group`` numbers the groups by ``names``; ``all_names`` are those of each worker by rank. A
    group is new where a worker has it and none before it: the order of appearance.
    """
    known: dict[str, int] = {}
    for name in (name for each in all_names for name in each):
        known.setdefault(name, len(known))
    # The last one is for an index of -1: no group.
    table = np.array([*(known[name] for name in names), MISSING], np.int64)
    return table[group], tuple(known)


def as_feature(codes: Codes) -> Floats:
    """Return codes as XGBoost takes categories: float32, nan for missing."""
    numbers = codes.astype(np.float32)
    numbers[codes == MISSING] = np.nan
    return numbers


def values(column: pa.Array, dtype: np.dtype[np.generic], fill: float) -> NDArray[np.generic]:
    """Return a column's numbers, with ``fill`` for null, without a copy where nothing is null.

    From the column's buffers, because ``Array.to_numpy`` imports pandas where it is installed
    (0.2 s of CPU). Source of the layout: Apache Arrow, "Columnar Format", Validity bitmaps.
    """
    window = slice(column.offset, column.offset + len(column))
    validity, data = column.buffers()
    if data is None:
        return np.full(len(column), fill, dtype)
    # A buffer may end in the middle of a number that is not the column's.
    numbers = np.frombuffer(data, dtype, window.stop)[window]
    if column.null_count:
        bits = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")
        numbers = np.where(bits[window], numbers, np.asarray(fill, dtype))
    return numbers
