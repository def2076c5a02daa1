# `make book` and `make test` work from a bare clone; PYTHON=python3.12 selects another interpreter.
PYTHON ?= python3
BIN := .venv/bin
PAGE := _build/html/intro.html

.PHONY: environment book study test test-all bench screens lint sync clean

environment: .venv/.installed

# Trains first, with progress bars; the pages then only load the runs.
book: .venv/.installed
	$(BIN)/dvae train --all
	$(BIN)/jupyter-book build book/
	@test -f $(PAGE) && echo && echo "The book is built. Open $(PAGE), or file://$(CURDIR)/$(PAGE)"

# Trains all runs behind the ten claims that have no record in results/study yet; takes hours.
study: .venv/.installed
	$(BIN)/dvae study
	$(BIN)/dvae study --test

# One worker per core; each worker runs whole files.
test: .venv/.installed
	$(BIN)/python -m pytest --nbval-lax -n auto

# Also the tests that start and kill processes, and fill disks.
test-all: test
	$(BIN)/python -m pytest -n auto -m slow

bench: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python -m benchmarks --json _build/benchmarks.json

# Opens the built book in the installed Chromium, and saves a screenshot of every page in _build/screens.
screens: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[browser]"
	DVAE_BROWSER=required $(BIN)/python -m pytest tests/browser

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python book/pairs.py --check

# Updates the older of each chapter's notebook and text from the newer, and strips outputs.
sync: .venv/.installed
	$(BIN)/python book/pairs.py

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[book,detect,test]"
	touch $@

clean:
	rm -rf .venv _build
	@echo "Removed the environment and the pages; kept the trained runs (runs/) and the prepared data (cache/)."
