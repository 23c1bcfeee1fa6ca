"""The layers of docs/architecture.md, held against the code's own imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "treeline"

# From the bottom up; a module imports from its own layer and from those before it.
LAYERS = (
    {"treeline", "treeline.errors"},
    {
        "treeline.opt_ml",
        "treeline.hyperparameters",
        "treeline.metrics",
        "treeline.folds",
        "treeline.compute",
        "treeline.hosts",
        "treeline.memory",
        "treeline.stopping",
        "treeline.team",
        "treeline.beside",
        "treeline.console",
        "treeline.failure",
        "treeline.scratch",
        "treeline.ubjson",
    },
    {"treeline.data", "treeline.artifacts", "treeline.checkpoints", "treeline.predictions"},
    {"treeline.algorithms"},
    {"treeline.loader", "treeline.collective"},
    {"treeline.cross_validation", "treeline.fold_data", "treeline.placed"},
    {"treeline.fingerprint"},
    {"treeline.trainer"},
    {
        "treeline.supervisor",
        "treeline.train",
        "treeline.cluster",
        "treeline.worker",
        "treeline.script_mode",
        "treeline.entrypoint",
        "treeline.cli",
    },
)
# Who may look at the process's environment: the border; the others are handed what they need.
ENVIRONMENT = {"train", "worker", "cli", "script_mode", "entrypoint"}
HEAVY = {"numpy", "pyarrow", "xgboost", "pandas", "sklearn", "dask", "scipy", "boto3", "tqdm"}

MODULES = sorted(SOURCE.rglob("*.py"))


def name_of(file: Path) -> str:
    parts = ["treeline", *file.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> int:
    best = max(
        (len(entry), i)
        for i, layer in enumerate(LAYERS)
        for entry in layer
        if module == entry or module.startswith(f"{entry}.")
    )
    return best[1]


def imports_of(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "treeline"}


def is_module(name: str) -> bool:
    path = SOURCE.joinpath(*name.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").exists()


def test_every_module_has_a_layer() -> None:
    named = {entry for layer in LAYERS for entry in layer}
    top = {
        name_of(f) for f in SOURCE.iterdir() if f.suffix == ".py" or (f / "__init__.py").exists()
    }
    assert top == named


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_imports_point_downward(file: Path) -> None:
    own = name_of(file)
    upward = {
        name for name in imports_of(file) if is_module(name) and layer_of(name) > layer_of(own)
    }
    assert not upward, f"{own} imports {sorted(upward)}, which stand above it"


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_only_the_border_reads_the_environment(file: Path) -> None:
    text = file.read_text()
    reads = "os.environ" in text or "os.getenv" in text
    assert not reads or file.stem in ENVIRONMENT


def test_deciding_about_a_job_imports_nothing_heavy() -> None:
    """What runs before the first row is read, and in process 1, is the standard library."""
    code = (
        "import sys\n"
        "from treeline import cli, entrypoint, hyperparameters, script_mode, supervisor, train\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_training_imports_no_reader_of_results() -> None:
    readers = {"treeline.report", "treeline.tune", "treeline.serve"}
    below = [f for f in MODULES if layer_of(name_of(f)) <= layer_of("treeline.trainer")]
    assert not [f for f in below if readers & imports_of(f)]
