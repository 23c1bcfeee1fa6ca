"""A job that is killed any number of times ends with the bytes of the one that never was.

The jobs run in this process and are "killed" by an exception that nothing catches, as soon as a
checkpoint is written (or just before): then only the checkpoint folder and the input are kept, as
the platform restarts a spot job. Real kills of real containers are in tests/container.
"""

from __future__ import annotations

import errno
import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from tests.conftest import Tree
from tests.contract.jobs import Rows, binary_rows, class_rows, number_rows
from treeline import trainer
from treeline.checkpoints.disk import Disk
from treeline.console import Console
from treeline.errors import ConfigError, PlatformError, Stopped
from treeline.opt_ml import read_job
from treeline.stopping import StopRequest

ROWS = 240
ROUNDS = 12


class Killed(BaseException):
    """What SIGKILL is here."""


class Log:
    """A console's stream that remembers."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return False


def start(tree: Tree, stop: StopRequest | None = None) -> list[str]:
    """Run the job in a fresh container, so to speak; return what it printed."""
    for folder in ("model", "output"):
        shutil.rmtree(tree.root / folder, ignore_errors=True)
        (tree.root / folder).mkdir()
    log = Log()
    try:
        trainer.run(read_job(tree.root, {}), Console(log), stop or StopRequest())  # type: ignore[arg-type]
    finally:
        start.lines = log.text.splitlines()  # type: ignore[attr-defined]
    return log.text.splitlines()


def results(tree: Tree) -> dict[str, Any]:
    """What a job leaves: every file, the metrics without the line of a resumed job."""
    found: dict[str, Any] = {
        str(file.relative_to(tree.root)): file.read_bytes()
        for folder in ("model", "output")
        for file in sorted((tree.root / folder).rglob("*"))
        if file.is_file() and file.name != "metrics.jsonl"
    }
    metrics = tree.root / "output" / "data" / "metrics.jsonl"
    found["metrics"] = [line for line in metrics.read_text().splitlines() if "resumed" not in line]
    return found


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets after how many checkpoints the next start is killed."""
    left: list[Any] = [None, False]
    write = Disk.write

    def killing(self: Disk, name: str, content: bytes) -> None:
        if left[0] is None or not name.endswith(".ckpt"):
            write(self, name, content)
            return
        left[0] -= 1
        if left[0] <= 0 and left[1]:
            raise Killed
        write(self, name, content)
        if left[0] <= 0:
            raise Killed

    monkeypatch.setattr(Disk, "write", killing)

    def set_next(count: int | None, before: bool = False) -> None:
        left[:] = count, before

    return set_next


def survive(tree: Tree, kills: Any, seed: int = 0, most: int = 40) -> tuple[int, list[str]]:
    """Kill the job again and again until it gets through; return how often, and all it printed."""
    draw = random.Random(seed)
    printed: list[str] = []
    for count in range(most):
        kills(draw.randint(1, 5), draw.random() < 0.3)
        try:
            return count, [*printed, *start(tree)]
        except Killed:
            printed += start.lines  # type: ignore[attr-defined]
    kills(None)
    return most, [*printed, *start(tree)]


def checkpointed(tree: Tree) -> Tree:
    (tree.root / "checkpoints").mkdir()
    return tree.config("checkpointconfig", {"LocalPath": str(tree.root / "checkpoints")})


def straight(tree: Tree) -> tuple[dict[str, Any], list[str]]:
    """What the job leaves and prints when nobody interrupts it and nothing is kept."""
    lines = start(tree)
    return results(tree), lines


def rounds_of(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("[")]


# --- the matrix ------------------------------------------------------------------------------

SAMPLING = {"subsample": "0.7", "colsample_bytree": "0.8", "colsample_bynode": "0.7"}
DROPOUT = {"rate_drop": "0.3", "skip_drop": "0.2"}
STOPPING = {"early_stopping_rounds": "4", "eta": "0.5", "max_depth": "4"}
FOLDED = {"cv_folds": "3", "nthread": "2"}  # two at a time, with a thread each


def ranked(rows: int, seed: int = 0) -> Rows:
    data = class_rows(rows, 4, seed)
    return np.column_stack([data, np.repeat(np.arange(rows // 8), 8)[:rows]])


def bounded(rows: int, seed: int = 0) -> Rows:
    data = number_rows(rows, seed)
    upper = data[:, 0] + np.where(data[:, 1] > 1, np.inf, 0)
    return np.column_stack([data, upper])


OBJECTIVES: Mapping[str, tuple[Callable[..., Rows], Mapping[str, str]]] = {
    "reg:squarederror": (number_rows, {}),
    "binary:logistic": (binary_rows, {"eval_metric": "error,auc,logloss"}),
    "multi:softprob": (class_rows, {"num_class": "3", "eval_metric": "mlogloss"}),
    "rank:ndcg": (ranked, {"group_column": "-1"}),
    "count:poisson": (number_rows, {}),
    "reg:absoluteerror": (number_rows, {}),
    "reg:quantileerror": (number_rows, {"quantile_alpha": "0.2,0.7"}),
    "survival:aft": (
        bounded,
        {"label_lower_bound_column": "0", "label_upper_bound_column": "-1"},
    ),
}
WAYS: Mapping[str, Mapping[str, str]] = {
    "": {},
    "sampling": SAMPLING,
    "dropout": DROPOUT,
    "dart, sampling": {"booster": "dart", **DROPOUT, **SAMPLING},
    "stopping": STOPPING,
    "stopping, dropout": {**STOPPING, **DROPOUT},
    "folds": FOLDED,
    "folds, stopping, sampling": {**FOLDED, **STOPPING, **SAMPLING},
    "repeats, dropout": {**FOLDED, "cv_repeats": "2", "cv_folds": "2", **DROPOUT},
}


def write_job(tree: Tree, objective: str, way: Mapping[str, str], **more: str) -> Tree:
    make, own = OBJECTIVES[objective]
    tree.channel("train", make(ROWS, seed=1))
    if "cv_folds" not in way:
        tree.channel("validation", make(ROWS // 2, seed=2))
    tree.declare()
    asked = {"objective": objective, "num_round": ROUNDS, "max_depth": "3", "nthread": "1"}
    return tree.hyperparameters(**{**asked, "checkpoint_every": 1, **own, **way, **more})


@pytest.mark.filterwarnings("ignore:.*booster=dart")
@pytest.mark.parametrize("way", WAYS, ids=lambda each: each or "plain")
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_killed_jobs_end_as_if_nothing_had_happened(
    tree: Tree, kills: Any, objective: str, way: str
) -> None:
    write_job(tree, objective, WAYS[way])
    expected, said = straight(tree)
    checkpointed(tree)
    count, printed = survive(tree, kills, seed=len(objective) + len(way))
    assert count >= 1
    assert results(tree) == expected
    # Every round's line was printed, some twice (those that were not kept, and with folds the one
    # training goes on from), and none in other words.
    assert sorted(set(rounds_of(printed))) == sorted(set(rounds_of(said)))
    assert (
        len(rounds_of(printed)) - len(rounds_of(said))
        <= (6 if "cv_folds" in WAYS[way] else 1) * count
    )


@pytest.mark.parametrize("objective", ["multi:softprob", "reg:quantileerror"])
@pytest.mark.parametrize("way", ["", "stopping, dropout"])
def test_base_score_is_that_of_the_first_start(
    tree: Tree, kills: Any, objective: str, way: str
) -> None:
    write_job(tree, objective, WAYS[way], base_score="0.3")
    expected, _ = straight(tree)
    checkpointed(tree)
    assert survive(tree, kills)[0] >= 1
    assert results(tree) == expected


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_exact_is_said_and_goes_on_all_the_same(tree: Tree, kills: Any) -> None:
    write_job(tree, "rank:ndcg", {"lambdarank_unbiased": "true"})
    expected, _ = straight(tree)
    checkpointed(tree)
    count, printed = survive(tree, kills)
    assert count >= 1
    assert any("lambdarank_unbiased=true: XGBoost" in line for line in printed)
    found = [json.loads(line) for line in results(tree)["metrics"]]
    before = [json.loads(line) for line in expected["metrics"]]
    assert [each["round"] for each in found] == [each["round"] for each in before]
    score = [each[-1]["scores"]["validation"]["ndcg@32"] for each in (found, before)]
    assert score[0] == pytest.approx(score[1], abs=0.05)


def test_columns_that_are_categories_now_are_another_job(tree: Tree) -> None:
    """The values are the same; with tree_method=approx there are no bins that would tell."""
    rows = binary_rows(ROWS)
    rows[:, 1] = np.arange(ROWS) % 4
    write_job(tree, "binary:logistic", {}, tree_method="approx")
    tree.channel("train", rows).channel("validation", rows[:100])
    checkpointed(tree)
    start(tree)
    write_job(tree, "binary:logistic", {}, tree_method="approx", categorical_columns="1")
    tree.channel("train", rows).channel("validation", rows[:100])
    lines = start(tree)
    assert not any(line.startswith("resumed") for line in lines)
    assert any("categorical features is [] there and [0] here" in line for line in lines)


# --- forests ----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["sklearn", "xgboost"])
@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob"])
@pytest.mark.parametrize("more", [{}, FOLDED], ids=["plain", "folds"])
def test_killed_forests_end_as_if_nothing_had_happened(
    tree: Tree, kills: Any, engine: str, objective: str, more: Mapping[str, str]
) -> None:
    classes = {"num_class": "3", "eval_metric": "mlogloss"} if "multi" in objective else {}
    write_job(tree, objective, {"num_class": "1", **more}).hyperparameters(
        algorithm="random_forest",
        forest_engine=engine,
        objective=objective,
        n_estimators=20,
        max_depth=4,
        checkpoint_every=1,
        **{"nthread": 1, **classes, **more},
    )
    expected, _ = straight(tree)
    checkpointed(tree)
    count, printed = survive(tree, kills, seed=len(objective))
    assert count >= 1
    assert any(line.startswith("resumed from ") for line in printed)
    assert results(tree) == expected


# --- stopping, and changing one's mind ---------------------------------------------------------


class Asked(StopRequest):
    """A request to stop that comes when somebody has looked for one so often."""

    def __init__(self, looks: int) -> None:
        self._looks = looks
        super().__init__()

    @property
    def requested(self) -> bool:
        self._looks -= 1
        return self._looks < 0

    @requested.setter
    def requested(self, value: bool) -> None: ...

    def check(self) -> None:
        """Look away while data is read."""


@pytest.mark.parametrize("way", ["", "stopping, dropout", "folds, stopping, sampling"])
@pytest.mark.parametrize("every", ["100", "auto"])
def test_a_stopped_job_loses_no_round(tree: Tree, way: str, every: str) -> None:
    """Whatever was due: a request to stop is heard after a round, and then all rounds are kept."""
    write_job(tree, "binary:logistic", WAYS[way], checkpoint_every=every)
    expected, said = straight(tree)
    checkpointed(tree)
    printed: list[str] = []
    # Folds look before they load their rows, too.
    for looks in (5, 4, 4) if "folds" in way else (1, 0, 1):
        with pytest.raises(Stopped):
            start(tree, Asked(looks))
        printed += start.lines  # type: ignore[attr-defined]
        assert printed[-1].startswith("kept in ")
    printed += start(tree)
    assert results(tree) == expected
    if "folds" in way:  # of two folds one may be a round ahead of the other when they stop
        assert sorted(set(rounds_of(printed))) == sorted(rounds_of(said))
    else:
        assert rounds_of(printed) == rounds_of(said)  # in this order, and none twice


def test_a_stopped_job_with_a_model_goes_on_to_the_same_model(tree: Tree) -> None:
    write_job(tree, "binary:logistic", {}, save_model_on_termination="true")
    expected, _ = straight(tree)
    checkpointed(tree)
    assert any(line.startswith("terminated: 4 rounds") for line in start(tree, Asked(4)))
    assert tree.model.exists()
    assert any("model 4 rounds" in line for line in start(tree))
    assert results(tree) == expected


@pytest.mark.parametrize("way", ["", "dropout", "stopping", "folds", "folds, stopping, sampling"])
@pytest.mark.parametrize("rounds", [20, 7, 5])
def test_another_num_round_goes_on_from_what_there_is(tree: Tree, way: str, rounds: int) -> None:
    """Upwards from the last round, downwards from the last checkpoint that is not too much."""
    write_job(tree, "binary:logistic", WAYS[way], num_round=str(rounds))
    expected, _ = straight(tree)
    write_job(tree, "binary:logistic", WAYS[way])
    checkpointed(tree)
    start(tree)
    write_job(tree, "binary:logistic", WAYS[way], num_round=str(rounds))
    lines = start(tree)
    # Of the superseded files the smallest that are kept have 7 rounds.
    assert any(line.startswith("resumed from ") for line in lines) or rounds == 5
    assert results(tree) == expected


def test_a_finished_job_started_again_trains_nothing_and_leaves_the_same(tree: Tree) -> None:
    write_job(tree, "binary:logistic", FOLDED)
    expected, said = straight(tree)
    checkpointed(tree)
    start(tree)
    lines = start(tree)
    assert results(tree) == expected
    assert rounds_of(lines) == rounds_of(said)[-1:]  # the final line only


def test_an_earlier_model_is_gone_on_from_in_the_middle(tree: Tree, kills: Any) -> None:
    write_job(tree, "binary:logistic", SAMPLING, num_round="5")
    start(tree)
    channel = tree.root / "input" / "data" / "model"
    shutil.copytree(tree.root / "model", channel)
    tree.declare()
    expected, _ = straight(tree)
    checkpointed(tree)
    count, printed = survive(tree, kills, seed=3)
    assert count >= 1
    assert results(tree) == expected
    assert any(line.startswith("[5]") for line in printed)


def test_an_earlier_models_best_round_is_not_this_ones(tree: Tree, kills: Any) -> None:
    write_job(tree, "binary:logistic", STOPPING)
    start(tree)
    shutil.copytree(tree.root / "model", tree.root / "input" / "data" / "model")
    write_job(tree, "binary:logistic", {})
    expected, _ = straight(tree)
    booster = xgb.Booster(model_file=bytearray(tree.model.read_bytes()))
    assert booster.attributes() == {}
    checkpointed(tree)
    assert survive(tree, kills)[0] >= 1
    assert results(tree) == expected


def test_an_earlier_model_may_have_names_for_its_columns(tree: Tree) -> None:
    rows = binary_rows(ROWS, seed=1)
    named = xgb.DMatrix(rows[:, 1:], rows[:, 0], feature_names=[f"c{i}" for i in range(6)])
    model = xgb.train({"objective": "binary:logistic", "nthread": 1}, named, 3)
    channel = tree.root / "input" / "data" / "model"
    channel.mkdir(parents=True)
    model.save_model(channel / "earlier.ubj")
    write_job(tree, "binary:logistic", {}, num_round="2")
    assert [line[:3] for line in rounds_of(start(tree))] == ["[3]", "[4]", "[4]"]


# --- other jobs in the same folder ---------------------------------------------------------------


def test_two_jobs_that_share_a_folder_end_with_their_own_models(tree: Tree, kills: Any) -> None:
    depths = ("3", "4")
    expected = {}
    for depth in depths:
        write_job(tree, "binary:logistic", SAMPLING, max_depth=depth)
        expected[depth], _ = straight(tree)
    checkpointed(tree)
    draw = random.Random(5)
    left, said = set(depths), []
    while left:
        depth = draw.choice(sorted(left))
        write_job(tree, "binary:logistic", SAMPLING, max_depth=depth)
        kills(draw.randint(1, 4))
        try:
            start(tree)
        except Killed:
            said += start.lines  # type: ignore[attr-defined]
            continue
        assert results(tree) == expected[depth]
        left.remove(depth)
    assert any("max_depth is " in line for line in said)


def test_checkpoints_of_another_job_can_be_an_error(tree: Tree) -> None:
    write_job(tree, "binary:logistic", {})
    checkpointed(tree)
    start(tree)
    write_job(tree, "binary:logistic", {}, max_depth="4", checkpoint_mismatch="fail")
    with pytest.raises(ConfigError, match="max_depth is 3 there and 4 here"):
        start(tree)


def test_other_data_is_another_job(tree: Tree) -> None:
    write_job(tree, "binary:logistic", {})
    checkpointed(tree)
    start(tree)
    tree.channel("train", binary_rows(ROWS, seed=9))
    lines = start(tree)
    assert not any(line.startswith("resumed") for line in lines)
    assert any("train data is" in line for line in lines)


def test_other_names_of_groups_are_another_job(tree: Tree) -> None:
    """Rows and the numbers of their groups are the same, but folds are drawn by the names."""
    rows = binary_rows(ROWS)
    groups = np.arange(ROWS) // 6
    asked = {**FOLDED, "group_column": "-1"}
    write_job(tree, "binary:logistic", asked)
    tree.channel("train", np.column_stack([rows, groups]))
    checkpointed(tree)
    start(tree)
    tree.channel("train", np.column_stack([rows, np.random.default_rng(0).permutation(40)[groups]]))
    lines = start(tree)
    assert not any(line.startswith("resumed") for line in lines)
    found = results(tree)
    shutil.rmtree(tree.root / "checkpoints")
    assert found == straight(tree)[0]


# --- disks that fail ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_a_disk_that_fails_now_and_then_changes_nothing(
    tree: Tree, kills: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Writes, reads and listings fail, files are damaged between starts, the job is killed."""
    write_job(tree, "binary:logistic", WAYS[("stopping, dropout", "folds")[seed % 2]])
    expected, _ = straight(tree)
    checkpointed(tree)
    draw = random.Random(seed)

    def failing(operation: Callable[..., Any]) -> Callable[..., Any]:
        def maybe(*arguments: Any) -> Any:
            if draw.random() < 0.15:
                raise OSError(draw.choice((errno.ENOSPC, errno.EROFS, errno.EIO)), "It fails")
            return operation(*arguments)

        return maybe

    for name in ("write", "read", "names", "remove"):
        monkeypatch.setattr(Disk, name, failing(getattr(Disk, name)))
    for _ in range(12):
        kills(draw.randint(1, 9), draw.random() < 0.3)
        try:
            start(tree)
        except Killed:
            damage(tree.root / "checkpoints", draw)
        else:
            break
    else:
        kills(None)
        start(tree)
    assert results(tree) == expected


def damage(folder: Path, draw: random.Random) -> None:
    """Cut, flip, empty, swap or remove one of the files."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if not files or draw.random() < 0.3:
        return
    file, other = draw.choice(files), draw.choice(files)
    content = bytearray(file.read_bytes())
    match draw.randrange(5):
        case 0:
            file.write_bytes(content[: draw.randrange(len(content) or 1)])
        case 1 if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            file.write_bytes(content)
        case 2:
            file.write_bytes(b"")
        case 3:
            file.write_bytes(other.read_bytes())
        case _:
            file.unlink()


def test_a_folder_that_cannot_be_written_never_loses_the_model(tree: Tree) -> None:
    write_job(tree, "binary:logistic", {})
    expected, _ = straight(tree)
    file = tree.root / "checkpoints"
    file.write_text("a file where the folder should be")
    tree.config("checkpointconfig", {"LocalPath": str(file)})
    lines = start(tree)
    assert results(tree) == expected
    assert sum("WARNING: checkpoints cannot be " in line for line in lines) in (1, 2)
    write_job(tree, "binary:logistic", {}, checkpoint_required="true")
    with pytest.raises(PlatformError, match="checkpoint_required=true"):
        start(tree)
