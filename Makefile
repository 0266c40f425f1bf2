# Everything a developer types. `make check test` is what CI runs.
#
#   PYTHON=/opt/python3.13/bin/python3.13 make test    another interpreter, in a venv of its own

PYTHON ?= python3
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))

BIN := $(VENV)/bin
READY := $(VENV)/.ready

# An active conda, pyenv or virtual environment must not leak into this one.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH
export UV_PROJECT_ENVIRONMENT := $(abspath $(VENV))
export UV_PYTHON := $(abspath $(BIN)/python)
export UV_PYTHON_DOWNLOADS := never

ifeq ($(CI),true)
export IONBEAM_REQUIRE_SERVICES := 1
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench services docs fmt clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

setup: $(READY) ## .venv with everything a developer needs

# The second try is for networks with a certificate authority of their own.
$(READY): pyproject.toml uv.lock tools/make_venv
	@tools/make_venv "$(PYTHON)" "$(VENV)"
	$(BIN)/uv sync --frozen --inexact || UV_SYSTEM_CERTS=true $(BIN)/uv sync --frozen --inexact
	@touch $@

demo: setup ## a synthetic day becomes hourly datasets, late data included
	@$(BIN)/ionbeam demo

services: ## servers the service tests start for themselves (Debian, root)
	@tools/install_services

test: setup ## all tests; those that need a missing server are skipped, or fail when CI=true
	@tools/install_services || echo "!! tests that need a missing server will be skipped (with CI=true they fail)" >&2
	$(BIN)/python -m pytest

check: setup ## format, lint, types, layers, generated pages
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/generate_docs.py --check

bench: setup ## throughput, each figure beside its floor
	@for file in $$(grep -l '^if __name__' benchmarks/*.py); do \
		echo "== $$file"; $(BIN)/python $$file || exit 1; \
	done

docs: setup ## write the generated reference pages
	$(BIN)/python tools/generate_docs.py

fmt: setup ## format and repair what can be repaired
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## caches and build output; never data, never the venv
	rm -rf dist .benchmarks .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +
