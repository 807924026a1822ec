# Everything runs in .venv, which is made on first use from whatever Python >= 3.11 is found; PYTHON=... chooses another.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test fuzz soak crash tampering prove bench lint types diagrams openapi reference screenshots faults clean

PYTHONS := python3.13 python3.12 python3.11 python3
BIN := .venv/bin
RUNTIME := .venv/installed
DEVELOPMENT := .venv/installed-development
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## play both flows against the simulator; SERVE=1 keeps everything running, for you to go on by hand
	@$(BIN)/tillproof demo $(if $(filter-out 0,$(SERVE)),--serve)

# Three at a time also where there are two processors: much of the time a test waits for a process or a browser.
test: lint types ## run every check
	@$(BIN)/python -m pytest -n 3 --dist worksteal --cov=workflow
	@$(BIN)/python -m tests.branches
	@$(BIN)/python app.py diagram --check
	@$(BIN)/python app.py openapi --check

fuzz: $(DEVELOPMENT) ## send 100,000 requests made from Dojo's published schema; CASES=N for others
	@$(BIN)/python -m tests.fuzz --cases $(or $(CASES),100000)

soak: $(DEVELOPMENT) ## play both flows for ten minutes while a tenth of everything fails; SECONDS=N for others
	@$(BIN)/python -m tests.soak --seconds $(or $(SECONDS),600)

crash: $(DEVELOPMENT) ## kill the program 1,000 times, at every point and at random; N=kills for others, SEED=N for the same again
	@$(BIN)/python -m tests.crash --kills $(or $(N),1000) $(if $(SEED),--seed $(SEED))

tampering: $(DEVELOPMENT) ## change a journal, its WAL, witness and copies in 500 ways, each of which must be found; N=changes, SEED=N for others
	@$(BIN)/python -m tests.tampering --mutations $(or $(N),500) $(if $(SEED),--seed $(SEED))

prove: fuzz soak crash tampering ## run everything that takes long: these four, fifty times as many random walks, and the end of an outage with 50,000 calls
	@WALKS=$(or $(WALKS),50) $(BIN)/python -m pytest -n 2 tests/property
	@WAITING=$(or $(WAITING),50000) $(BIN)/python -m pytest tests/contract/test_outage_drain.py

bench: $(DEVELOPMENT) ## measure; ENTRIES=N instead: verify and replay a journal of N entries, beside reading and hashing them
	@$(BIN)/python -m $(if $(ENTRIES),tests.bench_journal $(ENTRIES),tests.bench)

lint: $(DEVELOPMENT) ## check format, style and the direction of imports
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-logo

types: $(DEVELOPMENT) ## check the type hints
	@$(BIN)/mypy

diagrams: $(RUNTIME) ## draw the machines anew
	@$(BIN)/python app.py diagram --write

openapi: $(RUNTIME) ## write docs/openapi.json and docs/openapi-venue.json anew
	@$(BIN)/python app.py openapi --write

reference: $(DEVELOPMENT) ## write docs/reference.md anew
	@$(BIN)/python -m tests.contract.test_reference

screenshots: $(DEVELOPMENT) ## take the pictures in docs/screenshots anew, in Chromium
	@$(BIN)/python -m tests.screenshots

faults: $(DEVELOPMENT) ## write tests/FAULTS_COVERED.md anew
	@$(BIN)/python -m tests.faults_covered --write

clean: ## remove .venv and all that the tools left behind
	@rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): pyproject.toml | $(BIN)/python
	@$(INSTALL) .
	@touch $@

$(DEVELOPMENT): pyproject.toml | $(BIN)/python
	@$(INSTALL) '.[dev]'
	@touch $@ $(RUNTIME)

$(BIN)/python:
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	  fi; \
	  $$python -m venv .venv && exit || { rm -rf .venv; exit 1; }; \
	done; \
	echo "Python 3.11 or newer is needed, none of these is it: $(or $(PYTHON),$(PYTHONS))" >&2; exit 1
