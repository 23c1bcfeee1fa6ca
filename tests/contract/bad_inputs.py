"""Bad inputs, a row each: the files of the job, and what the refusal has to say about them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import xgboost as xgb
from pyarrow import ipc, parquet

from tests.conftest import Tree

type Content = str | bytes | Callable[[], bytes]


@dataclass(frozen=True)
class Bad:
    """A job that cannot be trained.

    ``files`` are paths below input/data with their content; None makes an empty folder. ``cause``
    are parts of the first line of the refusal, ``remedy`` is part of the second. ``job`` are
    hyperparameters besides GOOD's, ``types`` the content type of all channels or of each;
    ``prepare`` does to the tree what files cannot say.
    """

    files: Mapping[str, Content | None]
    cause: tuple[str, ...]
    remedy: str
    job: Mapping[str, object] = field(default_factory=dict)
    types: str | Mapping[str, str | None] | None = None
    prepare: Callable[[Tree], object] | None = None

    def make(self, tree: Tree) -> None:
        """Write the job into ``tree``."""
        for name, content in self.files.items():
            path = tree.root / "input" / "data" / name
            if content is None:
                path.mkdir(parents=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content = content()
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        tree.hyperparameters(**{**GOOD, **self.job})
        if self.types is not None:
            channels = dict.fromkeys(name.split("/")[0] for name in self.files)
            types = self.types if isinstance(self.types, Mapping) else {}
            tree.config(
                "inputdataconfig",
                {name: {"ContentType": types.get(name, self.types)} for name in channels},
            )
        if self.prepare is not None:
            self.prepare(tree)


GOOD: dict[str, object] = {"num_round": 2, "objective": "binary:logistic", "nthread": 1}
REGRESSION: dict[str, object] = {"objective": "reg:squarederror"}
FILE = "train/part-0.csv"
ROWS = "1,0.5,2\n0,1.5,3\n1,0.25,5\n0,2.5,1\n1,0.75,4\n0,3.5,7\n"
NAMED = "y,a,b\n" + ROWS
RUBBISH = bytes(range(200, 256)) + bytes(range(64)) * 8
FAR = 150_000  # rows: beyond the first blocks of any reader


def train(content: Content, *cause: str, remedy: str, **more: Any) -> Bad:
    """Return a job with one file in train; ``cause`` need not name it."""
    name = more.pop("name", FILE)
    return Bad({name: content}, (name, *cause), remedy, **more)


def labelled(objective: str, *labels: object, found: str, needs: str, remedy: str) -> Bad:
    """Return a job whose last label does not fit the objective."""
    text = "".join(f"{label},{i}\n" for i, label in enumerate(labels))
    job: dict[str, object] = {"objective": objective}
    if objective.startswith("multi:"):
        job["num_class"] = 3
    cause = (f"row {len(labels)}", found, objective, needs)
    return train(text, *cause, remedy=remedy, job=job)


# --- contents --------------------------------------------------------------------------------


def far(last: str) -> Callable[[], bytes]:
    """Return many good rows and one more."""
    return lambda: b"1,0.5,2\n0,1.5,3\n" * (FAR // 2) + last.encode() + b"\n" + ROWS.encode()


def table(**columns: Any) -> pa.Table:
    """Return a table with a label y and a feature a in front of ``columns``."""
    return pa.table({"y": [0.0, 1.0, 1.0, 0.0], "a": [1.0, 2.0, 3.0, 4.0], **columns})


def as_parquet(content: pa.Table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(content, sink)
    return sink.getvalue()


def as_arrow(content: pa.Table) -> bytes:
    sink = io.BytesIO()
    with ipc.new_file(sink, content.schema) as writer:
        writer.write_table(content)
    return sink.getvalue()


def as_arrow_stream(content: pa.Table) -> bytes:
    sink = io.BytesIO()
    with ipc.new_stream(sink, content.schema) as writer:
        writer.write_table(content)
    return sink.getvalue()


def as_npz(**arrays: Any) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    return sink.getvalue()


X = np.arange(12.0).reshape(6, 2)
Y = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])


def damaged(content: bytes, at: float = 0.5) -> bytes:
    """Return ``content`` with eight bytes changed."""
    i = int(len(content) * at)
    return content[:i] + bytes(byte ^ 0xFF for byte in content[i : i + 8]) + content[i + 8 :]


def zipped(**members: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return sink.getvalue()


def tarred(**members: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("_", "-"))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


def _message(number: int, content: bytes) -> bytes:
    """Return a field of a protobuf message, up to 127 bytes long."""
    return bytes([number << 3 | 2, len(content)]) + content


def _tensor(part: int, values: bytes, name: bytes = b"values") -> bytes:
    entry = _message(1, name) + _message(2, _message(2, values))
    return _message(part, entry)


def _floats(*values: float) -> bytes:
    return _message(1, struct.pack(f"<{len(values)}f", *values))


def record(*parts: bytes, magic: int = 0xCED7230A) -> bytes:
    """Return a record of RecordIO that holds a message of ``parts``."""
    content = b"".join(parts)
    return struct.pack("<II", magic, len(content)) + content + bytes(-len(content) % 4)


def row(label: float, *features: float) -> bytes:
    return record(_tensor(1, _floats(*features)), _tensor(2, _floats(label)))


RECORDS = row(1, 0.5, 2) + row(0, 1.5, 3)


def model(objective: str = "binary:logistic", columns: int = 2) -> bytes:
    """Return a small model of XGBoost as UBJSON."""
    values = np.arange(6.0 * columns).reshape(6, columns)
    data = xgb.DMatrix(values, Y)
    parameters = {"objective": objective, "max_depth": 1, "nthread": 1}
    return bytes(xgb.train(parameters, data, 2).save_raw("ubj"))


# --- changes to the tree ---------------------------------------------------------------------


def declared(**entry: object) -> Callable[[Tree], object]:
    """Return what declares train with ``entry``."""
    return lambda tree: tree.config("inputdataconfig", {"train": entry})


def linked(tree: Tree) -> None:
    (tree.root / "input/data/train/part-1.csv").symlink_to(tree.root / "gone.csv")


# --- text ------------------------------------------------------------------------------------

CSV: dict[str, Bad] = {
    "a row too short": train(
        "1,2,3\n0,1\n1,2,2\n", "row 2 has 2 fields", "expected are 3", "'0,1'", remedy="3 fields"
    ),
    "a row too long": train(
        "1,2,3\n0,1,2,9\n1,2,2\n", "row 2 has 4 fields", "expected are 3", remedy="quote a field"
    ),
    "a row too short, far down": train(
        far("1,2"), f"row {FAR + 1} has 2 fields", "'1,2'", remedy="3 fields"
    ),
    "a delimiter at the end of rows": train(
        "y,a,b\n1,2,3,\n0,1,4,\n",
        "first row has 3 fields",
        "have 4, with a delimiter at the end",
        remedy="Remove the delimiter",
    ),
    "a header without the row names' name": train(
        'y,a\n"r1",1,2\n"r2",0,4\n', "first row has 2 fields", "have 3", remedy="write.table"
    ),
    "text among numbers": train(
        "1,2,3\n0,x,4\n1,5,6\n",
        "column 1 holds numbers and text: '2' in row 1, 'x' in row 2",
        remedy="missing_values",
    ),
    "text among numbers, by name": train(
        "y,a,b\n1,2,3\n0,x,4\n1,5,6\n", "column 1 'a'", "'x' in row 2", remedy="Correct the field"
    ),
    "text among numbers, far down": train(
        far("1,2,oops"), f"row {FAR + 1}, column 2", "'oops'", remedy="Correct the field"
    ),
    "a number among text, far down": train(
        lambda: b"1,red,2\n0,blue,3\n" * (FAR // 2) + b"1,17,2\n",
        "column 1 holds text",
        f"the number '17' in row {FAR + 1}",
        remedy="categorical_columns",
    ),
    "text in the weight": train(
        "1,2,3\n0,heavy,4\n", "row 2, column 1", "'heavy'", remedy="Correct", job={"csv_weights": 1}
    ),
    "dates": train(
        "y,when,a\n1,2024-01-31,2\n0,2024-02-01,3\n",
        "column 1 'when' holds dates",
        "'2024-01-31'",
        remedy="Encode it as numbers",
    ),
    "numbers with a currency": train(
        "y,price,a\n1,$5,2\n0,$7.50,3\n", "column 1 'price'", "'$5'", remedy="Encode it as numbers"
    ),
    "decimal commas": train(
        "1;0,5;2,0\n0;1,5;3,1\n", "decimal comma ('0,5')", "semicolons", remedy="decimal point"
    ),
    "a quote that is not closed": train(
        'y,a,c\n1,2,"x"\n0,3,"y\n1,4,z\n', "a quote", "is not closed", remedy="Close the quote"
    ),
    "a quote that the next one closes": train(
        'y,c,a\n1,"x",2\n0,"y,3\n1,"z",4\n0,"x",5\n',
        "row 2, column 1 'c'",
        "quote",
        remedy="written twice",
    ),
    "a quote among numbers": train(
        '1,2,3\n0,"4,5\n1,"6",7\n', "row 2, column 1", "quote not closed", remedy="Correct"
    ),
    "a blank before a quote": train(
        '1,2, "x, y"\n0,3, "y, z"\n', "a blank stands before a quote", remedy="without blanks"
    ),
    "a header in the middle": train(
        NAMED + NAMED, "the header occurs again, as row 7", "column 0 'y'", remedy="all header"
    ),
    "a header or not": train(
        "y,2,b\n" + ROWS, "can be a header or data", "'y', '2', 'b'", remedy="csv_header=true"
    ),
    "a header of 0 to n-1": train(
        "0,1,2,3\n1,5,6,7\n0,3,4,5\n",
        "can be a header or data",
        "'0', '1', '2', '3'",
        remedy="csv_header=true",
    ),
    "two delimiters": train(
        "1|5;2\n0|5;3\n", "can be read in 2 ways", "'1|5;2'", remedy="csv_delimiter"
    ),
    "a header and no row": train("y,a,b\n", "a header and no row", remedy="complete"),
    "a delimiter that is not there": train(
        ROWS,
        "one field: '1,0.5,2'",
        remedy="csv_delimiter",
        job={"csv_delimiter": "tab"},
    ),
    "a header declared data": train(
        NAMED,
        "column 0 holds numbers and text",
        "'1' in row 2, 'y' in row 1",
        remedy="Correct",
        job={"csv_header": "false"},
    ),
    "empty lines only": train("\n\n\n", "has no row", remedy="one row a line", types="text/csv"),
    "one column": train(
        "1\n0\n1\n", "one field: '1'", remedy="separated by commas", types="text/csv"
    ),
    "one column undeclared": train("1\n0\n1\n", "begins with b'1\\n0", remedy="ContentType"),
    "a field of a thousand letters": train(
        f"1,2\n0,{'z' * 5000}\n", "in row 2", "zzz…'", remedy="missing_values"
    ),
    "a thousand names": train(
        lambda: (
            ",".join(f"measurement {i:04}" for i in range(1000)).encode()
            + b"\n"
            + b",".join([b"1"] * 1000)
            + b"\n"
        ),
        "label_column=y",
        "and 992 more",
        remedy="0 is the first of 1000",
        job={"label_column": "y"},
    ),
    "a line end in a file's name": Bad(
        {"train/a\nb.csv": "1,2\n0,x\n1,3\n"}, (r"train/'a\nb.csv'", "'x' in row 2"), "Correct"
    ),
    "no feature is left": train(
        NAMED,
        "3 column(s) and none is left",
        remedy="ignore_columns",
        job={"ignore_columns": "a,b"},
    ),
    "a name twice": train("y,a,a\n" + ROWS, "'a' occurs 2 times", remedy="a name of its own"),
    "a column without a name": train(
        ",y,a\n" + ROWS, "column 0 has no name", "pandas", remedy="ignore_columns=0"
    ),
    "UTF-16": train(ROWS.encode("utf-16"), "UTF-16", remedy="iconv", types="text/csv"),
    "UTF-16 without a mark": train(
        ROWS.encode("utf-16-le"), "binary", "b'1\\x00", remedy="UTF-8", types="text/csv"
    ),
    "Latin-1 in a field": train(
        "y,town,a\n1,Bonn,2\n0,Köln,3\n".encode("latin-1"),
        "row 2, column 1 'town'",
        "not in UTF-8",
        remedy="iconv -f LATIN1",
    ),
    "Latin-1 in the header": train(
        "y,Größe,a\n1,3,2\n0,4,3\n".encode("latin-1"), "the header", "UTF-8", remedy="iconv"
    ),
    "a NUL byte": train(b"1,2\n0,\0\n1,4\n", "binary", remedy="UTF-8", types="text/csv"),
    "NUL bytes, far down": train(
        far("1,\0,3"), f"row {FAR + 1}, column 1", "'\\x00'", remedy="Correct the field"
    ),
    "rubbish": train(RUBBISH, "binary", remedy="ContentType", types="text/csv"),
    "line ends of a carriage return": train(
        ROWS.replace("\n", "\r"), "carriage return", remedy="Convert the line ends"
    ),
    "a row longer than sensible": train(
        lambda: ROWS.encode() + b'1,2,"' + b"x\n" * 1_500_000, "longer than 1 MiB", remedy="quote"
    ),
    "an infinite feature": train(
        "1,2,3\n0,inf,4\n1,5,-inf\n", "row 2", "feature 0", "infinite", remedy="Correct or drop"
    ),
    "a feature beyond float32": train(
        "1,2,3\n0,1e39,4\n1,5,6\n", "row 2", "feature 0", "infinite", remedy="Correct or drop"
    ),
}

# --- labels ----------------------------------------------------------------------------------

LABELS: dict[str, Bad] = {
    "a missing label": train(
        "1,2\n,3\n0,4\n",
        "row 2",
        "label is missing",
        "1 such row(s) of 3",
        remedy="in features only",
    ),
    "a label that is not a number": train(
        "1,2\nnan,3\n0,4\n", "row 2", "label is missing", remedy="Correct or drop"
    ),
    "an infinite label": train(
        "1,2\n0,3\ninf,4\n",
        "row 3",
        "label is missing or infinite (inf)",
        remedy="Correct or drop",
        job=REGRESSION,
    ),
    "a missing text label": train(
        "yes,2\nno,3\n,4\nyes,1\n", "row 3", "label is missing", remedy="Correct or drop"
    ),
    "three classes for two": labelled(
        "binary:logistic",
        0,
        1,
        2,
        found="label 2",
        needs="between 0 and 1",
        remedy="multi:softprob",
    ),
    "raw scores of three": labelled(
        "binary:logitraw", 0, 1, -1, found="label -1", needs="between 0 and 1", remedy="Encode"
    ),
    "no share": labelled(
        "reg:logistic", 0, 1, 1.5, found="label 1.5", needs="between 0 and 1", remedy="reg:"
    ),
    "half a class": labelled(
        "binary:hinge", 0, 1, 0.5, found="label 0.5", needs="0 or 1", remedy="Number the classes"
    ),
    "a class too many": labelled(
        "multi:softmax", 0, 1, 2, 3, found="label 3", needs="0 to 2", remedy="num_class"
    ),
    "a class below 0": labelled(
        "multi:softprob", 0, 1, 2, -1, found="label -1", needs="0 to 2", remedy="num_class"
    ),
    "a negative count": labelled(
        "count:poisson", 0, 3, -2, found="label -2", needs="0 or more", remedy="reg:squarederror"
    ),
    "a negative amount": labelled(
        "reg:tweedie", 0, 3, -2, found="label -2", needs="0 or more", remedy="reg:squarederror"
    ),
    "gamma of 0": labelled(
        "reg:gamma", 1, 3, 0, found="label 0", needs="above 0", remedy="reg:squarederror"
    ),
    "a logarithm of 0": labelled(
        "reg:squaredlogerror", 1, 3, -1, found="label -1", needs="above -1", remedy="squarederror"
    ),
    "a grade of 2 for map": labelled(
        "rank:map", 0, 1, 2, found="label 2", needs="0 or 1", remedy="Number the classes"
    ),
    "a grade of 32": labelled(
        "rank:ndcg", 0, 1, 32, found="label 32", needs="0 to 31", remedy="ndcg_exp_gain"
    ),
    "half a grade": labelled(
        "rank:pairwise", 0, 1, 0.5, found="label 0.5", needs="whole number", remedy="grade"
    ),
    "shares for accuracy": train(
        "0,1\n1,2\n0.5,3\n", "row 3", "label 0.5", remedy="Number", job={"eval_metric": "accuracy"}
    ),
    "text for a regression": train(
        "yes,2\nno,3\nyes,4\n",
        "label is text ('no', 'yes')",
        "reg:squarederror learns numbers",
        remedy="label_column",
        job=REGRESSION,
    ),
    "text for a ranking": train(
        "good,2\nbad,3\n", "label is text", remedy="label_column", job={"objective": "rank:ndcg"}
    ),
    "one class": train(
        "1,2\n1,3\n1,4\n", "all 3 labels are 1", "at least two classes", remedy="label_column"
    ),
    "one class of text": train("yes,2\nyes,3\n", "1 classes ('yes')", remedy="rows of both"),
    "three texts for two": train(
        "a,2\nb,3\nc,4\n", "3 classes ('a', 'b', 'c')", "learns 2", remedy="num_class=3"
    ),
    "num_class too small": train(
        "a,2\nb,3\nc,4\nd,5\n",
        "4 classes",
        "learns 3",
        remedy="num_class=4",
        job={"objective": "multi:softprob", "num_class": 3},
    ),
    "a class that train has not": Bad(
        {FILE: "a,2\nb,3\na,4\n", "validation/v.csv": "a,2\nc,3\n"},
        (
            "validation/v.csv row 2",
            "none of the classes of train ('a', 'b'): 'c'",
            "1 such row(s) of 2",
        ),
        "Give every class to train",
    ),
    "a number that train has not": Bad(
        {FILE: "1,2\n2,3\n1,4\n", "validation/v.csv": "1,2\n3,3\n"},
        ("validation/v.csv row 2", "label 3", "1, 2"),
        "Give every class to train",
    ),
    "numbers where train has text": Bad(
        {FILE: "a,2\nb,3\na,4\n", "validation/v.csv": "1,2\n0,3\n"},
        ("validation/v.csv row 1", "none of the classes of train ('a', 'b'): '1', '0'"),
        "Give every class to train",
    ),
    "text where train has numbers": Bad(
        {FILE: ROWS, "validation/v.csv": "yes,2,3\nno,3,4\n"},
        ("validation/v.csv", "row 1, column 0", "'yes'"),
        "Correct the field",
    ),
}

# --- the parts of columns --------------------------------------------------------------------

AFT: dict[str, object] = {
    "objective": "survival:aft",
    "label_lower_bound_column": 0,
    "label_upper_bound_column": 1,
}
RANK: dict[str, object] = {"objective": "rank:ndcg", "group_column": "q"}

PARTS: dict[str, Bad] = {
    "a negative weight": train(
        "1,1,2\n0,-1,3\n", "row 2", "weight", "(-1)", remedy="Correct", job={"csv_weights": 1}
    ),
    "a missing weight": train(
        "1,1,2\n0,,3\n", "row 2", "weight is missing", remedy="Correct", job={"weight_column": 1}
    ),
    "weights of 0": train(
        "1,0,2\n0,0,3\n", "every weight is 0", remedy="above 0", job={"csv_weights": 1}
    ),
    "no column after the weight": train(
        "1,1\n0,2\n",
        "2 column(s) and none is left",
        "weight",
        remedy="one feature",
        job={"csv_weights": 1},
    ),
    "no such group": train(
        NAMED,
        "group_column=user",
        "'y', 'a', 'b'",
        remedy="-1 the last",
        job={"group_column": "user"},
    ),
    "no such label": train(
        NAMED,
        "label_column=target",
        "'y', 'a', 'b'",
        remedy="name or its position",
        job={"label_column": "target"},
    ),
    "no such position": train(
        ROWS, "label_column=7", "3 columns", remedy="0 is the first of 3", job={"label_column": 7}
    ),
    "a name without a header": train(
        ROWS, "label_column=y", "no names", remedy="name or its position", job={"label_column": "y"}
    ),
    "a name that is a position": train(
        "y,2,b\n" + ROWS,
        "ignore_columns=2",
        "column 1",
        "column 2",
        remedy="Write -2",
        job={"ignore_columns": 2, "csv_header": "true"},
    ),
    "no such column to ignore": train(
        NAMED, "ignore_columns=c", remedy="name or its position", job={"ignore_columns": "c"}
    ),
    "no such category": train(
        NAMED, "categorical_columns=c", remedy="-1 the last", job={"categorical_columns": "c"}
    ),
    "two parts for a column": train(
        NAMED,
        "column 1 'a' is asked for as label and weight",
        remedy="one part",
        job={"label_column": "a", "weight_column": 1},
    ),
    "a missing group": train(
        "y,q,a\n1,u,2\n0,,3\n", "row 2", "group is missing", remedy="Correct or drop", job=RANK
    ),
    "a query in two places": train(
        "y,q,a\n1,u,2\n0,v,3\n1,v,1\n2,u,4\n",
        "row 4",
        "'u' occurs again",
        remedy="Sort",
        job=RANK,
    ),
    "weights that differ in a query": train(
        "y,q,w,a\n1,u,1,2\n0,u,2,3\n",
        "row 2",
        "weight 2 differs",
        remedy="the same weight",
        job={**RANK, "weight_column": "w"},
    ),
    "bounds the wrong way round": train(
        "1,2,5\n3,2,6\n", "row 2", "upper bound", "(2)", remedy="Correct", job=AFT
    ),
    "a negative bound": train(
        "1,2,5\n-3,2,6\n", "row 2", "lower bound", "(-3)", remedy="Correct", job=AFT
    ),
    "a missing lower bound": train(
        "1,2,5\n,2,6\n", "row 2", "lower bound", "missing", remedy="Correct", job=AFT
    ),
    "an upper bound of 0": train(
        "1,2,5\n0,0,6\n", "row 2", "upper bound", "not above 0", remedy="Correct", job=AFT
    ),
    "text for a bound": train(
        "1,2,5\n1,never,6\n", "row 2, column 1", "'never'", remedy="Correct the field", job=AFT
    ),
    "bounds of libsvm": Bad(
        {"train/a.svm": "1 0:1\n2 0:3\n"},
        ("Channel train", "libsvm", "label_lower_bound_column"),
        "CSV or Parquet",
        job=AFT,
    ),
    "no bounds": Bad(
        {FILE: ROWS},
        ("survival:aft needs label_lower_bound_column", "upper_bound_column"),
        "Correct it in the hyperparameters",
        job={"objective": "survival:aft"},
    ),
    "an infinite weight": train(
        "1,1,2\n0,inf,3\n", "row 2", "weight", "(inf)", remedy="Correct", job={"csv_weights": 1}
    ),
    "a negative weight in libsvm": train(
        "1:1 0:1\n0:-2 0:2\n", "row 2", "weight", "(-2)", remedy="Correct", name="train/a.svm"
    ),
    "text for a base margin": train(
        "1,2,5\n0,low,6\n",
        "row 2, column 1",
        "'low'",
        remedy="Correct",
        job={"base_margin_column": 1},
    ),
    "a missing base margin": train(
        "1,2,5\n0,,6\n",
        "row 2",
        "base margin is missing",
        remedy="Correct",
        job={"base_margin_column": 1},
    ),
    "one base margin for three classes": Bad(
        {FILE: "0,1,5\n1,2,6\n2,3,4\n"},
        ("base_margin_column", "3 columns"),
        "Correct it in the hyperparameters",
        job={"objective": "multi:softprob", "num_class": 3, "base_margin_column": 1},
    ),
    "categories for a linear model": train(
        "1,red,2\n0,blue,3\n1,red,4\n",
        "feature 0",
        "categorical",
        remedy="ignore_columns",
        job={"booster": "gblinear"},
    ),
    "categories for exact": train(
        "y,c,b\n1,red,2\n0,blue,3\n1,red,4\n",
        "feature 0 'c'",
        "categorical",
        remedy="ignore_columns",
        job={"tree_method": "exact"},
    ),
    "constraints for other features": Bad(
        {FILE: ROWS},
        ("monotone_constraints: found (1,0,-1)", "feature 2", "has 2 feature(s)"),
        "no features",
        job={"monotone_constraints": "(1,0,-1)"},
    ),
    "an interaction of features that are not there": Bad(
        {FILE: ROWS},
        ("interaction_constraints: found [[0, 9]]", "feature 9", "has 2 feature(s)"),
        "no features",
        job={"interaction_constraints": "[[0,9]]"},
    ),
    "columns of libsvm": Bad(
        {"train/a.svm": "1 0:1\n0 0:3\n"},
        ("Channel train", "label_column", "libsvm"),
        "CSV or Parquet",
        job={"label_column": 0},
    ),
    "bins on disk for exact": Bad(
        {FILE: ROWS},
        ("external_memory: found 'true'", "only hist"),
        "Correct it",
        job={"external_memory": "true", "tree_method": "exact"},
    ),
}

# --- files that differ -----------------------------------------------------------------------

DIFFERING: dict[str, Bad] = {
    "files of other widths": Bad(
        {FILE: ROWS, "train/part-1.csv": "1,2\n0,3\n"},
        ("train/part-1.csv", "2 columns", "train/part-0.csv has 3"),
        "the same columns",
    ),
    "files of other names": Bad(
        {FILE: NAMED, "train/part-1.csv": "y,a,c\n" + ROWS},
        ("train/part-1.csv", "train/part-0.csv", "'b' missing", "'c' not known"),
        "the same columns",
    ),
    "files of other delimiters": Bad(
        {FILE: ROWS, "train/part-1.csv": ROWS.replace(",", "\t")},
        ("train/part-1.csv", "one field", "commas"),
        "separated by commas",
    ),
    "Parquet of other names": Bad(
        {
            "train/a.parquet": partial(as_parquet, table(b=[1, 2, 3, 4])),
            "train/b.parquet": partial(as_parquet, table(c=[1, 2, 3, 4])),
        },
        ("train/b.parquet", "train/a.parquet", "'b' missing", "'c' not known"),
        "the same columns",
    ),
    "Parquet of other types": Bad(
        {
            "train/a.parquet": partial(as_parquet, table(b=[1, 2, 3, 4])),
            "train/b.parquet": partial(as_parquet, table(b=["u", "v", "u", "v"])),
        },
        ("train/b.parquet", "column 2 'b'", "holds text"),
        "as numbers",
    ),
    "a file of another format": Bad(
        {FILE: ROWS, "train/part-1.csv": partial(as_parquet, table())},
        ("train/part-1.csv", "read as csv", "parquet"),
        "ContentType",
    ),
    "validation with fewer columns": Bad(
        {FILE: ROWS, "validation/v.csv": "1,2\n0,3\n"},
        ("validation/v.csv", "2 columns", "train/part-0.csv has 3"),
        "the same columns",
    ),
    "test with other names": Bad(
        {FILE: NAMED, "test/t.csv": "y,a,z\n" + ROWS},
        ("test/t.csv", "'b' missing", "'z' not known"),
        "the same columns",
    ),
    "validation with categories": Bad(
        {FILE: ROWS, "validation/v.csv": "1,red,2\n0,blue,3\n"},
        ("validation/v.csv", "row 1, column 1", "'red'"),
        "Correct the field",
    ),
    "validation of wider libsvm": Bad(
        {"train/a.svm": "1 0:1 1:2\n0 0:3\n", "validation/v.svm": "1 0:1\n0 5:3\n"},
        ("validation/v.svm row 2", "feature 5", "train/a.svm has 2 features"),
        "the same columns",
    ),
    "validation of another format": Bad(
        {FILE: ROWS, "validation/v.npz": partial(as_npz, X=X[:, :1], y=Y)},
        ("validation", "1 features", "train/part-0.csv has 2"),
        "the same columns",
    ),
    "categories and a format without text": Bad(
        {FILE: "1,red,2\n0,blue,3\n1,red,4\n", "validation/v.npz": partial(as_npz, X=X, y=Y)},
        ("validation", "text", "feature 0"),
        "as text",
    ),
    "rows in train and validation": Bad(
        {FILE: ROWS, "validation/v.csv": "1,9,9\n" + ROWS},
        ("6 of 7 rows", "validation", "train"),
        "leakage=warn",
        job={"leakage": "fail"},
    ),
    "groups in train and validation": Bad(
        {FILE: "y,q,a\n1,u,2\n0,v,3\n", "validation/v.csv": "y,q,a\n1,u,7\n0,w,8\n"},
        ("group", "validation", "train"),
        "leakage=warn",
        job={"leakage": "fail", "group_column": "q"},
    ),
}

# --- formats ---------------------------------------------------------------------------------

FORMATS: dict[str, Bad] = {
    "Parquet declared csv": train(
        partial(as_parquet, table()),
        "read as csv",
        "parquet",
        remedy="application/x-parquet",
        types="text/csv",
    ),
    "packed Parquet declared csv": train(
        lambda: gzip.compress(as_parquet(table())),
        "read as csv",
        "parquet",
        remedy="x-parquet",
        types="text/csv",
    ),
    "libsvm declared csv": train(
        "1 0:1 1:2\n0 0:3 1:1\n", "read as csv", "libsvm", remedy="text/libsvm", types="text/csv"
    ),
    "npz declared csv": train(
        partial(as_npz, X=X, y=Y),
        "read as csv",
        "npz",
        remedy="application/x-npz",
        types="text/csv",
    ),
    "RecordIO declared csv": train(
        RECORDS, "read as csv", "recordio-protobuf", remedy="recordio-protobuf", types="text/csv"
    ),
    "csv declared libsvm": train(
        ROWS, "read as libsvm", "csv", remedy="text/csv", types="text/libsvm"
    ),
    "csv declared Parquet": train(
        ROWS, "read as parquet", "csv", remedy="text/csv", types="application/x-parquet"
    ),
    "csv declared RecordIO": train(
        ROWS,
        "recordio-protobuf",
        "csv",
        remedy="text/csv",
        types="application/x-recordio-protobuf",
    ),
    "csv declared npz": train(ROWS, "npz", "csv", remedy="text/csv", types="application/x-npz"),
    "rubbish declared Parquet": train(
        RUBBISH, "cannot be read as Parquet", "PAR1", remedy="complete", types="parquet"
    ),
    "rubbish declared Arrow": train(RUBBISH, "Arrow", remedy="complete", types="arrow"),
    "rubbish declared RecordIO": train(
        RUBBISH, "record 1 at byte 0", "0xced7230a", remedy="complete", types="recordio-protobuf"
    ),
    "rubbish undeclared": train(RUBBISH, "no content type", "begins with", remedy="ContentType"),
    "an unknown content type": Bad(
        {FILE: ROWS}, ("'train'", "image/jpeg", "text/csv"), "ContentType", types="image/jpeg"
    ),
    "no label": Bad(
        {FILE: ROWS}, ("'train'", "label_size=0"), "label_column", types="text/csv; label_size=0"
    ),
    "another charset": Bad(
        {FILE: ROWS},
        ("'train'", "charset=iso-8859-1", "utf-8"),
        "iconv",
        types="text/csv; charset=ISO-8859-1",
    ),
    "JSON": train('{"y": 1}\n{"y": 0}\n', "JSON", remedy="Convert it"),
    "an error page": train("<!DOCTYPE html><p>403\n", "HTML", remedy="upload the data again"),
    "Excel": train(partial(zipped, xl__xml=b"x"), "zip", remedy="Unpack", name="train/a.xlsx"),
    "a tar archive": train(
        partial(tarred, part=ROWS.encode()), "a tar archive", remedy="Unpack", name="train/a.tar"
    ),
    "a pickle": train(pickle.dumps([1, 2]), "pickle", remedy="never loaded", name="train/a.pkl"),
    "a model": train(model, "an XGBoost model", remedy="channel named model"),
    "xz": train(lzma.compress(ROWS.encode()), "xz", remedy="gzip", name="train/a.csv.xz"),
    "gzip twice": train(
        gzip.compress(gzip.compress(ROWS.encode())), "compressed twice", remedy="once"
    ),
    "gzip cut off": train(
        lambda: gzip.compress(far("1,2,3")())[:-2000],
        "gzip stream ends early",
        remedy="upload",
        name="train/a.csv.gz",
    ),
    "gzip damaged": train(
        lambda: damaged(gzip.compress(np.random.default_rng(1).bytes(4000).hex(",").encode())),
        "gzip stream is damaged",
        remedy="upload",
        name="train/a.csv.gz",
        types="text/csv",
    ),
    "gzip with another checksum": train(
        lambda: damaged(gzip.compress(ROWS.encode() * 9), 0.95),
        "gzip stream",
        "damaged",
        remedy="upload",
        name="train/a.csv.gz",
        types="text/csv",
    ),
    "zstd cut off": train(
        lambda: zstd(far("1,2,3")())[:-9],
        "zstd stream ends early",
        remedy="upload",
        name="train/a.csv.zst",
    ),
    "bzip2 cut off": train(
        lambda: bz2.compress(far("1,2,3")())[:-9],
        "bz2 stream ends early",
        remedy="upload",
        name="train/a.csv.bz2",
    ),
    "Parquet cut off": train(
        lambda: as_parquet(table())[:-20],
        "cut off",
        "PAR1",
        remedy="complete",
        name="train/a.parquet",
    ),
    "Parquet damaged": train(
        lambda: damaged(as_parquet(table()), 0.02),
        "Parquet",
        remedy="complete",
        name="train/a.parquet",
    ),
    "Parquet with a broken footer": train(
        lambda: damaged(as_parquet(table()), 0.8),
        "Parquet",
        remedy="complete",
        name="train/a.parquet",
    ),
    "Parquet with lists": train(
        partial(as_parquet, table(b=[[1], [2], [3], [4]])),
        "column 2 'b' (list<element: int64>)",
        "neither numbers nor text",
        remedy="ignore_columns",
        name="train/a.parquet",
    ),
    "Parquet with times": train(
        partial(as_parquet, table(b=[datetime(2024, 1, 1, tzinfo=UTC)] * 4)),
        "column 2 'b' (timestamp[us",
        remedy="ignore_columns",
        name="train/a.parquet",
    ),
    "Parquet with bytes": train(
        partial(as_parquet, table(b=[b"u", b"v", b"u", b"v"])),
        "column 2 'b' (binary)",
        remedy="ignore_columns",
        name="train/a.parquet",
    ),
    "Parquet with a name twice": train(
        lambda: as_parquet(pa.table([[0, 1], [1, 2], [3, 4]], names=["y", "a", "a"])),
        "'a' occurs 2 times",
        remedy="a name of its own",
        name="train/a.parquet",
    ),
    "Parquet of labels alone": train(
        lambda: as_parquet(pa.table({"y": [0, 1]})),
        "1 column(s) and none is left",
        remedy="one feature",
        name="train/a.parquet",
    ),
    "Arrow with durations": train(
        lambda: as_arrow(table(b=pa.array([1, 2, 3, 4], pa.duration("s")))),
        "column 2 'b' (duration[s])",
        remedy="ignore_columns",
        name="train/a.arrow",
    ),
    "Parquet without rows": Bad(
        {"train/a.parquet": partial(as_parquet, table().slice(0, 0))},
        ("train", "not one row"),
        "complete",
    ),
    "Parquet with a missing label": train(
        partial(as_parquet, pa.table({"y": [1.0, None, 0.0], "a": [1, 2, 3]})),
        "row 2",
        "label is missing",
        remedy="Correct or drop",
        name="train/a.parquet",
    ),
    "Parquet with an infinite feature": train(
        partial(as_parquet, table(b=[1, 2, float("inf"), 3])),
        "row 3",
        "feature 1 'b'",
        "infinite",
        remedy="Correct or drop",
        name="train/a.parquet",
    ),
    "Arrow cut off": train(
        lambda: as_arrow(table())[:-40],
        "Arrow IPC",
        "footer",
        remedy="complete",
        name="train/a.arrow",
    ),
    "an Arrow stream cut off": train(
        lambda: as_arrow_stream(table())[:-8],
        "Arrow IPC",
        "end-of-stream",
        remedy="complete",
        name="train/a.arrows",
    ),
    "an Arrow stream cut off in its rows": train(
        lambda: as_arrow_stream(table())[:-60],
        "Arrow IPC",
        remedy="complete",
        name="train/a.arrows",
    ),
    "Feather of version 1": train(
        b"FEA1" + bytes(24) + b"FEA1", "Feather V1", remedy="Feather V2", name="train/a.feather"
    ),
    "npz with objects": train(
        partial(as_npz, X=np.array([[1, "a"]] * 6, object), y=Y),
        "X holds Python objects",
        "expected numbers",
        remedy="array of numbers",
        name="train/a.npz",
    ),
    "npz without labels": train(
        partial(as_npz, X=X), "holds 'X'", "y (rows,)", remedy="numpy.savez", name="train/a.npz"
    ),
    "npz with too few labels": train(
        partial(as_npz, X=X, y=Y[:4]),
        "y has the shape (4,)",
        "expected (6,)",
        remedy="each row of X",
        name="train/a.npz",
    ),
    "npz with text labels": train(
        partial(as_npz, X=X, y=np.array(["a", "b"] * 3)),
        "y holds text",
        "expected numbers",
        remedy="Number the classes",
        name="train/a.npz",
    ),
    "npz with queries that are no whole numbers": train(
        lambda: as_npz(X=X, y=Y, qid=Y + 0.5),
        "qid row 1",
        "found 0.5",
        remedy="integers",
        name="train/a.npz",
    ),
    "npz with a flat X": train(
        partial(as_npz, X=Y, y=Y),
        "X has the shape (6,)",
        "(rows, columns)",
        remedy="one column for each feature",
        name="train/a.npz",
    ),
    "npz with too few names": train(
        partial(as_npz, X=X, y=Y, feature_names=np.array(["a"])),
        "feature_names",
        "(1,)",
        "expected (2,)",
        remedy="a name for each column",
        name="train/a.npz",
    ),
    "npz with a pickle": train(
        partial(zipped, X__npy=pickle.dumps(1), y__npy=pickle.dumps(2)),
        "npz",
        remedy="savez",
        name="train/a.npz",
    ),
    "npz cut off": train(
        lambda: as_npz(X=X, y=Y)[:-30], "npz", remedy="complete", name="train/a.npz"
    ),
    "npz damaged": train(
        lambda: damaged(as_npz(X=X, y=Y), 0.25), "npz", remedy="complete", name="train/a.npz"
    ),
    "npz with a missing label": train(
        lambda: as_npz(X=X, y=np.where(Y > 0, Y, np.nan)),
        "row 1",
        "label is missing",
        "3 such row(s) of 6",
        remedy="Correct or drop",
        name="train/a.npz",
    ),
    "RecordIO of another magic": train(
        RECORDS + record(b"", magic=7),
        "record 3 at byte",
        "0x00000007",
        "0xced7230a",
        remedy="complete",
        name="train/a.rec",
    ),
    "RecordIO cut off": train(
        RECORDS[:-6], "middle of record 2", "byte", remedy="complete", name="train/a.rec"
    ),
    "RecordIO without a label": train(
        RECORDS + record(_tensor(1, _floats(1, 2))),
        "row 3",
        "label: there is none",
        remedy="one in label",
        name="train/a.rec",
    ),
    "RecordIO of another width": train(
        RECORDS + row(1, 2), "row 3", "1 columns", "has 2", remedy="Record", name="train/a.rec"
    ),
    "RecordIO with a broken message": train(
        RECORDS + record(b"\xff\xff\xff\xff"),
        "row 3",
        "broken",
        remedy="Record",
        name="train/a.rec",
    ),
    "RecordIO with another name": train(
        record(_tensor(1, _floats(1), b"pixels"), _tensor(2, _floats(1))),
        "row 1",
        "'pixels', not 'values'",
        remedy="'values' tensor",
        name="train/a.rec",
    ),
}


def libsvm(bad_row: str, *cause: str, remedy: str, **more: Any) -> Bad:
    """Return a job whose second of three rows is bad."""
    text = f"1 0:1 1:2\n{bad_row}\n0 0:3\n"
    where = "row 2 (line 2)"
    return train(text, where, *cause, remedy=remedy, name="train/a.svm", types="libsvm", **more)


LIBSVM: dict[str, Bad] = {
    "a negative index": libsvm("0 -1:2", "'-1:2'", "integer from 0", remedy="index:value"),
    "an index twice": libsvm("0 1:2 1:3", "index 1", "twice", remedy="once"),
    "an index too large": libsvm("0 4294967296:1", "4294967296", "2147483647", remedy="Renumber"),
    "a text label in libsvm": libsvm("spam 0:2", "label 'spam'", remedy="ContentType"),
    "a query on some rows": libsvm("0 qid:1 0:2", "a group (qid:n)", "no group", remedy="none"),
    "a weight on some rows": libsvm("0:2 0:2", "a weight", "no weight", remedy="none"),
    "a pair without a colon": libsvm("0 0:1 7", "'7' has no colon", remedy="index:value"),
    "a pair without a value": libsvm("0 0: 1:2", "'0:' has no value", remedy="Leave missing"),
    "a text value in libsvm": libsvm("0 0:red", "'0:red' is not a number", remedy="index:value"),
    "several labels": libsvm("0,1 0:2", "several labels: '0,1'", remedy="one label"),
    "an infinite value in libsvm": train(
        "1 0:1\n0 1:inf\n",
        "row 2",
        "feature 1",
        "infinite",
        remedy="Correct or drop",
        name="train/a.svm",
    ),
    "a label of nan in libsvm": train(
        "1 0:1\nnan 1:2\n",
        "row 2",
        "label is missing",
        remedy="Correct or drop",
        name="train/a.svm",
        types="libsvm",
    ),
    "a query in two places in libsvm": train(
        "1 qid:1 0:1\n0 qid:2 0:2\n1 qid:1 0:3\n",
        "row 3",
        "'1' occurs again",
        remedy="Sort",
        name="train/a.svm",
        job={"objective": "rank:ndcg"},
    ),
}

# --- channels --------------------------------------------------------------------------------

CHANNELS: dict[str, Bad] = {
    "an empty channel": Bad({"train": None}, ("'train' has no data",), "S3 prefix"),
    "hidden files only": Bad(
        {"train/.part-0.csv": ROWS, "train/_SUCCESS": "1"},
        ("'train' has no data", "2 hidden"),
        "S3 prefix",
    ),
    "empty files only": Bad(
        {FILE: "", "train/part-1.csv": ""},
        ("'train' has no data", "2 empty", "part-0.csv"),
        "S3 prefix",
    ),
    "an empty validation": Bad(
        {FILE: ROWS, "validation": None}, ("'validation' has no data",), "S3 prefix"
    ),
    "an empty test": Bad({FILE: ROWS, "test": None}, ("'test' has no data",), "S3 prefix"),
    "nothing inside gzip": Bad(
        {"train/a.csv.gz": gzip.compress(b"")}, ("train",), "", types="text/csv"
    ),
    "a folder named like a file": Bad({FILE: None}, ("'train' has no data",), "S3 prefix"),
    "an unknown channel": Bad(
        {FILE: ROWS, "trian/a.csv": ROWS}, ("'trian' is not known", "validation"), "Rename"
    ),
    "no train": Bad(
        {"validation/a.csv": ROWS}, ("'train' is missing", "validation"), "named train"
    ),
    "no channel": Bad({}, ("'train' is missing", "none"), "named train"),
    "train and training": Bad(
        {FILE: ROWS, "training/a.csv": ROWS}, ("'train' and 'training'",), "Keep one"
    ),
    "stopping without validation": Bad(
        {FILE: ROWS},
        ("early_stopping_rounds=3", "validation"),
        "named validation",
        job={"early_stopping_rounds": 3},
    ),
    "broken hyperparameters.json": Bad(
        {FILE: ROWS},
        ("hyperparameters.json", "not JSON", "line 1"),
        "one JSON object",
        prepare=lambda tree: (tree.root / "input/config/hyperparameters.json").write_text("{a: 1}"),
    ),
    "broken inputdataconfig.json": Bad(
        {FILE: ROWS},
        ("inputdataconfig.json", "channel 'train' is text"),
        "ContentType",
        prepare=lambda tree: tree.config("inputdataconfig", {"train": "text/csv"}),
    ),
    "a declared channel that is not there": Bad(
        {},
        ("'train' has no folder",),
        "Put the files",
        prepare=lambda tree: tree.config("inputdataconfig", {"train": {}}),
    ),
    "Pipe without a FIFO": Bad(
        {FILE: ROWS},
        ("'train'", "Pipe", "train_0 is missing", "is a folder"),
        "TrainingInputMode File",
        prepare=declared(TrainingInputMode="Pipe"),
    ),
    "an unknown mode": Bad(
        {FILE: ROWS},
        ("'train'", "TrainingInputMode 'Tube'"),
        "File, FastFile, Pipe",
        prepare=declared(TrainingInputMode="Tube"),
    ),
    "an augmented manifest": Bad(
        {FILE: ROWS},
        ("'train'", "RecordWrapperType 'RecordIO'", "text/csv"),
        "None",
        prepare=declared(ContentType="text/csv", RecordWrapperType="RecordIO"),
    ),
    "a link to nothing": Bad(
        {FILE: ROWS},
        ("'train'", "part-1.csv", "No such file"),
        "what it leads to",
        prepare=linked,
    ),
    "Hive folders that are not there": Bad(
        {FILE: ROWS},
        ("'train'", "hive_partitions=true", "part-0.csv", "key=value"),
        "leave hive_partitions out",
        job={"hive_partitions": "true"},
    ),
    "Hive folders of other keys": Bad(
        {"train/day=1/a.csv": ROWS, "train/hour=2/a.csv": ROWS},
        ("hour=2/a.csv has the keys hour", "day=1/a.csv has day"),
        "the same keys",
        job={"hive_partitions": "true"},
    ),
    "a Hive key named like a column": Bad(
        {"train/a=1/x.csv": NAMED},
        ("train/a=1/x.csv", "'a' occurs 2 times"),
        "a name of its own",
        job={"hive_partitions": "true"},
    ),
    "no model": Bad({FILE: ROWS, "model": None}, ("'model' has no model",), "model.tar.gz"),
    "no model in the archive": Bad(
        {FILE: ROWS, "model/model.tar.gz": partial(tarred, notes=b"x")},
        ("'model'", "no model in model/model.tar.gz"),
        "xgboost-model",
    ),
    "a pickled model": Bad(
        {FILE: ROWS, "model/xgboost-model": pickle.dumps([1])},
        ("'model'", "model/xgboost-model is a pickle"),
        "save_model",
    ),
    "a damaged archive": Bad(
        {FILE: ROWS, "model/model.tar.gz": lambda: tarred(xgboost_model=model())[:-20]},
        ("'model'", "model.tar.gz is damaged"),
        "Upload the archive again",
    ),
    "a damaged model": Bad(
        {FILE: ROWS, "model/xgboost-model": lambda: model()[:400]},
        ("'model'", "model/xgboost-model is damaged or cut off", "400 bytes"),
        "Upload the model again",
    ),
    "a model that XGBoost does not load": Bad(
        {FILE: ROWS, "model/xgboost-model": b"{U\x07learner{}}"},
        ("Channel model", "XGBoost cannot load the earlier model"),
        "Upload the model again",
    ),
    "a manifest without a schema": Bad(
        {
            FILE: ROWS,
            "model/xgboost-model": model,
            "model/treeline/manifest.json": '{"manifest_version": 1}',
        },
        ("Channel model", "model/xgboost-model", "'schema'"),
        "leave the manifest out",
    ),
    "a manifest of other features": Bad(
        {
            FILE: ROWS,
            "model/xgboost-model": model,
            "model/treeline/manifest.json": '{"manifest_version": 1, "schema": {"features": 7}}',
        },
        ("train", "2 features", "the earlier model has 7"),
        "the same columns",
    ),
    "a manifest of the future": Bad(
        {
            FILE: ROWS,
            "model/xgboost-model": model,
            "model/treeline/manifest.json": '{"manifest_version": 99}',
        },
        ("model/treeline/manifest.json", "manifest_version 99"),
        "a newer one",
    ),
    "a model of another objective": Bad(
        {FILE: ROWS, "model/xgboost-model": partial(model, "reg:squarederror")},
        ("model", "objective reg:squarederror", "binary:logistic"),
        "start anew",
    ),
    "a model of other features": Bad(
        {FILE: ROWS, "model/xgboost-model": partial(model, columns=5)},
        ("model", "features 5", "2"),
        "start anew",
    ),
    "two models": Bad(
        {FILE: ROWS, "model/a.ubj": model, "model/b.ubj": model},
        ("'model'", "2 files", "'a.ubj', 'b.ubj'"),
        "one of them",
    ),
}

GROUPS = (CSV, LABELS, PARTS, DIFFERING, FORMATS, LIBSVM, CHANNELS)
BAD: dict[str, Bad] = {name: bad for group in GROUPS for name, bad in group.items()}
