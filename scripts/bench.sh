#!/usr/bin/env bash
# Compares Athena with the floor on one private PostgreSQL with its default settings, so that
# a write costs what it costs in production. Arguments go to the program in bench/.
set -euo pipefail
cd "$(dirname "$0")/.."
export POSTGRES_OPTIONS=
exec scripts/with-postgres.sh go run ./bench "$@"
