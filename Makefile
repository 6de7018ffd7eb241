# Two commands on a fresh machine with Python >= 3.11, pip and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
# two files of tests at the same time, each on one core
TESTS := OMP_NUM_THREADS=1 $(RUN)/python -m pytest --numprocesses 2 --dist loadfile

.PHONY: demo test unit lint machines install clean

demo: $(VENV)/installed
	$(RUN)/segsuite demo --out demo_run

test: $(VENV)/installed-test lint
	$(TESTS) --durations=8

unit: $(VENV)/installed-test
	$(TESTS) -m "not slow"

lint: $(VENV)/installed-test
	$(RUN)/ruff check segsuite pipelines tests benchmarks
	$(RUN)/ruff format --check segsuite pipelines tests benchmarks
	$(RUN)/mypy

# the suite as if on other machines; goes on where it was stopped, at most an hour on two cores
machines: $(VENV)/installed-test
	$(RUN)/python tests/machines

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
