"""XGBoost itself, imported without what a job does not use."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_one_at_a_time = threading.Lock()


def library() -> Any:
    """Import XGBoost without the libraries that only its scikit-learn interface needs.

    Importing it where scikit-learn and pandas are installed imports both, 0.9 s of CPU of the
    1.2 s; it is made to work without them, so they are hidden for the time of the import and
    can be imported as usual afterwards.

    Whatever XGBoost says in the calling thread becomes Python's warnings from here on.
    """
    with _one_at_a_time, _hidden("sklearn", "pandas", "xgboost.plotting"):
        import xgboost
    _listen(xgboost)
    return xgboost


def _listen(xgboost: Any) -> None:
    """Have XGBoost hand its log to Python in this thread too.

    It keeps the function to call for each thread, and its import sets that of one: in the others
    it writes to stderr by itself. The function set is the one that the import made, because that
    is kept alive; a version that has it elsewhere writes to stderr as before.
    """
    native = getattr(xgboost.core, "_LIB", None)
    register = getattr(native, "XGBRegisterLogCallback", None)
    callback = getattr(native, "callback", None)
    if register is not None and callback is not None:
        register(callback)


@contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    added = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(added))  # type: ignore[arg-type]  # None: "not there"
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]
