# What a person types. `make` alone lists it.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
IMAGE := treeline:cpu
TREE := local_test/opt_ml
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
ENGINE = $(shell docker info >/dev/null 2>&1 && echo yes)

.DEFAULT_GOAL := help
.PHONY: help setup train test lint format image test-image docs lock bench bench-reading bench-scale bench-spot bench-hosts \
	bench-waiting clean spot

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

setup: $(VENV)/ready ## make .venv with the treeline command and every tool

# Made again when a lock file changes. A half-made one has no `ready` and is made anew.
$(VENV)/ready: requirements/build.txt requirements/dev.txt pyproject.toml
	@python=$$(scripts/find-python) && echo "setting up $(VENV) with $$python" \
		&& rm -rf $(VENV) && "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/build.txt -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --editable .
	@touch $@

train: setup ## train on a real data set, in the container if Docker answers
	@$(BIN)/python local_test/sample_tree.py $(TREE)
	@$(if $(ENGINE),$(MAKE) --no-print-directory image && local_test/train_local.sh $(TREE) $(IMAGE),$(BIN)/treeline train --base-dir $(TREE))
	@$(BIN)/python local_test/show_result.py $(TREE)

spot: setup image ## kill the sample job at random moments and compare
	@$(BIN)/python local_test/sample_tree.py $(TREE)
	@local_test/spot.sh $(TREE) --image $(IMAGE)

test: setup ## run the tests that need no Docker engine
	@$(BIN)/python -m pytest

lint: setup ## check style, types and generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/treeline docs | diff docs/hyperparameters.md - \
		|| { echo "docs/hyperparameters.md is old: run make docs"; exit 1; }

format: setup ## format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

image: ## build treeline:cpu
	@echo "building $(IMAGE) (the first time takes a minute)"
	@docker build --tag $(IMAGE) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) . \
		$(if $(VERBOSE),,--quiet)

test-image: setup image ## run the tests of the built image
	@$(BIN)/python -m pytest -m container tests/container

docs: setup ## generate docs/hyperparameters.md from the declarations
	@$(BIN)/treeline docs > docs/hyperparameters.md

lock: ## pin the dependencies anew (scripts/lock --upgrade renews them)
	@scripts/lock

bench: setup image ## measure what the README says about speed (minutes)
	@$(BIN)/python -m benchmarks.whole_job --image $(IMAGE)
	@$(BIN)/python -m benchmarks.folds --image $(IMAGE)
	@$(BIN)/python -m benchmarks.forest
	@$(BIN)/python -m benchmarks.checkpoints --image $(IMAGE)
	@$(BIN)/python -m benchmarks.workers --image $(IMAGE)

bench-reading: setup ## measure reading RecordIO and the bounds of memory (minutes)
	@$(BIN)/python -m benchmarks.recordio
	@$(BIN)/python -m benchmarks.memory_model

bench-scale: setup image ## train on 63 million rows, also in 4.5 GB (half an hour)
	@$(BIN)/python -m benchmarks.scale build/flights --image $(IMAGE)

bench-spot: setup image ## kill jobs of all kinds, 56 of them, and compare (half an hour)
	@$(BIN)/python -m benchmarks.exact_resume
	@$(BIN)/python -m benchmarks.spot_matrix --image $(IMAGE)

bench-hosts: setup image ## jobs on several hosts: how they scale, and what disturbs them (half an hour)
	@$(BIN)/python -m benchmarks.host_scaling --image $(IMAGE)
	@$(BIN)/python -m benchmarks.chaos --image $(IMAGE)

bench-waiting: setup ## measure how waiting threads should wait (minutes)
	@$(BIN)/python -m benchmarks.wait_policy
	@$(BIN)/python -m benchmarks.wait_policy --rows 1000000 --columns 13 --runs 3

clean: ## remove everything that was made here
	@rm -rf $(VENV) $(TREE) build .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
