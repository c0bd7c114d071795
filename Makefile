# The verbs of this repository; `make help` lists them.

cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/goldsmith
export CARGO_TARGET_DIR ?= $(cache)/target
binaries := $(CARGO_TARGET_DIR)/debug

# What instances are inside; tools/install knows it from its environment.
export GUESTS ?= scripted
$(if $(filter scripted real,$(GUESTS)),,$(error GUESTS is '$(GUESTS)'; it must be scripted or real))

generated := cargo test --package goldsmith --no-default-features --test generated

.DEFAULT_GOAL := help
.PHONY: help demo test judges test-guests faults plan mutants speed up down check lint generate generated-check tools build prerequisites

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: tools build ## Build, prove and keep an image on a real API server and a simulated EC2, in a minute once compiled; GUESTS=real: on Debian 12 in virtual machines, in four
	@$(binaries)/goldsmith-lab demo --guests $(GUESTS)

test: judges build ## Run every test
	cargo test --workspace

test-guests: GUESTS = real
test-guests: tools build ## Build and prove on Debian 12 in virtual machines: half an hour with two cores
	GUEST=debian-12 cargo test --workspace --test real_guests

faults: prerequisites ## More faults than `make test`: in every story, and PAIRS of them in each, drawn from SEED
	@THOROUGH=1 PAIRS=$(or $(PAIRS),200) SEED=$(or $(SEED),0) cargo test --workspace --test plans

plan: prerequisites ## Carry out PLAN alone, as a failure names it, and show its requests
	@PLAN=$(or $(PLAN),proven-image) cargo test --workspace --test plans

mutants: build ## Plant faults into a copy of the tree, one after the other, and see that the harness finds each
	@$(binaries)/mutants $(MUTANTS)

speed: prerequisites ## Measure calls a second through the SDK to the simulated EC2, on one core
	@cargo bench --profile dev --workspace --bench calls

up: tools build ## Leave API server, simulator and controller running; prints `export` lines for kubectl and aws; GUESTS as in demo
	@$(binaries)/goldsmith-lab up --guests $(GUESTS)

down: prerequisites ## End what `make up` has started
	@if [ -x $(binaries)/goldsmith-lab ]; then $(binaries)/goldsmith-lab down; else echo "nothing is up" >&2; fi

check: prerequisites ## Test the pure part, in seconds once compiled, and that it depends on nothing that does I/O
	cargo test --package goldsmith --no-default-features --lib
	@tools/guest-shells cargo test --package goldsmith --no-default-features --lib guest::shell
	@tools/pure

lint: prerequisites ## Formatting, clippy, and the rules that neither knows
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings --allow clippy::disallowed_methods
	cargo clippy --workspace --exclude goldsmith-tests --lib --bins -- --deny warnings --deny clippy::unwrap_used --deny clippy::expect_used --deny clippy::panic
	cargo clippy --package goldsmith --no-default-features --lib -- --deny warnings
	@tools/style
	@tools/shellcheck
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; else \
		echo "left out: cargo deny, which checks what is built in; cargo install --locked cargo-deny" >&2; fi

generate: prerequisites ## Write what is generated from the API's types: crds/, docs/reference/
	UPDATE=1 $(generated)

generated-check: prerequisites ## Fail if `make generate` would change anything
	$(generated)

tools: prerequisites ## Put API server, etcd, kubectl, the Python clients and the guests' disks into the cache
	@tools/install

judges: prerequisites
	@tools/install judges

build: prerequisites
	@cargo build --workspace --bins

prerequisites:
	@tools/prerequisites
