# All targets set up what they need on a machine with nothing but Python: `make demo`, `make test`.
PYTHON ?= python3
WORKDIR ?= runs/demo
BIN := .venv/bin

.PHONY: demo test lint

demo: .venv/ready  ## the main job, small preset, two CPU cores
	$(BIN)/python -m hgdt_jax.main --workdir="$(WORKDIR)"

test: .venv/ready  ## all that is quick; CI runs the rest too
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not long and not devices"
	JAX_NUM_CPU_DEVICES=8 $(BIN)/python -m pytest -n 2 --dist load -m "devices and not long"

lint: .venv/ready
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

# One that was never ready is made anew: another Python, or a stopped install, may have left it.
.venv/ready: pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: hgdt_jax needs Python 3.11 or newer, and $(PYTHON) is" \
	    "$$("$(PYTHON)" -c 'import sys; print(*sys.version_info[:2], sep=".")'):" \
	    "make PYTHON=python3.12" >&2; exit 1; }
	[ -e $@ ] || "$(PYTHON)" -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@
