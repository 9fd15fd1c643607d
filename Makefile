# k3fs. `make` alone lists the targets.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOFLAGS  := -trimpath
LDFLAGS  := -s -w -X main.version=$(VERSION)
PACKAGES := ./...
# The packages whose tests also run under the race detector: everything but the end-to-end tests,
# which drive a daemon in a process of its own.
RACE     ?= ./metastore/... ./chunkstore/... ./tenancy/... ./namespace/... ./fusefs/... ./s3api/... ./daemon/...
# Tests of damage on the disk, one operation after the other: unit runs them.
NORACE   := ^(TestFlippedByte|TestMissingFile|TestLogCutAnywhere|TestFullDisk|TestPowerCut|TestKilled)$$
FUZZTIME ?= 2000x
STATES   ?= 100000
DATA     ?=
BENCH    ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nVariables: DATA=dir (run), DESTDIR=, PREFIX=/usr/local (install), BENCH="arguments" (bench), FUZZTIME=2000x or 10m (fuzz), STATES=100000 (crash),\n           K3FS_E2E=long (e2e)\n'

.PHONY: build
build: ## build bin/k3fs, a static binary; TAGS=pkcs11: with hardware security modules, which takes cgo
	@CGO_ENABLED=$(if $(TAGS),1,0) go build $(GOFLAGS) -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/k3fs ./cmd/k3fs

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
# Where mount(8) looks for its helpers.
SBINDIR    ?= /sbin

.PHONY: man
man: build ## write manual pages to bin/man
	@bin/k3fs man bin/man

.PHONY: generate
generate: ## make anew the code and documents that are made
	@go generate ./namespace ./s3api ./daemon/adminapi

.PHONY: install
install: build ## install k3fs, mount(8)'s helpers and the systemd files, below DESTDIR
	@install -D -m 0755 bin/k3fs $(DESTDIR)$(PREFIX)/bin/k3fs
	@install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	@bin/k3fs man $(DESTDIR)$(PREFIX)/share/man/man1
	@bin/k3fs completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/k3fs
	@for helper in mount.fuse.k3fs mount.k3fs; do ln -sf $(PREFIX)/bin/k3fs $(DESTDIR)$(SBINDIR)/$$helper; done
	@install -D -m 0644 systemd/k3fs.service $(DESTDIR)$(SYSCONFDIR)/systemd/system/k3fs.service
	@install -D -m 0644 systemd/k3fs.tmpfiles $(DESTDIR)$(SYSCONFDIR)/tmpfiles.d/k3fs.conf
	@sed -i 's|/usr/local/bin/k3fs|$(PREFIX)/bin/k3fs|' $(DESTDIR)$(SYSCONFDIR)/systemd/system/k3fs.service
	@echo "installed; next: systemd-tmpfiles --create k3fs.conf && systemctl enable --now k3fs"

.PHONY: run
run: ## check, build and start k3fs with both doors, on a throw-away directory or on DATA=dir
	@scripts/run "$(DATA)"

.PHONY: deps
deps: ## install what the tests need and lack (Debian, Go and npm packages)
	@.ci/deps

.PHONY: test
test: ## run everything: deps, lint, unit, race, crash states, fuzz smoke, end-to-end tests
	@$(MAKE) --no-print-directory deps
	@for step in build lint unit race crash fuzz e2e; do \
	  begun=$$SECONDS; echo "== $$step"; $(MAKE) --no-print-directory $$step; echo "== $$step: $$((SECONDS - begun)) s"; done

.PHONY: lint
lint: bin/tools/staticcheck ## check format, go vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  [ -z "$$unformatted" ] || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	@go vet $(PACKAGES)
	@bin/tools/staticcheck $(PACKAGES)
	@go vet -tags pkcs11 $(PKCS11)
	@bin/tools/staticcheck -tags pkcs11 $(PKCS11)

.PHONY: unit
unit: ## run every test but the end-to-end ones
	@go test $$(go list $(PACKAGES) | grep -v '^k3fs/e2e')
	@go test -tags pkcs11 ./tenancy/keyservice/pkcs11

.PHONY: race
race: ## run the tests of RACE="packages" under the race detector, briefly
	@go test -race -short -skip '$(NORACE)' $(RACE)

.PHONY: crash
crash: ## check STATES=100000 crash states of the chunk store and the namespace
	@scripts/crash $(STATES)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (runs or time) each
	@scripts/fuzz $(FUZZTIME)

.PHONY: e2e
e2e: build ## run the end-to-end tests on bin/k3fs (K3FS_E2E=long for a release's rounds)
	@K3FS_BIN=$(CURDIR)/bin/k3fs go test -count=1 -p 1 -timeout $(if $(filter long,$(K3FS_E2E)),5h,25m) ./e2e/...

.PHONY: bench
bench: build bin/tools/benchstat ## measure against the disk itself and its peers; BENCH= passes arguments
	@K3FS_BIN=$(CURDIR)/bin/k3fs go run ./e2e/bench $(BENCH)

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin e2e/js/node_modules

bin/tools/%: tools/go.mod tools/go.sum
	@mkdir -p $(@D)
	@go build -C tools -o $(CURDIR)/$@ $$(sed -nE 's|^\t(tool )?([^ ]*/$*)$$|\2|p' tools/go.mod)
