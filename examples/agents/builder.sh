#!/bin/sh
# A sample agent: it "builds" TASK and reports what it does as JSON lines on its standard output.
#
#   builder.sh TASK
#
# The gateway starts it from a template with `stdoutReports = true` (see ../demo.sh), so it needs
# no WebSocket, no credential and no library. A line without `method` is a log entry; reports that
# name no session are about its own.
set -eu

task=${1:-nothing}
pause=${DEMO_PAUSE:-1}

status() { printf '{"method":"agent.status","params":{"status":"%s","last_activity":"%s"}}\n' "$1" "$2"; }
usage() { printf '{"method":"session.usage","params":{"inputTokens":%d,"outputTokens":%d,"cost":%s,"messages":1}}\n' "$1" "$2" "$3"; }
log() { printf '{"level":"%s","message":"%s"}\n' "$1" "$2"; }

status busy "reading the task"
# Text that is not ours is printed as it is, not put into JSON by hand.
printf 'task: %s\n' "$task"
for step in configure compile link test; do
    status busy "$step"
    log info "$step: begins"
    sleep "$pause"
    usage 900 240 0.01
    log info "$step: done"
done
# What goes to standard error is a warning.
echo "one test is slow" >&2
status idle "built"
# An agent that ends is offline; whoever looks now and then shall see it idle before.
sleep "$pause"
