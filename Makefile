# The commands of this repository. Only `test`, `fuzz` and `bench` need more than Go: a
# PostgreSQL, which scripts/with-postgres.sh starts (on Debian it installs it first), and for
# `test` PgBouncer, PostGIS and Node with npm, from which PostgreSQL 18 comes.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 60s
CASES    ?= 10000
LDFLAGS   = -s -w -X main.version=$(VERSION)

.PHONY: build run test bench fuzz lint generate check

build: ## bin/athena and every plugin in bin/plugins
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/athena ./cmd/athena
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/plugins/ ./plugins/...

run: build ## the gateway on 127.0.0.1:4052 with a sample database; the admin key is in data/admin.key
	ATHENA_API__ADMIN_KEY_FILE=data/admin.key bin/athena server --config config.yaml

test: ## every test, with -race, on a private PostgreSQL; ARGS='-run X ./core/...' narrows it
	scripts/test.sh $(ARGS)

bench: ## Athena against the floor, in one run on one private PostgreSQL
	scripts/bench.sh $(ARGS)

fuzz: ## CASES random statements and rows against their references, then each fuzz target for FUZZTIME
	ATHENA_TEST_CASES=$(CASES) scripts/with-postgres.sh go test -timeout 60m -run 'TestDifferential|TestRowsEqualToTheServers' ./plugins/...
	scripts/with-postgres.sh scripts/fuzz.sh $(FUZZTIME)

lint: ## gofmt, go vet, staticcheck
	scripts/lint.sh

generate: ## Go code of sdk/pluginpb/*.proto
	go -C tools run ./protogen .. sdk/pluginpb

check: lint ## everything, with the tests that take minutes
	scripts/generated-clean.sh
	TEST_TAGS=long scripts/test.sh
