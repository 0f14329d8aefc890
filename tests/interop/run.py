"""Runs foreign clients against `openclaw-gateway`: each alone, plain, then over TLS.

`run.py [NAME...]`, called by `run.sh`. Owns the processes of a run and the clients they need; what
a client has to manage is in its driver (`openclaw-node.mjs`, `gateway-client.mjs`, `sdk.py`) and,
for `wscat`, in the README, whose frames are pasted as printed there.

The clients are installed into `target/interop`, from npm as `package-lock.json` pins them and from
PyPI as `requirements.txt` does, and kept for the next run. Every driver gets a gateway of its own,
with a fresh state directory, on a port that the system picks. A tool or client that cannot be had
skips what needs it, by name, with a line in `target/skipped-tests.txt`; `REQUIRE_ALL=1` makes that
a failure.

`GATEWAY_BIN` names a binary to test instead of the one that `cargo build` makes.

What the processes said stays in `target/interop/logs`. Exit code: 0 passed or skipped, 1 failed, 2
wrong usage.
"""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "interop"
LOGS = WORK / "logs"
NODE = WORK / "node"
VENV = WORK / "venv"

SECRET = "choose-your-own"  # The README's, because its frames are pasted.
PYTHON_MIN = (3, 11)  # What openclaw-sdk requires.
NODE_MIN = 20

# A tool that installs, or a process that starts, later than this does not.
INSTALL_SECONDS = 180
START_SECONDS = 15
STOP_SECONDS = 10
DRIVER_SECONDS = 60
ANSWER_SECONDS = 5


class Missing(Exception):
    """A tool that this machine lacks: what needs it is skipped, or fails under REQUIRE_ALL."""


class Broken(Exception):
    """The run could not be carried out, or a client did not manage: a failure."""


def main():
    names = sys.argv[1:] or list(CLIENTS)
    if any(name not in CLIENTS for name in names):
        print(f"usage: run.sh [{'|'.join(CLIENTS)}]...", file=sys.stderr)
        return 2
    # An interrupt of either kind unwinds, so that every process started here is ended here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    LOGS.mkdir(parents=True, exist_ok=True)
    with open(WORK / "lock", "w") as lock:
        # Two runs in one tree would write over each other's logs: the second waits.
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            binary = os.environ.get("GATEWAY_BIN") or build()
            return 0 if run(names, binary) else 1
        except Broken as broken:
            print(f"interop: {broken}", file=sys.stderr)
            return 1


def run(names, binary):
    """All clients over both transports. True if all that ran was as it should be."""
    passed = True
    ready = {}
    for name in names:
        install, _ = CLIENTS[name]
        try:
            if install not in ready:
                ready[install] = attempt(install)
            if isinstance(ready[install], Missing):
                raise ready[install]
        except Missing as missing:
            passed &= skip(f"interop, {name}: {missing}")
            continue
        passed &= transport(name, "plain", binary, None)
    try:
        certificate = make_certificate()
    except Missing as missing:
        return skip(f"interop over TLS: {missing}") and passed
    for name in names:
        if not isinstance(ready[CLIENTS[name][0]], Missing):
            passed &= transport(name, "tls", binary, certificate)
    return passed


def attempt(install):
    """What stands in the way of these clients, or None."""
    try:
        return install()
    except Missing as missing:
        return missing


def transport(name, transport_name, binary, certificate):
    """One client against a gateway of its own. True if it managed all it has to."""
    started = time.monotonic()
    label = f"{name}, {transport_name}"
    try:
        with gateway(f"{name}-{transport_name}", binary, certificate) as (url, directory):
            said = CLIENTS[name][1](name, transport_name, url, directory, certificate)
    except Broken as broken:
        print(f"interop: {label}: FAILED: {broken}")
        sys.stdout.flush()
        return False
    print(f"interop: {label}: {said} checks in {time.monotonic() - started:.1f} s")
    sys.stdout.flush()
    return True


# ---- clients


def with_driver(*program):
    """How to run a client that a driver of ours holds."""

    def run_driver(name, transport_name, url, directory, certificate):
        environment = {**os.environ, "NO_COLOR": "1"}
        for variable in [name for name in environment if name.startswith("OPENCLAW_")]:
            del environment[variable]
        if certificate:
            # How a user of each makes it trust a certificate that it does not know.
            environment["NODE_EXTRA_CA_CERTS"] = environment["SSL_CERT_FILE"] = str(certificate[0])
        log = LOGS / f"{name}-{transport_name}.log"
        command = [*program, url, SECRET, str(directory)]
        with open(log, "wb") as out:
            with process(command, stdout=out, stderr=out, env=environment) as driver:
                try:
                    code = driver.wait(timeout=DRIVER_SECONDS)
                except subprocess.TimeoutExpired:
                    raise Broken(f"not finished after {DRIVER_SECONDS} s: see {log}") from None
        text = log.read_text(errors="replace")
        if code != 0:
            said = (text.strip().splitlines() or ["it said nothing"])[-1].removeprefix("FAILED ")
            raise Broken(f"{said}\n  see {log}")
        return len(re.findall(r"^ok ", text, re.MULTILINE))

    return run_driver


def paste_readme(name, transport_name, url, _, certificate):
    """Pastes the README's frames into wscat, on a terminal, as a person would."""
    frames = re.findall(r"```json\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    trust = ["--ca", certificate[0]] if certificate else []
    command = [NODE / "node_modules" / ".bin" / "wscat", "--no-color", "-c", url, *trust]
    ours, theirs = pty.openpty()
    try:
        with process(command, stdin=theirs, stdout=theirs, stderr=theirs):
            terminal = Terminal(ours, LOGS / f"{name}-{transport_name}.log")
            terminal.expect(r'"event":"connect\.challenge"')
            for frame in frames:
                request = json.loads(frame)["id"]
                terminal.type(frame)
                terminal.expect(rf'"type":"res","id":"{request}","ok":true')
            terminal.expect(r'"event":"log",.*"message":"hello"')
    finally:
        os.close(ours)
        os.close(theirs)
    return len(frames) + 2


class Terminal:
    """The person's side of a terminal: types lines and reads what is shown."""

    def __init__(self, descriptor, log):
        self.descriptor = descriptor
        self.log = log
        self.shown = ""

    def type(self, line):
        # A terminal in its cooked mode takes 4,096 bytes a line; nothing here is near that.
        os.write(self.descriptor, line.encode() + b"\n")

    def expect(self, pattern):
        end = time.monotonic() + ANSWER_SECONDS
        while not re.search(pattern, self.shown):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.descriptor], [], [], left)[0]:
                raise Broken(f"wscat does not show {pattern}: see {self.log}")
            try:
                self.shown += os.read(self.descriptor, 65536).decode(errors="replace")
            except OSError:
                raise Broken(f"wscat ended: see {self.log}") from None
            self.log.write_text(self.shown)


# ---- the gateway


@contextmanager
def gateway(name, binary, certificate):
    """A gateway as the README starts one: its URL, and a directory for the client's own files.

    On the way out it has to stop cleanly, and to have kept its secrets to itself.
    """
    log = LOGS / f"gateway-{name}.log"
    with tempfile.TemporaryDirectory(prefix="interop-", dir=WORK) as directory:
        directory = Path(directory)
        command = [binary, "--port", "0", "--state-dir", directory / "state"]
        if certificate:
            config = directory / "gateway.toml"
            cert, key = (json.dumps(str(path)) for path in certificate)
            lines = ["[gateway.tls]", "enabled = true", f"certFile = {cert}", f"keyFile = {key}"]
            config.write_text("\n".join(lines) + "\n")
            command += ["--config", config]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "OPENCLAW_GATEWAY_TOKEN": SECRET,
            "RUST_BACKTRACE": "1",
        }
        with open(log, "wb") as err:
            options = {"stdout": subprocess.PIPE, "stderr": err, "env": environment}
            with process(command, **options) as child:
                yield announced(child, log), directory
                child.terminate()
                try:
                    code = child.wait(timeout=STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    raise Broken(f"the gateway does not stop: see {log}") from None
        text = log.read_text(errors="replace")
        if code != 0 or "panicked at" in text:
            raise Broken(f"the gateway ended with {code} or panicked: see {log}")
        if SECRET in text or re.search(r"\bdt_[0-9a-f]{8}", text):
            raise Broken(f"the gateway printed a secret: see {log}")


def announced(child, log):
    """The URL in the first line that the gateway prints."""
    if not select.select([child.stdout], [], [], START_SECONDS)[0]:
        raise Broken(f"the gateway announced nothing in {START_SECONDS} s: see {log}")
    line = child.stdout.readline()
    try:
        return json.loads(line)["url"]
    except (ValueError, KeyError):
        raise Broken(f"the gateway announced {line!r}: see {log}") from None


def build():
    """The path of the binary, as cargo tells it: the target directory may be anywhere."""
    command = ["cargo", "build", "--locked", "--message-format=json-render-diagnostics"]
    with process(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as cargo:
        lines = cargo.communicate()[0].splitlines()
    if cargo.returncode != 0:
        raise Broken("the gateway does not build")
    for line in lines:
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "openclaw-gateway":
            return message["executable"]
    raise Broken("cargo built no openclaw-gateway")


# ---- tools


def install_from_npm():
    """The Node.js clients, with our drivers beside them, where `import` finds them."""
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise Missing(f"{tool} not found")
    version = quietly(["node", "--version"]).strip()
    if int(version.lstrip("v").split(".")[0]) < NODE_MIN:
        raise Missing(f"node {NODE_MIN} or later not found ({version} is)")
    wanted = (HERE / "package-lock.json").read_text()
    # The mark is made last, so that an installation cut short is begun again.
    mark = NODE / "installed"
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(NODE, ignore_errors=True)
        NODE.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, NODE)
        silent = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
        quietly(["npm", "ci", "--ignore-scripts", "--fetch-retries=1", *silent], cwd=NODE)
        mark.write_text(wanted)
    for driver in [*HERE.glob("*.mjs"), HERE / "reads.json"]:
        shutil.copy(driver, NODE)


def install_from_pypi():
    if sys.version_info < PYTHON_MIN:
        raise Missing(f"python {'.'.join(map(str, PYTHON_MIN))} or later not found")
    # The mark names the place too: the programs in a venv do not survive its being moved.
    mark = VENV / "installed"
    wanted = f"{VENV}\n{sys.version}\n{(HERE / 'requirements.txt').read_text()}"
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(VENV, ignore_errors=True)
        pip = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--retries", "1"]
        exact = ["--only-binary", ":all:", "--no-deps", "-r", HERE / "requirements.txt"]
        quietly([sys.executable, "-m", "venv", VENV])
        quietly([*pip, "--disable-pip-version-check", *exact])
        mark.write_text(wanted)


def make_certificate():
    """A self-signed certificate for this machine and its key, fresh for every run."""
    if not shutil.which("openssl"):
        raise Missing("openssl not found")
    cert, key = WORK / "cert.pem", WORK / "key.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    quietly(["openssl", "req", "-x509", *curve, *name, "-days", "2", "-keyout", key, "-out", cert])
    key.chmod(0o600)
    return cert, key


@contextmanager
def process(command, **options):
    """A child process and its group, ended on the way out: asked first, forced after a grace."""
    words = [str(word) for word in command]
    options.setdefault("stdin", subprocess.DEVNULL)
    try:
        child = subprocess.Popen(words, start_new_session=True, **options)
    except OSError as error:
        raise Broken(f"{words[0]} does not start: {error.strerror}") from error
    try:
        yield child
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            # Not reaped yet, so the group is still the one that was made here.
            if child.returncode is None and child.poll() is None:
                os.killpg(child.pid, sign)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=STOP_SECONDS)
        if child.stdout:
            child.stdout.close()


def quietly(command, **options):
    """Runs a tool to its end and returns its output; `Missing` with its last line if it fails."""
    words = [str(word) for word in command]
    pipes = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    try:
        done = subprocess.run(words, check=False, timeout=INSTALL_SECONDS, **pipes, **options)
    except subprocess.TimeoutExpired:
        raise Missing(f"{Path(words[0]).name} took over {INSTALL_SECONDS} s") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()
        # npm ends every failure with where its log is.
        said = [line for line in said if "log of this run" not in line] or said
        raise Missing(f"{Path(words[0]).name}: {said[-1]}")
    return done.stdout


def skip(line):
    """Notes what is skipped. True if skipping is allowed."""
    print(line, file=sys.stderr)
    if os.environ.get("REQUIRE_ALL") == "1":
        return False
    with open(ROOT / "target" / "skipped-tests.txt", "a") as skipped:
        skipped.write(line + "\n")
    return True


SDK = [VENV / "bin" / "python", "-B", HERE / "sdk.py"]
# Each client with what installs it and what runs it.
CLIENTS = {
    "openclaw-node": (install_from_npm, with_driver("node", NODE / "openclaw-node.mjs")),
    "gateway-client": (install_from_npm, with_driver("node", NODE / "gateway-client.mjs")),
    "openclaw-sdk": (install_from_pypi, with_driver(*SDK)),
    "wscat": (install_from_npm, paste_readme),
}

if __name__ == "__main__":
    sys.exit(main())
