#!/bin/sh
# Trains on an /opt/ml tree in the container, as a training job would.
# Usage: train_local.sh TREE [IMAGE]
set -eu
if [ $# -lt 1 ]; then
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
fi
tree=$(cd "$1" && pwd)
image=${2:-treeline:cpu}
terminal=
[ -t 1 ] && terminal=--tty
# The caller's user, so that the files it leaves are the caller's.
exec docker run --rm $terminal --network none --user "$(id -u):$(id -g)" \
    --volume "$tree:/opt/ml" "$image" train
