# `make compare` and `make test` need Python 3.11 or newer and make, nothing else:
# the first target that runs makes .venv and installs everything with the versions
# of constraints.txt. Another interpreter: `make PYTHON=python3.12 test`.

PYTHON ?= python3
VENV ?= .venv
# Test processes. Each computes with one thread.
WORKERS ?= 2

# The interpreter of `make oldest`, and the tests of `make oldest` and `make quick`.
OLDEST ?= python3.12
CORE := tests/linalg tests/manifolds tests/maps tests/weights tests/parametrize tests/optim tests/solvers tests/nn
QUICK := tests/test_architecture.py tests/linalg tests/manifolds/test_groups.py \
  tests/manifolds/test_statistics.py tests/manifolds/test_oracles.py tests/maps/test_values.py \
  tests/weights/test_constrain.py tests/weights/test_rebase.py tests/parametrize/test_registry.py \
  tests/solvers/test_least_squares.py tests/compare/test_plan.py tests/compare/test_report.py

BIN := $(VENV)/bin
READY := $(VENV)/.installed

export MPLBACKEND ?= Agg

.DEFAULT_GOAL := help
.PHONY: help install compare test quick oldest slow fuzz lint format types docs examples wheel clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "torchmanifold needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

install: $(READY) ## make .venv and install everything into it (every other target does so too)

compare: $(READY) ## compare parametrized with Riemannian descent on real data, about 3 minutes
	$(BIN)/torchmanifold compare --preset quick

test: $(READY) ## run all tests except the slow ones
	$(BIN)/python -m pytest -n $(WORKERS) --durations=15

quick: $(READY) ## run the tests that find most, under a minute
	$(BIN)/python -m pytest -n $(WORKERS) -q $(QUICK)

oldest: ## run the main tests with the oldest versions that setup.cfg promises (.venv-oldest)
	test -x .venv-oldest/bin/python || $(OLDEST) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet -c constraints-oldest.txt -e ".[test]"
	.venv-oldest/bin/python -m pytest -n $(WORKERS) -q $(CORE)

slow: $(READY) ## run the long tests (10^5 steps)
	$(BIN)/python -m pytest -m slow

fuzz: $(READY) ## 8,000 hostile weights, gradients and layouts over all manifolds, about 3 minutes
	$(BIN)/python tests/fuzz.py

lint: $(READY) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## correct style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# mypy cannot map folders to packages, so the packages are first laid out as in a wheel.
types: $(READY) ## check the types
	@rm -rf build/lib
	@$(BIN)/python -c "import setuptools; setuptools.setup()" --quiet build_py --build-lib build/lib
	$(BIN)/mypy
	$(BIN)/mypy --strict --follow-imports silent tests/typing/public.py

docs: $(READY) ## build the documentation (docs/_build/html), warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -n -b html docs docs/_build/html

examples: $(READY) ## run every example
	@set -e; for example in examples/*.py; do echo "$$example"; $(BIN)/python "$$example"; done

wheel: $(READY) ## build the wheel and the source archive (dist/)
	@rm -rf build/lib build/bdist.* dist
	$(BIN)/python -m build

clean: ## remove all files that make made, and .venv; results stay
	rm -rf $(VENV) build dist docs/_build docs/gallery *.egg-info \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
