# The things to remember: make demo, make test, make lint, make bench. Each sets up all that it needs.
SHELL := /bin/bash
BIN := .venv/bin

# Programs that are started by the hundred are compiled once, as on a board where pip compiled them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test lint format bench bench-catalog faults clean

help:
	@echo "make demo    the whole product in a few minutes, on real handwritten digits (ARGS=--keep leaves it running)"
	@echo "make test    all tests (ARGS are pytest's)"
	@echo "make lint    ruff, mypy --strict, import layers"
	@echo "make bench   the figures of docs/benchmarks.md"
	@echo "make bench-catalog  docs/catalog.md: every architecture for every class of board (an hour)"
	@echo "make faults  the figures of docs/faults.md: hours of killing, cutting and corrupting"

setup:
	@scripts/setup

demo: setup
	@$(BIN)/litefleet demo $(ARGS)

test: setup
	@scripts/get-cc
	@scripts/get-iproute2
	@$(BIN)/pytest -n 2 --dist loadscope $(ARGS)

lint: setup
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

bench: setup
	@$(BIN)/python -m tests.benchmarks --keep $(ARGS)

bench-catalog: setup
	@$(BIN)/python -m tests.benchmarks catalog --keep $(ARGS)

faults: setup
	@scripts/get-cc
	@scripts/get-iproute2
	@$(BIN)/python -m tests.faults --keep $(ARGS)

clean:
	rm -rf .venv .cache
