# Everything that the README names, on a fresh Linux machine with Python 3.10 to 3.14, make and pip.
#
#   make demo    run examples/digits and say where its report is
#   make test    the tests that need no cluster, without the longest, side by side; ARGS="-k name" chooses some, ARGS="-n0" runs
#                one at a time
#   make test-fast  those that need little time, to run after each edit
#   make test-faults  tests that take long, and kills of drivers, supervisors and schedulers at many points. Which ones depends
#                     on the day: SEED=20261129 repeats it; SEED= KILLS=all ARGS="--kills 500" tries many more
#   make test-clusters  the tests against real clusters, which it brings up and takes down; needs root (tests/clusters);
#                test-cluster-kubernetes, -yarn, -flink, -slurm: one of them; CLUSTER_TESTS=cluster: the long ones too
#   make test-browser  the page of aiflow-ext ui in headless Chromium, part of these; screenshots are in build/screenshots
#   make cluster-kubernetes-up, cluster-kubernetes-down  only that, with NAME=dev to choose one of several
#   make lint    style, types and layers
#   make docs    the documentation as a site, in build/docs
#   make audit   ask an advisory service after known vulnerabilities of what is installed; needs the network
#   make proven-wheels  for a release: wheels in dist/, each with the certificate of the conformance kit, which runs on them as
#                they are installed; on the real clusters, and so as root
#   make bench   the benchmarks, as one table
#   make clean   remove the virtual environment, caches and the examples' runs
#
# PYTHON=python3.12 chooses the interpreter. Each set-up step leaves a stamp in .venv and is done again only when the
# files that it depends on change.

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install
ARGS =

# The core, the engine flink and the platforms, each a distribution of its own. Installed editable: what a pull or an edit changes is what
# runs, with no reinstall; only a changed pyproject.toml (dependencies, entry points) asks for one.
# Not plugins/opentelemetry: an extension that is installed takes part in every run. Its test installs it by itself.
DISTRIBUTIONS = . plugins/flink plugins/local plugins/kubernetes plugins/yarn

.PHONY: help demo test test-fast test-faults test-clusters test-cluster-kubernetes test-cluster-yarn test-cluster-flink test-cluster-slurm test-browser cluster-kubernetes-up cluster-kubernetes-down lint style types layers audit docs proven-wheels bench clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/examples
	@$(BIN)/aiflow-ext run examples/digits
	@echo "report: $$(ls -t examples/digits/.aiflow/artifacts/*/evaluate/*/report/report.html | head -n 1)"

# Tests mostly wait for processes: two at a time for each core. Each worker collects all tests: not those of clusters, too.
WORKERS = $(shell echo $$(($$(nproc) * 2)))
# Thousands of interpreters are started, some of them told to write no bytecode.
COMPILED = $(BIN)/python -m compileall -q aiflow_ext plugins

# On CI, where much runs beside the tests, a test that fails is run once more, and named at the end: too many of them fail
# CI too. What counts executions under kills has one chance (tests/conftest.py).
AGAIN = $(if $(CI),--reruns 1 --rerun-show-tracebacks -rfER)

test: $(VENV)/dev $(VENV)/examples
	@$(COMPILED)
	@$(BIN)/pytest $(AGAIN) -n $(WORKERS) --dist worksteal --ignore=tests/clusters -o faulthandler_timeout=100 $(ARGS)

# Some of each package, half a minute in all: most of the others run whole workflows.
FAST = model translate kubernetes yarn engines/test_archive.py run/test_plan.py run/test_stored.py supervise/test_ends.py \
       $(patsubst %,host/test_%.py,extensions fit lazy registry resolve scan window)
# What takes seconds there.
NOT_FAST = $(addprefix kubernetes/test_,pinned.py caches.py shell.py calls_at_once.py) \
           $(addprefix yarn/test_,polls.py submission.py calls_at_once.py)
test-fast: $(VENV)/dev
	@$(COMPILED)
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m 'not slow and not thorough and not cluster' $(FAST:%=tests/%) \
	    $(NOT_FAST:%=--ignore=tests/%) $(ARGS)

# Of the lines to kill at, of the wrong plugins and of random workflows a sample, another one each day.
SEED ?= $(shell date +%Y%m%d)
test-faults: $(VENV)/dev $(VENV)/examples
	@echo "seed: $(or $(SEED),another one each time); make test-faults SEED=N repeats a day's"
	@$(BIN)/pytest $(AGAIN) -n 2 --dist worksteal -m 'thorough and not cluster' tests --ignore=tests/testing
	@$(MAKE) --no-print-directory --output-sync=target --jobs 2 SEED=$(SEED) $(LOOPS) kit-catches
	@$(BIN)/python tests/faults/kills.py --kills 120 --workers 2 $(SEED:%=--seed %) $(ARGS)

# The kit's kill loop, on both local plugins and on two that an attempt host runs.
LOOPS = loop-TestLocalPython loop-TestLocalCommand loop-nohup loop-returning
.PHONY: $(LOOPS) kit-catches
loop-TestLocalPython loop-TestLocalCommand: KILLS = 200
loop-nohup loop-returning: KILLS = 120
$(LOOPS): loop-%: $(VENV)/dev
	@$(BIN)/pytest -m '' -rP tests/testing/test_local_conformance.py tests/testing/test_hosted_kills.py \
	    -k '$* and killed' --aiflow-kills=$(KILLS) $(SEED:%=--aiflow-seed=%)

# The kit on plugins with a mistake each, without a seed on all of them; on python on this machine, and on the examples.
kit-catches: $(VENV)/dev
	@$(BIN)/pytest $(AGAIN) -m thorough tests/testing -k 'not killed' $(SEED:%=--aiflow-seed=%)

test-clusters: test-cluster-kubernetes test-cluster-yarn test-cluster-flink test-cluster-slurm test-browser

# Without those that take minutes each: CLUSTER_TESTS=cluster takes them too.
CLUSTER_TESTS = cluster and not thorough
# Most of the time is waiting: two halves at once, each on a bed of its own, unless ARGS choose among the tests.
test-cluster-kubernetes test-cluster-yarn: test-cluster-%: $(VENV)/clusters
ifeq ($(strip $(ARGS)),)
	@$(MAKE) --no-print-directory --output-sync=target --jobs 2 $*-kit $*-rest
else
	@$(BIN)/pytest $(AGAIN) -m "$(CLUSTER_TESTS)" tests/clusters/$* $(ARGS)
endif

# Flink on this machine: its JVMs are all that it needs.
test-cluster-flink: $(VENV)/dev
	@$(BIN)/pytest $(AGAIN) -m "$(CLUSTER_TESTS)" --durations=10 tests/clusters/flink $(ARGS)

# The page of aiflow-ext ui. Tests in a browser wait for what they see, one after another.
test-browser: $(VENV)/dev $(VENV)/examples
	@rm -rf build/screenshots
	@$(BIN)/pytest $(AGAIN) -m "$(CLUSTER_TESTS)" --durations=10 tests/clusters/browser $(ARGS)

# examples/plugins/slurm as a user installs it, in a folder of its own: elsewhere it is not installed. Two beds side by side.
SLURM = examples/plugins/slurm
test-cluster-slurm: export PYTHONPATH = $(abspath $(VENV)/slurm)
test-cluster-slurm: $(VENV)/slurm
	@$(BIN)/pytest $(AGAIN) -m "$(CLUSTER_TESTS)" -n 2 --dist loadscope --durations=10 tests/clusters/slurm $(ARGS)

$(VENV)/slurm: $(VENV)/dev $(wildcard $(SLURM)/pyproject.toml $(SLURM)/*/*.py)
	@rm -rf $@ $(SLURM)/build
	@$(PIP) --no-deps --target $@ ./$(SLURM)
	@rm -rf $(SLURM)/build $(SLURM)/*.egg-info

KIT = test_conformance.py
.PHONY: kubernetes-kit yarn-kit kubernetes-rest yarn-rest
kubernetes-kit: export AIFLOW_BED := $(or $(AIFLOW_BED),test)-kit
yarn-kit: export YARN_BED = kit:28600
kubernetes-kit yarn-kit: %-kit: $(VENV)/clusters
	@$(BIN)/pytest $(AGAIN) -m "$(CLUSTER_TESTS)" --durations=10 tests/clusters/$*/$(KIT)
kubernetes-rest yarn-rest: %-rest: $(VENV)/clusters
	@$(BIN)/pytest $(AGAIN) -m "$(CLUSTER_TESTS)" --durations=20 tests/clusters/$* --ignore tests/clusters/$*/$(KIT)

# One after the other: each uses the machine as it likes.
PROVEN = $(BIN)/python .ci/proven_wheels.py dist
proven-wheels: $(VENV)/clusters
	$(PROVEN) plugins/local tests/testing/test_local_conformance.py tests/clusters/flink/$(KIT)::TestLocalFlink
	$(PROVEN) plugins/kubernetes tests/clusters/kubernetes/$(KIT) tests/clusters/kubernetes/test_flink.py::TestKubernetesFlink
	$(PROVEN) plugins/yarn tests/clusters/yarn/$(KIT) tests/clusters/yarn/test_flink.py::TestYarnFlink
	$(PROVEN) $(SLURM) tests/clusters/slurm/$(KIT)

NAME = test
cluster-kubernetes-up cluster-kubernetes-down: cluster-kubernetes-%:
	@$(PYTHON) tests/clusters/kubernetes/bed.py $* --name $(NAME)

lint: style types layers

style: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Of the tests, what they share.
HELPERS = tests/helpers tests/conftest.py $(wildcard tests/[!c]*/conftest.py) tests/faults/shapes.py \
    tests/yarn_master/rpc_server.py tests/yarn_master/webhdfs_server.py tests/interpreters/standalone.py

types: export MYPYPATH = tests/helpers:$(SLURM)
types: $(VENV)/dev
	$(BIN)/mypy --strict aiflow_ext plugins/flink/aiflow_ext_flink plugins/local/aiflow_ext_local plugins/kubernetes/aiflow_ext_kubernetes plugins/yarn/aiflow_ext_yarn plugins/opentelemetry/aiflow_ext_opentelemetry $(SLURM)/aiflow_ext_slurm $(HELPERS)

# The extension is not installed.
layers: export PYTHONPATH = plugins/opentelemetry
layers: $(VENV)/dev
	$(BIN)/lint-imports

audit: $(VENV)/dev $(VENV)/audit/made
	@$(VENV)/audit/bin/python .ci/audit.py $(BIN)/python

$(VENV)/audit/made: $(VENV)/made
	@$(PYTHON) -m venv --clear $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip --disable-pip-version-check --quiet install pip-audit
	@touch $@

docs: $(VENV)/docs/made
	@$(VENV)/docs/bin/sphinx-build -W --keep-going -q -E -b html docs build/docs
	@echo "the documentation: build/docs/index.html"

$(VENV)/docs/made: $(VENV)/made pyproject.toml Makefile
	@$(PYTHON) -m venv --clear $(VENV)/docs
	@$(VENV)/docs/bin/python -m pip --disable-pip-version-check --quiet install --editable ".[docs]" \
	    --editable plugins/flink --editable plugins/local --editable plugins/kubernetes --editable plugins/yarn
	@touch $@

bench: $(VENV)/dev
	@$(BIN)/python benchmarks/run.py $(ARGS)

clean:
	rm -rf $(VENV) build dist plugins/*/build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf *.egg-info plugins/*/*.egg-info examples/*/*.egg-info examples/*/build examples/*/.aiflow
	find aiflow_ext plugins tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

# -- set-up -------------------------------------------------------------------------------------------------------------

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("aiflow-ext needs Python 3.10 or newer; this is \
	%d.%d. Say which to use: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@# Some interpreters have venv without the pip that goes into it; then a pip that is on this machine puts it there.
	@$(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || { \
	    $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	    for other in $(PYTHON) python3 python "$$HOME"/.pyenv/versions/*/bin/python; do \
	        there=$$($$other -c 'import os, pip; print(os.path.dirname(os.path.dirname(pip.__file__)))' 2>/dev/null) && \
	        PYTHONPATH=$$there $(PIP) --ignore-installed pip 2>/dev/null && break; \
	    done; \
	    $(BIN)/python -m pip --version >/dev/null 2>&1 || uv pip install --quiet --python $(BIN)/python pip || { \
	        echo "$(PYTHON) has no pip, and neither has any other Python on the PATH: install uv, or a Python with pip"; \
	        exit 1; }; }
	@touch $@

$(VENV)/core: $(VENV)/made $(DISTRIBUTIONS:%=%/pyproject.toml)
	@echo "installing $(DISTRIBUTIONS)"
	@$(PIP) $(DISTRIBUTIONS:%=--editable %)
	@touch $@

$(VENV)/dev: $(VENV)/core
	@echo "installing what the tests need"
	@$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/examples: $(VENV)/core examples/digits/requirements.txt
	@echo "installing what examples/digits needs (scikit-learn, matplotlib)"
	@$(PIP) --requirement examples/digits/requirements.txt
	@touch $@

# The platforms that have clusters, and what their artifacts need: on this side what pods have on theirs.
CLUSTERS = plugins/kubernetes[s3] plugins/yarn[artifacts]
S3 = tests/clusters/kubernetes/images/s3.txt

$(VENV)/clusters: $(VENV)/dev $(VENV)/examples $(S3) 
	@echo "installing what the tests against clusters need"
	@$(PIP) $(CLUSTERS:%=--editable %) --requirement $(S3)
	@touch $@
