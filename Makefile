# Every target does its own set-up, in .venv. PYTHON chooses the interpreter that makes it:
#   make demo PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow site bench bench-own clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{printf "make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/.ready ## Fit the census and write figures and the fit under build/demo/
	@$(PY) -m bayesmix.cli.demo --out build/demo

test: $(VENV)/.ready-dev ## Check style and types, then run the tests
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m pyright
	@$(PY) -m pytest -n 2

test-slow: $(VENV)/.ready-dev ## Run the slow tests: long chains, simulation-based calibration
	@$(PY) -m pytest -m slow

site: $(VENV)/.ready-dev ## Execute the chapters and write the book's pages under build/site/
	@$(PY) -m sphinx -q -W -c docs -b html . build/site
	@echo "Open build/site/index.html, or serve it: $(PY) -m http.server --directory build/site"

bench: $(VENV)/.ready-dev ## Time the census beside other samplers, by turns; prints ratios
	@$(PY) -m pytest tests/benchmarks -m benchmark
	@$(PY) tests/benchmarks/census_peers.py --runs 3 --install
	@$(PY) tests/benchmarks/experts_peers.py --runs 3 --install
	@$(PY) tests/benchmarks/networks_peers.py --runs 3 --install

bench-own: $(VENV)/.ready-dev ## Fit data of others beside their tools; writes docs/own-data.md
	@$(PY) tests/benchmarks/own_models.py
	@$(PY) tests/benchmarks/own_networks.py
	@$(PY) tests/benchmarks/own_mixtures.py
	@$(PY) tests/benchmarks/own_samplers.py --install
	@$(PY) tests/benchmarks/own_page.py

clean: ## Remove .venv, build/ and every cache
	@rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

require-python = { $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || \
	{ echo "bayesmix needs Python 3.12 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | \
	tail -n 1): install one and name it, as in 'make demo PYTHON=python3.13'." >&2; exit 1; }; }

# A stamp is newer than the files that it depends on once everything they name is installed.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PY) -c 'import sys, pip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || \
	{ $(require-python) && $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing bayesmix in $(VENV): several GB, so a few minutes the first time."
	@$(INSTALL) 'pip>=25.1' hatchling editables
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "Installing what the tests need in $(VENV)."
	@$(INSTALL) --group dev
	@touch $@
