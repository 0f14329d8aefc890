#!/bin/sh
# A sample agent: it "reviews" TASK, slower than builder.sh and with absolute counts.
#
#   reviewer.sh TASK
#
# `session.update` says what the session is now, `session.usage` (in builder.sh) what was added.
set -eu

task=${1:-nothing}
pause=${DEMO_PAUSE:-1}
tokens=0
files=0

status() { printf '{"method":"agent.status","params":{"status":"%s","last_activity":"%s"}}\n' "$1" "$2"; }

status busy "opening the files"
printf 'task: %s\n' "$task"
while [ "$files" -lt 5 ]; do
    sleep "$pause"
    files=$((files + 1))
    tokens=$((tokens + 1500 + 100 * files))
    printf '{"method":"session.update","params":{"totalTokens":%d,"messageCount":%d}}\n' "$tokens" "$files"
    # Members that a log entry has no field for are kept as its `extra`.
    printf '{"level":"info","message":"reviewed a file","file":%d,"findings":%d}\n' "$files" $((files % 2))
done
printf '{"level":"warn","message":"3 findings"}\n'
status idle "reviewed"
# An agent that ends is offline; whoever looks now and then shall see it idle before.
sleep "$pause"
