"""The ``treeline`` command: train, and print what a tuner or an algorithm resource needs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import treeline
from treeline import hyperparameters
from treeline.errors import ConfigError, TreelineError
from treeline.metrics import log, names
from treeline.opt_ml import Paths, read_choices, read_hyperparameters, root_from

_DATA = ("train", "validation", log.HOLD_OUT, "test")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv``; return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except TreelineError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:  # whoever reads, head for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="treeline", description=treeline.__doc__)
    parser.add_argument("--version", action="version", version=treeline.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="run a training job on an /opt/ml tree")
    train.add_argument("--base-dir", type=Path, help="the tree (default: /opt/ml)")
    train.set_defaults(run=_train)

    metrics = commands.add_parser("metrics", help="print MetricDefinitions for a job or a tuner")
    metrics.add_argument("names", nargs="*", help="such as validation:auc; default: see below")
    metrics.add_argument("--base-dir", type=Path, help="name the metrics of the job in this tree")
    metrics.epilog = "Without names and a tree: every validation metric that takes no parameter."
    metrics.set_defaults(run=_metrics)

    spec = commands.add_parser("spec", help="print SupportedHyperParameters for CreateAlgorithm")
    spec.set_defaults(run=_spec)
    docs = commands.add_parser("docs", help="print docs/hyperparameters.md")
    docs.set_defaults(run=_docs)
    return parser


def _train(arguments: argparse.Namespace) -> int:
    from treeline import train

    return train.main(arguments.base_dir or root_from(os.environ), os.environ)


def _metrics(arguments: argparse.Namespace) -> int:
    asked = arguments.names or _metric_names(arguments.base_dir)
    for name in asked:
        _check_definition(name)
    print(json.dumps(log.definitions(asked), indent=2))
    return 0


def _metric_names(tree: Path | None) -> list[str]:
    """Return the names a job's log will have, or all that may be validated on."""
    if tree is None:
        plain = [metric.name for metric in names.METRICS.values() if not metric.needs_parameter]
        return [log.FINAL_SCORE, *(f"validation:{name}" for name in plain)][: log.DEFINITIONS_LIMIT]
    paths = Paths(tree)
    config = hyperparameters.parse(read_hyperparameters(paths), read_choices(os.environ))
    printed = config.eval_metrics or (names.default_for(config.objective, config.booster),)
    sets = ["train", *(d for d in ("validation", "test") if (paths.channels / d).is_dir())]
    if config.cv is not None:  # what a fold has not seen is its validation
        kept = [log.HOLD_OUT] if "validation" in sets and not config.cv.pooled else []
        sets = ["train", "validation", *kept, *(d for d in sets if d == "test")]
    return [log.FINAL_SCORE, *(f"{data}:{metric}" for metric in printed for data in sets)]


def _check_definition(name: str) -> None:
    data, colon, metric = name.partition(":")
    if name == log.FINAL_SCORE:
        return
    if not colon or data not in _DATA or names.lookup(metric) is None:
        raise ConfigError(
            f"Metric {name!r} is not known",
            f"Write one of {', '.join(_DATA)}, a colon and a NAME of docs/hyperparameters.md, "
            "or final-score.",
        )


def _spec(arguments: argparse.Namespace) -> int:
    from treeline.hyperparameters import publish

    print(json.dumps(publish.spec(), indent=2))
    return 0


def _docs(arguments: argparse.Namespace) -> int:
    from treeline.hyperparameters import publish

    sys.stdout.write(publish.document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
