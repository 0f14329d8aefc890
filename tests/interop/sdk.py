"""PyPI openclaw-sdk 2.1.0 against a gateway: `sdk.py URL SECRET DIRECTORY`.

It speaks protocol 3 on the path `/gateway`, signs v2, and reads identity and token from files below
the home directory, which `openclaw login` would write and this driver writes instead.
"""

import asyncio
import hashlib
import json
import logging
import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from openclaw_sdk.core.exceptions import GatewayError
from openclaw_sdk.gateway.protocol import ProtocolGateway

URL, SECRET, DIRECTORY = sys.argv[1:]
SCOPES = ["operator.read", "operator.write"]
MESSAGE = "a report by openclaw-sdk"
READS = json.loads(Path(__file__).with_name("reads.json").read_text())
WAIT_SECONDS = 5


class Failed(Exception):
    """A check that did not hold."""


class Recording(ProtocolGateway):
    """The client, which keeps the answer to its `connect` for itself, with that answer shown."""

    hello = None

    async def _route_message(self, message):
        if message.get("type") == "res" and message.get("id") == self._connect_req_id:
            self.hello = message
        await super()._route_message(message)


def check(name, good, seen=None):
    if not good:
        raise Failed(f"{name}: {seen!r}")
    print(f"ok {name}")


def become(device):
    """Makes `device` the one whose files the client finds, with a fresh key if it has none."""
    home = Path(DIRECTORY) / device
    os.environ["HOME"] = str(home)
    identity = home / ".openclaw" / "identity"
    identity.mkdir(parents=True, exist_ok=True)
    if not (identity / "device.json").exists():
        key = Ed25519PrivateKey.generate()
        public = key.public_key()
        text = {
            "deviceId": hashlib.sha256(public.public_bytes_raw()).hexdigest(),
            "privateKeyPem": key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
            "publicKeyPem": public.public_bytes(
                serialization.Encoding.PEM,
                serialization.PublicFormat.SubjectPublicKeyInfo,
            ).decode(),
        }
        (identity / "device.json").write_text(json.dumps(text))
    return identity


async def connected(device, token):
    tokens = {"operator": {"token": token, "role": "operator", "scopes": SCOPES}}
    (become(device) / "device-auth.json").write_text(json.dumps({"tokens": tokens}))
    gateway = Recording(f"{URL}/gateway", token=token, connect_timeout=WAIT_SECONDS)
    await gateway.connect()
    return gateway


async def refusal(device, token):
    """The error of a connect that has to fail; this client itself only logs it."""
    gateway = await connected(device, token)
    await gateway.close()
    check("connect fails", gateway.hello["ok"] is False, gateway.hello)
    return gateway.hello["error"]["details"]["code"]


async def reads(gateway, methods):
    """As in checks.mjs: what is listed answers, what is not listed is not known."""
    for method, lists in READS.items():
        if method in methods:
            body = await gateway.call(method)
            whole = all(isinstance(body.get(name), list) for name in lists or [])
            check(f"{method} is listed and answers", whole, body)
        else:
            try:
                seen = await gateway.call(method)
            except GatewayError as error:
                seen = str(error)
            expected = f"unknown method: {method}"
            check(f"{method} is not listed and not known", seen == expected, seen)
    if "sessions.list" in methods:
        check("sessions_list", isinstance(await gateway.sessions_list(), list))


async def logs(gateway):
    events = await gateway.subscribe(["log"])
    params = {"entries": [{"level": "info", "message": MESSAGE}]}
    first = await gateway.call("logs.append", params, idempotency_key="once")
    repeated = await gateway.call("logs.append", params, idempotency_key="once")
    check("a repeated idempotency key appends once", repeated == first, [first, repeated])
    event = await asyncio.wait_for(anext(events), WAIT_SECONDS)
    check("log event", event.data["payload"]["message"] == MESSAGE, event)
    tail = await gateway.logs_tail()
    check("logs_tail", tail["lines"][-1].endswith(MESSAGE), tail)
    check("its cursor", tail["cursor"] == first["lastCursor"], tail)


async def main():
    gateway = await connected("device", SECRET)
    answer = gateway.hello
    check("connect", answer["ok"] is True, answer)
    token = answer["result"]["deviceToken"]
    check("protocol 3", answer["result"]["protocol"] == 3 == answer["payload"]["protocol"], answer)
    check("one device token", token == answer["payload"]["auth"]["deviceToken"], answer)

    check("ping", await gateway.call("ping") == {})
    health = await gateway.health()
    check("health (by system-presence)", health.healthy, health)
    check("its peers", health.details["data"][0]["host"] == "cli", health)
    check("method health", (await gateway.call("health"))["ok"] is True)
    status = await gateway.system_status()
    check("status", status["version"] == answer["payload"]["server"]["version"], status)
    await reads(gateway, answer["payload"]["features"]["methods"])
    await logs(gateway)
    await gateway.close()

    gateway = await connected("device", token)
    check("the device token in the secret's place", gateway.hello["ok"] is True, gateway.hello)
    check("and is given again", gateway.hello["result"]["deviceToken"] == token)
    check("and it works", await gateway.call("ping") == {})
    await gateway.close()

    code = await refusal("wrong", "not-the-secret")
    check("a wrong secret", code == "AUTH_TOKEN_MISMATCH", code)
    code = await refusal("stranger", "")
    check("a stranger waits for approval", code == "PAIRING_REQUIRED", code)


logging.disable(logging.CRITICAL)
try:
    asyncio.run(asyncio.wait_for(main(), 60))
except (Failed, GatewayError, TimeoutError) as error:
    print(f"FAILED {error or type(error).__name__}")
    sys.exit(1)
