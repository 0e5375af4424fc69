# ebbgate: `make run` shows it, `make test` proves it. Needs Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: help run check test test-long mutation bench clients docs lock clean
help: ## what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("ebbgate needs Python 3.11 or newer; name one with PYTHON=…" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# Two marks, so that running needs only what running needs. The lock files pin exact versions and hashes.
$(VENV)/.run: $(BIN)/python requirements/run.txt pyproject.toml
	@echo "installing ebbgate into $(VENV) …"
	@test -e $(VENV)/.dev || $(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "installing the test tools …"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

run: $(VENV)/.run ## the demo: a shop, visitors, decisions, what each destination got
	@$(BIN)/ebbgate serve --demo $(ARGS)

check: $(VENV)/.dev ## formatting, lint, types, layers, policies
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports --config .importlinter
	$(BIN)/hadolint Dockerfile
	$(BIN)/ebbgate check policies
	$(BIN)/ebbgate test policies

test: $(VENV)/.dev ## the whole suite with coverage, under five minutes on two cores
	$(BIN)/python -m tests.run

test-long: $(VENV)/.dev ## the full counts of the issues: faults, fuzz, properties
	EBBGATE_TEST_SCALE=$${EBBGATE_TEST_SCALE:-10} $(BIN)/python -m tests.run --long

mutation: $(VENV)/.dev ## changes in what decides, which the tests must notice (half an hour)
	$(BIN)/python -m tests.mutation $(ARGS)

bench: $(VENV)/.dev ## ratios side by side in one run
	$(BIN)/python -m tests.bench $(ARGS)

clients: ## fetch the real clients that tests/e2e/test_clients.py runs (needs Node and npm; the tests are skipped without)
	cd tests/e2e/clients && npm install --no-save --no-audit --no-fund --ignore-scripts

docs: $(VENV)/.dev ## regenerate the reference pages
	$(BIN)/python -m tests.reference

lock: $(VENV)/.dev ## pin the newest versions, with hashes and without addresses
	$(PIP) install uv
	cd requirements && for f in run dev; do ../$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header $$f.in -o $$f.txt; done

clean: ## remove what was made
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist
