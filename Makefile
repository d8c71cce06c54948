# One command per habit. `make demo` and `make test` do all their own set-up; they need Python 3.11+ and a package index.

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help install demo app test lint format bench bench-quick clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt tools/install.sh Makefile | $(BIN)/python
	tools/install.sh $(BIN) review,app
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	tools/install.sh $(BIN) review,app,onnx,export,transformers,test,lint
	@touch $@

install: $(VENV)/.installed  ## create .venv and install da_kd into it

demo: $(VENV)/.installed  ## adapt a detector to a rendered laboratory and print where the report is
	$(BIN)/da-kd run recipes/demo.yaml

app: $(VENV)/.installed  ## open the browser app on 127.0.0.1:7860
	$(BIN)/python app.py

test: $(VENV)/.installed-dev  ## run the whole test suite, JOBS=2 files side by side
	tools/browser.sh
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

lint: $(VENV)/.installed-dev  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## mend the style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev  ## the speed and memory of predict; the demo's ladder for seeds 0, 1, 2 and 10, 11, 12
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/ladder.py

bench-quick: $(VENV)/.installed  ## the table of claims 1 and 4 in small, in under 15 minutes on 2 cores
	$(BIN)/da-kd bench recipes/bench/quick.yaml

clean:  ## remove the environment, keep every run
	rm -rf $(VENV) build *.egg-info
