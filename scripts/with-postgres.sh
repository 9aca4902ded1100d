#!/usr/bin/env bash
# Runs a command with ATHENA_TEST_POSTGRES_URI naming a PostgreSQL server of its own:
#
#     scripts/with-postgres.sh go test ./...
#
# The server listens on a free port of the loopback, runs as a user that is not root, and is
# stopped and removed with its data when the command ends. On Debian and its kin PostgreSQL
# is installed if it is missing. If ATHENA_TEST_POSTGRES_URI is set, that server is used.
# POSTGRES_VERSION=18 takes that version's binaries (see postgres-bin.sh), also for the servers
# that tests start for themselves.
# POSTGRES_OPTIONS replaces the options below, which trade safety of the data for speed.
set -euo pipefail

[ $# -gt 0 ] || { echo "usage: $0 COMMAND..." >&2; exit 2; }
[ -z "${ATHENA_TEST_POSTGRES_URI:-}" ] || exec "$@"

options=${POSTGRES_OPTIONS--c fsync=off -c synchronous_commit=off -c full_page_writes=off}

bin=$("$(dirname "$0")/postgres-bin.sh" "${POSTGRES_VERSION:-}")
dir=$(mktemp -d "${TMPDIR:-/tmp}/athena-pg.XXXXXX")
server=

cleanup() {
	local code=$?
	trap - EXIT
	if [ -n "$server" ]; then
		kill -INT "$server" 2>/dev/null || true # a fast shutdown
		wait "$server" 2>/dev/null || true
	fi
	rm -rf "$dir"
	exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

as=() # how to run the server's binaries
if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses root
	user=postgres
	id -u postgres >/dev/null 2>&1 || user=nobody
	command -v setpriv >/dev/null || { echo "as root this needs setpriv (util-linux); or run it as another user" >&2; exit 1; }
	as=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --init-groups)
	chown "$user" "$dir"
fi
stops_with_us=("${as[@]}")
if command -v setpriv >/dev/null; then # Linux: the server ends even if this script is killed
	stops_with_us=(setpriv --pdeathsig INT "${as[@]:1}")
fi

cd "$dir" # a folder the server's user may enter
"${as[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >"$dir/initdb.log" 2>&1 ||
	"${as[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C -N >"$dir/initdb.log" 2>&1 ||
	{ cat "$dir/initdb.log" >&2; exit 1; }

started() { # starts the server on port $1; fails if it does not come up
	# shellcheck disable=SC2086 # the options are words
	"${stops_with_us[@]}" "$bin/postgres" -D "$dir/data" -p "$1" -h 127.0.0.1 -k "$dir" \
		-c max_connections=300 $options >"$dir/server.log" 2>&1 &
	server=$!
	for _ in $(seq 300); do
		if grep -q 'ready to accept connections' "$dir/server.log"; then return 0; fi
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	kill -QUIT "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	server=
	return 1
}

for attempt in 1 2 3 4 5; do
	port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
	if started "$port"; then break; fi
	[ "$attempt" -lt 5 ] && grep -q 'could not bind' "$dir/server.log" && continue # the port is taken
	echo "PostgreSQL did not start:" >&2
	cat "$dir/server.log" >&2
	exit 1
done

cd "$OLDPWD"
export ATHENA_TEST_POSTGRES_BIN=$bin
export ATHENA_TEST_POSTGRES_URI="postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable"
"$@"
