#!/bin/sh
# Runs the Autobahn cases (PyPI kosoku as fuzzing client) against examples/echo.rs.
#
#   run.sh quick   sections 1 to 7 and 10, debug build; for `make test`
#   run.sh full    sections 1 to 7, 9 and 10, release build; for `make conformance`
#
# Both run plain and over TLS (through socat). What is missing on this machine is skipped with a
# note that names it; REQUIRE_ALL=1 makes that a failure.
set -eu
cd "$(dirname "$0")/../.."

mode="${1:-quick}"
target="${CARGO_TARGET_DIR:-target}"
venv="$target/conformance/venv"

skip() {
    if [ "${REQUIRE_ALL:-0}" = 1 ]; then
        echo "conformance: FAILED: $1" >&2
        exit 1
    fi
    echo "conformance: SKIPPED: $1"
    exit 0
}

if [ ! -x "$venv/bin/kosoku" ]; then
    command -v python3 >/dev/null || skip "python3 is not installed"
    python3 -m venv "$venv" 2>/dev/null || skip "python3 cannot create a virtual environment"
    "$venv/bin/pip" install --quiet --disable-pip-version-check kosoku==0.1.0 ||
        skip "kosoku 0.1.0 cannot be installed"
fi

case "$mode" in
quick) cargo build --quiet --example echo && echo_bin="$target/debug/examples/echo" ;;
full) cargo build --quiet --release --example echo && echo_bin="$target/release/examples/echo" ;;
*) echo "usage: run.sh [quick|full]" >&2 && exit 2 ;;
esac

exec "$venv/bin/python" tests/conformance/run.py "$mode" "$echo_bin" "$target/conformance"
