#!/usr/bin/env bash
# Fails if the generated code is not what its sources give.
set -euo pipefail
cd "$(dirname "$0")/.."
before=$(cksum sdk/pluginpb/*)
go -C tools run ./protogen .. sdk/pluginpb
if [ "$before" != "$(cksum sdk/pluginpb/*)" ]; then
	echo "the generated code was not up to date; it is now: commit it" >&2
	git --no-pager diff --stat -- sdk/pluginpb >&2
	exit 1
fi
