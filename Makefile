# Wattledger's commands. `make` alone lists them; CONTRIBUTING.md explains them.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-builtin-rules --no-print-directory
.NOTPARALLEL:
.DEFAULT_GOAL := help

GO       ?= go
CC       := cc
FUZZTIME ?= 30s
ARGS     ?=

# A pinned tool, in a module of its own so that it never moves the product's dependencies. Built once, kept in Go's cache.
tool = $(GO) tool -modfile=$(CURDIR)/internal/tools/$(1)/go.mod $(1)
say  = @printf '\n== %s\n'

# What decides about energy, time and money, or shares memory between goroutines to do so: tested with -race too.
CORE := $(addprefix ./,$(addsuffix /...,$(wildcard schemas/unit schemas/record schemas/wire collector/meter collector/agent \
	collector/watchdog collector/message collector/nodemeter collector/spool collector/workload collector/exposition ingest/pipeline ingest/rollup aggregator/window aggregator/attribution aggregator/closing aggregator/carbon \
	aggregator/sovereignty aggregator/tariff aggregator/ledger aggregator/adjusting aggregator/series aggregator/closer \
	dashboards/datasource/pkg/cache dashboards/datasource/pkg/identity)))
SIM  := $(wildcard collector/dcgm/sim/*)
SIM_NVML := $(wildcard collector/nvml/sim/*)
# The stamp carries the digest of the lock file, so a new lock fetches anew and an old checkout does not.
LOCK := internal/tools/libchdb/package-lock.json
LIB  := .cache/libchdb/$(shell sha256sum $(LOCK) 2>/dev/null | cut -c1-16).ok

# Apache Kafka, where Java and Maven are. Without them all else works, and says what was left out.
KAFKA := .cache/kafka/$(shell cat deploy/kafka/pom.xml deploy/kafka/jars.sha256 2>/dev/null | sha256sum | cut -c1-16).ok
ifneq ($(shell command -v java),)
ifneq ($(shell command -v mvn),)
HAVE_KAFKA := kafka-jars
endif
endif

# What starts an arm64 program here: the machine itself, or qemu-user with Debian's C library, unpacked into .cache.
ifeq ($(shell uname -m),aarch64)
ARM64 :=
else ifneq ($(shell command -v apt-get),)
QEMU  := .cache/qemu/ok
ARM64 := .cache/qemu/usr/bin/qemu-aarch64-static -L .cache/qemu/usr/aarch64-linux-gnu
endif

.PHONY: help
help: ## List the commands
	@echo 'usage: make COMMAND [ARGS=…]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

##### Build and run

.PHONY: setup
setup: $(LIB) ## Check for a C compiler and fetch the ClickHouse engine into .cache, once
	@command -v $(CC) >/dev/null || { echo 'make: no C compiler (cc). Install one: apt-get install gcc libc6-dev, or dnf install gcc' >&2; exit 1; }

# Installed beside and moved into place, so that an interrupted download leaves nothing half done. npm checks the digests of the lock file.
$(LIB):
	@command -v npm >/dev/null || { echo 'make: no npm, which fetches the ClickHouse engine. Install Node.js 20 or newer: apt-get install npm, or dnf install nodejs-npm' >&2; exit 1; }
	$(say) 'setup: fetch the ClickHouse engine into .cache/libchdb (about 150 MB, once)'
	@rm -rf .cache/libchdb.new && mkdir -p .cache/libchdb.new
	@cp internal/tools/libchdb/package.json $(LOCK) internal/tools/libchdb/.npmrc .cache/libchdb.new/
	@npm ci --prefix .cache/libchdb.new --no-audit --no-fund --loglevel=error
	@ls .cache/libchdb.new/node_modules/@chdb/*/libchdb.so >/dev/null 2>&1 || { echo "make: npm offers no ClickHouse engine for this platform ($$(uname -sm)); $(LOCK) lists those it has" >&2; exit 1; }
	@touch .cache/libchdb.new/$(@F) && rm -rf .cache/libchdb && mv .cache/libchdb.new .cache/libchdb

# The dashboards' TypeScript: one npm workspace, installed from its lock file.
WEB := dashboards/node_modules/.package-lock.json
$(WEB): dashboards/package-lock.json $(wildcard dashboards/package.json dashboards/*/package.json)
	@command -v npm >/dev/null || { echo 'make: no npm, which builds the Grafana plugin and the dashboards. Install Node.js 20 or newer: apt-get install npm, or dnf install nodejs-npm' >&2; exit 1; }
	$(say) 'setup: install what the dashboards are built with into dashboards/node_modules (about 600 MB, once)'
	@npm ci --prefix dashboards --no-audit --no-fund --loglevel=error
	@touch $@

# apt checks the signatures of what it fetches. Its lists lie here too, so that root is not needed and nothing is installed.
$(QEMU):
	$(say) 'setup: fetch qemu-user and the arm64 C library into .cache/qemu (about 65 MB, once)'
	@rm -rf .cache/qemu && mkdir -p .cache/qemu/lists/partial .cache/qemu/archives/partial
	@cd .cache/qemu && apt="apt-get -qq -o Dir::State::Lists=$$PWD/lists -o Dir::Cache=$$PWD -o Dir::Cache::Archives=archives -o APT::Sandbox::User=" && \
		$$apt update && $$apt download qemu-user-static libc6-arm64-cross
	@cd .cache/qemu && for deb in *.deb; do dpkg-deb -x "$$deb" .; done && rm -rf *.deb lists archives *.bin usr/share && find usr/bin -type f ! -name qemu-aarch64-static -delete
	@touch $@

.PHONY: kafka-jars
kafka-jars: $(KAFKA) ## Fetch Apache Kafka from Maven Central into .cache/kafka, once (needs Java 17 and Maven)

# Maven checks what it downloads against the repository's own checksums, and sha256sum against ours; a file too many fails too.
$(KAFKA): MVN = mvn -B -q -C -f deploy/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.cache/kafka.new/libs
$(KAFKA):
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo 'make: no java or no mvn, which Apache Kafka needs. Install Java 17 or newer and Maven: apt-get install default-jre-headless maven, or dnf install java-latest-openjdk-headless maven' >&2; exit 1; }
	$(say) 'setup: fetch Apache Kafka into .cache/kafka (about 45 MB, once)'
	@rm -rf .cache/kafka.new && mkdir -p .cache/kafka.new/libs
	@$(MVN)
	@cd .cache/kafka.new/libs && diff <(LC_ALL=C ls) <(awk '{print $$2}' $(CURDIR)/deploy/kafka/jars.sha256 | LC_ALL=C sort) && sha256sum --check --strict --quiet $(CURDIR)/deploy/kafka/jars.sha256 || \
		{ echo 'make: what Maven brought is not what deploy/kafka/jars.sha256 lists; it is left in .cache/kafka.new' >&2; exit 1; }
	@touch .cache/kafka.new/$(@F) && rm -rf .cache/kafka && mv .cache/kafka.new .cache/kafka

.PHONY: kafka
kafka: kafka-jars ## Run Apache Kafka on loopback until Ctrl-C (ARGS='-brokers 3 -secure'; ARGS=-help lists more)
	@$(GO) build -o .cache/kafkarun ./internal/kafkacluster/kafkarun && exec .cache/kafkarun $(ARGS)

.PHONY: build
build: ## Build bin/wattledger and bin/wattledger-collector
	$(say) 'build: bin/wattledger and bin/wattledger-collector'
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

.PHONY: sim
sim: bin/sim/libdcgm.so.4 bin/sim/libnvidia-ml.so.1 ## Build the simulated libdcgm and NVML, so that all runs without a GPU

# -ffp-contract=off: the same seed plays the same numbers on x86 and Arm.
CC_SIM = $(CC) -std=gnu11 -O2 -g -ffp-contract=off -fPIC -shared -pthread -Wl,-z,defs

bin/sim/libdcgm.so.4: $(SIM)
	$(say) 'sim: $@'
	@mkdir -p $(@D)
	@$(CC_SIM) -Wl,-soname,$(@F) -o $@ $(filter %.c,$(SIM)) -lm

bin/sim/libnvidia-ml.so.1: $(SIM_NVML)
	$(say) 'sim: $@'
	@mkdir -p $(@D)
	@$(CC_SIM) -Wl,-soname,$(@F) -o $@ $(filter %.c,$(SIM_NVML))

.PHONY: demo
demo: setup build sim ## Play a simulated day of two sites through everything, then serve it (ARGS=--once ends by itself)
	@bin/wattledger demo $(ARGS)

# One archive for the same sources: no path, no time, no commit stands in the programs.
.PHONY: grafana
grafana: $(WEB) ## The Grafana plugin, dashboards and alerts, packed into grafana-out (ARGS='-url https://clickhouse:8443'; ARGS=-help lists more)
	$(say) 'grafana: front end, and backends for linux/amd64 and linux/arm64'
	@npm run --silent build --prefix dashboards/datasource
	@for arch in amd64 arm64; do CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -buildvcs=false -ldflags '-s -w' \
		-o dashboards/datasource/dist/gpx_wattledger_linux_$$arch ./dashboards/datasource/pkg; done
	@$(GO) run ./dashboards/datasource/release $(ARGS)

.PHONY: generate
generate: $(WEB) ## Rebuild the generated code, pages and dashboards
	$(say) 'generate: protobuf, go generate'
	@cd schemas/wire && $(call tool,buf) generate
	@$(GO) generate ./...
	$(say) 'generate: dashboards'
	@npm run --silent generate --prefix dashboards -w wattledger-grafana

.PHONY: fmt
fmt: $(WEB) ## Format all Go and TypeScript files
	@$(call tool,gofumpt) -l -w .
	@npm run --silent format --prefix dashboards

##### Test

.PHONY: test-kafka
test-kafka: setup kafka-jars ## The pipeline and its kill tests against Apache Kafka (part of make test where Java and Maven are)
	$(say) 'test-kafka: Apache Kafka'
	@CGO_ENABLED=0 $(GO) test -json -count=1 -p 1 -parallel 3 -timeout 10m ./internal/kafkacluster/... ./deploy/kafka | $(GO) run ./internal/testreport

.PHONY: web
web: $(WEB) ## Types and unit tests of the TypeScript (part of make test)
	$(say) 'web: types and unit tests'
	@npm run --silent typecheck --prefix dashboards
	@npm run --silent test --prefix dashboards

# The longest package comes first, so that the others run beside it and not before it. Its tests that mostly wait run three at once.
.PHONY: test
test: setup $(HAVE_KAFKA) build sim web ## Everything a user should run: all tests as shipped (no cgo), and the core ones with -race
	@[ -n '$(HAVE_KAFKA)' ] || printf '\n== test: WITHOUT Apache Kafka: there is no java or no mvn here (apt-get install default-jre-headless maven); its tests are skipped\n'
	$(say) 'test: all packages'
	@CGO_ENABLED=0 $(GO) test -json -p 2 -parallel 3 -timeout 14m ./deploy/e2e ./... | $(GO) run ./internal/testreport
	$(say) 'test: core packages with the race detector'
	@CGO_ENABLED=1 $(GO) test -json -race -p 2 -timeout 14m $(CORE) | $(GO) run ./internal/testreport

.PHONY: test-long
test-long: setup build sim ## Fuzz each target for FUZZTIME (30s), then the tests tagged long: kills and outages
	@$(GO) test -list '^Fuzz' ./... | awk '/^Fuzz/ {name[++n] = $$1} /^ok/ {for (i = 1; i <= n; i++) print $$2, name[i]; n = 0}' | \
	while read -r package fuzz; do \
		printf '\n== test-long: %s %s for %s\n' "$$package" "$$fuzz" "$(FUZZTIME)"; \
		$(GO) test -run '^$$' -fuzz "^$$fuzz\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$package" </dev/null; \
	done
	$(say) 'test-long: tests tagged long'
	@$(GO) test -json -tags long -p 1 -timeout 2h ./... | $(GO) run ./internal/testreport

.PHONY: bench
bench: setup build sim ## Run the benchmarks; the last line is one JSON object of their figures
	@$(GO) test -run '^$$' -bench . -benchmem -p 1 -timeout 1h ./... | $(GO) run ./internal/testreport -bench

.PHONY: bench-collector
bench-collector: build sim ## The collector as shipped: CPU, memory, bytes, beside a peer; ten minutes (BENCH_SECONDS=60 for a look)
	@$(GO) test -tags bench -run TestCollector -v -timeout 15m ./deploy/bench | grep --line-buffered -vE '^(=== RUN|--- PASS|PASS|ok)'

.PHONY: bench-ingest
bench-ingest: setup build ## Kafka to queryable rows: ours, ClickHouse's own Kafka engine, the engine alone (BENCH_ROWS=1200000)
	@$(GO) test -tags bench -run 'TestIngest$$' -v -timeout 15m ./deploy/bench | grep --line-buffered -vE '^(=== RUN|--- PASS|PASS|ok)'

.PHONY: bench-fleet
bench-fleet: setup build ## 18,000 GPUs at 1 Hz through broker, ingest and engine: lag, CPU, the highest rate (BENCH_GPUS, BENCH_SECONDS=300)
	@$(GO) test -tags bench -run 'TestFleet$$' -v -timeout 30m ./deploy/bench | grep --line-buffered -vE '^(=== RUN|--- PASS|PASS|ok)'

.PHONY: bench-ledger
bench-ledger: setup build ## Closing an hour of 18,000 GPUs, sums of a month, growth, seals (BENCH_DEVICES=1800 for a look)
	@$(GO) test -tags bench -run 'TestLedger$$' -v -timeout 60m ./deploy/bench | grep --line-buffered -vE '^(=== RUN|--- PASS|PASS|ok)'

.PHONY: bench-grafana
bench-grafana: setup build ## Panels of all dashboards on a month of 18,000 GPUs, through the plugin: each cold, the overview, 20 dashboards at once (BENCH_DEVICES=800 BENCH_SECONDS=30 for a look)
	@$(GO) test -tags bench -run 'TestGrafana$$' -v -timeout 120m ./deploy/bench | grep --line-buffered -vE '^(=== RUN|--- PASS|PASS|ok)'

.PHONY: bench-storage
bench-storage: setup ## What the table of samples takes with other codecs, orders and types, on a noisy hour (BENCH_SECONDS=60 for a look)
	@$(GO) test -tags bench -run 'TestStorage$$' -v -timeout 30m ./deploy/bench | grep --line-buffered -vE '^(=== RUN|--- PASS|PASS|ok)'

.PHONY: soak
soak: ## 36,000 ticks of the collector as fast as they go; fails when memory grows
	@$(GO) test -tags bench -run TestSoak -v -timeout 15m ./deploy/bench | grep --line-buffered -vE '^(=== RUN|--- PASS|PASS|ok)'

.PHONY: truth
truth: ## Play random fleets and hold their ledgers against the rules and against what was really drawn (ARGS='-fleets 50 -seed 7')
	@$(GO) run ./deploy/truth $(ARGS)

##### Check

.PHONY: check
check: check-generated check-format vet lint check-web check-rules check-builds check-sim ## Generated code current, format, vet, lint, builds for both architectures
	$(say) 'check: all is well'

.PHONY: check-generated
check-generated:
	$(say) 'check: generated code is current'
	@files() { git ls-files -z --cached --others --exclude-standard | xargs -0 sha256sum 2>/dev/null | sort -k 2; }; \
	before=$$(files || true); $(MAKE) generate; after=$$(files || true); \
	[ "$$before" = "$$after" ] || { echo 'make: generated files were out of date and are rebuilt now; look at them and commit:' >&2; \
		diff <(echo "$$before") <(echo "$$after") | awk '/^>/ {print "  " $$3}' >&2; exit 1; }

.PHONY: check-format
check-format:
	$(say) 'check: gofumpt'
	@files=$$($(call tool,gofumpt) -l .); [ -z "$$files" ] || { echo "make: not formatted (make fmt does it):" $$files >&2; exit 1; }

.PHONY: vet
vet:
	$(say) 'check: go vet'
	@$(GO) vet ./...
	@$(GO) vet -tags long ./...
	@$(GO) vet -tags bench ./deploy/bench

.PHONY: lint
lint:
	$(say) 'check: golangci-lint (its first run builds it: minutes)'
	@$(call tool,golangci-lint) run ./...
	@cd schemas/wire && $(call tool,buf) lint

# Prometheus' own promtool, without the clients of clouds that it finds targets by: they are half of its build, which takes minutes once.
PROMTOOL := .cache/promtool/promtool
$(PROMTOOL): internal/tools/promtool/go.mod internal/tools/promtool/go.sum
	$(say) 'check: build promtool (its first build takes minutes)'
	@$(GO) build -modfile=$(CURDIR)/$< -tags remove_all_sd -o $@ github.com/prometheus/prometheus/cmd/promtool && touch $@

.PHONY: check-rules
check-rules: $(PROMTOOL) ## Rules, their cases and the expressions of dashboards, by Prometheus' own parser
	$(say) 'check: Prometheus rules and expressions'
	@CGO_ENABLED=0 $(GO) test ./dashboards/grafana/...
	@cd dashboards/grafana/alerts && $(CURDIR)/$(PROMTOOL) test rules wattledger.test.yaml wattledger.slow.test.yaml
	@cd internal/tools/promtool && $(GO) run ./prometheusrule $(CURDIR)/dashboards/grafana/alerts/prometheusrule.yaml

.PHONY: check-web
check-web: $(WEB)
	$(say) 'check: eslint, prettier'
	@npm run --silent lint --prefix dashboards

.PHONY: check-builds
check-builds: $(QEMU)
	$(say) 'check: builds for linux/amd64 and linux/arm64; the arm64 programs start'
	@for arch in amd64 arm64; do CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -o bin/$$arch/ ./cmd/...; done
	@if [ -z '$(QEMU)' ]; then echo 'not started: neither an Arm machine nor apt-get, which fetches qemu-user and the C library of Debian'; \
	else for program in wattledger wattledger-collector; do $(ARM64) bin/arm64/$$program --help >/dev/null; done; \
		out=$$($(ARM64) bin/arm64/wattledger-collector --once 2>&1) && code=0 || code=$$?; \
		[ $$code = 1 ] && grep -q 'libdcgm.so.4 not found' <<<"$$out" || { echo "make: the arm64 collector does not say that it finds no libdcgm: exit $$code, $$out" >&2; exit 1; }; fi

.PHONY: check-sim
check-sim:
	$(say) 'check: the simulated libraries compile without a warning'
	@mkdir -p bin && $(CC_SIM) -Wall -Wextra -Werror -o bin/check-sim.so $(filter %.c,$(SIM)) -lm && rm bin/check-sim.so
	@$(CC_SIM) -Wall -Wextra -Werror -o bin/check-sim.so $(filter %.c,$(SIM_NVML)) && rm bin/check-sim.so

.PHONY: vuln
vuln: ## Known vulnerabilities in what we depend on (asks the Go vulnerability database)
	@$(call tool,govulncheck) ./...

##### Clean

.PHONY: clean
clean: ## Remove what was built and what the demo wrote out
	@rm -rf bin demo-out grafana-out dashboards/*/dist coverage.out

.PHONY: clean-all
clean-all: clean ## Remove what was fetched and the demo's data directory as well
	@rm -rf .cache .wattledger dashboards/node_modules dashboards/*/node_modules
