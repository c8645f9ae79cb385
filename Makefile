# make quickstart            train on real photos in minutes (BACKEND=jax|tensorflow|torch)
# make test                  the whole suite on the three backends
# make test-jax              the suite on one of them (also test-tensorflow, test-torch)
# make lint                  ruff's checks
# make test-keras            a part of the suite on another Keras (KERAS=3.15.0), on Torch
# make test-kerashub         the backbone for KerasHub, in an environment of its own
# make check-wheel           the wheel alone, with each backend in turn
# make site                  guides, documents and reference as web pages, in site/
PYTHON ?= python3
BACKEND ?= jax
VENV := .venv
BIN := $(VENV)/bin
# Memory that a step frees stays with the process (glibc): see docs/performance.md.
KEEP_MEMORY := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: quickstart test test-jax test-tensorflow test-torch test-keras test-kerashub lint check-wheel site clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of packages, so that each is installed once.
$(VENV)/%.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) -e ".[$*]"
	touch "$@"

# ARGS passes options on: make quickstart ARGS="--conditioning none"
quickstart: $(VENV)/$(BACKEND),quickstart.installed
	$(KEEP_MEMORY) KERAS_BACKEND=$(BACKEND) $(BIN)/python examples/quickstart.py $(ARGS)

test: test-jax test-tensorflow test-torch

test-jax test-tensorflow test-torch: test-%: $(VENV)/test.installed
	KERAS_BACKEND=$* OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

KERAS ?= 3.15.0
test-keras: $(VENV)/test.installed
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target build/keras keras==$(KERAS)
	PYTHONPATH=$(CURDIR)/build/keras KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
		tests/layers tests/models tests/optimizers $(ARGS)

# KerasHub brings TensorFlow whatever the backend is. Its own checks need Grain.
KERASHUB := build/kerashub
test-kerashub:
	$(PYTHON) -m venv $(KERASHUB)
	$(KERASHUB)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e ".[kerashub,$(BACKEND)]" grain pytest
	KERAS_BACKEND=$(BACKEND) $(KERASHUB)/bin/python -m pytest tests/kerashub $(ARGS)

lint: $(VENV)/test.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

site: $(VENV)/site.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

check-wheel:
	$(PYTHON) .ci/check_wheel.py $(ARGS)

clean:
	rm -rf $(VENV) build dist site runs *.egg-info
