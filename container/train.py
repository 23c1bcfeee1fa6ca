"""treeline: the default training job, as a program the toolkit can run.

It stands at /opt/ml/code/train.py in the image, where SAGEMAKER_PROGRAM names it. The image
starts the same job without the toolkit; this file serves who starts the toolkit's own `train`.
"""

import os
import sys

from treeline.opt_ml import root_from
from treeline.train import main

sys.exit(main(root_from(os.environ), os.environ))
