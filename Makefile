# `make help` lists what there is. Everything stays in this folder (.venv, .tidings, caches: ignored by git), but for
# Kafka's jars, which are kept in the user's cache.
SHELL := /bin/sh
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
NOT_REAL := not integration and not e2e and not chaos

# For `make run ARGS="--access 3"`, `make test-unit TESTS=tests/unit/common`, `make simulate SEEDS=1000`.
ARGS ?=
TESTS ?=
SEEDS ?= 50
CASES ?= quick
SEED ?= 1
SECONDS ?= 60
IMAGE ?=
BASE ?=
OVERLAY ?= deploy/k8s/overlays/dev

.PHONY: help
help:  ## this list
	@awk -F ':.*## +' '/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup:  ## bring what is missing: .venv, locked packages, generated code, the backends' programs
	@PYTHON="$(PYTHON)" sh tools/setup.sh

.PHONY: run
run: setup  ## set up, start the whole cluster, and stop it with Ctrl-C
	@$(BIN)/tidings up $(ARGS)

.PHONY: check
check: setup  ## all that needs no backend, two at a time
	@$(MAKE) --no-print-directory -j2 test-unit lint types protos-check docs-check dashboards-check bandit audit

.PHONY: lint
lint: setup  ## format and rules
	@$(BIN)/ruff format --check --quiet . || { echo "Run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .

.PHONY: types
types: setup  ## mypy --strict
	@$(BIN)/mypy

.PHONY: bandit
bandit: setup  ## what looks unsafe in the code
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive services tools tidings_server client --exclude '*_pb2*.py'

.PHONY: audit
audit: setup  ## known vulnerabilities in what is locked, where the advisory service can be asked
	@$(BIN)/python -m tools.make.audit

.PHONY: dashboards
dashboards: setup  ## write deploy/grafana, rules and alerts, and docs/metrics.md from tools/make/monitoring
	@$(BIN)/python -m tools.make.monitoring write

.PHONY: dashboards-check
dashboards-check: setup  ## dashboards, rules and docs/metrics.md are what tools/make/monitoring says
	@$(BIN)/python -m tools.make.monitoring check

.PHONY: monitoring-programs
monitoring-programs: setup  ## fetch prometheus, promtool and amtool into the user's cache, if they are not on PATH
	@$(BIN)/python -m tools.make.monitoring programs

.PHONY: pictures
pictures: setup  ## by hand: draw the dashboards of the cluster in .tidings under load, ARGS="--seconds 120"
	@$(BIN)/python -c "import matplotlib" 2>/dev/null || $(BIN)/uv pip install --quiet --group pictures
	@$(BIN)/python -m tools.make.monitoring pictures $(ARGS)

.PHONY: fuzz
fuzz: setup  ## by hand: coverage-guided fuzzing of what reads bytes of strangers, SECONDS=60 for each target
	@$(BIN)/python -c "import atheris" 2>/dev/null || $(BIN)/uv pip install --quiet --group fuzz
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

.PHONY: test
test: setup monitoring-programs  ## all tests (of chaos the quick cases), on real backends that the tests start themselves
	@$(BIN)/python -m tools.make.halves $(TESTS)

.PHONY: test-unit
test-unit: setup  ## tests without backends and without processes
	@$(PYTEST) -m "$(NOT_REAL)" $(TESTS)

.PHONY: test-integration
test-integration: setup  ## tests on the real backends
	@$(PYTEST) -m "integration" $(TESTS)

.PHONY: test-e2e
test-e2e: setup  ## the whole cluster as processes
	@$(PYTEST) -m "e2e" $(TESTS)

.PHONY: simulate
simulate: setup  ## the cluster on twins in virtual time, SEEDS=50 of them
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --processes 2 $(ARGS)

.PHONY: check-histories
check-histories: setup  ## judge histories by Porcupine, SEEDS=50 of the simulation, of each defect, and of build/chaos if there are any
	@$(BIN)/python -m tests.histories --seeds $(SEEDS) $(ARGS)
	@$(BIN)/python -m tests.histories --seeds $(SEEDS) --mutations $(ARGS)
	@if ls build/chaos/histories/*/history.jsonl >/dev/null 2>&1; then $(BIN)/python -m tests.histories --chaos build/chaos/histories; fi

.PHONY: protos
protos: setup  ## make the generated code beside the protos anew
	@$(BIN)/python -m tools.make.protos write

.PHONY: protos-check
protos-check: setup  ## the generated code is what the protos say, and nothing that was released is broken
	@$(BIN)/python -m tools.make.protos check
	@$(BIN)/python -m tools.make.wire_release check

.PHONY: docs
docs: setup  ## write what is made from the code: docs/configuration.md, the cluster's settings file, the Helm chart
	@$(BIN)/python -m tools.make.configuration write
	@$(BIN)/python -m tools.make.chart write

.PHONY: docs-check
docs-check: setup  ## what is made from the code is what the code says
	@$(BIN)/python -m tools.make.configuration check
	@$(BIN)/python -m tools.make.chart check

.PHONY: lock
lock: setup  ## lock the newest allowed packages for every supported Python, with hashes
	@for lock in "requirements.lock" "requirements-dev.lock --group dev"; do \
		$(BIN)/uv pip compile --quiet --upgrade pyproject.toml -o $$lock --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --no-annotate --no-emit-package tidings-client \
			--custom-compile-command "make lock" || exit 1; \
	done
	@$(BIN)/uv pip compile --quiet --upgrade deploy/image/tools.in -o deploy/image/tools.lock --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock"

.PHONY: chaos
chaos: setup  ## kill and cut off parts of a cluster under load, CASES=quick of them
	@$(BIN)/python -m tests.chaos --cases $(CASES) --seed $(SEED) $(ARGS)

.PHONY: bench
bench: setup  ## the standard set of loads on a cluster of its own; writes docs/performance.md, docs/capacity.md and its figures
	@$(BIN)/tidings bench standard $(ARGS); right=$$?; \
	$(BIN)/python -m tests.benchmarks.costs build/bench.json && $(BIN)/python -m tools.make.pages build/bench.json; \
	written=$$?; [ $$right -ne 0 ] && exit $$right; exit $$written

.PHONY: flames
flames: setup  ## by hand: a flame graph of each service under load, in docs/pictures
	@test -x $(BIN)/py-spy || $(BIN)/uv pip install --quiet --group flames
	@$(BIN)/python -m tests.benchmarks.flames $(ARGS)

.PHONY: image
image:  ## the container image, by docker, podman or buildah: IMAGE=name:tag BASE=python:3.11-slim-bookworm@sha256:…
	@IMAGE="$(IMAGE)" BASE="$(BASE)" sh deploy/image/build.sh

.PHONY: kube-score
kube-score: setup  ## what kube-score criticises in the manifests; built once by Go, which is fetched if it is not there
	@$(BIN)/python -m tools.make.kube_score

.PHONY: deploy
deploy: setup  ## apply OVERLAY=deploy/k8s/overlays/dev to the cluster of KUBECONFIG
	@sh deploy/k8s/apply.sh "$(OVERLAY)"

.PHONY: k8s-test
k8s-test: setup  ## everything on the Kubernetes of KUBECONFIG: IMAGE=name:tag CASES=all ARGS="--edge ADDRESS"
	@$(BIN)/python -m tests.k8s --cases $(if $(filter quick,$(CASES)),all,$(CASES)) $(if $(IMAGE),--image $(IMAGE)) $(ARGS)

.PHONY: k8s-dry-run
k8s-dry-run: setup  ## whether the API server of KUBECONFIG takes every overlay and the chart; keeps nothing there
	@$(BIN)/python -m tests.k8s.dry_run

.PHONY: k8s-lab
k8s-lab: setup  ## the same on a Kubernetes that is made for it on this machine by the lab in K8SLAB_DIR
	@CASES="$(if $(filter quick,$(CASES)),all,$(CASES))" ARGS="$(ARGS)" sh tests/k8s/lab.sh

.PHONY: clean
clean:  ## stop the cluster of this folder; remove its data, .venv and caches
	@if [ -x $(BIN)/tidings ]; then $(BIN)/tidings down --purge; fi
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
