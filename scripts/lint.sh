#!/usr/bin/env bash
# gofmt, go vet and staticcheck over both modules. Without cgo, to share its build cache
# with the plugins that the tests build.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "run gofmt -w on:" >&2; echo "$unformatted" >&2; exit 1; }
go vet ./...
go -C tools vet ./...
go tool -modfile=tools/go.mod staticcheck ./...
