# Everything a newcomer needs: `make up` runs the pool, `make test` proves it.
.DEFAULT_GOAL := help
.PHONY: help up machines down clean test check schemas messages captured lock docs bench scale guards fleet catalogue proxy fuzz newcomer format

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up:  ## the embedded pool with the sample estate, from nothing
	@echo "Commonpool: a real Kubernetes with the sample estate (seconds; the very first time 6 to 18 minutes: Kubernetes and Envoy Gateway are built once)"
	@scripts/bootstrap run
	@.venv/bin/commonpool up --yes --skip-preview
	@[ "$(HOSTS)" = no ] || scripts/test-hosts || :
	@[ "$(HOSTS)" = no ] || .venv/bin/commonpool embedded hosts --no-wait

machines:  ## wait until two machines of the sample have joined for real, over SSH, on test hosts (root)
	@scripts/bootstrap run
	@scripts/test-hosts
	@.venv/bin/commonpool embedded hosts

down:  ## stop the embedded pool; its data stays
	@[ ! -x .venv/bin/commonpool ] || .venv/bin/commonpool embedded stop

clean:  ## delete the embedded pool's data and .venv; the built binaries stay in the cache
	@[ ! -x .venv/bin/commonpool ] || .venv/bin/commonpool embedded reset --yes
	@rm -rf .venv 2>/dev/null || { sleep 2; rm -rf .venv; }  # packages may still be compiled in the background
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

test: check  ## lint, types, layers, and all tests against a real control plane
	@[ -z "$${CI:-}" ] || scripts/test-hosts
	@.venv/bin/python tests/prepare.py
	@.venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check:  ## lint, types, layers
	@echo "Commonpool: checking and testing (20 to 50 minutes, as fast as the machine is; the very first time Kubernetes and Envoy Gateway are built too)"
	@scripts/bootstrap dev
	@.venv/bin/ruff check infra stacks tests bench
	@.venv/bin/ruff format --check infra stacks tests bench
	@.venv/bin/mypy --cache-dir "$$(.venv/bin/python -c 'from commonpool.folder import cache_folder; print(cache_folder() / "mypy")')"
	@.venv/bin/lint-imports
	@.venv/bin/cog --check -I scripts -I bench README.md bench/README.md
	@scripts/lint-playbooks

schemas:  ## write schemas/ anew after a change of the model
	@scripts/bootstrap run
	@.venv/bin/commonpool schema --write schemas

messages:  ## write what Envoy and the exchange say to each other anew after a change of processing.proto
	@scripts/bootstrap dev
	@.venv/bin/python -m grpc_tools.protoc -I infra --python_out=infra --pyi_out=infra infra/commonpool/exchange/processing.proto

captured:  ## write what commands print into the documents anew (the embedded pool must run)
	@scripts/bootstrap dev
	@COMMONPOOL_LIVE=1 .venv/bin/cog -r -I scripts README.md

lock:  ## resolve the dependencies of pyproject.toml anew
	@scripts/bootstrap dev
	@.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
	@.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --group dev pyproject.toml -o requirements-dev.lock

docs:  ## the handbook as pages, in docs/_build
	@scripts/bootstrap dev
	@.venv/bin/python -m sphinx -q -W -b html docs docs/_build
	@echo "docs/_build/index.html"

bench:  ## our command beside kubectl and a bare loop, the proxy beside others, the journal beside the bare disk; each in one run
	@scripts/bootstrap dev
	@.venv/bin/python bench/apply.py
	@.venv/bin/python bench/proxy.py
	@.venv/bin/python bench/journal.py 1000000

scale:  ## the same for 100, 1,000 and 5,000 departments, a simulation of several runners; writes bench/README.md
	@scripts/bootstrap dev
	@.venv/bin/uv pip install --quiet --group bench
	@.venv/bin/python bench/apply.py 100 --save
	@.venv/bin/python bench/apply.py 1000 --only kubectl bare ours --save
	@.venv/bin/python bench/apply.py 5000 --only bare ours --save
	@.venv/bin/python bench/spent.py --save
	@.venv/bin/python bench/sharding.py --save
	@.venv/bin/python bench/report.py
	@.venv/bin/cog -r -I bench bench/README.md

guards:  ## attacks by group, the race on a quota, the latency that the rules add; writes the handbook's figures
	@scripts/bootstrap dev
	@.venv/bin/python bench/guards.py --save

catalogue:  ## 100,000 datasets: validation, the first index, searches
	@scripts/bootstrap dev
	@.venv/bin/python bench/catalogue.py

fuzz:  ## spoil manifests at random until Ctrl-C; what breaks is kept in tests/model/corpus
	@scripts/bootstrap dev
	@COMMONPOOL_FUZZ_SECONDS=inf .venv/bin/python -m pytest tests/model/test_fuzz.py --timeout=0

fleet:  ## what bringing machines in costs, on test hosts (root), beside plain Ansible; writes bench/README.md
	@scripts/bootstrap dev
	@scripts/test-hosts
	@.venv/bin/python bench/machines.py --save
	@.venv/bin/cog -r -I bench bench/README.md

proxy:  ## the service proxy beside nginx, haproxy and Traefik, and with 1,000 services; writes bench/README.md
	@scripts/bootstrap dev
	@.venv/bin/python bench/proxy.py --save
	@.venv/bin/cog -r -I bench bench/README.md

newcomer:  ## what a newcomer waits for, by step, with nothing built or fetched before; writes bench/README.md
	@scripts/bootstrap dev
	@.venv/bin/python bench/newcomer.py --save
	@.venv/bin/cog -r -I bench bench/README.md

format:  ## put all code into its form
	@scripts/bootstrap dev
	@.venv/bin/ruff format infra stacks tests bench
	@.venv/bin/ruff check --fix infra stacks tests bench
