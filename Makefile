# Everything a newcomer needs is `make up` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
GO ?= go
MODULE := build/libmizzen.so
# cgocheck=0: memory goes to and fro across Envoy's C ABI, and the checker ends the process over patterns that are safe for the
# length of a call (docs/architecture.md, "Go inside Envoy").
MODULE_FLAGS := -trimpath -buildmode=c-shared -ldflags="-s -w -X=runtime.godebugDefault=cgocheck=0"
# No version stamp: a commit that changes no code then changes no module, and the tests need not build it again.
WASM_FLAGS := -trimpath -buildvcs=false -buildmode=c-shared -ldflags="-s -w"
POLICIES := tracing canary ratelimit fault
ENVOY = $$(scripts/envoy install)
KUBE = $$(scripts/kube api)
# The packages whose tests run a real API server.
KUBE_TESTS := ./integration/kubetest ./integration/kube/...
GOLANG := build/libmizzen-golang.so
# The packages whose tests take longest. They begin first: whoever begins last is waited for alone.
LONGEST := ./integration/scenarios ./integration/kube ./integration/standalone
# Where CI or a careful developer wants no test skipped.
REQUIRE ?= 1

# Where make images puts Mizzen's images, and their tag.
HUB ?= mizzen
TAG ?= dev

# How long make soak runs.
SOAK ?= 10m
# How long each target of make fuzz runs.
FUZZ ?= 20s

.PHONY: help build wasm golang golanghost up test test-kube test-compose test-cluster images conformance check generate bench bench-controlplane bench-source bench-injector soak fuzz collector clean envoy FORCE

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: bin/mizzen $(MODULE) ## bin/mizzen and the dynamic module build/libmizzen.so

bin/mizzen: FORCE
	@[ -e $@ ] || echo "building $@, which takes some minutes the first time"
	@$(GO) build -o $@ ./cmd/mizzen

$(MODULE): FORCE
	@[ -e $@ ] || echo "building $@"
	@mkdir -p build
	@CGO_ENABLED=1 $(GO) build $(MODULE_FLAGS) -o $@ ./filters/cmd/mizzen && rm -f build/libmizzen.h

golang: $(GOLANG) ## build/libmizzen-golang.so, for the golang filter of envoyproxy/envoy:contrib-*

$(GOLANG): FORCE
	@mkdir -p build
	@CGO_ENABLED=1 $(GO) build -trimpath -buildmode=c-shared -ldflags="-s -w" -o $@ ./filters/cmd/golang && rm -f build/libmizzen-golang.h

wasm: ## build/mizzen.wasm, and build/mizzen-canary.wasm and so on with one policy each
	@mkdir -p build
	@GOOS=wasip1 GOARCH=wasm $(GO) build $(WASM_FLAGS) -o build/mizzen.wasm ./wasm/cmd/mizzen
	@for p in $(POLICIES); do GOOS=wasip1 GOARCH=wasm $(GO) build $(WASM_FLAGS) -o build/mizzen-$$p.wasm ./wasm/cmd/$$p || exit; done

golanghost: ## build/libgolanghost.so, which runs contrib golang libraries in a stock Envoy
	@scripts/golanghost build/libgolanghost.so

envoy: ## a stock Envoy in .cache/envoy (or the one of ENVOY_BIN or PATH)
	@scripts/envoy install

collector: .cache/collector/collector ## an OpenTelemetry Collector for tests, in .cache/collector

.cache/collector/collector: tools/collector/main.go tools/collector/go.mod tools/collector/go.sum
	@mkdir -p $(@D)
	@echo "building an OpenTelemetry Collector, which takes some minutes the first time"
	@cd tools/collector && CGO_ENABLED=0 $(GO) build -o ../../$@ . || [ "$(REQUIRE)" != 1 ]

up: build ## the sample mesh on real Envoys; Ctrl-C stops it
	@envoy=$(ENVOY) && exec bin/mizzen up --envoy "$$envoy" -f examples/shop

test: build wasm golang collector ## all tests, with a real Envoy: first the policy corpus on every executor, with its counts
	@scripts/packages
	@scripts/zipkin install >/dev/null || [ "$(REQUIRE)" != 1 ]
	@$(MAKE) --no-print-directory conformance; corpus=$$?; \
		envoy=$(ENVOY) && kube=$(KUBE) && MIZZEN_KUBE_BIN="$$kube" MIZZEN_CONFORMANCE=done MIZZEN_REQUIRE=$(REQUIRE) MIZZEN_REQUIRE_REDIS=$(REQUIRE) ENVOY_BIN="$$envoy" MIZZEN_MODULE="$(CURDIR)/$(MODULE)" MIZZEN_BIN="$(CURDIR)/bin/mizzen" MIZZEN_GOLANG="$(CURDIR)/$(GOLANG)" \
		$(GO) test -timeout 20m $(LONGEST) ./... && exit $$corpus

test-kube: build ## the tests with a real API server, which is built first (5 minutes, once)
	@kube=$(KUBE) && envoy=$(ENVOY) && MIZZEN_KUBE_BIN="$$kube" MIZZEN_REQUIRE=$(REQUIRE) ENVOY_BIN="$$envoy" MIZZEN_MODULE="$(CURDIR)/$(MODULE)" MIZZEN_BIN="$(CURDIR)/bin/mizzen" \
		$(GO) test -timeout 20m $(KUBE_TESTS)

test-cluster: $(MODULE) ## Mizzen in a real Kubernetes of one node: pods, probes, upgrades under load (root; the first time 10 minutes)
	@scripts/packages node
	@scripts/kube node >/dev/null && envoy=$(ENVOY) && MIZZEN_CLUSTER=1 MIZZEN_REQUIRE=$(REQUIRE) ENVOY_BIN="$$envoy" MIZZEN_MODULE="$(CURDIR)/$(MODULE)" \
		$(GO) test -count=1 -timeout 40m -v ./integration/cluster

test-compose: ## docker-compose.yaml on a Docker engine of the test's own, with stand-ins of the public images (long, the first time)
	@scripts/packages compose
	@$(GO) mod download
	@compose=$$(scripts/compose install) && envoy=$(ENVOY) && MIZZEN_COMPOSE="$$compose" ENVOY_BIN="$$envoy" MIZZEN_REQUIRE=$(REQUIRE) \
		$(GO) test -timeout 40m -count=1 -v ./integration/compose

images: ## Mizzen's images for a cluster, HUB/controlplane:TAG and so on, with a Docker engine; PUSH=1 pushes them
	@for i in controlplane proxy module app; do \
		docker build --target $$i --build-arg GOPROXY --build-arg GOFLAGS -t $(HUB)/$$i:$(TAG) . || exit 1; \
		[ -z "$(PUSH)" ] || docker push $(HUB)/$$i:$(TAG) || exit 1; done

conformance: build ## every policy case on every executor; ends with a line per executor
	@envoy=$(ENVOY) && mkdir -p build && log=build/conformance.log && { \
		MIZZEN_REQUIRE=$(REQUIRE) ENVOY_BIN="$$envoy" MIZZEN_MODULE="$(CURDIR)/$(MODULE)" \
			$(GO) test -timeout 20m -count=1 -v ./filters/conformance ./integration/conformance >$$log 2>&1 || status=$$?; \
		[ -z "$$status" ] || grep -e FAIL -e 'steps\[' -e ': counter ' -e '^panic' -e Envoy $$log | cut -c1-1000; \
		grep -e '^executor ' -e '^note: ' $$log; exit $${status:-0}; }

check: generate ## generated files, formatting, vet, lint, layering; fails if anything is off
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt these files:"; echo "$$out"; exit 1; }
	@$(GO) vet ./...
	@$(GO) tool -modfile=tools/go.mod staticcheck ./...
	@$(GO) test ./internal/layering
	@$(GO) mod tidy -diff
	@git diff --exit-code -- docs controlplane/istio/schema charts/mizzen/crds || { echo "generated files were stale: commit them"; exit 1; }

generate: ## docs and schemas made from code
	@$(GO) test ./controlplane/istio ./controlplane/crd -update >/dev/null

bench: build wasm golang golanghost ## one sidecar hop: no filter, Envoy's native filters, our chain in every host, as ratios; time to start 20 workloads
	@envoy=$(ENVOY) && ENVOY_BIN="$$envoy" MIZZEN_MODULE="$(CURDIR)/$(MODULE)" sh -c '$(GO) run ./integration/bench && $(GO) run ./integration/bench/up'

bench-controlplane: bin/mizzen ## 100, 1,000 and 10,000 services with 1, 100 and 1,000 proxies: first configuration, and what one change costs
	@$(GO) run ./integration/bench/controlplane

bench-source: ## the control plane's reading of a cluster of 1,000 and 5,000 services: time until ready, CPU and memory (needs scripts/kube api)
	@$(GO) run ./integration/bench/source

bench-injector: bin/mizzen ## the injector: admissions per second, p99 at 200 per second, and memory
	@$(GO) run ./integration/bench/injector

soak: build wasm golang golanghost ## every host under load for SOAK (10m), its configuration changed every second; memory as ratios
	@envoy=$(ENVOY) && ENVOY_BIN="$$envoy" $(GO) run ./integration/soak -duration $(SOAK)

fuzz: ## every fuzz target for FUZZ (20s)
	@scripts/fuzz $(FUZZ)

clean: ## build output and caches of this folder
	@rm -rf bin build .cache
