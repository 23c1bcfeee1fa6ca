"""Make a sample /opt/ml tree: a real data set, laid out as SageMaker lays it out.

The data is the Wisconsin breast cancer set that scikit-learn bundles (569 tumours, 30
measurements each, 1 = benign), every fifth row of it for validation.

Usage: sample_tree.py FOLDER
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

HYPERPARAMETERS = {
    "objective": "binary:logistic",
    "eval_metric": "auc,logloss",
    "num_round": "200",
    "early_stopping_rounds": "20",
    "max_depth": "3",
    "eta": "0.1",
    "subsample": "0.8",
}
CHANNEL = {
    "ContentType": "text/csv",
    "TrainingInputMode": "File",
    "S3DistributionType": "FullyReplicated",
    "RecordWrapperType": "None",
}


def main(root: Path) -> None:
    """Write the tree under ``root``; an earlier sample there is replaced."""
    features, label = load_breast_cancer(return_X_y=True)
    rows = np.column_stack([label, features])
    held_out = np.arange(len(rows)) % 5 == 0
    for name in ("input", "model", "output"):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    for channel, part in (("train", rows[~held_out]), ("validation", rows[held_out])):
        folder = root / "input" / "data" / channel
        folder.mkdir(parents=True)
        np.savetxt(folder / f"{channel}.csv", part, fmt="%.9g", delimiter=",")
    config = root / "input" / "config"
    config.mkdir()
    host = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
    for name, value in (
        ("hyperparameters", HYPERPARAMETERS),
        ("inputdataconfig", {"train": CHANNEL, "validation": CHANNEL}),
        ("resourceconfig", host),
    ):
        (config / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n")
    print(f"sample job: {root} ({(~held_out).sum()} rows to train on, {held_out.sum()} held out)")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
