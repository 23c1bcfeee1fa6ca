"""Show what a finished job left under an /opt/ml tree, and what to do with it.

Usage: show_result.py FOLDER
"""

import sys
from pathlib import Path

from treeline.artifacts import MANIFEST_NAME, MODEL_NAME, read_manifest


def main(root: Path) -> None:
    """Print the score, where the files are, and the next step."""
    manifest = read_manifest(root / "model")
    metrics, training = manifest["metrics"], manifest["training"]
    print(
        f"""
{metrics["objective_metric"]} = {metrics["final_score"]:.5f}  \
({training["outcome"].replace("_", " ")}, {training["last_round"] + 1} rounds in the model)

  model     {root}/model/{MODEL_NAME}   (xgboost.Booster(model_file=...) reads it)
  manifest  {root}/model/{MANIFEST_NAME}
  metrics   {root}/output/data/metrics.jsonl

Next: put your own CSV or Parquet (label first) into {root}/input/data/train, set
{root}/input/config/hyperparameters.json, and run
  local_test/train_local.sh {root}          in the container
  .venv/bin/treeline train --base-dir {root}   without Docker
"""
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
