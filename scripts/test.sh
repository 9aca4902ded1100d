#!/usr/bin/env bash
# Runs every test with -race on a private PostgreSQL, then each injection fuzzer (the fuzz
# targets named FuzzInject...) for ten seconds, then those tests that know PostgreSQL once
# more on version 18. With arguments it runs `go test -race` with those arguments and nothing
# else. TEST_TAGS=long adds the tests that take minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

compiler=$(CGO_ENABLED=1 go env CC)
command -v "${compiler%% *}" >/dev/null || scripts/install-debian.sh gcc libc6-dev || {
	echo "the race detector needs a C compiler: install $compiler, or set CC" >&2
	exit 1
}

[ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null || scripts/install-debian.sh pgbouncer || {
	echo "the tests need PgBouncer: install it" >&2
	exit 1
}
command -v redis-server >/dev/null || scripts/install-debian.sh redis-server || {
	echo "the tests need Redis: install redis-server" >&2
	exit 1
}
node18() { command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'; }
node18 || { scripts/install-debian.sh nodejs npm && node18; } || {
	echo "the tests need Node 18 or newer, with npm, for examples/plugin-node: install them" >&2
	exit 1
}
scripts/postgres-bin.sh 18 >/dev/null # now, for it may have to be fetched
server=$(scripts/postgres-bin.sh)
major=$("$server/postgres" --version | sed 's/.*) \([0-9]*\).*/\1/')
[ -e "/usr/share/postgresql/$major/extension/postgis.control" ] ||
	scripts/install-debian.sh "postgresql-$major-postgis-3" "postgresql-$major-postgis-3-scripts" || {
	echo "the tests need PostGIS 3 for PostgreSQL $major: install it" >&2
	exit 1
}

export CGO_ENABLED=1 # its default is 0 on a machine that had no compiler when Go was set up
# Vet is a part of scripts/lint.sh; here it would cost a cold run half a minute.
tests=(go test -race -vet=off -timeout 12m ${TEST_TAGS:+-tags "$TEST_TAGS"})
if [ $# -gt 0 ]; then
	exec scripts/with-postgres.sh "${tests[@]}" "$@"
fi
# The fuzzers are compiled meanwhile: with instrumented dependencies that takes a minute.
# shellcheck disable=SC2016 # expanded by the inner shell
scripts/with-postgres.sh bash -c '
	nice -n 19 scripts/fuzz.sh build FuzzInject &
	"$@" ./...
	status=$?
	wait
	[ $status = 0 ] && scripts/fuzz.sh 10s FuzzInject
' bash "${tests[@]}"

echo "== PostgreSQL 18"
unset ATHENA_TEST_POSTGRES_URI
POSTGRES_VERSION=18 CGO_ENABLED=0 scripts/with-postgres.sh \
	go test -vet=off -timeout 8m ./plugins/postgres ./sdk/sqlbuild
