# `make demo` opens the quick start in JupyterLab, `make test` runs every check. Both make their environment in .venv, once.
# CONTRIBUTING.md says what the other targets are for.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
BIN := .venv/bin
# Where Python is told not to keep what it compiles, each of a hundred processes would compile the package again.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
SITE := $(BIN)/sphinx-build -M html docs docs/_build -W --keep-going --quiet
BUNDLE := hdm_widgets/static/hdm_explorer.js
# JupyterLab starts for root only when told so.
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
# What needs neither a browser nor a build of the package.
UNIT_TESTS := --ignore=tests/browser --ignore=tests/packaging tests hdm_widgets
# Where the machine has no Node.js, it lies in .venv.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test lint lint-python lint-js test-js site docs browser coverage test-lowest dist format clean
.DELETE_ON_ERROR:

demo: .venv/.installed $(BUNDLE)
	$(BIN)/jupyter lab $(ROOT) --LabApp.default_url=/lab/tree/notebooks/01_quickstart.ipynb

# The tests of one file share what is made for them, so they stay in one process; all with a browser share one (see
# tests/conftest.py). There are three for two cores, as that one often waits. Notebooks, which take the longest, come first.
# What comes before them waits for downloads at first, so it also has three jobs.
test:
	$(MAKE) --no-print-directory --jobs=3 test-js browser lint site
	$(PYTEST) -n 3 --dist loadfile --no-loadscope-reorder --nbmake --nbmake-timeout=300 notebooks tests hdm_widgets

lint: lint-python lint-js

lint-python: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tools hatch_build.py
	cd tests/typing && $(CURDIR)/$(BIN)/mypy --config-file mypy.ini

lint-js: $(BUNDLE)
	cd js && npm run lint && npm run types

test-js: $(BUNDLE)
	cd js && npm test

# The notebooks are not run: the tests do that.
site: .venv/.installed $(BUNDLE)
	$(SITE) -D nb_execution_mode=off

docs: .venv/.installed $(BUNDLE)
	$(SITE)

# Browser tests need a Chromium; what cannot be installed is said, and those tests then say that they were skipped.
browser:
	@sh tests/browser/ensure_chromium.sh

# Apart from `make test`, which it would slow down by half.
coverage: .venv/.installed $(BUNDLE)
	$(PYTEST) --cov --cov-report=term --cov-report=html:tests/out/coverage $(UNIT_TESTS)

# Old releases warn of what newer ones beside them deprecate; other warnings are errors here too.
test-lowest: .venv-lowest/.installed $(BUNDLE)
	.venv-lowest/bin/python -m pytest -W default::DeprecationWarning $(UNIT_TESTS)

dist: .venv/.installed $(BUNDLE)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

format: .venv/.installed js/node_modules/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd js && npm run format

.venv/.created:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) tools/bootstrap.py environment .venv
	@touch $@

.venv/.node: | .venv/.created
	@$(BIN)/python tools/bootstrap.py node
	@touch $@

.venv/.installed: pyproject.toml constraints.txt | .venv/.created
	$(BIN)/python tools/bootstrap.py packages
	@touch $@

.venv-lowest/.installed: pyproject.toml constraints.txt tools/lowest.py | .venv/.installed $(BUNDLE)
	$(BIN)/python -m venv .venv-lowest
	$(BIN)/python tools/lowest.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet --constraint .venv-lowest/constraints.txt --editable '.[test]'
	@touch $@

# With the folders, so that a source that was deleted is noticed.
$(BUNDLE): js/node_modules/.installed js/build.mjs $(shell find js/src)
	cd js && npm run build

js/node_modules/.installed: js/package.json js/package-lock.json | .venv/.node
	cd js && npm ci --no-audit --no-fund
	@touch $@

clean:
	rm -rf .venv .venv-lowest js/node_modules hdm_widgets/static dist docs/_build benchmarks/out tests/out
