#!/usr/bin/env bash
# The Autobahn WebSocket cases against `examples/echo.rs`, plain and over TLS.
#
#   tests/conformance/run.sh quick    everything but the heavy cases, in seconds (a debug build)
#   tests/conformance/run.sh full     every case of sections 1 to 7, 9 and 10 (a release build)
#
# Sections 12 and 13 are compression, which the gateway declines. What a run needs, how it can be
# steered and what it leaves behind: run.py.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

if ! command -v python3 >/dev/null; then
    echo "conformance: python3 not found" >&2
    [ "${REQUIRE_ALL:-}" = 1 ] && exit 1
    mkdir -p "$root/target"
    echo "conformance: python3 not found" >>"$root/target/skipped-tests.txt"
    exit 0
fi

# -B: no __pycache__ beside the sources.
exec python3 -B "$root/tests/conformance/run.py" "$@"
