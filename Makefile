# Everything sets itself up: a machine with Python ≥ 3.11, git and make is enough.

VENV := .venv
BIN := $(VENV)/bin
CASES := $(abspath $(wildcard ../shared/cases))
CASES_HERE := $(if $(CASES),PERDURE_CASES="$(CASES)")
DEMO := build/demo
PUBLISH := build/benchmarks/publish
REVIEWED ?= store/scripts/pages.py

QUESTIONS ?=
W ?= W2
SIZE ?= 1000

.PHONY: help demo test lint types arrows wheel check clean planted
.PHONY: torture bench bench-check bench-peers bench-page bench-publish profile
.DEFAULT_GOAL := help

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## review a file of this repository with the code-review workflow
	@mkdir -p $(DEMO)
	$(BIN)/perdure run examples/code_review/workflow.yaml \
	  -i filePath=$(REVIEWED) -i reportPath=$(DEMO)/review.md \
	  --agents examples/code_review/agents.py:agents --db $(DEMO)/perdure.db
	@echo
	@echo "The report:      $(DEMO)/review.md"
	@echo "What happened:   $(BIN)/perdure events @last --db $(DEMO)/perdure.db"
	@echo "Where to look:   examples/code_review/workflow.yaml, then docs/"

test: $(VENV)/.dev ## run the tests
	$(CASES_HERE) bash .ci/test $(BIN)/python

planted: $(VENV)/.dev ## plant bugs in a copy, one at a time, and note which tests catch each (BUG=words: these)
	$(CASES_HERE) $(BIN)/python tests/proof/plant.py $(if $(BUG),--only "$(BUG)")

check: test lint wheel ## exactly what CI runs

lint: $(VENV)/.dev types arrows ## lint, format, types and the arrows between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev build/ns
	$(BIN)/mypy

arrows: $(VENV)/.dev
	$(BIN)/lint-imports

wheel: $(VENV)/.dev ## build the wheel and run the demo from it, outside the repository
	bash .ci/wheel $(BIN)/python

torture: $(VENV)/.dev ## go on with the long run of all proofs (MINUTES=60)
	$(BIN)/python tests/proof/torture.py --minutes $(or $(MINUTES),60)

bench: $(VENV)/.bench ## measure beside the floor (QUESTIONS="W1 W2", FULL=1 for what takes minutes)
	$(CASES_HERE) $(BIN)/python -m benchmarks $(QUESTIONS) $(if $(FULL),--effort huge)

bench-check: $(VENV)/.bench ## fail when a share of the floor has dropped by 15 %
	$(BIN)/python -m benchmarks.check

bench-peers: $(VENV)/.bench ## other engines beside ours and the floor (needs the network and Node)
	$(BIN)/python -m benchmarks.peers $(QUESTIONS)

bench-page: $(VENV)/.bench ## write docs/benchmarks.md from the committed results
	$(BIN)/python -m benchmarks.page

# On a quiet machine; a run that was cut short goes on where it was. What is committed is replaced at the end.
bench-publish: $(VENV)/.bench ## measure everything, ours and peers, and write the page
	$(CASES_HERE) $(BIN)/python -m benchmarks --effort long --resume --store postgres --results $(PUBLISH)/baseline.jsonl
	$(BIN)/python -m benchmarks.peers --results $(PUBLISH)/peers.jsonl
	mv $(PUBLISH)/baseline.jsonl $(PUBLISH)/peers.jsonl benchmarks/
	$(BIN)/python -m benchmarks.page

profile: $(VENV)/.bench ## a flame graph of one workload (W=W2 SIZE=1000)
	@mkdir -p build/profiles
	$(BIN)/py-spy record --rate 500 --threads --output build/profiles/$(W).svg -- \
	  $(BIN)/python -m benchmarks.worker perdure $(W) $(SIZE) power

clean: ## remove what was made (not the environment)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find store actors runtime tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# The namespace as type checkers can see it: perdure/{store,actors,runtime}.
build/ns:
	@mkdir -p build/ns/perdure
	@for part in store actors runtime; do ln -sfn ../../../$$part build/ns/perdure/$$part; done

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[all,examples]"
	@touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.demo

$(VENV)/bin/python:
	@bash .ci/venv $(VENV)
