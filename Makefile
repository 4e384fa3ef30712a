# Two commands do everything: `make demo` and `make test`. Both set up .venv first, once.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: help install demo test format evidence clean

help:            ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/'

install: $(STAMP)    ## make .venv and install everything, once

# The stamp stands for a finished install: it is rewritten only when what is to be installed changes.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "anysize needs Python 3.11 or newer; try: make PYTHON=python3.12 install"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: install    ## the whole job on real text, offline, in a few minutes
	$(BIN)/anysize demo

test: install    ## lint, types and the whole test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist worksteal

format: install  ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

evidence: install    ## render benchmarks/results into docs/evidence.md and docs/evidence/
	$(BIN)/python -m benchmarks.evidence

clean:           ## remove what was made here
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache
