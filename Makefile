# Two commands do everything on a fresh machine: `make demo` and `make test`.
# `make test ALL=1`, as CI does, runs what is marked slow too and measures how much of the code is reached.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# As many processes as cores, but each may need 1.5 GB.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal
SELECTED := $(if $(ALL),--cov --cov-report=term --cov-fail-under=88,-m "not slow and not torture and not cluster")

.PHONY: demo test lint docs audit dist clean

demo: $(VENV)/.run
	$(BIN)/affectline demo

test: $(VENV)/.test
	$(PYTEST) $(SELECTED)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

# Wheel and sdist, checked, installed into environments of their own, and run there.
dist:
	.ci/dist $(PYTHON)

# The manual, as build/site; a link that leads nowhere is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# What is known against the versions that are installed; the auditor has an environment of its own.
audit: $(VENV)/.run $(VENV)/audit/bin/pip-audit
	$(BIN)/pip freeze --exclude-editable > $(VENV)/audit/requirements.txt
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --no-deps -r $(VENV)/audit/requirements.txt

$(VENV)/audit/bin/pip-audit: | $(VENV)/bin/pip
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet pip-audit

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: setup.py | $(VENV)/bin/pip
	$(BIN)/pip install --quiet -e .
	touch $@

$(VENV)/.test: setup.py | $(VENV)/bin/pip
	$(BIN)/pip install --quiet -e '.[test]'
	touch $@ $(VENV)/.run

$(VENV)/.docs: setup.py | $(VENV)/bin/pip
	$(BIN)/pip install --quiet -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
