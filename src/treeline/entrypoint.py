"""What a container of this image runs: the default job, a user's program, or a command.

``docker run IMAGE train`` and ``docker run IMAGE`` train. The default job is started directly;
a user's own program goes through the ``sagemaker-training`` toolkit, which takes 0.3 s of
CPU to reach a script's first line. Standard library only up to that decision.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from treeline.errors import TreelineError
from treeline.opt_ml import PROGRAM, Paths, read_hyperparameters, root_from

# The toolkit's other ways to name what to run, and the image's own program.
_SUBMIT_DIRECTORY = "sagemaker_submit_directory"
_TRAINING_MODULE = "SAGEMAKER_TRAINING_MODULE"
_DEFAULT_PROGRAM = "train.py"
# Stands in container/train.py, so that the image's own program is known wherever it is copied.
_MARK = "treeline: the default training job"


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run what ``argv`` (without the program's name) asks for; return the exit status."""
    command = argv[0] if argv else "train"
    if command == "train":
        return _train(root_from(environ), environ)
    if command == "serve":
        print("ERROR: this image trains; it does not serve models.", file=sys.stderr)
        return 1
    try:
        os.execvp(command, list(argv))  # noqa: S606  # bash, python, treeline: what was asked for
    except OSError as error:
        print(f"ERROR: {command!r} cannot be run: {error.strerror}", file=sys.stderr)
        return 127


def _train(root: Path, environ: Mapping[str, str]) -> int:
    if is_users_program(root, environ):
        from treeline import script_mode
        from treeline.supervisor import supervise

        return supervise(partial(script_mode.run, root, environ), Paths(root).failure)
    from treeline import train

    return train.main(root, environ)


def is_users_program(root: Path, environ: Mapping[str, str]) -> bool:
    """Return whether the job names a program of the user's own.

    It does by a hyperparameter or a variable of the toolkit's, or by a ``train.py`` in the code
    folder that is not the one this image put there.
    """
    try:
        given = read_hyperparameters(Paths(root))
    except TreelineError:
        return False  # the default job reads the file again and reports the error
    asked = given.get(PROGRAM) or given.get(_SUBMIT_DIRECTORY)
    if asked or environ.get(_TRAINING_MODULE) or environ.get(_SUBMIT_DIRECTORY.upper()):
        return True
    program = environ.get(PROGRAM.upper(), _DEFAULT_PROGRAM)
    return program != _DEFAULT_PROGRAM or _is_foreign(Paths(root).code / program)


def _is_foreign(program: Path) -> bool:
    try:
        return _MARK not in program.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False  # the mount over /opt/ml hides the image's own copy
