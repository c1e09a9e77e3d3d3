# A fresh machine needs only Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The CPU build of torch is small; the newest default build would bring several GB of CUDA along.
TORCH := torch==2.13.0

.PHONY: demo speed test lint docs fuzz soak format clean

demo: $(VENV)/installed  ## learn and sample the built-in shapes; resumes when run again
	$(BIN)/python -m training.pipeline built-in --output runs/demo

speed: $(VENV)/installed  ## measure how fast shapes and fields become tokens; needs make demo first
	$(BIN)/python -m benchmarks.encoding_speed --tokenizer runs/demo/model --output runs/speed.json --page docs/results/speed.md

.PHONY: soak
soak: $(VENV)/installed  ## kill runs, use a model for long, compare bits; an hour, and the figures go to runs/
	$(BIN)/python -m pytest -m soak
	$(BIN)/python -m tests.reliability.kills --kills 200 --seed 0 --output runs/kills.json
	$(BIN)/python -m tests.reliability.soak --output runs/soak.json
	$(BIN)/python -m tests.reliability.bitwise --output runs/bitwise.json

test: $(VENV)/installed lint docs  ## style, types, documentation and tests
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(VENV)/installed  ## read 20,000 mutated files; takes about 10 minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --files 20000 --seed 0

docs: $(VENV)/installed  ## the documentation site, in runs/site
	$(BIN)/python -m mkdocs build --strict --site-dir runs/site

format: $(VENV)/installed  ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "weightgpt needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:  ## remove the environment and all runs
	rm -rf $(VENV) runs
