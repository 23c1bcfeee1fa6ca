"""Every error a job can end in, and the one place that says what each means.

    TreelineError               a cause, a remedy and an exit status
    ├── UserError          1    something the user gave; fix it and run again
    │   ├── ConfigError         a file under input/config, or the environment
    │   ├── HyperparameterError one or more hyperparameters
    │   ├── ChannelError        an input channel: its name, content type, mode or files
    │   ├── DataError           what stands in the files
    │   └── ResourceError       memory or disk that the job's machine does not have
    ├── AlgorithmError     2    XGBoost refused or failed for a reason Treeline did not foresee
    └── PlatformError      3    the machine or the network: memory, disk, host names
        └── TeamError           another worker of the job is gone: the consequence, not the cause

    Stopped               143   SIGTERM or SIGINT; not a failure, so not a TreelineError

A foreign exception is translated where it enters (the reader, the booster), never by
searching its text further up. The first line of an error is its cause and the second its
remedy; ``failure_text`` keeps both within what the platform shows.
"""

from __future__ import annotations

import traceback

# DescribeTrainingJob shows this many characters of output/failure as FailureReason.
FAILURE_REASON_LIMIT = 1024

REPORT_IT = "This is a fault in Treeline or in a library it uses; please report it with the log."


class TreelineError(Exception):
    """A job cannot go on. ``cause`` says what was found, ``remedy`` what to do about it."""

    exit_status = 1

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause}\n{self.remedy}"


class UserError(TreelineError):
    """Something the user gave has to change."""


class ConfigError(UserError):
    """A file under ``input/config``, or an environment variable, cannot be used."""


class HyperparameterError(UserError):
    """One or more hyperparameters are wrong; every problem is reported at once."""


class ChannelError(UserError):
    """A channel is missing, unknown, or declared in a way that cannot be read."""


class DataError(UserError):
    """A file of a channel holds something that cannot be trained on."""


class ResourceError(UserError):
    """The job does not fit the machine it was given: memory or disk."""


class AlgorithmError(TreelineError):
    """The training library refused or failed."""

    exit_status = 2


class PlatformError(TreelineError):
    """The machine or the network failed the job."""

    exit_status = 3


class TeamError(PlatformError):
    """Another worker of the job is gone, and with it what this one waited for."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"Another worker of the job is gone: {found}",
            "Look at the logs of the job's other hosts: what ended first there is the cause.",
        )


class Stopped(BaseException):
    """The platform asked the job to stop before a model existed.

    A ``BaseException`` so that no ``except Exception`` on the way takes it for a failure.
    """

    exit_status = 143  # 128 + SIGTERM, what a shell reports for a process ended by it


def failure_summary(error: BaseException) -> str:
    """Return cause and remedy, a line each, within what the platform shows."""
    if isinstance(error, TreelineError):
        cause, remedy = error.cause, error.remedy
    else:
        cause = f"Unexpected {type(error).__name__}: {error}"
        remedy = REPORT_IT
    remedy = _line(remedy, FAILURE_REASON_LIMIT // 2)
    cause = _line(cause, FAILURE_REASON_LIMIT - len(remedy) - 2)
    return f"{cause}\n{remedy}\n"


def failure_text(error: BaseException) -> str:
    """Return the text of ``output/failure``: cause, remedy, and only then the traceback."""
    return failure_summary(error) + "\n" + _utf8("".join(traceback.format_exception(error)))


def _line(text: str, limit: int) -> str:
    return shortened(" ".join(_utf8(text).split()), limit)


def one_line(error: BaseException) -> str:
    """Return what a library says of an error, on one line and printable."""
    text = " ".join(str(error).split())
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def shortened(text: str, limit: int) -> str:
    """Return ``text``, or its beginning and an ellipsis: ``limit`` characters at most."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _utf8(text: str) -> str:
    """Return ``text`` as it can be written: file names may hold bytes that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
