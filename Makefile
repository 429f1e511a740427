# Everything a developer runs. Each target makes the virtual environment first if it has to.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
DEMO_ARGS ?=
PYTEST_ARGS ?=
# Environments of their own: the lower bounds of pyproject.toml, and the next Keras.
OLDEST_VENV ?= .venv-oldest
NEWEST_VENV ?= .venv-newest
# The oldest Python that is promised, where there is one.
OLDEST_PYTHON ?= $(shell python3.10 -c 'import sys; print(sys.executable)' 2>/dev/null || echo $(PYTHON))
NEXT_KERAS ?= keras-nightly
# Other people's libraries; one of them needs Python 3.12.
ZOO_VENV ?= .venv-zoo
ZOO_PYTHON ?= $(shell python3.12 -c 'import sys; print(sys.executable)' 2>/dev/null || echo $(PYTHON))
ZOO_ARGS ?=
# The version that is tested. PyTorch's wheels are large; any other would be fetched anew.
TORCH ?= torch==2.13.0
# TensorFlow's start-up messages; errors still show.
export TF_CPP_MIN_LOG_LEVEL ?= 2

BIN := $(VENV)/bin
STAMP := $(VENV)/installed.stamp
TORCH_STAMP := $(VENV)/torch.stamp
OLDEST_STAMP := $(OLDEST_VENV)/installed.stamp
NEWEST_STAMP := $(NEWEST_VENV)/installed.stamp
ZOO_STAMP := $(ZOO_VENV)/installed.stamp
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
RUN_TESTS := -m pytest -n $(WORKERS)
PYTEST := $(BIN)/python $(RUN_TESTS)

.PHONY: help setup demo test test-all test-jax test-torch test-oldest test-newest test-zoo lint \
	docs docs-version figures growth

help:
	@echo "make setup     virtual environment in $(VENV) with all that development needs"
	@echo "make demo      trains LeNet-5 dense and SMH, shrinks and slims it; writes out/demo/"
	@echo "make test      the tests, without the slow ones"
	@echo "make test-all  all tests, test-jax and test-torch"
	@echo "make test-jax  the backend-agnostic tests, on JAX"
	@echo "make test-torch  the same on PyTorch, which it installs first"
	@echo "make test-oldest  make test, with the oldest version of everything that is promised"
	@echo "make test-newest  make test, with the next Keras (keras-nightly)"
	@echo "make test-zoo  every door on models of other libraries; writes docs/compatibility.md"
	@echo "make lint      ruff and mypy"
	@echo "make docs      the documentation as a site, in out/site/"
	@echo "make figures   the pictures of the documentation, in docs/images/"
	@echo "make growth    the picture of the growth benchmark; some 20 minutes, 16 GB of memory"

setup: $(STAMP)

# Touched last: an installation that broke off is done again. A folder without a working pip is
# what `venv` leaves where ensurepip is missing, so it is cleared.
$(STAMP): pyproject.toml setup.py
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing into $(VENV), which takes a few minutes"
	$(BIN)/python $(PIP_INSTALL) -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/python examples/demo.py $(DEMO_ARGS)

test: setup
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-all: setup test-jax test-torch
	$(PYTEST) $(PYTEST_ARGS)

test-jax: setup
	KERAS_BACKEND=jax $(PYTEST) -m backend_agnostic $(PYTEST_ARGS)

# By itself: PyTorch is large, and nothing else here needs it.
$(TORCH_STAMP): $(STAMP)
	$(BIN)/python $(PIP_INSTALL) -e . '$(TORCH)'
	@touch $@

test-torch: $(TORCH_STAMP)
	KERAS_BACKEND=torch $(PYTEST) -m backend_agnostic $(PYTEST_ARGS)

$(OLDEST_STAMP): pyproject.toml tests/oldest.txt
	$(OLDEST_PYTHON) -m venv --clear $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/python $(PIP_INSTALL) -c tests/oldest.txt -e '.[dev,tensorflow]'
	@touch $@

test-oldest: $(OLDEST_STAMP)
	$(OLDEST_VENV)/bin/python $(RUN_TESTS) -m "not slow" $(PYTEST_ARGS)

$(NEWEST_STAMP): pyproject.toml
	$(PYTHON) -m venv --clear $(NEWEST_VENV)
	$(NEWEST_VENV)/bin/python $(PIP_INSTALL) -e '.[dev,tensorflow]'
	$(NEWEST_VENV)/bin/python -m pip uninstall --quiet --yes keras
	@touch $@

# TensorFlow asks for `keras` by that name, and the nightly has another: it takes its place. Looked
# for anew each time, because there is a new one each night.
test-newest: $(NEWEST_STAMP)
	$(NEWEST_VENV)/bin/python $(PIP_INSTALL) --pre --upgrade --no-deps '$(NEXT_KERAS)'
	$(NEWEST_VENV)/bin/python $(RUN_TESTS) -m "not slow" $(PYTEST_ARGS)

# Not part of CI: it takes about an hour, and a fault may be the other library's.
$(ZOO_STAMP): pyproject.toml tests/third_party/requirements.txt
	$(ZOO_PYTHON) -m venv --clear $(ZOO_VENV)
	$(ZOO_VENV)/bin/python $(PIP_INSTALL) -e '.[onnx,litert]' -r tests/third_party/requirements.txt
	$(ZOO_VENV)/bin/python $(PIP_INSTALL) --no-deps keras-tcn==3.5.7
	@touch $@

test-zoo: $(ZOO_STAMP)
	$(ZOO_VENV)/bin/python tests/third_party/run.py $(ZOO_ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# -W: a link that leads nowhere is an error. -E: docstrings are read anew. Nothing is downloaded.
docs: setup
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs out/site
	@echo "open out/site/index.html"

# Beside the versions that are in out/versions already, which is what is put on the web.
docs-version: setup
	version=$$($(BIN)/python -c "import smh; print(smh.__version__)") && \
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs out/versions/$$version
	$(BIN)/python docs/versions.py out/versions

figures: demo
	mkdir -p docs/images
	$(BIN)/python examples/plot_mnist_curve.py >/dev/null
	cp out/demo/accuracy_size.png docs/images/
	$(BIN)/python docs/draw_mechanism.py docs/images/mechanism.png

# Apart from `figures`, because it takes long and much memory.
growth: setup
	mkdir -p docs/images
	$(BIN)/python benchmarks/growth.py --weights 1e6 1e7 1e8 --csv benchmarks/growth.csv
	$(BIN)/python benchmarks/growth.py --weights 1e9 --steps 1 --sides dense "in blocks" \
		--csv benchmarks/growth.csv --plot docs/images/growth.png
