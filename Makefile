# Verbs of this project. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
# Two test processes; tests of one file stay together, because they share what is slow to make.
WORKERS := -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test quick lint types drills profile lock clean

help: ## list the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | awk -F: '{printf "  make %-8s%s\n", $$1, $$2}'

setup: ## make .venv and install everything pinned in requirements.lock (idempotent)
	@PYTHON=$(PYTHON) deploy/setup

demo: setup ## the whole flow on 20 real stocks, then a summary
	@$(BIN)/gnn-assets demo

dev: setup ## the Dagster UI and daemon on 127.0.0.1:3000 (REPLAY=name: those of a replay)
	@$(if $(REPLAY),env -u GNN_ASSETS_ALERTS_HEARTBEAT GNN_ASSETS_HOME=$(CURDIR)/data/replay/$(REPLAY) GNN_ASSETS_CONFIG_FILE=$(CURDIR)/data/replay/$(REPLAY)/settings.yaml) $(BIN)/gnn-assets dev

test: setup lint types ## everything CI runs
	@$(BIN)/python -m pytest -m "not drill" $(WORKERS) --durations=12 --cov --cov-report=term:skip-covered
	@$(BIN)/python -m gnn_assets_tests.coverage_floor

quick: setup ## the inner loop: linters and the fast tests
	@$(MAKE) --no-print-directory lint types
	@$(BIN)/python -m pytest -m "not drill and not slow" --hypothesis-profile=few $(WORKERS) -q

lint: setup ## style and import walls
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: setup ## static types
	@$(BIN)/ty check

drills: setup ## the long evidence: thousands of flips, hundreds of kills, a browser on the real UI, fresh examples
	@deploy/drill-packages
	@$(BIN)/python -m pytest -m drill $(WORKERS) -rA
	@$(BIN)/python -m pytest -m "hypothesis and not drill" --hypothesis-profile=drawn $(WORKERS) -q

profile: setup ## where the time of one training step goes
	@$(BIN)/python benchmarks/profile_training.py $(ARGS)

lock: setup ## make requirements.lock anew from pyproject.toml
	@deploy/lock

clean: ## remove what was built or computed (the lake too)
	rm -rf .venv .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage* *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find data -mindepth 1 ! -name README.md -delete
