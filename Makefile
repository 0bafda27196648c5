# Tollbook. `make help` lists what there is.

# A machine that sets this recompiles Airflow at every start: seconds lost each time.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
APT := $(shell test "$$(id -u)" = 0 || echo sudo) env DEBIAN_FRONTEND=noninteractive apt-get
UV := VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv
CHECKERS := tests/html/node_modules

.DEFAULT_GOAL := help
.PHONY: help run up test lint lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(VENV)/ok ## the whole path on this machine: sandbox provider, S3, mail, Airflow's DAGs → a statement
	@$(PY) -m stack run

up: $(VENV)/ok ## the same, and keeps it all up with Airflow's UI until Ctrl-C
	@$(PY) -m stack up

test: $(VENV)/ok $(VENV)/browser $(CHECKERS)/.package-lock.json ## set up what the tests need and pass them all
	@$(PY) -m pytest -n $$(($$(nproc) * 3 / 2))

lint: $(VENV)/ok ## ruff: errors, imports, security, Airflow's own rules
	@$(VENV)/bin/ruff check .

.PHONY: faults
faults: $(VENV)/ok ## every fault and promise of docs/trust.md in its long form, hours; GROUP=s3, SHORT=1, WRITE=1
	@$(PY) tests/faults/faultrun.py $(GROUP:%=--group %) $(if $(SHORT),--short) $(if $(WRITE),--write)

.PHONY: focus
focus: $(VENV)/ok ## hold the FOCUS export to the FinOps Foundation's own validator; needs Python 3.12, once half a gigabyte
	@$(PY) tests/focus/validate.py

.PHONY: mutants
mutants: $(VENV)/ok ## change the code in small ways and see whether the tests notice: GROUP=segments SAMPLE=150
	@$(PY) tests/mutation/run.py $(or $(GROUP),segments) --sample $(or $(SAMPLE),150)

.PHONY: bench
bench: $(VENV)/ok ## the reference night beside DuckDB, pandas and plain Python, into docs/benchmarks.md: N="1000000 10000000" ROUNDS=3
	@$(UV) pip install -q --require-hashes --no-deps -r benchmarks/night/requirements.lock
	@$(PY) -m benchmarks.night $(N:%=--n %) $(ROUNDS:%=--rounds %) --write docs/benchmarks.md

.PHONY: cluster
cluster: $(VENV)/ok $(VENV)/cluster/ok $(VENV)/services ## the DAGs on two Celery workers, of which one is killed; root, minutes: CLUSTER="--help"
	@$(PY) tests/cluster/clusterrun.py $(CLUSTER)

lock: $(VENV)/ok ## pin every dependency, with hashes, into requirements.lock; the image's into requirements.cluster.lock
	@$(UV) pip compile -q --universal --generate-hashes --no-annotate --no-header --group dev pyproject.toml -o requirements.lock
	@$(UV) pip compile -q --universal --generate-hashes --no-annotate --no-header --group cluster -c requirements.lock \
	  pyproject.toml -o requirements.cluster.lock

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

# Pages are tested in a real browser and by two checkers of HTML; Debian's Chromium, Java and Node are enough.
$(VENV)/browser: $(VENV)/ok
	@test "$$TOLLBOOK_NO_BROWSER" = 1 || { \
	  missing=; \
	  command -v chromium >/dev/null || missing="$$missing chromium fonts-inter fonts-liberation"; \
	  command -v java >/dev/null || missing="$$missing default-jre-headless"; \
	  command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	  test -z "$$missing" || { \
	    echo "Installing for the tests of pages:$$missing"; \
	    $(APT) update -qq && $(APT) install -y -qq --no-install-recommends $$missing >/dev/null; } && \
	  touch $@; }

$(CHECKERS)/.package-lock.json: tests/html/package-lock.json $(VENV)/browser
	@test "$$TOLLBOOK_NO_BROWSER" = 1 || { echo "Installing the checkers of HTML"; cd tests/html && npm ci --silent; }

# What the image holds, and nothing else: the cluster runs with these packages.
$(VENV)/cluster/ok: requirements.cluster.lock $(VENV)/ok
	@echo "Setting up the packages of the image in $(VENV)/cluster"
	@test -x $(VENV)/cluster/bin/python || $(PY) -m venv --without-pip $(VENV)/cluster
	@VIRTUAL_ENV=$(VENV)/cluster $(VENV)/bin/uv pip sync -q --require-hashes requirements.cluster.lock
	@touch $@

# Programs only. Debian's redis-server is a link to a program of redis-tools, and a service; its postgresql makes a
# database and starts it unless told not to.
$(VENV)/services: $(VENV)/ok
	@missing=; command -v redis-check-rdb >/dev/null || missing="$$missing redis-tools"; \
	  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	  command -v ip >/dev/null || missing="$$missing iproute2"; command -v wget >/dev/null || missing="$$missing wget"; \
	  test -z "$$missing" || { test "$$(id -u)" = 0 || { echo "make cluster needs root, and these packages:$$missing"; exit 2; }; \
	    echo "Installing for the cluster:$$missing"; \
	    install -d /etc/postgresql-common/createcluster.d && \
	    echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.d/tollbook.conf && \
	    $(APT) update -qq && $(APT) install -y -qq --no-install-recommends $$missing >/dev/null; } && touch $@
