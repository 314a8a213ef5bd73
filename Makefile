# The one entry point. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
RUST := $(shell find rust -name '*.rs' -o -name 'Cargo.toml' 2>/dev/null)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.venv/.packages: requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

.venv/.extension: .venv/.packages pyproject.toml Cargo.toml Cargo.lock $(RUST)
	PIP_QUIET=1 $(BIN)/maturin develop --release --locked --quiet
	@touch $@

.PHONY: build
build: .venv/.extension ## the command at .venv/bin/headwater, extension in release build

.PHONY: demo
demo: build ## start a private system, drive 200,000 events through it, prove what came of them
	$(BIN)/headwater demo

# Tools of Debian that single tests need; a test whose tool is missing is skipped and says so.
.PHONY: test-tools
test-tools:
	@command -v curl > /dev/null || \
		(apt-get update -qq && apt-get install -qq -y curl) > /dev/null 2>&1 || \
		echo "curl cannot be installed here: the requests in docs/ will not be run"
	@command -v strace > /dev/null || \
		(apt-get update -qq && apt-get install -qq -y strace) > /dev/null 2>&1 || \
		echo "strace cannot be installed here: tests/fault/test_disk.py will be skipped"
	@command -v chromium > /dev/null || \
		(apt-get update -qq && apt-get install -qq -y chromium) > /dev/null 2>&1 || \
		echo "Chromium cannot be installed here: tests/browser will be skipped"
	@command -v php > /dev/null || \
		(apt-get update -qq && apt-get install -qq -y php-cli) > /dev/null 2>&1 || \
		echo "PHP cannot be installed here: its examples in docs/ will be skipped"
	@command -v node > /dev/null || \
		(apt-get update -qq && apt-get install -qq -y nodejs) > /dev/null 2>&1 || \
		echo "Node cannot be installed here: its example in docs/ will be skipped"

.PHONY: test
test: build test-tools lint test-rust ## everything but the slow suite
	$(BIN)/python -m pytest -m "not slow" -n $$(($$(nproc) + 1)) --dist loadfile

.PHONY: test-rust
test-rust: .venv/.packages ## the Rust crates' own tests
	cargo test --locked --quiet --workspace --exclude headwater-binding

.PHONY: test-slow
test-slow: build ## kill tests and the like: minutes each
	$(BIN)/python -m pytest -m slow --timeout 1800

FUZZ_SECONDS ?= 30
FUZZ_TARGETS := engine_bytes engine_records snapshot_bytes snapshot_changed hotpath_bytes
FUZZ := CARGO_TARGET_DIR=target/fuzz target/tools/bin/cargo-fuzz

# Fuzzing needs a nightly compiler. Where there is none, the same is done with random bytes.
.PHONY: test-fuzz
test-fuzz: ## fuzz the input of engine and hot lane, and snapshots: half a minute each
	@if cargo +nightly --version > /dev/null 2>&1 && (test -x target/tools/bin/cargo-fuzz || \
		cargo install --quiet --locked --root target/tools cargo-fuzz); then \
		set -e; for target in $(FUZZ_TARGETS); do \
			RUSTUP_TOOLCHAIN=nightly $(FUZZ) run --fuzz-dir rust/fuzz $$target -- \
				-max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -verbosity=0; \
		done; \
	else \
		echo "no nightly compiler or no cargo-fuzz here: random bytes instead"; \
		PROPTEST_CASES=20000 cargo test --locked --quiet -p headwater-engine -p headwater-hotpath \
			--test it fuzz_smoke; \
	fi

.PHONY: lint
lint: build ## formatting, types, stubs, clippy: all with warnings as errors
	$(BIN)/ruff format --check python tests bench
	$(BIN)/ruff check python tests bench
	$(BIN)/mypy
	cd python && ../$(BIN)/python -m mypy.stubtest headwater._core
	cargo fmt --check
	cargo clippy --locked --quiet --workspace --all-targets -- -D warnings

.PHONY: bench
bench: build ## beside nginx and others, and under bursts: bench/results/report.html, 25 minutes
	$(BIN)/python -m bench.report.run

.PHONY: bench-quick
bench-quick: build ## the same, small: three minutes
	$(BIN)/python -m bench.report.run --quick

.PHONY: bench-compare
bench-compare: build ## hot functions against their stored baselines
	$(BIN)/python -m bench.micro.compare

target/bench-peers: bench/identity/requirements.txt .venv/.packages
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade \
		--target $@ --requirement $<
	@touch $@

.PHONY: bench-identity
bench-identity: build target/bench-peers ## the identity graph and what else could hold it
	PYTHONPATH=target/bench-peers $(BIN)/python -m bench.identity.run
	cargo run --locked --release --quiet -p headwater-engine --example identity_bench

.PHONY: bench-fraud
bench-fraud: build ## twelve injected attacks: what is found, what it costs the honest
	$(BIN)/python -m bench.fraud.run

.PHONY: lock
lock: ## renew requirements.lock from what is installed
	(head -1 requirements.lock; $(BIN)/python -m pip freeze \
		--exclude headwater --exclude pip --exclude setuptools) > requirements.lock.new
	mv requirements.lock.new requirements.lock

.PHONY: clean
clean: ## remove what was built
	rm -rf .venv target python/headwater/_core*.so
