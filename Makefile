# A fresh clone needs Go, make and, for the race detector, a C compiler. The go
# command builds the linter and the mock generator from the versions in
# tools/go.mod; that takes minutes the first time, then they are cached. Only the
# tests on real SPDK targets need an spdk_tgt, too.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
TOOL = $(GO) tool -modfile=$(CURDIR)/tools/go.mod
BENCH ?= .
FUZZTIME ?= 5m
SHAPES ?=
ROUNDS ?= 5
TIMES ?= 20
HISTORIES ?= 100000
FIRST ?= 1

DOMAIN = ./internal/domain/...
EMBED = examples/embed

# Packages with tests, for go list.
WITH_TESTS = {{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: ## all tests that must pass before a change is merged
	@$(MAKE) gofmt vet lint mocks
	@$(MAKE) -j2 race simulated faults proof
	@$(MAKE) embed e2e-if-found
	@echo "== passed"

.PHONY: gofmt
gofmt:
	@echo "== formatting"
	@wrong=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) || exit 1; \
	if [ -n "$$wrong" ]; then echo "not formatted (run make fmt):"; echo "$$wrong"; exit 1; fi >&2

.PHONY: vet
vet:
	@echo "== go vet"
	@$(GO) vet ./...

.PHONY: lint
lint: ## run golangci-lint (.golangci.yml) on this module and on examples/embed
	@echo "== golangci-lint"
	@$(TOOL) golangci-lint run ./...
	@if [ -f $(EMBED)/go.mod ]; then cd $(EMBED) && $(TOOL) golangci-lint run ./...; fi

.PHONY: mocks
mocks:
	@echo "== the mocks are up to date"
	@.ci/mocks-current

# These play scenario files again that TestScenarioOutput plays with the race detector, or many
# clients, which it makes slow.
NO_RACE = ^(TestScenarioJSONKeepsContract|TestEveryKindOfFaultStrikes|TestManualScenariosRun|TestSimtargetVolume)$$

# Many tests wait for sockets and deadlines, so more of them than there are processors run
# at once, and this target runs beside the next three. The target vet has run go vet.
.PHONY: race
race:
	@echo "== tests, with the race detector"
	@set -- $$($(GO) env CC); \
	if [ "$$($(GO) env CGO_ENABLED)" != 1 ] || ! command -v "$$1" >/dev/null; then \
		echo "the race detector needs cgo and a C compiler: install gcc or clang, and do not set CGO_ENABLED=0" >&2; exit 1; \
	fi
	@packages=$$($(GO) list -f '$(WITH_TESTS)' ./...) || exit 1; \
	SPDK_TGT= $(GO) test -race -vet=off -p 4 -parallel 4 -skip '$(NO_RACE)' $$(echo "$$packages" | grep -v '/internal/domain\(/\|$$\)\|/internal/scenario$$\|/imagefile$$\|/spdk/facts$$')
	@$(GO) test -race -vet=off -run BySeveralGoroutines ./imagefile

# The race detector runs with some combinations of simulated targets and a store of a
# hundred lvols; this target runs all combinations, and a thousand lvols. The facts make
# one call after the other, and one goroutine reads scenarios and, except in one test,
# disk images.
.PHONY: simulated
simulated:
	@echo "== the contract on simulated targets, the facts, scenarios, disk images, the command"
	@$(GO) test -vet=off -parallel 4 -run 'TestSimulatedTarget$$|TestSimulatedTargetBeyondTheContract' ./internal/adapters/spdk
	@SPDK_TGT= $(GO) test -vet=off ./internal/adapters/spdk/facts ./internal/scenario ./imagefile
	@$(GO) test -vet=off -run '$(NO_RACE)' ./cmd/engine

# The race detector makes each of these ten times slower, so it runs fewer of them.
.PHONY: faults
faults:
	@echo "== rebuilds with faults"
	@$(GO) test -vet=off -run 'FailsOnce$$|AtRandom$$|EitherSource|LostAnswerAtTheEnd|EveryCallOfAReplacement|(Plan|Audit)ChangesNothing|SourceIsOnlyRead' ./internal/app

# The domain is pure: it has no goroutines, so no races, and its proof by exhaustion is
# many times faster without the detector. It makes millions of small stores; with less
# garbage collection it takes a third less time.
.PHONY: proof
proof:
	@echo "== the proof of the domain"
	@GOGC=400 $(GO) test -vet=off $(DOMAIN)

.PHONY: embed
embed:
	@echo "== examples/embed, a separate module"
	@if [ -f $(EMBED)/go.mod ]; then cd $(EMBED) && $(GO) vet ./... && $(GO) test ./...; \
	else echo "there is no $(EMBED) yet"; fi

.PHONY: e2e-if-found
e2e-if-found:
	@if [ -n "$$SPDK_TGT" ] || command -v spdk_tgt >/dev/null; then $(MAKE) e2e; \
	else echo "e2e: no spdk_tgt found (SPDK_TGT, then PATH): skipping the tests on real targets"; fi

.PHONY: e2e
e2e: ## test on real SPDK targets: SPDK_TGT (one, or a list like PATH), else spdk_tgt from the PATH
	@echo "== tests on real targets"
	@found=; IFS=:; for target in $${SPDK_TGT:-spdk_tgt}; do \
		path=$$(command -v "$$target") && [ -f "$$path" ] && [ -x "$$path" ] || { \
			echo "e2e: no SPDK target $$target: set SPDK_TGT to the path of an spdk_tgt, or put one on the PATH" >&2; exit 1; }; \
		case $$path in /*) ;; *) path=$$PWD/$$path ;; esac; \
		found=$${found:+$$found:}$$path; \
	done; unset IFS; echo "$$found"; \
	SPDK_TGT=$$found $(GO) test -count=1 -p 1 -timeout 45m -skip '^TestSimulated' ./test/e2e/... ./internal/adapters/spdk/...

.PHONY: bench-e2e
bench-e2e: ## measure rebuilds on real targets against raw copies (SHAPES, part of a name, selects some; ROUNDS=5)
	@$(GO) test ./test/e2e -count=1 -run TestMeasureRebuilds -bench '^$$' -timeout 3h -measure -shapes '$(SHAPES)' -rounds $(ROUNDS)

.PHONY: bench-online
bench-online: ## measure rebuilds under a live volume on real targets (TIMES=20 freezes and deaths)
	@$(GO) test ./test/e2e -count=1 -run TestMeasureOnline -bench '^$$' -timeout 1h -measure -times $(TIMES)

.PHONY: fmt
fmt: ## format all Go files
	@$(TOOL) golangci-lint fmt ./...
	@if [ -f $(EMBED)/go.mod ]; then cd $(EMBED) && $(TOOL) golangci-lint fmt ./...; fi

.PHONY: generate
generate: ## generate the mocks of the ports and the public aliases
	@$(GO) generate ./...

.PHONY: bench
bench: ## run the benchmarks (BENCH, a regular expression, selects some)
	@$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./internal/... .

.PHONY: soak
soak: ## the whole proof of the domain, every fault at every call, many more random histories (hours; HISTORIES=100000 from seed FIRST=1 on)
	@echo "== the whole proof of the domain"
	@GOGC=400 $(GO) test ./internal/domain -count=1 -run TestEveryPrefix -soak -timeout 6h -v
	@echo "== every fault at every call of a port, and at every JSON-RPC call"
	@$(GO) test ./internal/app -count=1 -run 'FailsOnce$$' -soak -timeout 6h -v
	@echo "== 100,000 random pairs of faults"
	@$(GO) test ./internal/app -count=1 -run 'AtRandom$$' -soak -timeout 6h -v
	@echo "== 20,000 random histories of each property of the use cases"
	@$(GO) test ./internal/app -count=1 -rapid.checks=20000 -timeout 6h
	@echo "== every call of a rebuild under a live volume, and such rebuilds on simulated targets"
	@$(GO) test ./internal/app -count=1 -run 'TestEveryCallOfAnOnlineRebuildFails' -online-every 1 -timeout 1h -v
	@$(GO) test ./internal/app -count=1 -run 'TestEveryCallOfAnOnlineRebuildOnTargetsFails' -online-calls 1 -timeout 6h -v
	@$(GO) test ./test/e2e -count=1 -run TestSimulatedOnline -all-online -timeout 1h -v
	@echo "== a rebuild cancelled at every call of simulated targets"
	@$(GO) test ./internal/app -count=1 -run TestCancelStopsCopiesOnTargets -cancel-every 1 -timeout 1h -v
	@echo "== $(HISTORIES) whole histories of volumes on several hosts"
	@$(GO) test ./test/histories -count=1 -run TestHistories -histories $(HISTORIES) -first $(FIRST) -timeout 12h -v

.PHONY: fuzz
fuzz: ## fuzz the readers of scenario files, PDUs and qcow2 images (FUZZTIME=5m)
	@$(GO) test ./internal/scenario -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZTIME)
	@$(GO) test ./internal/adapters/spdk/nvmetcp -run '^$$' -fuzz FuzzHost -fuzztime $(FUZZTIME)
	@$(GO) test ./internal/adapters/spdk/simtarget/nvmeserver -run '^$$' -fuzz FuzzServer -fuzztime $(FUZZTIME)
	@$(GO) test ./imagefile -run '^$$' -fuzz FuzzOpen -fuzztime $(FUZZTIME)
