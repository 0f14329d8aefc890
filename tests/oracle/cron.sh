#!/usr/bin/env bash
# When jobs come, against a second implementation: PyPI's croniter.
#
#   tests/oracle/cron.sh quick    days of change and month ends; jobs of once a day all year
#   tests/oracle/cron.sh full     all of the year, and the days of change in every zone (minutes)
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
