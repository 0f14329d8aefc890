"""Drives kosoku against the echo example, plain and over TLS, and judges the reports.

Called by run.sh inside the virtual environment: MODE ECHO_BINARY OUTPUT_DIRECTORY.
"""

import collections
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

SECTIONS = {
    "quick": ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"],
    "full": ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"],
}
# Cases that may be NON-STRICT, each with its reason. None is.
NON_STRICT: dict[str, str] = {}
# A run takes seconds; this only keeps a hang from lasting for ever.
TIMEOUT_SECONDS = 600


@contextlib.contextmanager
def process(command, pattern, stream):
    """Starts `command` and yields what `pattern` finds in the first line of `stream` it matches."""
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, text=True, **{stream: subprocess.PIPE}
    )
    try:
        for line in getattr(child, stream):
            found = re.search(pattern, line)
            if found:
                # Whatever else it says must not fill the pipe.
                rest = threading.Thread(target=getattr(child, stream).read, daemon=True)
                rest.start()
                yield found.group(1)
                break
        else:
            raise SystemExit(f"conformance: {command[0]} did not start")
    finally:
        child.stdin.close()
        child.terminate()
        child.wait(timeout=10)


def run(name, address, mode, output):
    """Runs the cases against `address`; returns what is wrong, one line each."""
    report = output / name
    shutil.rmtree(report, ignore_errors=True)
    kosoku = [str(Path(sys.executable).with_name("kosoku")), address, "-o", str(report), "-p", "8"]
    for section in SECTIONS[mode]:
        kosoku += ["-i", section]
    done = subprocess.run(kosoku, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    index = report / "index.json"
    if not index.exists():
        return [f"{name}: kosoku wrote no report: {done.stdout}{done.stderr}"]
    wrong, counts = [], collections.Counter()
    for cases in json.loads(index.read_text()).values():
        for case, result in cases.items():
            behavior, close = result["behavior"], result["behaviorClose"]
            counts[behavior] += 1
            is_fine = behavior in ("OK", "INFORMATIONAL") or (
                behavior == "NON-STRICT" and case in NON_STRICT
            )
            if not is_fine or close not in ("OK", "INFORMATIONAL"):
                wrong.append(f"{name}: case {case}: {behavior}, close {close}")
    summary = ", ".join(f"{count} {behavior}" for behavior, count in counts.most_common())
    print(f"conformance: {name}: {summary}")
    if done.returncode != 0 and not wrong:
        wrong.append(f"{name}: kosoku failed: {done.stderr}")
    if not counts:
        wrong.append(f"{name}: no case ran")
    return wrong


def main():
    mode, echo, output = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    with process([echo, "127.0.0.1:0"], r"(\S+:\d+)", "stdout") as address:
        wrong = run("plain", address, mode, output)
    if shutil.which("socat"):
        with process([echo, "127.0.0.1:0", "--self-signed"], r"(\S+:\d+)", "stdout") as address:
            tunnel = [
                "socat", "-d", "-d",
                "TCP-LISTEN:0,bind=127.0.0.1,fork,backlog=64,nodelay",
                f"OPENSSL:{address},verify=0,nodelay",
            ]  # fmt: skip
            with process(tunnel, r"listening on \S+ (127\.0\.0\.1:\d+)", "stderr") as entrance:
                wrong += run("tls", entrance, mode, output)
    elif os.environ.get("REQUIRE_ALL") == "1":
        wrong.append("tls: socat is not installed")
    else:
        print("conformance: SKIPPED: tls, as socat is not installed")
    for line in wrong:
        print(f"conformance: FAILED: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
