#!/bin/sh
# Kills a job at random moments, starts it again as SageMaker does a spot job, and compares.
# Usage: spot.sh [TREE] [--kills N] [--seed S] [--signal KILL|TERM|both] [--image IMAGE | --process]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=$here/../.venv/bin/python
[ -x "$python" ] || python=$("$here/../scripts/find-python")
exec "$python" "$here/spot.py" "$@"
