#!/usr/bin/env bash
# Clients that nobody here wrote, from npm and PyPI, against the real binary, plain and over TLS.
#
#   tests/interop/run.sh              all of them
#   tests/interop/run.sh NAME...      some: openclaw-node, gateway-client, openclaw-sdk, wscat
#
# What a run needs, how it can be steered and what it leaves behind: run.py.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

if ! command -v python3 >/dev/null; then
    echo "interop: python3 not found" >&2
    [ "${REQUIRE_ALL:-}" = 1 ] && exit 1
    mkdir -p "$root/target"
    echo "interop: python3 not found" >>"$root/target/skipped-tests.txt"
    exit 0
fi

# -B: no __pycache__ beside the sources.
exec python3 -B "$root/tests/interop/run.py" "$@"
