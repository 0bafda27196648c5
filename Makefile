# Tollbook. `make help` lists what there is.

# A machine that sets this recompiles Airflow at every start: seconds lost each time.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
APT := $(shell test "$$(id -u)" = 0 || echo sudo) env DEBIAN_FRONTEND=noninteractive apt-get
UV := VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv

.DEFAULT_GOAL := help
.PHONY: help run up test lint lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(VENV)/ok ## the whole path on this machine: sandbox provider, S3, mail, Airflow's DAGs → a statement
	@$(PY) -m stack run

up: $(VENV)/ok ## the same, and keeps it all up with Airflow's UI until Ctrl-C
	@$(PY) -m stack up

test: $(VENV)/ok $(VENV)/browser ## set up what the tests need and pass them all
	@$(PY) -m pytest

lint: $(VENV)/ok ## ruff: errors, imports, security, Airflow's own rules
	@$(VENV)/bin/ruff check .

lock: $(VENV)/ok ## pin every dependency, with hashes, into requirements.lock
	@$(UV) pip compile -q --universal --generate-hashes --no-annotate --no-header --group dev pyproject.toml -o requirements.lock

clean: ## forget what `make run` stored
	rm -rf .run out

$(VENV)/ok: requirements.lock pyproject.toml
	@echo "Setting up Python packages in $(VENV) (once; about a minute)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	  echo "Installing python3-venv, which Debian keeps apart from Python"; rm -rf $(VENV); \
	  $(APT) update -qq && $(APT) install -y -qq --no-install-recommends python3-venv >/dev/null && $(PYTHON) -m venv $(VENV); }
	@awk '/^uv==/ {p=1} !/^(uv==| )/ {p=0} p' requirements.lock > $(VENV)/uv.txt
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.txt
	@$(UV) pip install -q --require-hashes --no-deps -r requirements.lock
	@$(UV) pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# The pages are tested in a real browser; Debian's is enough.
$(VENV)/browser: $(VENV)/ok
	@command -v chromium >/dev/null || { \
	  echo "Installing Chromium for the browser tests"; \
	  $(APT) update -qq && $(APT) install -y -qq --no-install-recommends chromium fonts-inter >/dev/null; }
	@touch $@
