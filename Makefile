# Both set up all they need on a machine with nothing but Python: `make demo`, `make test`.
PYTHON ?= python3
WORKDIR ?= runs/demo
BIN := .venv/bin

.PHONY: demo test lint

demo: .venv/ready  ## the main job, small preset, two CPU cores
	$(BIN)/python -m hgdt_jax.main --workdir=$(WORKDIR)

test: .venv/ready  ## the whole suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e ".[dev]"
	touch $@
