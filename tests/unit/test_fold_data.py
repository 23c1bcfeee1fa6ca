"""The rows that folds take theirs from: in turn, and let go of after the last."""

from __future__ import annotations

import threading
import weakref

import numpy as np
from tests import forests

from treeline.algorithms.interface import Loaded
from treeline.fold_data import Rows


def loaded() -> Loaded:
    rows = forests.features(1)
    return Loaded(forests.matrix_of(rows, rows[:, 4]))


def test_the_rows_are_let_go_of_after_the_last_fold() -> None:
    whole = loaded()
    there = weakref.ref(whole.matrix)
    rows = Rows(whole, [1, 3])
    del whole
    for number in (0, 1, 2, 1):
        rows.pass_on(number)
        found = rows.part(np.array([0, 2])).matrix
        assert there() is not None
        assert found.rows == 2
    rows.pass_on(3)
    assert there() is None


def test_folds_of_other_workers_are_not_waited_for() -> None:
    rows, order = Rows(loaded(), [1, 3]), list[int]()

    def take(number: int) -> None:
        rows.wait(number)
        order.append(number)
        rows.pass_on(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in (3, 1)]
    threads[0].start()
    threads[0].join(0.05)
    assert order == []
    threads[1].start()
    for thread in threads:
        thread.join(10)
    assert order == [1, 3]
