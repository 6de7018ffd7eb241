# Two commands on a fresh machine with Python >= 3.11, pip and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

.PHONY: demo test unit lint install clean

demo: $(VENV)/installed
	$(RUN)/segsuite demo --out demo_run

test: $(VENV)/installed-test lint
	$(RUN)/python -m pytest --durations=8

unit: $(VENV)/installed-test
	$(RUN)/python -m pytest -m "not slow"

lint: $(VENV)/installed-test
	$(RUN)/ruff check segsuite pipelines tests benchmarks
	$(RUN)/ruff format --check segsuite pipelines tests benchmarks
	$(RUN)/mypy

install: $(VENV)/installed

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(RUN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(RUN)/python -m pip install --quiet --editable '.[test]'
	@touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) demo_run build dist
