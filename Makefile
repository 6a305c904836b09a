SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# One more than there are processors: tests of limits and drains also wait.
TEST_PROCESSES ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
BENCH_ARGS ?=
FUZZ_ARGS ?= --seconds 300
SOAK_ARGS ?= --minutes 30

.PHONY: help venv demo certs test lint format check bench fuzz soak wire-peers tls-scan e2e-docker test-tools fresh-clone docs constraints clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.installed ## Create .venv and install ingressd into it, with the tools for development

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ingressd needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: venv ## Demo apps, a development certificate and the proxy in front of examples/; prints curl lines
	$(BIN)/ingressd demo

certs: venv ## A development CA and a certificate for the examples, in certs/
	$(BIN)/ingressd demo --certs-only

test: venv ## Run the tests
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: venv ## Formatting, ruff, mypy --strict and the floors of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

format: venv ## Format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: lint test ## What must be green before a commit

bench: venv ## ingressd beside nginx, HAProxy, Envoy, Traefik and Caddy (scripts/install-bench-peers gets them)
	$(BIN)/python -m bench $(BENCH_ARGS)

fuzz: venv ## Feed every fuzz target for 5 minutes, from the corpus on (installs atheris)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,fuzz]'
	$(BIN)/python -m fuzz all $(FUZZ_ARGS)

soak: venv ## Half an hour of mixed load with edits and kills: nothing may grow, nothing may fail unexplained
	$(BIN)/python -m soak $(SOAK_ARGS)

wire-peers: venv ## Send the wire cases to nginx and HAProxy too, and say where they differ
	$(BIN)/python scripts/wire-peers

tls-scan: venv ## Let testssl.sh look at the HTTPS port for a minute (apt-get install testssl.sh)
	$(BIN)/python scripts/tls-scan

e2e-docker: ## docker compose for real: build, curl, edit, scale (starts an engine of its own where it can)
	scripts/e2e-docker

test-tools: ## Install the programs that some tests drive (curl, wrk, nginx, openssl); needs root and apt-get
	scripts/install-test-tools

fresh-clone: ## Prove the two commands of the README in a fresh clone
	scripts/fresh-clone

docs: venv ## Write docs/settings.md and docs/annotations.md anew from what declares them
	$(BIN)/python scripts/settings-reference > docs/settings.md
	$(BIN)/python scripts/annotations-reference > docs/annotations.md

constraints: ## Write constraints.txt anew: the newest releases that pyproject.toml allows
	scripts/pin-releases

clean: ## Remove what the other targets made, but not certs/
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
