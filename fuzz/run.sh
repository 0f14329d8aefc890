#!/usr/bin/env bash
# Fuzzes each target for FUZZ_SECONDS (600), FUZZ_JOBS (1) of them side by side.
# Ends with 0 when nothing was found; else names the input of every finding.
# FUZZ_TARGETS="wire hub" chooses; what was learnt stays in fuzz/corpus and is where the next run begins.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-600}
read -ra targets <<<"${FUZZ_TARGETS:-wire protocol config device records hub}"

for target in "${targets[@]}"; do
    [ -f "fuzz/fuzz_targets/$target.rs" ] || { echo "$target is no fuzz target" >&2; exit 2; }
done
command -v cargo-fuzz >/dev/null || {
    echo "cargo-fuzz is missing; install it with: cargo install --locked cargo-fuzz" >&2
    exit 1
}
command -v "${CXX:-c++}" >/dev/null || {
    echo "a C++ compiler is missing, which libFuzzer is built with; install g++ or clang" >&2
    exit 1
}

# Coverage is counted with flags that a stable compiler has, but hides. No sanitizer: the gateway
# has no unsafe code, and without one the same seconds try several times as much.
export RUSTC_BOOTSTRAP=1
built=$PWD/fuzz/target
cargo fuzz build --sanitizer none --target-dir "$built"
host=$(rustc -vV | sed -n 's/^host: //p')

fuzz_one() {
    local target=$1 log=fuzz/artifacts/$1.log
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target" "$built/seeds/$target"
    if FUZZ_SEEDS=$built/seeds/$target "$built/$host/release/$target" \
        -max_total_time="$seconds" -max_len=4096 -timeout=20 -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$target/" \
        "fuzz/corpus/$target" "$built/seeds/$target" >"$log" 2>&1; then
        echo "$target: nothing found; $(sed -n 's/^#\([0-9]*\)\tDONE *\(cov: [0-9]* ft: [0-9]*\).*/\1 runs, \2/p' "$log")"
    else
        grep --text --after-context=3 'panicked at' "$log" | sed "s/^/$target: /" || true
        echo "$target: FOUND $(sed -n 's/.*Test unit written to //p' "$log"); see $log" >&2
        return 1
    fi
}
export -f fuzz_one
export seconds built host

echo "Fuzzing ${targets[*]} for $seconds s each."
printf '%s\n' "${targets[@]}" | xargs -P "${FUZZ_JOBS:-1}" -I{} bash -c 'fuzz_one {}'
