# Needs make and Python 3.11 or later; for the console, Node 20.19 or later with npm. `make help` tells what there is.

.DEFAULT_GOAL := help
.PHONY: help setup has-node no-console run test check screenshots bench lock clean

bin := .venv/bin
pythons := python3 python3.14 python3.13 python3.12 python3.11
is_new_enough := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach each,$(pythons),$(shell $(each) -c '$(is_new_enough)' 2>/dev/null && echo $(each))))

# Of what is installed, and where: when either changes, this stamp is missing and `setup` works again.
stamp := .venv/.set-up-$(shell (pwd; cat requirements-dev.txt) | cksum | tr ' ' '-')

# Where npm is, the console is built; its stamp is of all that it is made of.
node_is_new_enough := const [major, minor] = process.versions.node.split("."); process.exit(major > 20 || (major == 20 && minor >= 19) ? 0 : 1)
npm := $(shell node -e '$(node_is_new_enough)' 2>/dev/null && command -v npm)
console_sources = find console graphql -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/src/graphql/*' -not -name '.built-*'
console_stamp := console/.built-$(shell $(console_sources) | LC_ALL=C sort | xargs cat | cksum | tr ' ' '-')
console_packages := console/node_modules/.installed-$(shell cksum < console/package-lock.json | tr ' ' '-')

help: ## Tell what there is
	@sed -n 's/^\([a-z]*\):.*## /\1  /p' $(MAKEFILE_LIST) | awk '{name = $$1; $$1 = ""; printf "make %-11s %s\n", name, $$0}'

setup: $(stamp) $(if $(npm),$(console_stamp),no-console) ## Set up .venv with everything that the lock names, and build the console

$(stamp):
	@$(or $(PYTHON),false) -c '$(is_new_enough)' 2>/dev/null || { echo "Tessera needs Python 3.11 or later with its venv module (on Debian: apt-get install python3 python3-venv)."; exit 1; }
	@echo "setup: virtual environment in .venv, of $(PYTHON)"
	@rm -f .venv/.set-up-*
	@$(bin)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "setup: what requirements-dev.txt names"
	@$(bin)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	@echo "setup: Tessera itself"
	@$(bin)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(console_packages):
	@echo "setup: what console/package-lock.json names"
	@cd console && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(console_stamp): $(console_packages)
	@echo "setup: the console"
	@rm -f console/.built-*
	@cd console && npm run --silent build -- --logLevel warn
	@touch $@

has-node:
	@test -n "$(npm)"

no-console:
	@echo "setup: the console is left out: it needs Node 20.19 or later with npm"
	@test "$$CI" != true

run: setup ## Start the gateway with a demo project
	@$(bin)/tessera demo

# Compiled once, and not in each of a hundred processes that tests start, where Python is told to keep no bytecode.
test: setup ## Run every test; `make test ARGS="-k sqlite"` runs some
	@$(if $(npm),cd console && npm run --silent test,echo "test: the console's own tests are left out: they need npm")
	@$(bin)/python -m compileall -q gateway models schema tests/*.py
	@$(bin)/pytest -n 2 --dist worksteal --durations 10 $(ARGS)

check: setup ## Lint, format, types, import contracts, drift of the SDL, the contract
	@echo "check: lint" && $(bin)/ruff check --quiet
	@echo "check: format" && $(bin)/ruff format --check --quiet
	@echo "check: types" && $(bin)/mypy
	@echo "check: who imports whom" && $(bin)/lint-imports --no-logo
	@echo "check: graphql/schema.graphql is what the code exports" && $(bin)/tessera schema export | diff - graphql/schema.graphql
	@echo "check: the contract" && $(bin)/python tests/contract/check.py graphql/schema.graphql
	@echo "check: the console" && $(if $(npm),cd console && npm run --silent check,echo "check: left out: it needs npm")

screenshots: setup ## Take the pictures of docs/console.md anew
	@$(bin)/python -m tests.screenshots

bench: setup ## Run the benchmarks and print tables
	@$(bin)/python -m tests.bench $(ARGS)

# One command, so that both files hold the same versions. `make lock ARGS=--upgrade` takes the newest.
compile = $(bin)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 $(ARGS) pyproject.toml
lock: ## Write the lock files anew from pyproject.toml
	@test -x $(bin)/uv || $(MAKE) setup
	@$(compile) --all-extras --output-file requirements-dev.txt
	@$(compile) --constraint requirements-dev.txt --output-file requirements.txt
	@echo "lock: requirements.txt and requirements-dev.txt"

clean: ## Remove what tools and builds left; data/ stays
	rm -rf console/.built-* console/dist console/node_modules console/src/graphql
	rm -rf .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find gateway models schema tests -name __pycache__ -type d -prune -exec rm -rf {} +
