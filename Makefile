# Everything that a person types. `make` alone explains the targets.
# Each target that needs the toolchain sets it up first; where nothing is to do, that costs a fraction of a second.

PYTHON ?= python3
# The demonstration: another plant file, and KEEP=0 to stop everything at its end.
PLANT ?=
KEEP ?= 1

VENV_PYTHON := $(CURDIR)/.venv/bin/python
IF_SET_UP := if [ ! -x $(VENV_PYTHON) ]; then echo "Nothing runs: Headroom is not set up here."; exit 0; fi;
export PYTHONPATH := $(CURDIR)

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-plants up down status logs test test-unit test-components test-dags test-system lint format lock \
	jmeter-lock docs bench-jtl bench-search fuzz-jtl faults-lifecycle clean clean-all

help: ## Explain every target
	@awk 'BEGIN { FS = ":.*## "; printf "%-16s %s\n%-16s %s\n", "target", "what it does", "------", "------------" } \
	  /^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nvariables: PYTHON (the Python to start with), PLANT (demo: path of a plant file), KEEP (demo: 0 stops all at the\n'
	@printf 'end), HEADROOM_MAVEN_REPOSITORY (a mirror for the jars of JMeter; pip and uv have their own settings)\n'

setup: ## Set up Python packages, Java, JMeter and HAProxy; what is done is not done again
	@$(PYTHON) tools/bootstrap.py

# the time at which the command was typed, so that the demonstration can tell set-up from the rest
export HEADROOM_DEMO_STARTED := $(shell date +%s)

demo: setup ## Run the whole weekly run against the sandbox and show the answer (PLANT=file, KEEP=0)
	@PLANT='$(PLANT)' KEEP='$(KEEP)' $(VENV_PYTHON) -m tools.demo

demo-plants: setup ## Run the demonstration for each hard plant in turn, about half an hour; ends with a table (PLANTS=a,b)
	@$(VENV_PYTHON) -m tools.demo.plants $(if $(PLANTS),--plants '$(PLANTS)')

up: setup ## Start the sandbox and Airflow; prints the address and the login
	@$(VENV_PYTHON) -m tools.stack up

# These must work where the set-up cannot, such as without a network.
down: ## Stop what `up` and `demo` started
	@$(IF_SET_UP) $(VENV_PYTHON) -m tools.stack down

status: ## Say what runs, and where
	@$(IF_SET_UP) $(VENV_PYTHON) -m tools.stack status || true

logs: ## Show the newest lines of every log
	@$(IF_SET_UP) $(VENV_PYTHON) -m tools.stack logs

test: ## Set up, lint, and run every test; ends with the wall time of each part
	@$(PYTHON) tools/check.py setup lint unit components dags system

test-unit: setup ## Run the unit tests: no process, no network
	@$(PYTHON) tools/check.py unit

test-components: setup ## Run the tests of single components: processes on loopback
	@$(PYTHON) tools/check.py components

test-dags: setup ## Run the tests of the DAGs' structure
	@$(PYTHON) tools/check.py dags

test-system: setup ## Run the tests of the whole: the sandbox, Airflow and JMeter together
	@$(PYTHON) tools/check.py system

lint: setup ## Check style and types: ruff and mypy
	@$(PYTHON) tools/check.py lint

format: setup ## Format the code with ruff
	@$(VENV_PYTHON) -m ruff check --fix-only --quiet .
	@$(VENV_PYTHON) -m ruff format .

lock: setup ## Compile requirements.in into requirements.txt (UPGRADE=1 takes the newest versions)
	@.venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
	  $(if $(UPGRADE),--upgrade) requirements.in -o requirements.txt

jmeter-lock: setup ## Resolve the jars of JMeter anew and write tools/jmeter/jmeter.lock (VERSION=5.6.3)
	@$(VENV_PYTHON) -m tools.jmeter lock $(if $(VERSION),--version $(VERSION))

docs: setup ## Write docs/DAGs.md from the DAGs
	@$(VENV_PYTHON) -m tools.docs

bench-jtl: setup ## Measure our reading of JTL files beside pandas, duckdb and JMeter (ROWS=1000000 ONLY=ours,jmeter)
	@[ -d build/bench/peers/duckdb ] || .venv/bin/uv pip install --quiet --target build/bench/peers --require-hashes \
	  -r benchmarks/requirements.txt
	@$(VENV_PYTHON) -m benchmarks.bench_jtl --rows $(or $(ROWS),1000000) $(if $(ONLY),--only $(ONLY))

bench-search: setup ## Measure the search and its peers on simulated services (FAMILIES=held-out SYSTEMS=20 MODE=default PEERS=1)
	@$(VENV_PYTHON) -m benchmarks.bench_search --families $(or $(FAMILIES),held-out) --systems $(or $(SYSTEMS),20) \
	  --seed $(or $(SEED),0) --jobs $(or $(JOBS),2) --mode $(or $(MODE),default) --peers $(or $(PEERS),1) \
	  --worst $(or $(WORST),0) --prior '$(PRIOR)' --upper '$(UPPER)'

fuzz-jtl: setup ## Read mutated JTL files and compare with an oracle (CASES=10000, SEED=1)
	@$(VENV_PYTHON) -m tests.fuzz.jtl --cases $(or $(CASES),10000) --seed $(or $(SEED),1)

faults-lifecycle: setup ## Kill prescale and restore at every point, fail AWS and the store, restore (CASE=123, GROUP=text, SHORT=40)
	@$(VENV_PYTHON) -m tests.faults.lifecycle $(if $(CASE),--case $(CASE)) $(if $(GROUP),--group '$(GROUP)') \
	  $(if $(SHORT),--short $(SHORT))

clean: down ## Stop everything, then remove what the commands wrote; the toolchain stays
	@if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name toolchain -exec rm -rf {} +; fi
	@find . -path ./.venv -prune -o -path ./build -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

clean-all: clean ## Remove the toolchain and the virtual environment, too
	@rm -rf build .venv
