"""Work that is done beside other work where there is a thread for it, and after it where not."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Beside:
    """``work``, to be done once: from ``start`` on in a thread, or else in ``finish``.

    ``threaded`` is whether there is a thread for it; ``undo`` takes back what it did.
    """

    def __init__(
        self, work: Callable[[], None], undo: Callable[[], None], *, threaded: bool
    ) -> None:
        self._work = work
        self._undo = undo
        self._threaded = threaded
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin, if there is a thread for it."""
        if self._threaded:
            self._thread = threading.Thread(target=self._run, name="beside")
            self._thread.start()

    def finish(self) -> None:
        """Return when the work is done; raises what it raised."""
        if self._thread is None:
            self._work()
            return
        self._thread.join()
        if self._error is not None:
            raise self._error

    def drop(self) -> None:
        """Have the work come to nothing, when nobody wants it any more."""
        if self._thread is not None:
            self._thread.join()
            self._undo()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
