"""XGBoost by hand: Arrow, QuantileDMatrix, train, save, and nothing else.

Usage: bare_script.py FILE.csv|FILE.parquet MODEL [alone] [scored]
  alone   keep XGBoost from importing scikit-learn and pandas, as where they are not installed
  scored  print the training metric after every round, as a tuner needs it
"""

import sys

if "alone" in sys.argv:
    for name in ("sklearn", "pandas"):
        sys.modules[name] = None  # type: ignore[assignment]  # None: "not there"

import numpy as np
import pyarrow as pa
import xgboost as xgb
from pyarrow import csv, parquet

if sys.argv[1].endswith(".csv"):
    with open(sys.argv[1], "rb") as stream:  # noqa: PTH123
        width = len(stream.readline().split(b","))
    names = [f"f{i}" for i in range(width)]
    table = csv.read_csv(
        sys.argv[1],
        read_options=csv.ReadOptions(column_names=names),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float32())),
    )
else:
    table = parquet.ParquetFile(sys.argv[1]).read()
label = table.column(0).to_numpy()
features = np.column_stack([column.to_numpy() for column in table.columns[1:]])
matrix = xgb.QuantileDMatrix(features, label=label)
booster = xgb.train(
    {"objective": "binary:logistic", "max_depth": 6, "seed_per_iteration": True},
    matrix,
    100,
    evals=[(matrix, "train")] if "scored" in sys.argv else [],
)
booster.save_model(sys.argv[2])
