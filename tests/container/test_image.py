"""The built image, run by a real Docker engine as the platform and its SDK run it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.conftest import Tree
from tests.container.engine import IMAGE, LABEL, Running, docker, run
from tests.contract.jobs import binary_rows, run_job
from tests.contract.test_same_as_xgboost import CMAPSS, cmapss, plain
from treeline.algorithms import xgboost as algorithm

pytestmark = pytest.mark.container

SIZE_LIMIT = 600 * 10**6


@pytest.fixture
def job(tree: Tree) -> Tree:
    tree.channel("train", binary_rows(2000)).channel("validation", binary_rows(500, seed=1))
    tree.config("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"]})
    return tree.hyperparameters(
        num_round=10, objective="binary:logistic", eval_metric="auc", max_depth=4
    ).declare()


@pytest.fixture
def long_job(job: Tree) -> Tree:
    return job.hyperparameters(
        num_round=1000000, objective="binary:logistic", save_model_on_termination="true"
    )


# --- the default job -------------------------------------------------------------------------


def test_the_container_leaves_what_the_plain_process_leaves(job: Tree) -> None:
    assert run_job(job.root).status == 0
    names = ("model/xgboost-model", "output/data/metrics.jsonl", "model/treeline/manifest.json")
    plain = [(job.root / name).read_bytes() for name in names]
    done = run(job, "--network", "none")
    assert done.returncode == 0, done.stderr
    assert [(job.root / name).read_bytes() for name in names[:2]] == plain[:2]
    inside, outside = job.manifest(), json.loads(plain[2])
    for manifest in (inside, outside):
        manifest["versions"].pop("python")  # the machine's own
        manifest["training"].pop("threads")
    assert inside == outside


@pytest.mark.parametrize(
    "options",
    [
        ("--network", "none"),
        ("--network", "none", "--read-only", "--tmpfs", "/tmp"),
        ("--network", "none", "--cap-drop", "ALL", "--pids-limit", "100"),
        ("--hostname", "somebody-else"),
        ("--tty",),
    ],
    ids=" ".join,
)
def test_runs_anywhere(options: tuple[str, ...], job: Tree) -> None:
    done = run(job, *options)
    assert done.returncode == 0, done.stderr
    assert "final-score: " in done.stdout
    assert job.model.stat().st_size > 0


def test_runs_as_another_user_on_a_read_only_root(job: Tree) -> None:
    for folder in [job.root, *job.root.rglob("*")]:
        folder.chmod(0o777 if folder.is_dir() else 0o644)
    done = run(job, "--user", "1234:1234", "--read-only", "--tmpfs", "/tmp", "--network", "none")
    assert done.returncode == 0, done.stderr
    assert job.model.stat().st_uid == 1234


def test_runs_without_an_argument(job: Tree) -> None:
    assert run(job, "--network", "none", command=()).returncode == 0
    assert job.model.exists()


def _mounted_separately(tree: Tree) -> list[str]:
    """As the service does: /opt/ml/code is then the image's own."""
    pairs = [(tree.root / name, f"/opt/ml/{name}") for name in ("input", "model", "output")]
    return [option for own, inside in pairs for option in ("--volume", f"{own}:{inside}")]


def test_input_model_and_output_mounted_separately(job: Tree) -> None:
    done = docker(
        "run",
        "--rm",
        "--label",
        LABEL,
        "--network",
        "none",
        *_mounted_separately(job),
        IMAGE,
        "train",
    )
    assert done.returncode == 0, done.stderr
    assert job.model.exists()


def test_the_toolkit_started_directly_runs_the_default_job(job: Tree) -> None:
    done = docker(
        *("run", "--rm", "--label", LABEL, "--hostname", "algo-1"),
        *("--entrypoint", "/opt/treeline/bin/train"),
        *_mounted_separately(job),
        IMAGE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Invoking script" in done.stderr
    assert job.model.exists()


def test_an_entrypoint_of_train_is_the_images_own(job: Tree) -> None:
    # As AlgorithmSpecification.ContainerEntrypoint can say.
    done = docker(
        *("run", "--rm", "--label", LABEL, "--network", "none", "--entrypoint", "train"),
        *("--volume", f"{job.root}:/opt/ml", IMAGE),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sagemaker" not in done.stdout + done.stderr
    assert job.model.exists()


def test_turbofan_engines_score_as_xgboost_by_hand(tree: Tree, shared_data: Path) -> None:
    train, validation = cmapss(shared_data)
    tree.channel("train", train).channel("validation", validation).declare()
    tree.hyperparameters(num_round=100, **CMAPSS)
    done = run(tree, "--network", "none")
    assert done.returncode == 0, done.stderr
    _, history = plain(train, validation, 100, CMAPSS)
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 101
    for index, entry in enumerate(tree.metrics()[:-1]):
        expected = history["validation"]["rmse"][index]
        assert entry["scores"]["validation"]["rmse"] == pytest.approx(expected, abs=1e-5)
        assert lines[index].endswith(f"\tvalidation-rmse:{expected:.5f}")


def test_a_wrong_job_fails_fast_and_says_why(job: Tree) -> None:
    job.hyperparameters(num_round=10, eta=3)
    done = run(job, "--network", "none")
    assert done.returncode == 1
    assert job.failure.startswith("Hyperparameter eta: found '3', allowed [0, 1]")


def test_other_commands(job: Tree) -> None:
    assert run(job, command=("treeline", "--version")).stdout.strip()
    assert run(job, command=("bash", "-c", "echo hello")).stdout == "hello\n"
    assert run(job, command=("no-such-command",)).returncode == 127
    assert json.loads(run(job, command=("treeline", "metrics", "validation:auc")).stdout)


# --- signals, the share of the machine -------------------------------------------------------


def test_docker_stop_leaves_a_model_within_seconds(long_job: Tree) -> None:
    container = Running(long_job, "--network", "none")
    container.wait_for("[5]\t")
    assert container.stop() < 8
    assert container.wait() == 0
    rounds = long_job.manifest()["training"]["rounds_trained"]
    assert algorithm.load(long_job.model).num_boosted_rounds() == rounds


def test_threads_follow_the_cpu_quota(job: Tree) -> None:
    assert "with 1 thread(s)" in run(job, "--network", "none", "--cpus", "1").stdout
    assert job.manifest()["training"]["threads"] == 1


# --- script mode -----------------------------------------------------------------------------

USER_PROGRAM = """\
import json, os, signal, sys, time
print("arguments", json.dumps(sys.argv[1:]))
wanted = ("SM_HOSTS", "SM_CURRENT_HOST", "SM_CHANNEL_TRAIN", "SM_HP_DEPTH", "GOMP_SPINCOUNT")
print("environment", json.dumps({name: os.environ.get(name) for name in wanted}))
import pandas, sklearn, xgboost
try:
    import treelet
    print("requirement", treelet.NAME)
except ImportError:
    pass
def stop(*_):
    open(os.path.join(os.environ["SM_MODEL_DIR"], "stopped"), "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open(os.path.join(os.environ["SM_MODEL_DIR"], "mine"), "w").close()
if "--fail" in sys.argv:
    raise ValueError("a mistake of the user's")
if "--eat" in sys.argv:
    hog = bytearray(2 * 10**9)
    for i in range(0, len(hog), 4096): hog[i] = 1
while "--wait" in sys.argv:
    print("waiting", flush=True)
    time.sleep(0.2)
"""


@pytest.fixture
def script(tree: Tree) -> Tree:
    tree.channel("train", binary_rows(10)).declare()
    (tree.root / "code").mkdir()
    (tree.root / "code" / "mine.py").write_text(USER_PROGRAM)
    return tree.config("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"]})


def test_a_users_program_runs_with_the_toolkits_arguments_and_environment(script: Tree) -> None:
    script.hyperparameters(sagemaker_program="mine.py", depth=7, name="abc")
    done = run(script, "--network", "none")  # the host name does not resolve, and need not
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert json.loads(said["arguments"]) == ["--depth", "7", "--name", "abc"]
    environment = json.loads(said["environment"])
    assert environment["SM_HOSTS"] == '["algo-1"]'
    assert environment["SM_CHANNEL_TRAIN"] == "/opt/ml/input/data/train"
    assert environment["SM_HP_DEPTH"] == "7"
    assert environment["GOMP_SPINCOUNT"] is None  # what the default job sets for itself
    assert (script.root / "model" / "mine").exists()
    assert (script.root / "output" / "success").exists()
    assert not script.model.exists()


def test_a_users_train_py_is_the_users(script: Tree) -> None:
    (script.root / "code" / "mine.py").rename(script.root / "code" / "train.py")
    script.hyperparameters(depth=7)
    done = run(script, "--network", "none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (script.root / "model" / "mine").exists()


def test_requirements_are_installed_by_pip(script: Tree) -> None:
    # From a folder, so that it works without a network; what is tried is the image's pip.
    package = script.root / "code" / "treelet"
    package.mkdir()
    (package / "treelet.py").write_text("NAME = 'here'\n")
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "treelet"\nversion = "1"\n'
    )
    # The smallest build backend there can be: nothing has to be fetched to build with.
    (package / "backend.py").write_text(
        "import zipfile\n"
        "def build_wheel(folder, config_settings=None, metadata_directory=None):\n"
        "    name = 'treelet-1-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(f'{folder}/{name}', 'w') as z:\n"
        "        z.write('treelet.py')\n"
        "        info = 'treelet-1.dist-info'\n"
        "        head = 'Metadata-Version: 2.1\\nName: treelet\\nVersion: 1\\n'\n"
        "        z.writestr(f'{info}/METADATA', head)\n"
        "        kind = 'Root-Is-Purelib: true\\nTag: py3-none-any\\n'\n"
        "        z.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\n' + kind)\n"
        "        z.writestr(f'{info}/RECORD', '')\n"
        "    return name\n"
    )
    (script.root / "code" / "requirements.txt").write_text("/opt/ml/code/treelet\n")
    script.hyperparameters(sagemaker_program="mine.py")
    done = run(script, "--network", "none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "requirement here" in done.stdout


def test_a_failing_users_program_fails_the_job(script: Tree) -> None:
    script.hyperparameters(sagemaker_program="mine.py", fail=1)
    done = run(script, "--network", "none")
    assert done.returncode == 1
    assert "ValueError: a mistake of the user's" in done.stderr
    assert script.failure.startswith("ValueError: a mistake of the user's\n")
    assert "ExecuteUserScriptError" in script.failure


def test_a_users_program_gets_sigterm(script: Tree) -> None:
    script.hyperparameters(sagemaker_program="mine.py", wait=1)
    container = Running(script, "--network", "none")
    container.wait_for("waiting")
    assert container.stop() < 8
    assert container.wait() == 0
    assert (script.root / "model" / "stopped").exists()


def test_a_users_program_killed_for_memory_is_explained(script: Tree) -> None:
    script.hyperparameters(sagemaker_program="mine.py", eat=1)
    container = Running(script, "--network", "none", "--memory", "500m")
    assert container.wait() != 0
    assert "killed for memory" in script.failure.splitlines()[0]


def test_a_host_that_does_not_resolve_ends_a_users_program_within_a_minute(script: Tree) -> None:
    """The default job waits longer, and says for whom: instances start minutes apart."""
    script.config("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]})
    script.hyperparameters(sagemaker_program="mine.py")
    started = time.monotonic()
    done = run(script, "--hostname", "algo-1", "--network", "none", timeout=90)
    assert time.monotonic() - started < 60
    assert done.returncode == 3
    assert "algo-2" in script.failure.splitlines()[0]


# --- the image itself ------------------------------------------------------------------------


def inspect(field: str) -> str:
    return docker("image", "inspect", IMAGE, "--format", "{{json ." + field + "}}").stdout


def test_size() -> None:
    assert int(inspect("Size")) < SIZE_LIMIT


def test_labels_and_entrypoint() -> None:
    labels = json.loads(inspect("Config.Labels"))
    version = labels["org.opencontainers.image.version"]
    assert version == docker("run", "--rm", IMAGE, "treeline", "--version").stdout.strip()
    assert labels["org.opencontainers.image.revision"] != "unknown"
    assert json.loads(inspect("Config.Entrypoint")) == ["/opt/treeline/container/train"]
    assert json.loads(inspect("Config.Cmd")) == ["train"]


def in_image(script: str) -> str:
    done = docker("run", "--rm", "--network", "none", "--entrypoint", "bash", IMAGE, "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_compilers_or_caches_inside() -> None:
    assert in_image("for c in gcc cc g++ make ld; do command -v $c; done; true") == ""
    assert (
        in_image("find ~/.cache /var/cache/pip /var/lib/apt/lists /src -type f 2>/dev/null; true")
        == ""
    )
    assert in_image("command -v bash python3 pip train treeline | wc -l") == "5"


def test_every_module_has_its_bytecode() -> None:
    compiled = (
        "import compileall, importlib.util, pathlib, sys\n"
        "roots = ['/opt/treeline/lib/python3.12/site-packages', '/usr/local/lib/python3.12/json']\n"
        "missing = [p for root in roots for p in pathlib.Path(root).rglob('*.py')\n"
        "           if not pathlib.Path(importlib.util.cache_from_source(p)).exists()]\n"
        "print(len(missing), missing[:5])"
    )
    assert in_image(f'python -c "{compiled}"').startswith("0 ")


def test_what_was_pruned_is_not_missed() -> None:
    libraries = (
        "numpy, scipy.stats, scipy.optimize, scipy.signal, sklearn.ensemble, sklearn.pipeline, "
        "pandas, pyarrow.csv, pyarrow.dataset, pyarrow.feather, pyarrow.fs, pyarrow.json, "
        "pyarrow.orc, pyarrow.parquet, pyarrow.substrait, sagemaker_training.cli.train, boto3, "
        "xgboost"
    )
    in_image(f"python -c 'import {libraries}'")
    in_image(
        "python -c 'import pandas, io; print(pandas.read_csv(io.StringIO(\"a,b\\n1,2\")).mean())'"
    )
