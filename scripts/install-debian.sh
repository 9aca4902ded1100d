#!/usr/bin/env bash
# Installs Debian packages; fails where that is not possible.
set -euo pipefail
command -v apt-get >/dev/null || exit 1
root=()
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || exit 1
	root=(sudo)
fi
echo "installing $*" >&2
export DEBIAN_FRONTEND=noninteractive
"${root[@]}" apt-get update -q >&2
"${root[@]}" apt-get install -yq --no-install-recommends "$@" >&2
