# make demo and make test set everything up by themselves, on a machine that has python3 (3.11 or newer), git and make.
PYTHON ?= python3
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
BIN := .venv/bin
ENVIRONMENT := .venv/installed

unexport PYTHONDONTWRITEBYTECODE # what one process of the tests compiled, the next ones take

.PHONY: demo test test-quick test-oldest lint docs constraints clean

demo: $(ENVIRONMENT) # stitch the demo dataset
	$(BIN)/snakemake --cores $(CORES)
	@echo "The picture: open results/demo/report.html in a browser."

test: lint # linters and all tests, a file at a time on each core
	$(BIN)/pytest --numprocesses auto --dist loadfile

test-quick: $(ENVIRONMENT) # while developing
	$(BIN)/ruff check
	$(BIN)/pytest -m "not slow" --numprocesses auto --dist loadfile

lint: $(ENVIRONMENT)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/mypy
	$(BIN)/lint-imports

test-oldest: # the quick tests with the oldest versions that the package allows, in an environment of its own
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet --constraint envs/oldest.txt --editable . boto3 grimp hypothesis 'moto[server]' pytest
	.venv-oldest/bin/pytest -m "not slow" --override-ini filterwarnings=default

docs: $(ENVIRONMENT) # the pages of docs/ as a site
	$(BIN)/mkdocs build --strict

constraints: # the versions of this environment, as exact ones
	{ sed '/^#/!d' envs/constraints.txt; $(BIN)/pip freeze --all --exclude-editable | sed '/^pip==/d; s/+cpu$$//'; } > envs/constraints.new
	mv envs/constraints.new envs/constraints.txt

clean: # what the targets above made; results of other datasets stay
	rm -rf .venv .venv-oldest site results/demo *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(ENVIRONMENT): pyproject.toml setup.py envs/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: dlir needs Python 3.11 or newer, and $(PYTHON) is not: name one, as in make PYTHON=python3.12 demo" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "Installing into .venv; this takes a few minutes."
	$(BIN)/pip install --quiet --constraint envs/constraints.txt --editable '.[dev,docs,slurm,s3,vendor]'
	$(BIN)/python -m compileall -q dlir # where Python may not keep bytecode by itself, each process would compile the package again
	@touch $@
