# Two commands matter: `make demo` and `make test`. Each does all the set-up that it needs.

PYTHON ?= python3
BIN := .venv/bin
PEERS := .venv-peers/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench build-models clean

help:
	@echo "make demo    a demo EHR, a demo archive and scanhook on this machine; prints one URL"
	@echo "make test    every test; what needs a program that is not installed says so"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make bench   the figures of the README (a few minutes)"

.venv/run: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "scanhook needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[evidence]'
	@touch $@

.venv/dev: .venv/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# The toolchain that trains models; the CPU build of torch.
.venv/build: .venv/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'torch==2.13.0'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[build]'
	@touch $@

.venv-peers/ready: tests/peers.txt
	test -x $(PEERS)/python || $(PYTHON) -m venv .venv-peers
	grep -v -e google-fhir -e '^#' tests/peers.txt > .venv-peers/peers.txt
	$(PEERS)/python -m pip install --quiet --disable-pip-version-check -r .venv-peers/peers.txt
	$(PEERS)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		$$(grep google-fhir tests/peers.txt | grep -v '^#')
	-npm install --prefix .venv-peers --no-save --ignore-scripts --no-audit --no-fund axe-core@4.14.1
	@touch $@

# The viewer in which tests look at DICOM evidence; 48 MB to fetch, so only for who asks for it.
OHIF := @ohif/app@3.12.10
.venv-peers/ohif: | .venv-peers/ready
	npm pack '$(OHIF)' --silent --pack-destination .venv-peers
	rm -rf $@.part && mkdir $@.part && tar -xzf .venv-peers/ohif-app-*.tgz -C $@.part --strip-components=2 \
		--exclude='*.map' --exclude=package/dist/ort package/dist
	rm .venv-peers/ohif-app-*.tgz && mv $@.part $@

demo: .venv/run
	@$(BIN)/scanhook demo

# One file of tests for each processor at a time; more than four starts of every peer would crowd it.
test: .venv/dev .venv-peers/ready
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .venv-peers .scanhook build dist *.egg-info
