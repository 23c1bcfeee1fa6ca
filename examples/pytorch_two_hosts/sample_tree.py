"""Make an /opt/ml tree for this example: pictures of handwritten digits, in npz files.

The data is the set of 8 x 8 digits that scikit-learn bundles (1,797 pictures), every fifth of them
for validation; the rest in four files, to be sharded.

Usage: sample_tree.py FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent
FILES = 4
HYPERPARAMETERS = {
    "sagemaker_program": "train.py",
    "epochs": "10",
    "batch_size": "32",
    "learning_rate": "0.05",
}


def main(root: Path) -> None:
    """Write the tree under ``root``; an earlier one there is replaced."""
    x, y = load_digits(return_X_y=True)
    held_out = np.arange(len(y)) % 5 == 0
    for name in ("input", "code"):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    parts = {"validation": [held_out]}
    parts["train"] = [~held_out & (np.arange(len(y)) % FILES == i) for i in range(FILES)]
    for channel, masks in parts.items():
        folder = root / "input" / "data" / channel
        folder.mkdir(parents=True)
        for number, mask in enumerate(masks):
            np.savez(folder / f"part-{number}.npz", x=x[mask].astype(np.float32), y=y[mask])
    config = root / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(json.dumps(HYPERPARAMETERS, indent=2) + "\n")
    for name in ("train.py", "requirements.txt"):
        shutil.copy(HERE / name, root / "code" / name)
    print(f"{root}: {(~held_out).sum()} rows to train on, {held_out.sum()} held out")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
