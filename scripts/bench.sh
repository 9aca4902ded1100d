#!/usr/bin/env bash
# Compares Athena with the floor on one private PostgreSQL. Arguments go to the program in
# bench/; its README says which of the server's settings it changes and why.
set -euo pipefail
cd "$(dirname "$0")/.."
export POSTGRES_OPTIONS=
exec scripts/with-postgres.sh go run ./bench "$@"
