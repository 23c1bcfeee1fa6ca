# The CPU training image: `make image` builds it as treeline:cpu.
#
# Three stages: `packages` compiles and installs, `pruned` takes out what no job uses, and the
# last one copies the result onto a plain Python. No compiler, cache or apt list reaches it.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS packages
# One dependency (sagemaker-training) compiles a small C extension.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
RUN python -m venv /opt/treeline
ENV PATH=/opt/treeline/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_CACHE_DIR=/var/cache/pip
# Without debug information, which would hold the name of a temporary folder: the same lock file
# gives the same files.
ENV CFLAGS=-g0
COPY requirements/build.txt requirements/cpu.txt /src/requirements/
RUN --mount=type=cache,target=/var/cache/pip \
    pip install --no-compile --require-hashes -r /src/requirements/build.txt \
    && pip install --no-compile --require-hashes --no-build-isolation -r /src/requirements/cpu.txt
COPY pyproject.toml README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-compile --no-deps --no-build-isolation /src \
    && pip uninstall --yes --quiet setuptools wheel

FROM packages AS pruned
COPY scripts/prune-packages /src/
# Unchecked: the files never change, so an import need not look at the source at all, and the
# bytecode does not depend on when the image was built. A fixed hash seed and a single process keep
# chance out of it as well.
RUN sh /src/prune-packages /opt/treeline/lib/python3.12/site-packages \
    && python -c "import distributed, numpy, pandas, pyarrow.csv, pyarrow.dataset, pyarrow.feather, pyarrow.fs, \
pyarrow.parquet, sagemaker_training.cli.train, scipy.linalg, sklearn.ensemble, xgboost, treeline" \
    && find /opt/treeline -name __pycache__ -prune -exec rm -rf {} + \
    && PYTHONHASHSEED=0 python -m compileall -q --invalidation-mode unchecked-hash /opt/treeline/lib

FROM ${BASE}
# The base image ships the standard library without bytecode; a job on a read-only root would
# compile it at every start.
RUN PYTHONHASHSEED=0 python -m compileall -q --invalidation-mode unchecked-hash \
    -x '/(test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3)/' /usr/local/lib/python3.12
COPY --from=pruned /opt/treeline /opt/treeline
COPY container/train /opt/treeline/container/train
COPY container/train.py /opt/ml/code/train.py
# The image's own `train` comes before the toolkit's. SAGEMAKER_PROGRAM: the toolkit's name for
# the job to run when none is given.
ENV PATH=/opt/treeline/container:/opt/treeline/bin:$PATH \
    SAGEMAKER_PROGRAM=train.py \
    PYTHONUNBUFFERED=1
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Treeline (CPU)" \
    org.opencontainers.image.description="SageMaker training image: XGBoost on tabular data" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
# Exec form, so that it is process 1 and gets SIGTERM.
ENTRYPOINT ["/opt/treeline/container/train"]
CMD ["train"]
