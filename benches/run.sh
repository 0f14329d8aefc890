#!/usr/bin/env bash
# The benchmark: builds everything in release mode, fetches the peers, measures, writes the report.
#
#   benches/run.sh                     everything (some 30 minutes on 2 cores)
#   benches/run.sh --quick             shorter measurements, three runs each
#   benches/run.sh --rows 1,4          some rows of the table of targets
#   BENCH_PEERS="" benches/run.sh      without the peers that npm brings: "ws openclaw"
#
# The report is target/bench/report.md. What can be absent, and is then skipped with a note: Node
# and npm, and each peer that cannot be installed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
out=$target/bench
peers=$out/peers
cargo=${CARGO:-cargo}
cd "$root"
mkdir -p "$peers"

"$cargo" build --release --locked
"$cargo" build --release --locked --manifest-path benches/Cargo.toml --target-dir "$target/benches"

# Installs a peer from its lock file, once for each version of that file. No package's own
# scripts are run.
install_peer() {
    local from=benches/peers/$1 to=$peers/$1
    if cmp -s "$from/package-lock.json" "$to/installed.json"; then return; fi
    rm -rf "$to" && cp -R "$from" "$to"
    echo "installing peer $1" >&2
    (cd "$to" && npm ci --ignore-scripts --no-audit --no-fund "${@:2}" >npm.log 2>&1) || {
        echo "bench: peer $1 cannot be installed; see $to/npm.log" >&2
        return 1
    }
    cp "$from/package-lock.json" "$to/installed.json"
}

options=()
wanted=${BENCH_PEERS-ws openclaw}
if [[ -z $wanted ]]; then
    echo "bench: without peers, as BENCH_PEERS says" >&2
elif ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "bench: Node or npm not found; its peers are skipped" >&2
else
    if [[ $wanted == *ws* ]] && install_peer ws; then options+=(--node "$peers/ws"); fi
    if [[ $wanted == *openclaw* && $(uname -sm) == "Linux x86_64" ]] &&
        install_peer openclaw --legacy-peer-deps; then
        options+=(--reference "$peers/openclaw")
    fi
fi

exec "$target/benches/release/openclaw-bench" --out "$out" \
    --gateway "$target/release/openclaw-gateway" --floor "$target/benches/release/bench-floor" \
    "${options[@]}" "$@"
