"""XGBoost's log in threads: its warnings are Python's there too."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from treeline.algorithms import library as module
from treeline.algorithms.library import library


def train_linear() -> None:
    """Train what XGBoost warns of: a linear model."""
    xgb = library()
    data = xgb.DMatrix(np.eye(4, dtype=np.float32), np.arange(4, dtype=np.float32))
    # An earlier test's verbosity=0 would hold in this thread.
    parameters = {"booster": "gblinear", "nthread": 1, "verbosity": 1}
    xgb.Booster(parameters, [data]).update(data, 0)


def in_threads(count: int) -> None:
    for _ in range(count):
        thread = threading.Thread(target=train_linear)
        thread.start()
        thread.join()


def test_a_warning_in_a_thread_is_pythons(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        in_threads(3)
        train_linear()
    assert len([each for each in caught if "gblinear" in str(each.message)]) == 4
    assert capfd.readouterr().err == ""


def test_also_where_a_thread_imports_xgboost_first() -> None:
    program = (
        "import threading, warnings\n"
        "from tests.unit.algorithms.test_library import in_threads, train_linear\n"
        "warnings.showwarning = lambda message, *_: print('said:', str(message).split()[-1])\n"
        "warnings.simplefilter('always')\n"
        "in_threads(1)\n"
        "train_linear()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert (ended.stdout, ended.stderr) == ("said: release.\n" * 2, "")


@pytest.mark.parametrize(
    "core", [SimpleNamespace(), SimpleNamespace(_LIB=SimpleNamespace()), SimpleNamespace(_LIB=None)]
)
def test_an_xgboost_that_keeps_it_elsewhere_is_left_alone(core: Any) -> None:
    module._listen(SimpleNamespace(core=core))
