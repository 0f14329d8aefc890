"""Runs the Autobahn cases against `examples/echo.rs`: plain, then over TLS.

`run.py quick|full`, called by `run.sh`. Owns the processes of a run (the echo server, the TLS
client, the fuzzing client) and the tools they need; `verdict.py` decides what their report means.

The fuzzing client is PyPI's `kosoku`, installed into `target/conformance/venv`. It speaks no TLS,
so that half goes through `socat` or `stunnel`, which verifies the server's certificate and is all
that stands between. A tool that cannot be had skips what needs it, by name, with a line in
`target/skipped-tests.txt`; nothing else is skipped, and `REQUIRE_ALL=1` makes it a failure.

`ECHO_BIN` names a server to test instead of the built example (`ECHO_BIN BIND [CERT KEY]`,
first line of output `listening on IP:PORT`).

Reports stay in `target/conformance/plain` and `tls` (`index.html` is for people), what the
processes said in `*.log`. Exit code: 0 passed or skipped, 1 failed, 2 wrong usage.
"""

import fcntl
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import verdict

CLIENT = "kosoku"
CLIENT_VERSION = "0.1.0"
PYTHON_MIN = (3, 10)  # The client's own requirement.

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "conformance"

ECHO_ANNOUNCES = r"^(?:listening on )?(\S+:\d+)\s*$"

# A tool that installs, or a process that starts, later than this does not.
INSTALL_SECONDS = 120
START_SECONDS = 15
STOP_SECONDS = 5


@dataclass(frozen=True)
class Batch:
    """Cases that run in one go, and how many of them at once."""

    patterns: list[str]
    parallel: int


@dataclass(frozen=True)
class Mode:
    """How much to run, on which build, and how long all of it may take."""

    batches: list[Batch]
    cargo_flags: list[str]
    seconds: int


# The short cases use little of the processor, and some of them only wait: many run at once.
SHORT = Batch([f"{section}.*" for section in verdict.SECTIONS if section != "9"], parallel=8)
# Section 9 moves up to 16 MiB in one message and measures time: one case per core of a small
# machine. `quick` takes the lightest of each kind, on the build that `cargo test` made anyway.
MODES = {
    "quick": Mode([SHORT, Batch(["9.1.1", "9.2.1", "9.7.1", "9.8.1"], 2)], [], 120),
    "full": Mode([SHORT, Batch(["9.*"], 2)], ["--release"], 1200),
}


@dataclass(frozen=True)
class Plan:
    """What both transports of a run share. `deadline` is on the monotonic clock, in seconds."""

    client: Path
    batches: list[Batch]
    allowed: dict[str, str]
    deadline: float


class Missing(Exception):
    """A tool that this machine lacks: what needs it is skipped, or fails under REQUIRE_ALL."""


class Broken(Exception):
    """The run could not be carried out, and that is a failure."""


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in MODES:
        print(f"usage: run.sh {'|'.join(MODES)}", file=sys.stderr)
        return 2
    # An interrupt of either kind unwinds, so that every process started here is ended here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    mode = MODES[sys.argv[1]]
    WORK.mkdir(parents=True, exist_ok=True)
    with open(WORK / "lock", "w") as lock:
        # Two runs in one tree would write over each other's reports: the second waits.
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return 0 if run(mode) else 1
        except Missing as missing:
            return 0 if skip(f"conformance: {missing}") else 1
        except Broken as broken:
            print(f"conformance: {broken}", file=sys.stderr)
            return 1


def run(mode):
    """Both transports. True if all that ran was as it should be."""
    judge_is_sound()
    allowed = allowances()
    client = install_client()
    echo = os.environ.get("ECHO_BIN") or build_echo(mode)
    (WORK / "client.log").unlink(missing_ok=True)
    plan = Plan(client, mode.batches, allowed, time.monotonic() + mode.seconds)
    passed = transport("plain", [echo, "127.0.0.1:0"], address_as_it_is, plan)
    try:
        wrap = find_tls_client()
        cert, key = make_certificate()
    except Missing as missing:
        return skip(f"conformance over TLS: {missing}") and passed
    return transport("tls", [echo, "127.0.0.1:0", cert, key], wrap, plan) and passed


def transport(name, echo, wrap, plan):
    """Starts the server and the TLS client, runs the cases and judges them.

    `wrap(address)` is a context in which the fuzzing client finds the server at what it yields.
    """
    outcomes = {}
    report = WORK / name
    # A report of an earlier run must not pass for this one's.
    shutil.rmtree(report, ignore_errors=True)
    started = time.monotonic()
    with listening(f"echo-{name}", echo, "stdout", ECHO_ANNOUNCES) as (server, address):
        with wrap(address) as target:
            for number, batch in enumerate(plan.batches):
                directory = report / str(number)
                fuzz(plan, target, batch, directory)
                outcomes.update(verdict.read_report(directory))
        stopped_early = server.poll() is not None
    patterns = [pattern for batch in plan.batches for pattern in batch.patterns]
    result = verdict.judge(verdict.select(patterns), outcomes, plan.allowed)
    if stopped_early:
        result.problems.append(f"the server ended by itself, with code {server.returncode}")
    # A connection's panic is caught by the server and may still satisfy a case.
    if "panicked at" in (WORK / f"echo-{name}.log").read_text(errors="replace"):
        result.problems.append(f"the server panicked: see {WORK / f'echo-{name}.log'}")
    print(f"\nconformance, {name}, in {time.monotonic() - started:.1f} s\n{result.table}")
    for remark in result.remarks:
        print(f"note: {remark}")
    for problem in result.problems:
        print(f"PROBLEM: {problem}")
    if result.problems:
        print(f"reports: {report}/*/index.html")
    sys.stdout.flush()
    return not result.problems


def fuzz(plan, target, batch, directory):
    """Runs one batch. The client's exit code says less than its report, which is judged later."""
    command = [plan.client, f"ws://{target}", "-p", str(batch.parallel), "-o", str(directory)]
    for pattern in batch.patterns:
        command += ["-i", pattern]
    with open(WORK / "client.log", "ab") as log, process(command, stdout=log, stderr=log) as child:
        try:
            child.wait(timeout=max(0, plan.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # Its cases are then missing from the report, which fails the run.
            print(f"conformance: out of time in {' '.join(batch.patterns)}", file=sys.stderr)


# ---- tools


def judge_is_sound():
    """Tests the judge before trusting it: a judge that passes everything is worse than none."""
    suite = unittest.defaultTestLoader.discover(str(HERE), "test_*.py")
    with open(WORK / "selftest.log", "w") as log:
        result = unittest.TextTestRunner(stream=log).run(suite)
    if not result.wasSuccessful() or result.testsRun == 0:
        raise Broken(f"the driver's own tests fail: see {WORK / 'selftest.log'}")


def allowances():
    path = HERE / "allowed-non-strict.txt"
    try:
        return verdict.read_allowed(path.read_text())
    except ValueError as error:
        raise Broken(f"{path.relative_to(ROOT)}, {error}") from error


def install_client():
    """The path of the fuzzing client, installed if it is not there yet."""
    if sys.version_info < PYTHON_MIN:
        raise Missing(f"python {'.'.join(map(str, PYTHON_MIN))} or later not found")
    venv = WORK / "venv"
    # The mark is made last, so that an installation cut short is begun again. It names the place
    # too: the programs in a venv do not survive its being moved or copied.
    mark = venv / "installed"
    content = f"{CLIENT} {CLIENT_VERSION} in {venv}\n"
    if not mark.exists() or mark.read_text() != content:
        shutil.rmtree(venv, ignore_errors=True)
        pip = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--retries", "1"]
        wanted = ["--only-binary", ":all:", "--no-deps", f"{CLIENT}=={CLIENT_VERSION}"]
        try:
            quietly([sys.executable, "-m", "venv", venv])
            quietly([*pip, "--disable-pip-version-check", *wanted])
        except Missing as missing:
            raise Missing(f"{CLIENT} {CLIENT_VERSION} could not be installed ({missing})") from None
        mark.write_text(content)
    return venv / "bin" / CLIENT


def build_echo(mode):
    """The path of the example, as cargo tells it: the target directory may be anywhere."""
    command = ["cargo", "build", "--example", "echo", "--message-format=json-render-diagnostics"]
    command += mode.cargo_flags
    with process(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as build:
        lines = build.communicate()[0].splitlines()
    if build.returncode != 0:
        raise Broken("examples/echo.rs does not build")
    for line in lines:
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "echo":
            return message["executable"]
    raise Broken("cargo built no examples/echo.rs")


def find_tls_client():
    """How to reach a TLS server with a client that has no TLS: `wrap(address)`."""
    if socat := shutil.which("socat"):
        return lambda address: socat_client(socat, address)
    if stunnel := shutil.which("stunnel4") or shutil.which("stunnel"):
        return lambda address: stunnel_client(stunnel, address)
    raise Missing("socat or stunnel4 not found")


def make_certificate():
    """A certificate for `localhost` and its key, fresh for every run."""
    openssl = shutil.which("openssl")
    if not openssl:
        raise Missing("openssl not found")
    cert, key = WORK / "cert.pem", WORK / "key.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-days", "2", "-keyout", key, "-out", cert]
    quietly([openssl, "req", "-x509", *curve, *name, *files])
    return cert, key


@contextmanager
def socat_client(socat, address):
    # Two -d make it announce its port.
    listen = "TCP-LISTEN:0,bind=127.0.0.1,fork,backlog=64"
    connect = f"OPENSSL:{address},cafile={WORK / 'cert.pem'},verify=1,commonname=localhost"
    command = [socat, "-d", "-d", "-b", "65536", listen, connect]
    announcement = r"listening on AF=2 (127\.0\.0\.1:\d+)"
    with listening("socat", command, "stderr", announcement) as (_, local):
        yield local


@contextmanager
def stunnel_client(stunnel, address):
    # stunnel does not say which port it got, but it takes a listening socket, as from systemd:
    # descriptor 3, for the process that LISTEN_PID names. It then ignores `accept`, but wants one.
    config = WORK / "stunnel.conf"
    lines = ["foreground = yes", "pid =", "[echo]", "client = yes", f"connect = {address}"]
    lines += [
        "accept = 127.0.0.1:0",
        "verifyChain = yes",
        f"CAfile = {WORK / 'cert.pem'}",
        "checkHost = localhost",
    ]
    config.write_text("\n".join(lines) + "\n")
    become = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3);"
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        fd = listener.fileno()
        command = [sys.executable, "-c", become, str(fd), stunnel, str(config)]
        with open(WORK / "stunnel.log", "wb") as log:
            with process(command, pass_fds=[fd], stdout=log, stderr=log):
                port = listener.getsockname()[1]
                # Held open here, it would keep connections waiting for a stunnel that gave up.
                listener.close()
                yield f"127.0.0.1:{port}"


@contextmanager
def address_as_it_is(address):
    yield address


# ---- processes


@contextmanager
def process(command, **options):
    """A child process, ended on the way out: asked first, forced after a grace, and waited for.

    Its group goes with it (socat forks one process per connection). The group was made here, and
    is signalled only while the child is not yet reaped, so nothing else can ever be meant.
    """
    words = [str(word) for word in command]
    try:
        # The echo server ends with its standard input: even a killed driver leaves none behind.
        child = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True, **options)
    except OSError as error:
        raise Broken(f"{words[0]} does not start: {error.strerror}") from error
    try:
        yield child
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if child.returncode is None:
                os.killpg(child.pid, sign)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=STOP_SECONDS)
        child.stdin.close()


@contextmanager
def listening(name, command, stream, announcement):
    """A server process and the address it announces on `stream`; all it says goes to a log."""
    path = WORK / f"{name}.log"
    log = open(path, "wb", buffering=0)
    # The stream that is not searched goes straight to the log; the other is copied there by a
    # thread, so that a server that says much never waits for a reader.
    streams = {"stdout": log, "stderr": log, stream: subprocess.PIPE}
    with process(command, **streams) as child:
        announced = queue.Queue(maxsize=1)
        source = getattr(child, stream)
        threading.Thread(target=copy, args=(source, log, announcement, announced)).start()
        try:
            address = announced.get(timeout=START_SECONDS)
        except queue.Empty:
            address = None
        if address is None:
            raise Broken(f"{name} announced no address: see {path}")
        yield child, address


def copy(stream, log, announcement, announced):
    """Copies lines to the log, which is its own to close, until the process has ended.

    Puts the first address announced, or None if the stream ends without one.
    """
    found = False
    with stream, log:
        for line in stream:
            log.write(line)
            if not found and (match := re.search(announcement, line.decode(errors="replace"))):
                found = True
                announced.put(match.group(1))
    if not found:
        announced.put(None)


def quietly(command):
    """Runs a tool to its end; raises `Missing` with its last line if it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"{Path(words[0]).name} took over {INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise Missing(f"{Path(words[0]).name}: {said}")


def skip(line):
    """Notes what is skipped. True if skipping is allowed."""
    print(line, file=sys.stderr)
    if os.environ.get("REQUIRE_ALL") == "1":
        return False
    with open(ROOT / "target" / "skipped-tests.txt", "a") as skipped:
        skipped.write(line + "\n")
    return True


if __name__ == "__main__":
    sys.exit(main())
