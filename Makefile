# Everything a newcomer needs: `make up` runs the pool, `make test` proves it.
.DEFAULT_GOAL := help
.PHONY: help up down clean test check schemas format

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up:  ## the embedded pool with the sample estate, from nothing
	@echo "Commonpool: a real Kubernetes with the sample estate (seconds; the very first time 3 to 12 minutes, Kubernetes is built once)"
	@scripts/bootstrap run
	@.venv/bin/commonpool up --yes --skip-preview

down:  ## stop the embedded pool; its data stays
	@[ ! -x .venv/bin/commonpool ] || .venv/bin/commonpool embedded stop

clean:  ## delete the embedded pool's data and .venv; the built binaries stay in the cache
	@[ ! -x .venv/bin/commonpool ] || .venv/bin/commonpool embedded reset --yes
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

test: check  ## lint, types, layers, and all tests against a real control plane
	@.venv/bin/python -m pytest

check:  ## lint, types, layers
	@echo "Commonpool: checking and testing (about 10 minutes; the very first time Kubernetes is built too)"
	@scripts/bootstrap dev
	@.venv/bin/ruff check infra stacks tests
	@.venv/bin/ruff format --check infra stacks tests
	@.venv/bin/mypy
	@.venv/bin/lint-imports

schemas:  ## write schemas/ anew after a change of the model
	@scripts/bootstrap run
	@.venv/bin/commonpool schema --write schemas

format:  ## put all code into its form
	@scripts/bootstrap dev
	@.venv/bin/ruff format infra stacks tests
	@.venv/bin/ruff check --fix infra stacks tests
