# `make` alone explains itself. Every target is one line of help and a few of recipe.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
BINDIR = $(PREFIX)/bin
LIBDIR = $(PREFIX)/lib
DOCDIR = $(PREFIX)/share/doc/$(BIN)
# A binary that is built already; without one, `make install` and `make demo` build it.
BINARY ?=
BIN := openclaw-gateway
# Cargo may be told to build elsewhere.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
SKIPPED := $(TARGET_DIR)/skipped-tests.txt

.DEFAULT_GOAL := help
.PHONY: help run build test check fmt clippy conformance conformance-quick interop fuzz deny install clean skipped bench bench-quick bench-check cron-oracle cron-oracle-quick demo

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build and start on 127.0.0.1:8080 with its state in ./state; ARGS="…" adds arguments
	@$(CARGO) run --release --locked -- --state-dir ./state $(ARGS)

demo: $(if $(BINARY),,build) ## Show it at work: two sample agents, some ten seconds; BINARY=… builds nothing
	@examples/demo.sh "$(or $(BINARY),$(TARGET_DIR)/release/$(BIN))"

build: ## Build the release binary, target/release/openclaw-gateway
	$(CARGO) build --release --locked

test: ## Everything that guards a change: fmt, clippy, all tests, quick conformance, interop, cron
	@mkdir -p $(TARGET_DIR) && rm -f $(SKIPPED)
	$(MAKE) check
	$(MAKE) conformance-quick
	$(MAKE) interop
	$(MAKE) bench-check
	$(MAKE) cron-oracle-quick
	@$(MAKE) --no-print-directory skipped

check: fmt clippy ## fmt, clippy and all tests, without what needs other people's programs
	$(CARGO) test --locked --no-fail-fast

fmt: ## Check the formatting
	$(CARGO) fmt --all --check

clippy: ## Lint everything; a warning is an error
	$(CARGO) clippy --locked --all-targets -- -D warnings

conformance: ## All Autobahn cases that apply, plain and over TLS (minutes)
	tests/conformance/run.sh full

conformance-quick: ## The short Autobahn sections, as `make test` runs them
	tests/conformance/run.sh quick

interop: ## Clients from npm and PyPI that nobody here wrote, against the real binary
	tests/interop/run.sh

cron-oracle-quick: ## Fifty schedules over a year against PyPI's croniter, as `make test` runs it
	tests/oracle/cron.sh quick

cron-oracle: ## The same, and in every time zone on the days on which clocks change
	tests/oracle/cron.sh full

fuzz: ## Fuzz each target in fuzz/ for FUZZ_SECONDS=600, FUZZ_JOBS=1 side by side (an hour)
	fuzz/run.sh

bench: ## Measure against yardsticks, report in target/bench (some 30 minutes on 2 cores)
	benches/run.sh

bench-quick: ## The same in some 5 minutes, with coarser numbers
	benches/run.sh --quick

bench-check: ## Format and lint of the benchmark, which is a workspace of its own
	$(CARGO) fmt --manifest-path benches/Cargo.toml --all --check
	$(CARGO) clippy --locked --manifest-path benches/Cargo.toml --target-dir $(TARGET_DIR)/benches \
		--all-targets -- -D warnings

skipped: ## List the tests that the last `make test` could not run, with the reason
	@if [ -s $(SKIPPED) ]; then \
		echo "Skipped (REQUIRE_ALL=1 makes each a failure):"; sed 's/^/  /' $(SKIPPED); \
		test "$(REQUIRE_ALL)" != 1; \
	else echo "Nothing was skipped."; fi

deny: ## Check licences, sources and duplicate crates (cargo install --locked cargo-deny)
	@command -v cargo-deny >/dev/null || \
		{ echo "cargo-deny is missing; install it with: cargo install --locked cargo-deny"; exit 1; }
	$(CARGO) deny --locked check bans licenses sources

install: $(if $(BINARY),,build) ## Install binary, unit, examples below $(DESTDIR); BINARY=… builds nothing
	install -d "$(DESTDIR)$(BINDIR)" "$(DESTDIR)$(LIBDIR)/systemd/system" \
		"$(DESTDIR)$(LIBDIR)/sysusers.d" "$(DESTDIR)$(LIBDIR)/tmpfiles.d" \
		"$(DESTDIR)/etc/logrotate.d" "$(DESTDIR)$(DOCDIR)/docs"
	install -d -m 0750 "$(DESTDIR)/etc/openclaw"
	install -m 0755 "$(or $(BINARY),$(TARGET_DIR)/release/$(BIN))" "$(DESTDIR)$(BINDIR)/$(BIN)"
	sed -e 's|/usr/local/bin/|$(BINDIR)/|' -e 's|/usr/local/share/doc/$(BIN)/|$(DOCDIR)/|' \
		packaging/systemd/$(BIN).service > "$(DESTDIR)$(LIBDIR)/systemd/system/$(BIN).service"
	chmod 0644 "$(DESTDIR)$(LIBDIR)/systemd/system/$(BIN).service"
	install -m 0644 packaging/systemd/$(BIN).sysusers "$(DESTDIR)$(LIBDIR)/sysusers.d/$(BIN).conf"
	install -m 0644 packaging/systemd/$(BIN).tmpfiles "$(DESTDIR)$(LIBDIR)/tmpfiles.d/$(BIN).conf"
	install -m 0644 packaging/$(BIN).logrotate "$(DESTDIR)/etc/logrotate.d/$(BIN)"
	install -m 0644 README.md config.example.toml packaging/systemd/run-as.conf "$(DESTDIR)$(DOCDIR)"
	install -m 0644 docs/operations.md docs/protocol.md docs/children.md "$(DESTDIR)$(DOCDIR)/docs"
	install -m 0644 packaging/nginx/$(BIN).conf "$(DESTDIR)$(DOCDIR)/nginx.conf"
	@# A configuration that is there is somebody's work.
	test -e "$(DESTDIR)/etc/openclaw/gateway.toml" || { \
		sed -e 's|/usr/local/share/doc/$(BIN)/|$(DOCDIR)/|' packaging/gateway.toml \
			> "$(DESTDIR)/etc/openclaw/gateway.toml" && \
		chmod 0640 "$(DESTDIR)/etc/openclaw/gateway.toml"; }

clean: ## Remove what was built; ./state stays
	$(CARGO) clean
