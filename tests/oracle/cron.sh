#!/usr/bin/env bash
# When jobs come, against a second implementation: PyPI's croniter.
#
#   tests/oracle/cron.sh quick    fifty schedules over a year, each in its time zone
#   tests/oracle/cron.sh full     besides, each in every zone on the days on which clocks change
#
# What is compared, and what a run needs and leaves behind: cron.py.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

if ! command -v python3 >/dev/null; then
    echo "cron-oracle: python3 not found" >&2
    [ "${REQUIRE_ALL:-}" = 1 ] && exit 1
    mkdir -p "$root/target"
    echo "cron-oracle: python3 not found" >>"$root/target/skipped-tests.txt"
    exit 0
fi

# -B: no __pycache__ beside the sources.
exec python3 -B "$root/tests/oracle/cron.py" "$@"
