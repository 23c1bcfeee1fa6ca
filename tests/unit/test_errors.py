"""The error tree, and the text a failed job leaves."""

from __future__ import annotations

import re
import traceback

import pytest

from treeline import errors
from treeline.errors import (
    FAILURE_REASON_LIMIT,
    AlgorithmError,
    DataError,
    PlatformError,
    Stopped,
    TreelineError,
    failure_summary,
    failure_text,
)

LIMIT = 1024  # API reference, DescribeTrainingJob: FailureReason


def drawn() -> list[tuple[str, str | None, int | None]]:
    """Return (class, parent, exit status if drawn) for every line of the docstring's tree."""
    rows: list[tuple[str, str | None, int | None]] = []
    parents: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([│├└─ ]*)([A-Z]\w+)\s+(\d+)?", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        del parents[depth:]
        parent = parents[-1] if parents else None
        rows.append((match[2], parent, int(match[3]) if match[3] else None))
        parents.append(match[2])
    return rows


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert [row[0] for row in drawn()] == list(classes)
    for name, parent, status in drawn():
        base = classes[name].__base__
        assert base is not None
        assert base.__name__ == (parent or {"Stopped": "BaseException"}.get(name, "Exception"))
        if status is not None:
            assert vars(classes[name]).get("exit_status", 1) == status
        else:  # drawn without one: it has its parent's
            assert "exit_status" not in vars(classes[name]) or parent is None


def test_exit_statuses() -> None:
    classes: list[type[TreelineError]] = [TreelineError, *_below(TreelineError)]
    statuses = {cls.__name__: cls.exit_status for cls in classes}
    assert {**statuses, "Stopped": Stopped.exit_status} == {
        "TreelineError": 1,
        "UserError": 1,
        "ConfigError": 1,
        "HyperparameterError": 1,
        "ChannelError": 1,
        "DataError": 1,
        "ResourceError": 1,
        "AlgorithmError": 2,
        "PlatformError": 3,
        "TeamError": 3,
        "Stopped": 143,
    }


def _below(cls: type[TreelineError]) -> list[type[TreelineError]]:
    return [c for sub in cls.__subclasses__() for c in (sub, *_below(sub))]


def test_stopped_is_not_taken_for_a_failure() -> None:
    assert not issubclass(Stopped, Exception)


def test_an_error_reads_as_cause_and_remedy() -> None:
    assert str(DataError("cause", "remedy")) == "cause\nremedy"


@pytest.mark.parametrize("cause", [0, 1, 500, 511, 512, 1020, 1021, 1022, 1023, 1024, 50_000])
@pytest.mark.parametrize("remedy", [0, 1, 510, 511, 512, 513, 1022, 1024, 50_000])
def test_cause_and_remedy_are_both_within_what_is_shown(cause: int, remedy: int) -> None:
    assert FAILURE_REASON_LIMIT == LIMIT
    text = failure_text(PlatformError("c" * cause, "r" * remedy))
    shown = text[:LIMIT]
    first, second = shown.split("\n")[:2]
    assert set(first) <= {"c", "…"}
    assert set(second) <= {"r", "…"}
    assert shown.count("\n") >= 2  # neither line is cut by the platform
    assert len(second) == min(remedy, LIMIT // 2)
    assert len(first) == min(cause, LIMIT - len(second) - 2)
    assert first.endswith("…") == (len(first) < cause)
    assert second.endswith("…") == (len(second) < remedy)


def test_lines_inside_cause_and_remedy_become_one_line() -> None:
    error = AlgorithmError("one\n  two\tthree ", "four\r\nfive")
    assert failure_summary(error) == "one two three\nfour five\n"


def test_the_traceback_comes_after_with_what_led_to_it() -> None:
    def fail() -> None:
        try:
            raise OSError("the disk")
        except OSError as problem:
            raise PlatformError("cause", "remedy") from problem

    with pytest.raises(PlatformError) as caught:
        fail()
    text = failure_text(caught.value)
    assert text == "cause\nremedy\n\n" + "".join(traceback.format_exception(caught.value))
    assert "OSError: the disk" in text
    assert "direct cause" in text


def test_an_error_of_no_kind_is_called_unexpected() -> None:
    first, second, *rest = failure_text(KeyError("x")).splitlines()
    assert first == "Unexpected KeyError: 'x'"
    assert "please report" in second
    assert "KeyError: 'x'" in rest


def test_bytes_of_a_file_name_that_are_no_text_can_be_written() -> None:
    name = b"part-\xff.csv".decode("utf-8", "surrogateescape")
    text = failure_text(DataError(f"{name}: wrong", f"correct {name}"))
    assert text.encode().startswith(
        rb"part-\udcff.csv: wrong" + b"\n" + rb"correct part-\udcff.csv"
    )
