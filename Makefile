SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules

VENV  := .venv
BIN   := $(VENV)/bin
PY    := $(BIN)/python
STAMP := $(VENV)/.installed
PROTOC := $(PY) -m grpc_tools.protoc \
  --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-onex=$(BIN)/protoc-gen-onex

# A candidate is run, not looked up: version managers leave names on PATH that start nothing.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

ORDERS ?=
CSV    ?=
STATE  ?=
PORTS  ?=

.PHONY: help setup proto proto-check goldens lint types test demo serve bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

setup: $(STAMP)  ## create .venv with everything the other targets need

$(STAMP): pyproject.toml constraints.txt
	@$(PY) -c '' 2>/dev/null || { python="$(PYTHON)"; \
	  "$${python:-false}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "error: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3" >&2; exit 1; }; \
	  echo "creating $(VENV) with $$("$$python" --version)"; "$$python" -m venv --clear $(VENV); }
	@echo "installing into $(VENV)"
# The pip of a fresh venv knows no dependency groups; without isolation the build backend is the pinned one.
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip hatchling
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --no-build-isolation --editable . --group dev
	@touch $@

# $(call protos,DIR) lists the protos below a folder of proto/.
protos = $$(cd proto && find $(1) -name '*.proto' | LC_ALL=C sort)

# $(call generate,DIR) fills DIR from proto/. protoc, not buf, generates: it has no grpc_python plugin of its own.
# The generator reads what a service's options say by the stubs that were made before it.
define generate
$(PROTOC) --proto_path=proto --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
  --python_out="$(1)" --mypy_out=quiet:"$(1)" \
  --grpc_python_out="$(1)" --mypy_grpc_out=quiet,only_async:"$(1)" $(call protos,onex); \
PYTHONPATH="$$PWD/$(1)" $(PROTOC) --proto_path=proto \
  --python_out="$(1)" --mypy_out=quiet:"$(1)" --onex_out="$(1)" $(call protos,orders); \
find "$(1)" -name '*_pb2_grpc.py' | while read -r stub; do \
  grep -q '^class .*Servicer' "$$stub" || rm -f "$$stub" "$${stub}i"; done; \
for package in "$(1)"/*/; do touch "$${package}py.typed"; done
endef

proto: $(STAMP)  ## regenerate generated/ from proto/
	@set -eu; tmp=$$(mktemp -d .generated.XXXXXX); trap 'rm -rf "$$tmp"' EXIT; mkdir "$$tmp/new"; \
	$(call generate,$$tmp/new); \
	if [ -e generated ]; then mv generated "$$tmp/old"; fi; mv "$$tmp/new" generated

proto-check: $(STAMP)  ## fail when generated/ is not what proto/ gives
	@set -eu; tmp=$$(mktemp -d .generated.XXXXXX); trap 'rm -rf "$$tmp"' EXIT; mkdir "$$tmp/new"; \
	$(call generate,$$tmp/new); \
	diff -r -q -x __pycache__ "$$tmp/new" generated || { \
	  echo "error: generated/ is stale; run: make proto" >&2; exit 1; }

goldens: $(STAMP)  ## regenerate tests/codegen/goldens/ from tests/codegen/protos/
	@set -eu; tmp=$$(mktemp -d .generated.XXXXXX); trap 'rm -rf "$$tmp"' EXIT; mkdir "$$tmp/new"; \
	$(PROTOC) --proto_path=tests/codegen/protos --proto_path=proto --onex_out="$$tmp/new" \
	  $$(cd tests/codegen/protos && find . -name '*.proto' | sed 's|^\./||' | LC_ALL=C sort); \
	if [ -e tests/codegen/goldens ]; then mv tests/codegen/goldens "$$tmp/old"; fi; \
	mv "$$tmp/new" tests/codegen/goldens

lint: $(STAMP)  ## ruff, import-linter, buf lint, buf format; buf breaking against the last release
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
# Its cache does not see a module that has appeared under a name that did not resolve before.
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code
	@set -eu; tag=$$(git tag --list 'v[0-9]*.[0-9]*.[0-9]*' --sort=-version:refname | sed -n 1p); \
	if [ -n "$$tag" ]; then tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	  git archive "$$tag" buf.yaml proto | tar -x -C "$$tmp"; $(BIN)/buf breaking --against "$$tmp"; fi

types: $(STAMP)  ## mypy --strict
	@$(BIN)/mypy

test: $(STAMP)  ## all tests, two files at a time: they wait more than they compute
	@$(PY) -m pytest --numprocesses 2 --dist loadfile

demo: $(STAMP)  ## process real orders in four processes: ORDERS=n|all CSV=file STATE=dir STORE=postgresql
	@exec $(PY) -m servers.demo $(if $(ORDERS),--orders "$(ORDERS)") $(if $(CSV),--csv "$(CSV)") $(if $(STATE),--state "$(STATE)") $(if $(STORE),--store "$(STORE)")

serve: $(STAMP)  ## run the four servers until Ctrl-C: STATE=dir PORTS=effect,compute,reducer,orchestrator
	@exec $(PY) -m servers.serve --state "$(or $(STATE),.onex)" $(if $(PORTS),--ports "$(PORTS)")

bench: $(STAMP)  ## what a call, a workflow, a durable transaction and code generation cost
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group bench
	@$(PY) -m bench.call
	@$(PY) -m bench.workflow
	@$(PY) -m bench.store
	@$(PY) -m bench.store_goals
	@$(PY) -m bench.codegen

clean:  ## remove everything that is built, except .venv
	@rm -rf build dist .generated.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
