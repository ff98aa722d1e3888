# `make repro` and `make test` set up what is missing and need nothing but Python 3.11, git and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
EXTRAS ?= cpu,export,dev
BIN    := .venv/bin

export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := true
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: help setup repro test lint docs ui prefect clean

help:
	@echo "make repro    from the videos of params.yaml to the comparison table (the demo world by default)"
	@echo "make test     style and tests"
	@echo "make docs     this documentation as a site, in docs/_build"
	@echo "make ui       MLflow's dashboard at http://127.0.0.1:5000"
	@echo "make prefect  Prefect's dashboard at http://127.0.0.1:4200"
	@echo "make clean    remove work in progress and caches; keeps .venv, data, DVC's cache and unsent records"

.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("CION needs Python 3.11 or newer; found %d.%d. Name one: make PYTHON=/path/to/python3.11" % v[:2])'
	@echo "setting up .venv (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@

setup: .venv/.installed

# `cion list` comes first, since DVC says in its own words what is wrong with params.yaml.
repro: .venv/.installed
	@cion list
	@dvc repro
	@cion show

lint: .venv/.installed
	@ruff check --quiet .
	@ruff format --quiet --check .

# A process of tests for each core, each of one thread: two threads that share a core with others wait for one another.
test: lint
	@OMP_NUM_THREADS=1 pytest --numprocesses auto --dist loadfile

docs: .venv/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build
	@echo "docs/_build/index.html"

# The job consumers of MLflow's server would starve a small machine.
ui: .venv/.installed
	@$(BIN)/python -c 'from cion_core import tracking; tracking.prepare_database(); print("The models side by side:", tracking.comparison_link())'
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --backend-store-uri sqlite:///mlflow.db \
		--artifacts-destination ./mlartifacts --workers 1 --host 127.0.0.1 --port 5000

prefect: .venv/.installed
	@prefect server start --host 127.0.0.1 --port 4200

clean:
	@if [ -d .cion ]; then find .cion -mindepth 1 -maxdepth 1 ! -name tracking -exec rm -rf {} +; fi
	@rm -rf .pytest_cache .ruff_cache .hypothesis
