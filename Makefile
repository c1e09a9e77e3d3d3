# Everything a fresh machine needs, with only Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The CPU build of torch is small; the newest default build would bring several GB of CUDA along.
TORCH := torch==2.13.0

.PHONY: demo speed test lint format clean

demo: $(VENV)/installed  ## the main job on the built-in corpus; resumes when run again
	$(BIN)/python -m training.pipeline --output runs/demo

speed: $(VENV)/installed  ## how fast shapes and fields become tokens; after make demo
	$(BIN)/python -m benchmarks.encoding_speed --model runs/demo/model --output runs/speed.json --page docs/results/speed.md

test: $(VENV)/installed lint  ## environment, style, types and tests
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "weightgpt needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) runs
