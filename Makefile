# Every routine command. Each target sets up what it needs in .venv; CI calls only these.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.installed
# What the Worker's side is built and tested with, the real wrangler and workerd among it; without npm
# those tests fail and say so.
WORKER := worker
NODE := $(WORKER)/node_modules/.installed
# Nothing is written outside the clone: caches and temporary files stay in it. Bytecode is kept, also
# where the environment says otherwise: the tests start many processes. Output is buffered, as it is
# for whoever calls q2v.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONUNBUFFERED :=
export TMPDIR := $(CURDIR)/build/tmp
$(shell mkdir -p $(TMPDIR))

# make ends with 2 whatever the exit code of the command was; that one is said in words.
define q2v
$(BIN)/q2v $(1) $(ARGS) || { code=$$?; $(BIN)/python -m q2v.exit_code $$code; exit $$code; }
endef

.PHONY: store-server man site bench-full clients worker-test chromium dist help setup rehearse test check init preflight plan runbook provision worker snapshot migrate catch-up pace fleet reconcile parity gate report monitor browser-test decommission rollback reset-target restore status list explain verify archive sandbox bench faults audit clean fmt lint types docs-check worker-lint lock

help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(SETUP): requirements.lock pyproject.toml rehearsal/pyproject.toml
	@echo "installing into $(VENV) (once; about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "q2v needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation --editable . --editable ./rehearsal
	@touch $@

$(NODE): $(WORKER)/package.json $(WORKER)/package-lock.json
	@if command -v npm > /dev/null; then \
		echo "installing Node.js, workerd and wrangler into $(WORKER)/node_modules (once; about half a minute)"; \
		cd $(WORKER) && npm_config_cache=$(TMPDIR)/npm npm_config_update_notifier=false \
			npm ci --ignore-scripts --no-fund --no-audit --loglevel=error > $(TMPDIR)/npm.log 2>&1 \
			|| { cat $(TMPDIR)/npm.log; exit 1; }; \
		rm -rf $(TMPDIR)/npm; touch node_modules/.installed; \
	else \
		echo "npm was not found: the tests of the Worker and of printed commands will fail; install Node.js with npm"; \
	fi

setup: $(SETUP) ## install everything into .venv

rehearse: $(SETUP) ## the whole move, into a local sandbox: move, prove, repair, roll back, restore
	@$(call q2v,rehearse)

# Of the slow tests many wait for processes and sockets: six at a time keep two cores busy.
PYTEST := $(BIN)/python -m pytest -q -n $(if $(ALL),6,4) --dist worksteal

# Matrices of tests are small: threads that wait for each other would take ten times as much CPU.
test: export OPENBLAS_NUM_THREADS := 1
test: $(SETUP) $(NODE) ## the tests except the slow ones; ALL=1 for all, T=path K=pattern for a part
	@$(PYTEST) $(if $(T),$(T),tests) $(if $(K),-k '$(K)') $(if $(T)$(K),,-m '$(if $(ALL),,not slow and not browser and )not search')

# The other checks fill the time in which tests wait for sockets; they are shown after them.
check: $(SETUP) $(NODE) lint chromium ## all that CI asks for: format, lint, layers, types, audit, site, every test (about twenty minutes)
	@$(MAKE) --no-print-directory types audit site worker-lint > $(TMPDIR)/checks.log 2>&1 & beside=$$!; \
		$(MAKE) --no-print-directory test ALL=1; tests=$$?; \
		wait $$beside; checks=$$?; cat $(TMPDIR)/checks.log; exit $$((tests + checks))

lint: $(SETUP) ## format, lint rules, import layers
	@$(BIN)/ruff format --check --quiet . || { echo "run: make fmt"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-cache > $(TMPDIR)/layers || { cat $(TMPDIR)/layers; exit 1; }

types: $(SETUP) ## mypy, strict
	@$(BIN)/mypy

docs-check: $(SETUP) ## README, RUNBOOK and formats against the code
	@$(BIN)/python -m pytest tests/docs -q

man: $(SETUP) ## man pages of q2v and of each command, in build/man
	@$(BIN)/python -m tools.man_pages build/man

site: $(SETUP) ## the pages as a site, in build/site; a link that leads nowhere ends it
	@$(BIN)/python -m tools.site build/site-pages
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --config-file docs/mkdocs.yml
	@echo "build/site/index.html"

audit: $(SETUP) ## installed against locked, known vulnerabilities, bill of materials
	@$(BIN)/python -m tools.audit.run

fmt: $(SETUP) ## format and fix
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

init: $(SETUP) ## the first migration.toml, for the shape of the payloads; ARGS="--shape NAME"
	@$(call q2v,init)

preflight: $(SETUP) ## q2v check: what a move needs, asked in seconds; writes nothing
	@$(call q2v,check)

plan: $(SETUP) ## read both sides, write nothing: what would move, what cannot, how long
	@$(call q2v,plan)

runbook: $(SETUP) ## the runbook of this migration: names, counts, minutes, timeline
	@$(call q2v,runbook)

provision: $(SETUP) ## create the vector index, its metadata indexes and the KV namespaces
	@$(call q2v,provision)

worker: $(SETUP) ## write a Worker's project with the names of this migration; ARGS="init DIR"
	@$(call q2v,worker)

snapshot: $(SETUP) ## the configured collection into sealed Parquet
	@$(call q2v,snapshot)

migrate: $(SETUP) ## the newest snapshot into the configured target
	@$(call q2v,migrate)

catch-up: $(SETUP) ## move what has changed in Qdrant since; ARGS=--frozen for the last time
	@$(call q2v,catch-up)

pace: $(SETUP) ## slow down or pause the commands that run; ARGS=--pause
	@$(call q2v,pace)

fleet: $(SETUP) ## many moves under one budget; ARGS=plan, ARGS=run or ARGS=status
	@$(call q2v,fleet)

reconcile: $(SETUP) ## compare source, snapshot and target; writes to neither store
	@$(call q2v,reconcile)

parity: $(SETUP) ## does search still answer the same? at the snapshot; ARGS=--live: by the index
	@$(call q2v,parity)

gate: $(SETUP) ## go or no-go for the cutover, with the evidence of each row
	@$(call q2v,gate)

report: $(SETUP) ## one HTML page about a run, for the ticket; ARGS="RUN --out FILE"
	@$(call q2v,report)

monitor: $(SETUP) ## look once at the target after the cutover: do its parts agree with each other?
	@$(call q2v,monitor)

decommission: $(SETUP) ## what is still unproven before Qdrant is taken away
	@$(call q2v,decommission)

rollback: $(SETUP) ## show what a rollback would undo; ARGS=--execute does it
	@$(call q2v,rollback)

reset-target: $(SETUP) ## what emptying the target would delete and leave; ARGS=--execute does it
	@$(call q2v,reset-target)

restore: $(SETUP) ## write a snapshot back into a Qdrant collection; ARGS="SNAPSHOT --collection NAME"
	@$(call q2v,restore)

status: $(SETUP) ## where a run stands, and the exact next command
	@$(call q2v,status)

list: $(SETUP) ## snapshots, runs and reconciles below --dir, with verdict, size and age
	@$(call q2v,list)

explain: $(SETUP) ## what a word or message of q2v means; ARGS=kv_missing
	@$(call q2v,explain)

verify: $(SETUP) ## check a snapshot or an archive against its own digests
	@$(call q2v,verify)

archive: $(SETUP) ## a run and its snapshots into one file that checks itself; ARGS="RUN --out FILE"
	@$(call q2v,archive)

sandbox: $(SETUP) ## serve the sandbox, a local target, until stopped; ARGS="--state DIR"
	@$(call q2v,sandbox)

bench: $(SETUP) $(NODE) ## speed and size against their floors, in one table (about five minutes)
	@$(BIN)/python -m benchmarks.run $(ARGS)

bench-full: $(SETUP) $(NODE) ## the same with 100,000 and 1,000,000 points and a diff of 10,000,000 (15 GB of disk)
	@$(BIN)/python -m benchmarks.run --full $(ARGS)

store-server: ## a whole S3 server on files, for the tests of object storage; needs Go (some minutes, once)
	@GOBIN=$(CURDIR)/build/bin go install github.com/versity/versitygw/cmd/versitygw@v1.8.0

clients: $(SETUP) $(NODE) ## the official clients against the sandbox; needs npm (about three minutes)
	@$(BIN)/python -m tests.clients.run

# With the Node.js that the lock names; on other systems with the machine's own.
define in_worker
cd $(WORKER) && PATH="$$(ls -d $(CURDIR)/$(WORKER)/node_modules/node-linux-*/bin 2> /dev/null | head -1):$$PATH" npm run --silent $(1)
endef

worker-test: $(SETUP) $(NODE) ## the Worker's side: format, lint, types, tests in Node.js and in workerd
	@$(call in_worker,check)

# `make check` runs the tests of the Worker's side with all others: tests/worker/test_store.py.
worker-lint: $(SETUP) $(NODE) ## the Worker's side: format, lint, types
	@$(call in_worker,lint)

# Debian removes a version of Chromium when it has a newer one, so the package alone is named.
chromium: $(SETUP)
	@if ! $(BIN)/python -m tests.browser.chromium; then \
		if ! command -v apt-get > /dev/null; then echo "found no Chromium and no apt-get to install it: put a Chromium into PATH"; exit 2; fi; \
		if [ "$$(id -u)" = 0 ]; then as=; elif sudo -n true 2> /dev/null; then as="sudo -n"; \
		else echo "found no Chromium, and installing it needs root: run: sudo apt-get install chromium"; exit 2; fi; \
		echo "installing Chromium (once; about a minute)"; \
		{ $$as apt-get update -qq && $$as apt-get install -y -qq --no-install-recommends chromium; } > $(TMPDIR)/chromium.log 2>&1 \
			|| { cat $(TMPDIR)/chromium.log; exit 1; }; \
	fi

browser-test: $(SETUP) $(NODE) chromium ## the pages in a headless Chromium, which is installed when there is none and root or sudo can
	@$(BIN)/python -m pytest -q -m browser tests/browser

SEEDS ?= 2000
faults: $(SETUP) $(NODE) chromium ## every fault at every step, simulated cutovers, operators, planted bugs, fifty kills (an hour and more; SEEDS=20000: hours)
	@$(BIN)/python -m tests.faults.sweep
	@$(BIN)/python -m tests.faults.simulation --kind cutover --seeds $(SEEDS)
	@$(BIN)/python -m tests.faults.simulation --kind evening --seeds 300
	@$(BIN)/python -m tests.faults.operators
	@$(BIN)/python -m tests.faults.canaries
	@$(BIN)/python -m tests.e2e.interrupted.kills
	@$(BIN)/python -m pytest tests -q -m 'search or hypothesis'

# The same bytes for the same commit: every time in a wheel is that of the commit.
dist: $(SETUP) ## both wheels, into dist/
	@rm -rf dist build/lib build/bdist.* rehearsal/build
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2> /dev/null || echo 315532800) \
		$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-cache-dir --no-deps --no-build-isolation -w dist . ./rehearsal
	@ls dist

clean: ## remove .venv, caches, dist and build, with tutorial and rehearsal in it; snapshots/ stays
	@rm -rf $(VENV) $(WORKER)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage build dist rehearsal/build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: ## pin every dependency with its hashes, after a change in pyproject.toml or package.json
	@cd $(WORKER) && npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --loglevel=error
	@$(PYTHON) -m venv --clear build/lock && build/lock/bin/pip install --quiet uv
	@build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links --no-emit-package qdrant-to-vectorize --no-emit-package qdrant-to-vectorize-rehearsal --no-header --no-annotate -o requirements.lock pyproject.toml
