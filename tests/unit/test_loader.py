"""The data sets of a job against each other, the objective, an earlier model and the memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from treeline import hyperparameters, memory
from treeline.algorithms.interface import Loaded
from treeline.data import channel
from treeline.data.matrix import Schema
from treeline.data.storage import is_spooled
from treeline.errors import DataError, HyperparameterError, ResourceError, Stopped, TreelineError
from treeline.loader import Loader, Voice, outputs_of, schema_from_json, schema_to_json
from treeline.opt_ml import Channel
from treeline.stopping import StopRequest

TYPES = {".csv": "text/csv", ".parquet": "application/x-parquet", ".libsvm": "text/libsvm"}


class Job:
    """Channels under a folder, and what was said while they were loaded."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.stop = StopRequest()

    def put(self, file: str, text: str) -> Job:
        """Write a file, such as train/a.csv."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self

    def table(self, role: str, **columns: Any) -> Job:
        """Write a Parquet file."""
        (self.root / role).mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), self.root / role / "a.parquet")
        return self

    def loader(
        self,
        limit: int | None = None,
        schema: Schema | None = None,
        classes: Any = None,
        **given: object,
    ) -> Loader:
        usual = {} if "algorithm" in given else {"num_round": "1"}
        found = usual | {name: str(value) for name, value in given.items()}
        config = hyperparameters.parse(found)
        channels = {}
        for folder in self.root.iterdir():
            [suffix] = {path.suffix for path in folder.rglob("*") if path.is_file()}
            channels[folder.name] = Channel(folder.name, folder, TYPES[suffix])
        datasets = channel.resolve(channels, config.data).datasets
        voice = Voice(self.lines.append, self.warnings.append)
        return Loader(datasets, config, 1, voice, self.stop, limit, schema, classes)

    def load(self, **given: Any) -> dict[str, Loaded]:
        """Load all roles in order."""
        loader = self.loader(**given)
        return {role: loader.load(role) for role in loader.roles}

    def refused(self, error: type[TreelineError] = DataError, **given: Any) -> str:
        with pytest.raises(error) as caught:
            self.load(**given)
        assert caught.value.remedy
        assert "\n" not in caught.value.cause
        return caught.value.cause


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "data").mkdir()
    return Job(tmp_path / "data")


BINARY: Any = {"objective": "binary:logistic"}


# --- the schema in the manifest


@pytest.mark.parametrize("classes", [None, ("no", "yes"), (-1.0, 2.5)])
@pytest.mark.parametrize("names", [None, ("age", "sex", "é\n")])
def test_schema_there_and_back(classes: Any, names: Any) -> None:
    texts = classes if classes and isinstance(classes[0], str) else None
    schema = Schema(3, names, {0: ("a", "b"), 2: ()}, texts, origin="the earlier model")
    entry = json.loads(json.dumps(schema_to_json(schema, classes)))
    assert schema_from_json(entry) == (schema, classes)


def test_schema_of_an_older_manifest() -> None:
    entry = {"label": "column 0", "weight": None, "features": 6, "feature_names": None}
    assert schema_from_json(entry) == (Schema(6, origin="the earlier model"), None)


def test_the_manifest_says_which_column_is_what(job: Job) -> None:
    job.table("train", x=[1.0, 2.0], w=[1.0, 2.0], y=["b", "a"], q=["u", "v"])
    loader = job.loader(**BINARY, label_column="y", weight_column="w", group_column="q")
    loader.load("train")
    assert loader.schema is not None
    assert schema_to_json(loader.schema, loader.classes) == {
        "columns": {
            "label": {"position": 2, "name": "y"},
            "weight": {"position": 1, "name": "w"},
            "group": {"position": 3, "name": "q"},
        },
        "features": 1,
        "feature_names": ["x"],
        "categories": {},
        "classes": ["a", "b"],
    }


# --- train settles what the others are


def test_every_data_set_is_coded_as_train(job: Job) -> None:
    job.put("train/a.csv", "1,b,1\n2,a,2\n1,c,3\n").put("validation/a.csv", "2,c,1\n2,x,2\n")
    loader = job.loader(**BINARY)
    train, validation = loader.load("train").matrix, loader.load("validation").matrix
    assert train.label is not None
    assert validation.label is not None
    assert isinstance(validation.features, np.ndarray)
    assert (train.label.tolist(), validation.label.tolist()) == ([0, 1, 0], [1, 1])
    assert loader.classes == (1.0, 2.0)
    assert np.array_equal(validation.features[:, 0], [2, np.nan], equal_nan=True)
    assert loader.data["train"].rows == 3
    assert loader.data["validation"].fingerprint == validation.fingerprint
    assert any(
        line.startswith("train: 3 rows, 2 features, 1 of them categorical (feature 0); label in")
        for line in job.lines
    )
    assert "train: classes of the label: 0 = 1.0, 1 = 2.0" in job.lines
    [note] = [line for line in job.lines if "category that train does not have" in line]
    assert note.startswith("validation: feature 0: 1 of 2 rows")


def test_a_class_of_validation_that_train_does_not_have(job: Job) -> None:
    job.put("train/a.csv", "1,1\n2,2\n").put("validation/a.csv", "2,1\n3,2\n")
    assert job.refused(**BINARY) == (
        "validation/a.csv row 2: label 3 is none of the classes of train (1, 2); "
        "1 such row(s) of 2 in validation"
    )


def test_labels_are_text_everywhere_or_nowhere(job: Job) -> None:
    job.put("train/a.libsvm", "1 0:1\n0 0:2\n").put("validation/a.csv", "yes,1\nno,2\n")
    assert job.refused(**BINARY) == (
        "validation/a.csv row 1: the label is text ('no', 'yes'), in train it is a number"
    )


def test_text_where_train_has_numbers(job: Job) -> None:
    job.table("train", y=[1.0, 0.0], x=[1.0, 2.0]).table("validation", y=[1.0], x=["a"])
    cause = job.refused(**BINARY)
    assert cause.startswith("validation/a.parquet")
    assert "'x'" in cause


def test_numbers_where_train_has_text(job: Job) -> None:
    """Of formats that do not share their columns' kinds; among tables numbers are texts too."""
    job.table("train", y=[1.0, 0.0], x=["a", "b"]).put("validation/a.libsvm", "1 0:1\n")
    cause = job.refused(**BINARY)
    assert "has no text columns" in cause
    assert "feature 0 'x' is categorical" in cause


@pytest.mark.parametrize("text", ["1,2\n0,3\n", "1,2,3,4\n0,3,4,5\n"])
def test_validation_narrower_or_wider_than_train(job: Job, text: str) -> None:
    job.put("train/a.csv", "1,2,3\n0,4,5\n").put("validation/a.csv", text)
    width = text.index("\n") // 2 + 1
    assert job.refused(**BINARY) == f"validation/a.csv: has {width} columns, train/a.csv has 3"


def test_sparse_validation_may_be_narrower_and_not_wider(job: Job) -> None:
    job.put("train/a.libsvm", "1 0:1 4:2\n0 0:2\n").put("validation/a.libsvm", "1 0:1\n")
    assert job.load(**BINARY)["validation"].matrix.schema.features == 5
    job.put("validation/a.libsvm", "1 0:1\n1 7:1\n")
    cause = job.refused(**BINARY)
    assert cause.startswith("validation/a.libsvm row 2: has feature 7 ")
    assert "has 5 features" in cause


def test_one_class_alone(job: Job) -> None:
    job.put("train/a.csv", "1,1\n1,2\n").put("validation/a.csv", "0,1\n0,2\n")
    assert "all 2 labels are 1" in job.refused(**BINARY)
    job.put("train/a.csv", "1,1\n0,2\n")
    assert job.load(**BINARY)["validation"].matrix.rows == 2  # of train alone


# --- an earlier model


def test_an_earlier_models_codes_stay(job: Job) -> None:
    job.put("train/a.csv", "yes,a\nno,b\nno,c\n")
    earlier = Schema(1, None, {0: ("b", "a")}, ("yes", "no"), origin="the earlier model")
    loader = job.loader(**BINARY, csv_header="false", schema=earlier, classes=("yes", "no"))
    found = loader.load("train").matrix
    assert found.label is not None
    assert found.label.tolist() == [0, 1, 1]
    assert isinstance(found.features, np.ndarray)
    assert np.array_equal(found.features[:, 0], [1, 0, np.nan], equal_nan=True)
    assert loader.classes == ("yes", "no")
    assert loader.schema is not None
    assert loader.schema.layout is not None


@pytest.mark.parametrize(
    ("earlier", "classes", "cause"),
    [
        (Schema(2), None, "train/a.parquet: has 1 features, the earlier model has 2"),
        (
            Schema(1, ("age",)),
            None,
            "Channel train: feature 'x' stands where the earlier model has 'age'",
        ),
        (
            Schema(1, ("x",), {0: ("a",)}),
            None,
            "train/a.parquet: feature 0 'x' holds numbers, in the earlier model text",
        ),
        (
            Schema(1, ("x",)),
            (0.0, 7.0),
            "train/a.parquet row 1: label 1 is none of the classes of train (0, 7); "
            "1 such row(s) of 2 in train",
        ),
    ],
)
def test_an_earlier_model_of_other_data(
    job: Job, earlier: Schema, classes: Any, cause: str
) -> None:
    job.table("train", y=[1.0, 0.0], x=[1.0, 2.0])
    named = Schema(
        earlier.features, earlier.feature_names, earlier.categories, origin="the earlier model"
    )
    assert job.refused(**BINARY, schema=named, classes=classes) == cause


# --- the objective


@pytest.mark.parametrize(
    "booster", [{"tree_method": "exact"}, {"booster": "gblinear"}], ids=["exact", "gblinear"]
)
def test_categories_that_cannot_be_split(job: Job, booster: dict[str, str]) -> None:
    job.put("train/a.csv", "1,a\n0,b\n")
    cause = job.refused(HyperparameterError, **BINARY, **booster)
    assert "feature 0 is categorical" in cause
    assert "hist" in cause


@pytest.mark.parametrize("booster", [{"tree_method": "approx"}, {"booster": "dart"}, {}])
def test_categories_that_can_be_split(job: Job, booster: dict[str, str]) -> None:
    assert job.put("train/a.csv", "1,a\n0,b\n").load(**BINARY, **booster)["train"].matrix.rows == 2


def test_ranking_without_groups_is_warned_of(job: Job) -> None:
    job.put("train/a.csv", "1,7,2\n0,7,3\n").put("validation/a.csv", "1,7,2\n")
    job.load(objective="rank:ndcg")
    assert job.warnings == [
        "train: no group_column and no qid, so all 2 rows are one query",
        "validation: no group_column and no qid, so all 1 rows are one query",
    ]
    job.warnings.clear()
    job.load(objective="rank:ndcg", group_column=1)
    job.load(**BINARY)
    assert job.warnings == []


def test_survival_needs_bounds(job: Job) -> None:
    job.put("train/a.libsvm", "1 0:1\n")
    bounds: Any = {"label_lower_bound_column": "lo", "label_upper_bound_column": "hi"}
    cause = job.refused(objective="survival:aft", **bounds)
    assert "label_lower_bound_column" in cause


def test_a_stop_request_ends_the_reading(job: Job) -> None:
    job.put("train/a.csv", "1,1\n0,2\n").stop.requested = True
    with pytest.raises(Stopped):
        job.load(**BINARY)


def test_outputs_of_a_model() -> None:
    def outputs(**given: str) -> int:
        return outputs_of(hyperparameters.parse({"num_round": "1", **given}))

    assert outputs(objective="binary:logistic") == 1
    assert outputs(objective="multi:softprob", num_class="7") == 7
    assert outputs(objective="reg:quantileerror", quantile_alpha="0.1,0.5,0.9") == 3


# --- the report


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "data_report.json").read_text())
    return found


def test_the_report_is_written_though_leakage_is_refused(job: Job, tmp_path: Path) -> None:
    job.put("train/a.csv", "1,2,3\n0,4,5\n").put("validation/a.csv", "1,8,9\n0,4,5\n")
    loader = job.loader(**BINARY, leakage="fail")
    for role in loader.roles:
        loader.load(role)
    with pytest.raises(DataError) as caught:
        loader.report(tmp_path / "out")
    assert "validation" in caught.value.cause
    found = report(tmp_path / "out")
    assert found["leakage"]["mode"] == "fail"
    assert found["train"]["rows"] == 2


def test_leakage_is_warned_of_or_ignored(job: Job, tmp_path: Path) -> None:
    job.put("train/a.csv", "1,2,3\n0,4,5\n").put("validation/a.csv", "1,8,9\n0,4,5\n")
    for leakage, warned in (("warn", 1), ("ignore", 0)):
        loader = job.loader(**BINARY, leakage=leakage)
        for role in loader.roles:
            loader.load(role)
        job.warnings.clear()
        loader.report(tmp_path / leakage)
        assert len([text for text in job.warnings if "validation" in text]) == warned
        assert report(tmp_path / leakage)["leakage"]["mode"] == leakage


def test_the_report_names_classes_and_features(job: Job, tmp_path: Path) -> None:
    job.table("train", y=["no", "yes", "no"], age=[1.0, None, 2.0])
    loader = job.loader(**BINARY)
    loader.load("train")
    loader.report(tmp_path)
    found = report(tmp_path)["train"]
    assert [(each["class"], each["count"]) for each in found["label"]["classes"]] == [
        ("no", 2),
        ("yes", 1),
    ]
    assert found["missing"]["columns"][0]["name"] == "age"


# --- memory


ROWS = "".join(f"{i % 2},{i},{i * 7 % 13}\n" for i in range(500))


@pytest.fixture
def no_temporary_files_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert [*folder.iterdir()] == []


def limit_for(rows: int) -> int:
    """The memory in which about this many rows of two columns may be collected."""
    low, high = 10**6, 10**10
    while high - low > 1:
        middle = (low + high) // 2
        enough = memory.row_budget(2, 1, middle) >= rows
        low, high = (low, middle) if enough else (middle, high)
    return high


@pytest.mark.usefixtures("no_temporary_files_left")
def test_rows_beyond_the_memory_go_to_a_file(job: Job) -> None:
    job.put("train/a.csv", ROWS)
    plain = job.load(**BINARY)["train"]
    assert not is_spooled(plain.matrix.features)
    assert not [line for line in job.lines if "temporary file" in line]
    limit = limit_for(100)
    found = job.load(**BINARY, limit=limit)["train"]
    assert is_spooled(found.matrix.features)
    assert isinstance(found.matrix.features, np.ndarray)
    assert np.array_equal(found.matrix.features, np.asarray(plain.matrix.features))
    assert found.matrix.fingerprint == plain.matrix.fingerprint
    [line] = [line for line in job.lines if "temporary file" in line]
    assert line == (
        "rows are kept in a temporary file after the first 0: more would not fit into "
        f"{memory.size(limit)} of memory"
    )
    assert not is_spooled(job.load(**BINARY, limit=limit_for(501))["train"].matrix.features)


@pytest.mark.usefixtures("no_temporary_files_left")
@pytest.mark.parametrize(
    ("external", "limit", "on_disk"),
    [("true", None, True), ("true", 10**9, True), (None, 10**9, False), (None, None, False)],
)
def test_bins_on_disk(job: Job, external: str | None, limit: int | None, on_disk: bool) -> None:
    job.put("train/a.csv", ROWS).put("validation/a.csv", ROWS)
    given: Any = {} if external is None else {"external_memory": external}
    found = job.load(**BINARY, **given, limit=limit)
    assert [each.on_disk for each in found.values()] == [on_disk] * 2
    assert any("bins are kept on disk" in line for line in job.lines) == on_disk


def test_bins_on_disk_where_memory_is_short(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.put("train/a.csv", ROWS).put("validation/a.csv", ROWS)
    asked: list[int] = []

    def choose(rows: int, columns: int, outputs: int, *rest: Any, **more: Any) -> memory.Plan:
        asked.extend((rows, columns, outputs, more["other_rows"]))
        return memory.Plan("external", "because")

    monkeypatch.setattr(memory, "choose", choose)
    found = job.load(**BINARY, limit=10**9)
    assert asked == [500, 2, 1, 500]  # asked once; the others follow train
    assert [each.on_disk for each in found.values()] == [True, True]
    assert "because" in job.lines


def test_a_forest_on_raw_rows_is_weighed(job: Job) -> None:
    job.put("train/a.csv", ROWS)
    given = {"algorithm": "random_forest", "n_estimators": 3, **BINARY}
    for limit, count in ((None, 0), (10**9, 0), (2 * 10**8, 1)):
        job.lines.clear()
        assert not job.load(**given, limit=limit)["train"].on_disk
        said = [line for line in job.lines if "3 trees by scikit-learn" in line]
        assert len(said) == count
    assert "which may not be enough" in said[0]
    cause = job.refused(ResourceError, **given, limit=10**8)
    assert cause.startswith("500 rows x 2 columns need about 2")
    assert "100 MB is allowed" in cause


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({"num_round": 1}, 0),
        ({"num_round": 1, "cv_folds": 3}, memory.SKLEARN),
        ({"algorithm": "random_forest", "forest_engine": "xgboost"}, 0),
        ({"algorithm": "random_forest", "forest_engine": "xgboost", "cv_folds": 3}, memory.SKLEARN),
    ],
    ids=str,
)
def test_scikit_learn_itself_is_counted_where_it_is_imported(
    job: Job, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], held: int
) -> None:
    job.put("train/a.csv", ROWS)
    seen: list[int] = []

    def choose(*_: Any, **more: Any) -> memory.Plan:
        seen.append(more["held"])
        return memory.Plan("memory", "")

    monkeypatch.setattr(memory, "choose", choose)
    job.load(**BINARY, **given, limit=10**9)
    assert seen == [held + (memory.raw_bytes(500, 2) if "cv_folds" in given else 0)]


def test_folds_by_scikit_learn_are_as_many_as_its_forests_leave_room_for(job: Job) -> None:
    job.put("train/a.csv", ROWS)
    given = {"algorithm": "random_forest", "cv_folds": 3, "n_estimators": 100, **BINARY}
    found = {}
    for engine in ("sklearn", "xgboost"):
        loader = job.loader(**given, forest_engine=engine, max_depth=4, limit=6 * 10**8)
        loader.load("train")
        found[engine] = loader.folds_at_once(3 * 10**5, 10**5)
    assert found["sklearn"] < found["xgboost"]


def test_raw_values_are_never_on_disk(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "choose", lambda *_, **__: memory.Plan("external", "because"))
    job.put("train/a.csv", ROWS)
    assert not job.load(**BINARY, tree_method="approx")["train"].on_disk
    assert job.load(**BINARY)["train"].on_disk
