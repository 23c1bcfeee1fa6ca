"""XGBoost itself, imported without what a job does not use."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
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


def import_ahead(other: str | None = None) -> None:
    """Start to import XGBoost, and then module ``other``, in a thread beside this one.

    Whoever needs them imports them as usual, and waits for what is left to do. ``other`` does
    without pandas, which takes a quarter of a second.
    """

    def work() -> None:
        with suppress(Exception):  # it is raised where they are needed
            library()
            if other is not None:
                with _one_at_a_time, _hidden("pandas"):
                    importlib.import_module(other)

    threading.Thread(target=work, name="imports", daemon=True).start()


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
    """Hide modules from what this thread imports; whoever else imports them does get them."""
    finder = _Hidden(modules, threading.get_ident())
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Hidden(MetaPathFinder):
    """Says of some modules, in one thread, that they are not there."""

    def __init__(self, modules: Sequence[str], thread: int) -> None:
        self._modules = modules
        self._thread = thread

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Return None, for the next finder to look; raises ``ModuleNotFoundError`` if hidden."""
        if name in self._modules and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
