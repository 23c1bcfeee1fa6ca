"""How a library's warning reads in the log."""

from __future__ import annotations

import io

from treeline.console import Console
from treeline.train import _show_warning


def test_a_warning_is_one_clean_line_and_said_once() -> None:
    stream = io.StringIO()
    console, said = Console(stream), dict[str, object]()
    for time in ("18:49:22", "18:49:23"):
        text = f"[{time}] WARNING: /workspace/src/learner.cc:825: `booster=gblinear`\n  will go."
        _show_warning(console, said, UserWarning(text), UserWarning, "core.py", 7)
    _show_warning(console, said, "another", UserWarning, "core.py", 7)
    assert stream.getvalue() == "WARNING: `booster=gblinear` will go.\nWARNING: another\n"
