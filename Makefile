# convline: `make repro` runs the main job, `make test` the tests; both set up what they need first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
BIN := .venv/bin
DOCS := .work/docs-venv
# All telemetry and update checks of the dependencies are off.
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export NO_ALBUMENTATIONS_UPDATE := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export RAY_USAGE_STATS_ENABLED := 0
export PATH := $(CURDIR)/$(BIN):$(PATH)
UV := 0.13.9

.PHONY: help setup repro ui down test test-all lint bench docs clean lock
help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready ## create .venv from requirements.lock, or mend it where the folder was moved or copied
# The file names the folder that the environment is for. Scripts find their Python beside them (`relocatable`), also
# where the folder's name has a blank, and convline's code above them; activate names the folder, and is made again.
ifneq ($(shell cat .venv/.ready 2>/dev/null),$(CURDIR))
.PHONY: .venv/.ready
endif
.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "convline needs Python 3.11+; set PYTHON=python3.11 (found %d.%d)" % sys.version_info[:2])'
	@[[ -x $(BIN)/python ]] && grep -qsx 'relocatable = true' .venv/pyvenv.cfg || rm -rf .venv
	@[[ "$$(cat $@ 2>/dev/null)" == "$$(pwd -P)" ]] || { $(PYTHON) -m venv .venv && echo 'relocatable = true' >> .venv/pyvenv.cfg; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV)
	@UV_COMPILE_BYTECODE=1 VIRTUAL_ENV="$$PWD/.venv" $(BIN)/uv pip sync -q --require-hashes requirements.lock
	@VIRTUAL_ENV="$$PWD/.venv" $(BIN)/uv pip install -q --offline --no-deps -e .
	@echo ../../../.. > .venv/lib/python*/site-packages/convline.pth
	@pwd -P > $@

repro: setup ## run the pipeline for the roster, or for JOBS="name …": jobs, data sets, studies, sets of jobs, all
	@python -m flows.repro $(JOBS)

ui: setup ## start Prefect (4200) with its deployments, MLflow (5000) and Ray (8265) on 127.0.0.1
	@python -m flows.services up

down: setup ## stop exactly what `make ui` started
	@python -m flows.services down

test: setup ## the tests, without the slow ones
	@pytest -q -m "not slow" -n 2 --dist loadfile

test-all: setup ## every test
	@pytest -q

lint: setup ## ruff and mypy
	@ruff check . && ruff format --check . && mypy

bench: setup ## measure ratios against bare loops
	@python -m benchmarks

docs: $(DOCS)/.ready ## build docs/ into .work/site, in an environment of its own; a warning or a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict

$(DOCS)/.ready: requirements-docs.lock
	@$(PYTHON) -m venv --clear $(DOCS)
	@$(DOCS)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@

COMPILE := uv pip compile -q --universal --generate-hashes --no-header --no-annotate
lock: ## compile requirements.lock and requirements-docs.lock from the ranges in pyproject.toml
	@$(COMPILE) --group dev pyproject.toml -o requirements.lock
	@$(COMPILE) --group docs -o requirements-docs.lock

clean: setup ## remove all that can be made again; raw data, mlruns and .venv stay
	@python -m flows.services down
	@rm -rf .work data/prepared data/augmented models metrics evaluations reports dvc.lock
