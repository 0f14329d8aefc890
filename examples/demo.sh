#!/bin/sh
# Shows the gateway at work: starts one, has it start the two agents in agents/, and shows what they
# say until both have ended. It takes some ten seconds, needs no free port of yours, and leaves
# nothing behind.
#
#   demo.sh GATEWAY-BINARY
#
# Exit status: 0 if everything that it is to show was seen, 1 if not, 2 for wrong usage.
set -eu

if [ $# -ne 1 ] || [ ! -x "$1" ]; then
    echo "usage: demo.sh GATEWAY-BINARY (make demo builds one and passes it)" >&2
    exit 2
fi
binary=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
agents=$(cd "$(dirname "$0")/agents" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/openclaw-demo.XXXXXX")
gateway='' tail='' tee=''

say() { printf '%s\n' "demo: $*"; }
fail() {
    echo "demo: $*" >&2
    exit 1
}

# Ends what this script started, by its process ids, and removes what it wrote.
clean_up() {
    code=$?
    trap - EXIT INT TERM
    for pid in $tail $gateway; do
        kill "$pid" 2>/dev/null || true
    done
    # The gateway ends its agents first, with a grace of one second.
    waited=0
    while [ -n "$gateway" ] && kill -0 "$gateway" 2>/dev/null; do
        [ "$waited" -lt 100 ] || kill -KILL "$gateway" 2>/dev/null || true
        waited=$((waited + 1))
        sleep 0.1
    done
    for pid in $tail $tee $gateway; do
        wait "$pid" 2>/dev/null || true
    done
    if [ "$code" -ne 0 ] && [ -s "$dir/gateway.err" ]; then
        echo "demo: what the gateway said:" >&2
        cat "$dir/gateway.err" >&2
    fi
    rm -rf "$dir"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# As a TOML string, within '' and so without escapes.
case $agents in *\'*) fail "cannot run from a directory with ' in its name: $agents" ;; esac
cat >"$dir/demo.toml" <<TOML
[gateway.metrics]
enabled = false

[gateway.spawn]
graceSeconds = 1
envAllow = ["PATH", "DEMO_PAUSE"]

[gateway.agents]
default = "builder"

[gateway.agents.builder]
command = '$agents/builder.sh'
args = ["{task}"]
stdoutReports = true

[gateway.agents.reviewer]
command = '$agents/reviewer.sh'
args = ["{task}"]
stdoutReports = true
TOML

# The owner's commands go over the socket in the state directory: no secret, no key.
client() {
    command=$1
    shift
    "$binary" "$command" --state-dir "$dir/state" "$@"
}

env -u OPENCLAW_CONFIG "$binary" --config "$dir/demo.toml" --state-dir "$dir/state" --port 0 \
    >"$dir/gateway.out" 2>"$dir/gateway.err" &
gateway=$!
waited=0
until grep -q '"event":"listening"' "$dir/gateway.out"; do
    kill -0 "$gateway" 2>/dev/null || fail "the gateway does not start"
    [ "$waited" -lt 200 ] || fail "the gateway does not listen within 20 seconds"
    waited=$((waited + 1))
    sleep 0.1
done
say "a gateway listens at $(sed -n 's/.*"url":"\([^"]*\)".*/\1/p' "$dir/gateway.out")"

# The journal as it grows, seen and kept.
mkfifo "$dir/journal"
tee "$dir/seen" <"$dir/journal" &
tee=$!
# Not through `client`: a function in the background is a shell, and `$!` that shell's id.
"$binary" tail --text --state-dir "$dir/state" >"$dir/journal" &
tail=$!

say 'sessions_spawn builder, reviewer'
client call sessions_spawn '{"agentId":"builder","task":"Release 1.0","model":"claude-sonnet-4","label":"build"}' >/dev/null
client call sessions_spawn '{"agentId":"reviewer","task":"Read the diff","model":"claude-opus-4","label":"review"}' >/dev/null

# One object a line: "name status last activity".
statuses() {
    client call agents.list --json | tr '{' '\n' |
        sed -n 's/.*"name":"\([^"]*\)","status":"\([^"]*\)".*"last_activity":"\([^"]*\)".*/\1 \2 (\3)/p'
}
# One a line: "agent status".
spawns() {
    { client call spawn.list --json | tr -d '\n'; echo; } | sed 's/"spawnId"/\
&/g' | sed -n 's/^"spawnId":"[^"]*","status":"\([^"]*\)".*"agent":"\([^"]*\)".*/\2 \1/p'
}

rounds=0
: >"$dir/statuses" >"$dir/tables"
while :; do
    statuses >"$dir/now"
    while read -r line; do
        grep -qxF "$line" "$dir/statuses" || say "status: $line"
    done <"$dir/now"
    cat "$dir/now" >>"$dir/statuses"
    client sessions | tee -a "$dir/tables"
    spawns >"$dir/spawns"
    if ! grep -Eq ' (running|queued)$' "$dir/spawns"; then
        break
    fi
    [ "$rounds" -lt 80 ] || fail "the agents do not end: $(cat "$dir/spawns")"
    rounds=$((rounds + 1))
    # Half of what the agents pause, so that no status is missed.
    sleep 0.5
done
client sessions >"$dir/last"
say 'sessions at the end:'
cat "$dir/last"
say 'spawns at the end:'
cat "$dir/spawns"

# Everything that was to be seen.
missing=''
for agent in builder reviewer; do
    grep -qx "$agent completed" "$dir/spawns" || missing="$missing; $agent has not completed"
    counts=$(sed -n "s/^$agent:[^ ]* .* \([1-9][0-9]*\)  *[0-9][0-9]*  .*/\1/p" "$dir/tables" | sort -u | wc -l)
    [ "$counts" -ge 2 ] || missing="$missing; the tokens of $agent did not grow"
    for status in busy idle; do
        grep -q "^$agent $status " "$dir/statuses" || missing="$missing; $agent was never $status"
    done
    grep -q " $agent " "$dir/seen" || missing="$missing; nothing of $agent was in the journal"
done
[ -z "$missing" ] || fail "incomplete${missing}"
say 'both agents have done their work'
