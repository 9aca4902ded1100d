#!/usr/bin/env bash
# Runs each fuzz target for a while: fuzz.sh TIME [PREFIX OF THE TARGETS' NAMES]. It fails if
# there is none, so that a renamed target is noticed. With "build" for TIME it only compiles.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: fuzz.sh TIME [PREFIX]}
prefix=${2:-Fuzz}

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz runs one target. Before Go 1.27 the end of the time may itself be taken for a failure
# (go.dev/issue/75804): one without a failing input, of which the target is given a second try.
fuzz() {
	# Minimising an input that is only interesting would take most of the time.
	go test -vet=off -run '^$' -fuzz "^$1\$" -fuzztime "$time" -fuzzminimizetime 10x "$2" 2>&1 | tee "$log"
}

late() { grep -q '^    context deadline exceeded$' "$log" && ! grep -qE 'Failing input|panic:' "$log"; }

export CGO_ENABLED=0 # what is not instrumented is in the build cache from linting
found=0
while IFS=: read -r file target; do
	found=$((found + 1))
	if [ "$time" = build ]; then
		go test -vet=off -fuzz "^$target\$" -c -o /dev/null "./$(dirname "$file")"
		continue
	fi
	echo "== $target in $(dirname "$file") for $time"
	package=./$(dirname "$file")
	fuzz "$target" "$package" || { late && fuzz "$target" "$package"; } || exit 1
done < <(grep -rhoE --with-filename --include='*_test.go' "^func ${prefix}[A-Za-z0-9_]*" . | sed 's|:func |:|' | sort)
[ "$found" -gt 0 ] || { echo "there is no fuzz target $prefix..." >&2; exit 1; }
