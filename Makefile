# Every target works from a bare clone: what it needs, it sets up first.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
MODEL ?= churn
PORT ?= 8080
CLOUD_PORT ?= 8600
RUN ?= deliver
TIMES ?= 1
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PINNED := build/pins/$(MODEL)
ENVIRONMENT ?= dev
VARIABLES := infra/$(ENVIRONMENT).tfvars
SAID = $(shell sed -n 's/^$(1) *= *"\([^"]*\)".*/\1/p' $(VARIABLES) 2>/dev/null)
TERRAFORM = terraform -chdir=infra
IMAGES ?= build/images
# The newest builder on this base: it brings security updates. What it makes is pinned by its digest.
BUILDER ?= gcr.io/buildpacks/builder:google-22
IMAGE_PYTHON := 3.13
# Byte code is noted with its source's hash then, not with its time, which an image does not keep (docs/decisions/0011).
EPOCH := 315532801

# One version of each package for every supported Python, so that what is proved is what serves.
LOCK := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock"

.PHONY: help setup serve test lint format types check lock bench judge load clients clean bootstrap init plan apply outputs cloud \
	build deliver drill stop

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# Byte code is compiled once here, as Cloud Run's buildpacks do; otherwise the first start pays for it.
$(READY): requirements-dev.txt
	@echo "Setting up $(VENV) from requirements-dev.txt (once; about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed, found: $$($(PYTHON) --version). Try: make PYTHON=python3.13 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	@touch $@

setup: $(READY) ## Set up .venv, as every target does first
	@:

serve: $(READY) ## Train and package MODEL if the store has no version of it, then serve it on PORT
	@shown=$$($(BIN)/python -m lifecycle versions $(MODEL) 2>&1); code=$$?; \
		case $$code in \
			0) ;; \
			5) $(BIN)/python -m lifecycle train $(MODEL) ;; \
			*) echo "$$shown" >&2; exit $$code ;; \
		esac
	@$(BIN)/python -m lifecycle pin $(MODEL) --out $(PINNED)
	@echo "Serving $(MODEL) on http://127.0.0.1:$(PORT) (Ctrl-C stops it). Each line below is one prediction record."
	@PIN_FILE=$(abspath $(PINNED))/pin.json exec $(BIN)/functions-framework --target predict --source function/main.py --asgi --host 127.0.0.1 --port $(PORT)

test: $(READY) ## Run every quick test that this machine can run
	@$(BIN)/python -m pytest

load: $(READY) ## Run the long tests: stress, faults and fuzzing at length
	@$(BIN)/python -m pytest -m long

bench: $(READY) ## Measure cold start, latency and throughput beside the handler everyone writes first
	@$(BIN)/python -m tests.benchmarks
	@$(BIN)/python -m tests.benchmarks.dialects

judge: $(READY) ## Release thousands of good and bad versions to measure the judge of releases
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.judge

clients: $(READY) ## Make environments of other people's clients, which docs/dialects.md is then tested with
	@$(BIN)/python -m tests.clients

cloud: $(READY) ## Show the whole product on this machine: Terraform, training, release and calls on a local Google Cloud
	@$(BIN)/python -m tests.cloud.laptop --model $(MODEL) --port $(CLOUD_PORT)

drill: $(READY) ## Release good and bad versions on a local Google Cloud, under load and while things fail (a quarter of an hour)
	@$(BIN)/python -m tests.drill

deliver: $(READY) ## Carry out cloudbuild.yaml on this machine (RUN=deliver), against a local cloud that goes on running
	@$(BIN)/python -m tests.cloud.deliver --environment $(ENVIRONMENT) --run $(RUN) --model $(MODEL) --times $(TIMES) \
		--skip "$(SKIP)" --port $(CLOUD_PORT)

stop: $(READY) ## End the local cloud that make deliver left running
	@$(BIN)/python -m tests.cloud.deliver --stop --port $(CLOUD_PORT)

build: ## Build and push, by buildpacks, the images that `lifecycle image` put together in IMAGES (needs pack)
	@failed=; for folder in $(IMAGES)/*/; do \
		[ -f "$$folder/reference" ] || continue; \
		pack build "$$(cat "$$folder/reference")" --path "$$folder/app" --builder $(BUILDER) --publish \
			--env GOOGLE_FUNCTION_TARGET=predict --env GOOGLE_FUNCTION_SOURCE=function/main.py \
			--env GOOGLE_PYTHON_VERSION="$(IMAGE_PYTHON).*" --env SOURCE_DATE_EPOCH=$(EPOCH) \
			|| failed="$$failed $$(basename "$$folder")"; \
	done; [ -z "$$failed" ] || { echo "Not built:$$failed"; exit 1; }

bootstrap: $(READY) ## Make the bucket of Terraform's state for ENVIRONMENT (infra/ENVIRONMENT.tfvars)
	@$(BIN)/python infra/bootstrap.py $(VARIABLES)

init:
	@test -f $(VARIABLES) || { echo "There is no $(VARIABLES); the environments are: $(notdir $(basename $(wildcard infra/*.tfvars)))."; exit 1; }
	@test "$(call SAID,environment)" = "$(ENVIRONMENT)" \
		|| { echo "$(VARIABLES) says environment = \"$(call SAID,environment)\", not \"$(ENVIRONMENT)\": is it a copy that still names another's project and buckets?"; exit 1; }
	@test -n "$(call SAID,state_bucket)" || { echo "$(VARIABLES) does not say state_bucket."; exit 1; }
	@$(TERRAFORM) init -input=false -reconfigure -backend-config=bucket=$(call SAID,state_bucket) >/dev/null \
		|| { echo "Is there no bucket yet? make bootstrap ENVIRONMENT=$(ENVIRONMENT)"; exit 1; }

plan: init ## Show what Terraform would change in ENVIRONMENT; changes nothing (SAVE=FILE keeps the text)
	@$(if $(SAVE),mkdir -p $(dir $(SAVE)); set -o pipefail;) $(TERRAFORM) plan -input=false -lock=false $(LOOKING) \
		-var-file=$(ENVIRONMENT).tfvars $(if $(SAVE),-no-color | tee $(SAVE))

apply: init ## Apply infra/ to ENVIRONMENT, after asking
	@$(TERRAFORM) apply $(ASK) -var-file=$(ENVIRONMENT).tfvars

outputs: init $(READY) ## Show ENVIRONMENT's addresses, calls and dashboards, ready to be pasted
	@$(TERRAFORM) output -json | $(BIN)/python infra/outputs.py

lint: $(READY) ## Check format and style
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(READY) ## Check types
	@$(BIN)/mypy

check: lint types test ## Everything a push is checked with

format: $(READY) ## Format the code, and renew the tables of docs/infrastructure.md
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/python -m tests.infra.tables
	@if command -v terraform >/dev/null; then terraform fmt -recursive infra; fi

lock: $(READY) ## Renew both lock files from pyproject.toml
	@$(LOCK) --output-file requirements.txt
	@$(LOCK) --group lifecycle --group test --group lint --constraint requirements.txt --output-file requirements-dev.txt

clean: ## Remove the environment and everything built
	rm -rf $(VENV) build
