# The front door. `make` alone says what there is.

CARGO ?= cargo
# Where the demo leaves its state; `make demo STATE=DIR` puts it elsewhere.
STATE ?= $(CURDIR)/state
# `make bench FULL=1` measures the whole matrix; JSON=FILE and SVG=DIR write what it found.
FULL ?=
JSON ?=
SVG ?=
# `make fuzz SECONDS=600` gives every target its share of ten minutes.
SECONDS ?= 60
# `make demo ONCE=1` ends with the exit status of the story instead of staying up.
ONCE ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench large scale fuzz torture

help: ## Say what there is
	@echo "Jibek: data exchange between agencies, X-Road 7 compatible."
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1   \2/p' $(MAKEFILE_LIST)
	@echo
	@echo "  make demo ONCE=1    end after the story instead of staying up"
	@echo "  make demo STATE=DIR keep everything it makes under DIR (default: ./state)"
	@echo "  make bench FULL=1   the whole matrix; JSON=FILE and SVG=DIR write what it found"
	@echo "  make torture SECONDS=300"
	@echo "  make fuzz SECONDS=600 TARGETS='container soap'"

demo: ## A whole country on this machine: four agencies, three servers, evidence, proof
	@.ci/need build
	$(CARGO) build --release --locked --bins
	$(CARGO) run --release --locked --quiet --package jibek-conformance --bin jibek-sandbox -- --state "$(STATE)" $(if $(filter-out 0,$(ONCE)),--once)

test: ## Every test; the last line is the sum
	@.ci/need test
	@CARGO="$(CARGO)" .ci/test

lint: ## Format, clippy, documentation, dependencies
	@.ci/need build
	@CARGO="$(CARGO)" .ci/lint

bench: ## Exchanges a second, latency, memory, CPU and counts next to direct calls; every message proved
	@.ci/need build
	@CARGO="$(CARGO)" .ci/bench $(if $(filter-out 0,$(FULL)),--full) $(if $(JSON),--json "$(JSON)") $(if $(SVG),--svg "$(SVG)")

large: ## Bodies of gigabytes through two servers: memory, hashes, evidence; needs 20 GB of disk for some minutes
	@.ci/need build
	$(CARGO) build --release --locked --bins
	$(CARGO) run --release --locked --quiet --package jibek-conformance --bin jibek-large

scale: ## A country of 100,000 members, a log of 10 million records (10 GB), starts: time and memory
	@.ci/need build
	$(CARGO) build --release --locked --bins
	$(CARGO) run --release --locked --quiet --package jibek-conformance --bin jibek-scale -- configuration
	$(CARGO) run --release --locked --quiet --package jibek-conformance --bin jibek-scale -- log
	$(CARGO) run --release --locked --quiet --package jibek-conformance --bin jibek-scale -- start

fuzz: ## Every parser against mutated input for a share of SECONDS; a table of executions and crashes
	@.ci/need build
	@CARGO="$(CARGO)" SECONDS_TOTAL="$(SECONDS)" .ci/fuzz $(TARGETS)

torture: ## Power cuts, kills and faults for SECONDS, by name; what was acknowledged between them, what is lost (0)
	@.ci/need torture
	@CARGO="$(CARGO)" .ci/torture "$(SECONDS)"
