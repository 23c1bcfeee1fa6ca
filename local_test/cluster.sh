#!/bin/sh
# Runs a job on several hosts, each a container of its own: algo-1, algo-2, … on their own network.
# Usage: cluster.sh N TREE [--image IMAGE] [--sharded] [--local-mode [v2|v3]] [--cpus C] [--memory M]
#            [--env NAME=VALUE]… [--max-run SECONDS] [--grace SECONDS] [--results FOLDER]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=$here/../.venv/bin/python
[ -x "$python" ] || python=$("$here/../scripts/find-python")
exec "$python" "$here/cluster.py" "$@"
