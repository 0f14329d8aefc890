// npm @openclaw/gateway-client 2026.9.1 against a gateway: `gateway-client.mjs URL SECRET`.
//
// OpenClaw's own client: protocol 4, signs v3 with the time of the challenge. Keys and device
// tokens are its host's business, which is this driver.

import { createHash, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { GatewayClient } from "@openclaw/gateway-client";
import { check, drive, reads, secret, signal, url, within } from "./checks.mjs";

const MESSAGE = "a report by gateway-client";

// An Ed25519 key in SPKI form is these many bytes and the key.
const SPKI_PREFIX_BYTES = 12;

function rawKey(pem) {
  const spki = createPublicKey(pem).export({ type: "spki", format: "der" });
  return spki.subarray(SPKI_PREFIX_BYTES);
}

/** A device and the tokens that it was given, by role. */
function device() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const publicKeyPem = publicKey.export({ type: "spki", format: "pem" });
  const identity = {
    deviceId: createHash("sha256").update(rawKey(publicKeyPem)).digest("hex"),
    publicKeyPem,
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }),
  };
  return { identity, tokens: {} };
}

/** A started client: `hello` and `failure` come, or do not; `events` and `gaps` grow. */
function start(options, of) {
  const hello = signal();
  const failure = signal();
  const events = [];
  const gaps = [];
  const client = new GatewayClient({
    url,
    platform: "Linux",
    deviceFamily: " Workstation ",
    deviceIdentity: of?.identity ?? null,
    hostDeps: {
      signDevicePayload: (pem, text) => sign(null, Buffer.from(text), pem).toString("base64url"),
      publicKeyRawBase64UrlFromPem: (pem) => rawKey(pem).toString("base64url"),
      loadDeviceAuthToken: ({ role }) => of?.tokens[role] ?? null,
      storeDeviceAuthToken: ({ role, token, scopes }) => (of.tokens[role] = { token, scopes }),
    },
    onHelloOk: (answer) => hello.resolve(answer),
    onReconnectPaused: (info) => failure.resolve(info),
    onEvent: (event) => events.push(event),
    onGap: (gap) => gaps.push(gap),
    ...options,
  });
  client.start();
  return { client, events, gaps, hello: hello.promise, failure: failure.promise };
}

async function until(milliseconds, name, found) {
  const end = Date.now() + milliseconds;
  while (Date.now() < end) {
    const value = found();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`${name}: nothing in ${milliseconds} ms`);
}

drive(async () => {
  const owner = device();
  const first = start({ token: secret }, owner);
  const hello = await within(5_000, "connect", first.hello);
  check("protocol 4", hello.type === "hello-ok" && hello.protocol === 4, hello);
  check("its default scope", hello.auth.scopes.join() === "operator.admin", hello.auth);
  const token = owner.tokens.operator?.token;
  check("the device token is kept", token && token === hello.auth.deviceToken, owner.tokens);
  const { tickIntervalMs, maxPayload } = hello.policy;
  check("policy", tickIntervalMs === 30_000 && maxPayload === 26_214_400, hello.policy);
  await until(5_000, "first tick", () => first.events.some((event) => event.event === "tick"));

  const call = (method, params) => first.client.request(method, params, { timeoutMs: 5_000 });
  check("ping", (await call("ping")) === undefined);
  const health = await call("health");
  check("health", health.ok === true && health.ready === true, health);
  const status = await call("status");
  check("status", status.version === hello.server.version, status);
  const presence = await call("system-presence");
  const present = presence.some((peer) => peer.deviceId === owner.identity.deviceId);
  check("system-presence", present, presence);
  await reads(hello.features.methods, call);

  // A second operator with less scope sees the same stream without a gap of its own.
  const reader = start({ token: secret, scopes: ["operator.read"] }, device());
  await within(5_000, "connect of a reader", reader.hello);
  const entries = [1, 2, 3].map((n) => ({ level: "info", message: `${MESSAGE} ${n}` }));
  for (const entry of entries) await call("logs.append", { entries: [entry] });
  for (const operator of [first, reader]) {
    const logs = () => operator.events.filter((event) => event.event === "log");
    await until(5_000, "log events", () => logs().length === entries.length);
    const inOrder = logs().every((event, n) => event.payload.message === entries[n].message);
    check("log events", inOrder && operator.gaps.length === 0, [logs(), operator.gaps]);
  }
  const tail = await call("logs.tail", { limit: entries.length });
  check("logs.tail", tail.lines.length === entries.length, tail);
  const denied = await reader.client.request("logs.append", { entries }).catch((error) => error);
  check("a reader does not write", denied.message === "missing scope: operator.write", denied);
  await Promise.all([first, reader].map(({ client }) => client.stopAndWait()));

  const again = start({}, owner);
  const helloAgain = await within(5_000, "connect again", again.hello);
  const sameToken = helloAgain.auth.deviceToken === token;
  check("the device token alone is enough, and given again", sameToken, helloAgain.auth);
  await again.client.stopAndWait();

  const backend = start({ token: secret });
  const { auth } = await within(5_000, "connect of a backend", backend.hello);
  check("a backend without device gets no device token", auth.deviceToken === undefined, auth);
  await backend.client.stopAndWait();

  const wrong = await within(5_000, "refusal", start({ token: "not-it" }, device()).failure);
  check("a wrong secret", wrong.detailCode === "AUTH_TOKEN_MISMATCH", wrong);
  const stranger = await within(5_000, "refusal", start({}, device()).failure);
  const waits = stranger.detailCode === "PAIRING_REQUIRED" && stranger.code === 1008;
  check("a stranger waits for approval", waits, stranger);
});
