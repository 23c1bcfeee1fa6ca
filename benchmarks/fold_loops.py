"""Cross-validation by hand, two ways; held-out logloss after every round, models saved.

Usage: fold_loops.py FILE.csv FOLDER FOLDS naive|sliced
  naive   for each fold: read the file, cut it, bin both parts, train, score what is held out
  sliced  one DMatrix, a slice of it for each fold, every round scored on the whole pool: the
          built-in image's design
"""

import sys

import numpy as np
import pyarrow as pa
import xgboost as xgb
from pyarrow import csv
from sklearn.model_selection import StratifiedKFold

PARAMETERS = {"objective": "binary:logistic", "max_depth": 6, "seed_per_iteration": True}
ROUNDS = 100


def read(file: str) -> tuple[np.ndarray, np.ndarray]:
    """Return features and label."""
    with open(file, "rb") as stream:  # noqa: PTH123
        width = len(stream.readline().split(b","))
    names = [f"f{i}" for i in range(width)]
    table = csv.read_csv(
        file,
        read_options=csv.ReadOptions(column_names=names),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float32())),
    )
    label = table.column(0).to_numpy()
    return np.column_stack([column.to_numpy() for column in table.columns[1:]]), label


def naive(file: str, folder: str, folds: int) -> None:
    """Do everything anew for each fold."""
    for fold in range(folds):
        features, label = read(file)
        splitter = StratifiedKFold(folds, shuffle=True, random_state=0)
        train, held_out = list(splitter.split(features, label))[fold]
        matrix = xgb.QuantileDMatrix(features[train], label=label[train])
        scored = xgb.QuantileDMatrix(features[held_out], label=label[held_out], ref=matrix)
        del features
        booster = xgb.train(PARAMETERS, matrix, ROUNDS, evals=[(scored, "validation")])
        np.savetxt(f"{folder}/fold-{fold}.csv", booster.predict(scored), fmt="%f")
        booster.save_model(f"{folder}/model-{fold}.ubj")


def sliced(file: str, folder: str, folds: int) -> None:
    """Cut one matrix, and score every round on all of it."""
    features, label = read(file)
    pool = xgb.DMatrix(features, label=label)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=0)
    for fold, (train, held_out) in enumerate(splitter.split(features, label)):
        matrix, scored = pool.slice(train), pool.slice(held_out)
        booster = xgb.train(PARAMETERS, matrix, ROUNDS, evals=[(pool, "train")])
        np.savetxt(f"{folder}/fold-{fold}.csv", booster.predict(scored), fmt="%f")
        booster.save_model(f"{folder}/model-{fold}.ubj")


if __name__ == "__main__":
    {"naive": naive, "sliced": sliced}[sys.argv[4]](sys.argv[1], sys.argv[2], int(sys.argv[3]))
