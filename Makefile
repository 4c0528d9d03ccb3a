# `make demo` opens the quick start in JupyterLab, `make test` runs every check. Both make their environment in .venv, once.
PYTHON ?= python3
BIN := .venv/bin
BUNDLE := hdm_widgets/static/hdm_explorer.js
# JupyterLab starts for root only when told so.
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: demo test lint browser format clean
.DELETE_ON_ERROR:

demo: .venv/.installed $(BUNDLE)
	$(BIN)/jupyter lab $(ROOT) notebooks/01_quickstart.ipynb

test: lint browser
	cd js && npm test
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=300 tests hdm_widgets notebooks

lint: .venv/.installed $(BUNDLE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd js && npm run lint && npm run types

format: .venv/.installed js/node_modules/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd js && npm run format

# Browser tests need a Chromium; what cannot be installed is said, and those tests then say that they were skipped.
browser: .venv/.installed
	@sh tests/browser/ensure_chromium.sh

.venv/.installed: pyproject.toml constraints.txt | $(BUNDLE)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(BUNDLE): js/node_modules/.installed js/build.mjs $(shell find js/src -type f)
	cd js && npm run build

js/node_modules/.installed: js/package.json js/package-lock.json
	cd js && npm ci --no-audit --no-fund
	@touch $@

clean:
	rm -rf .venv js/node_modules hdm_widgets/static dist benchmarks/out tests/out
