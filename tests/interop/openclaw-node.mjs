// npm openclaw-node 0.14.0 against a gateway: `openclaw-node.mjs URL SECRET DIRECTORY`.
//
// It speaks protocol 4, signs v2, and keeps its identity and device token in a file.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { OpenClawClient } from "openclaw-node";
import { WebSocket } from "ws";
import { check, directory, drive, reads, secret, signal, url, within } from "./checks.mjs";

// It uses the global of Node.js 22; before, its own fallback to `ws` does not get far enough.
globalThis.WebSocket ??= WebSocket;

const MESSAGE = "a report by openclaw-node";

function client(identity, token) {
  const deviceIdentityPath = join(directory, identity);
  const made = new OpenClawClient({ url, token, deviceIdentityPath, autoReconnect: false });
  made.on("error", () => {}); // Every failure also rejects what waits for it.
  return made;
}

/** The response to a `connect` that has to fail. */
async function refused(refusedClient) {
  const response = signal();
  refusedClient.on("_raw", (frame) => frame.type === "res" && response.resolve(frame));
  const error = await within(5_000, "connect", refusedClient.connect().then(() => null, (e) => e));
  check("connect rejects", error instanceof Error, error);
  return within(1_000, "response", response.promise);
}

/** A conversation with an agent that speaks through the same library. */
async function chats(operator) {
  const deviceIdentityPath = join(directory, "agent.json");
  const options = { role: "agent", scopes: [], clientId: "echo", autoReconnect: false };
  const agent = new OpenClawClient({ url, token: secret, deviceIdentityPath, ...options });
  agent.on("error", () => {});
  agent.on("event", async ({ event, payload }) => {
    if (event !== "agent.request" || payload.kind !== "message") return;
    const { runId, message } = payload;
    await agent.request("run.update", { runId, state: "delta", text: message.slice(0, 2) });
    const state = message === "fail" ? "error" : "final";
    await agent.request("run.update", { runId, state, text: message, errorMessage: "no" });
  });
  await within(5_000, "the agent's connect", agent.connect());

  const answer = await within(5_000, "chatSync", operator.chatSync("hello", { agentId: "echo" }));
  check("chatSync", answer === "hello", answer);
  const chunks = [];
  for await (const chunk of operator.chat("fail", { agentId: "echo" })) chunks.push(chunk);
  const failed = chunks.find((chunk) => chunk.type === "error");
  check("a failed chat", failed?.text === "no", chunks);
  const ended = await within(5_000, "agentWait", operator.agentWait(failed.runId));
  check("agentWait", ended.status === "error" && ended.error === "no", ended);
  const aborted = await operator.chatAbort("echo:main");
  check("chatAbort", aborted.ok === true && aborted.runIds.length === 0, aborted);
  await agent.disconnect();
}

drive(async () => {
  const first = client("device.json", secret);
  const hello = await within(5_000, "connect", first.connect());
  check("protocol 4", hello.protocol === 4, hello.protocol);
  const scopes = hello.auth.scopes.join();
  check("the scopes asked for", scopes === "operator.read,operator.write", scopes);
  const stored = JSON.parse(readFileSync(join(directory, "device.json"))).deviceToken;
  check("the device token is kept", stored && stored === hello.auth.deviceToken, stored);

  const call = async (method, params) => (await first.request(method, params)).payload;
  check("ping", (await call("ping")) === undefined);
  const health = await first.health();
  check("health", health.ok === true && health.ready === true, health);
  const status = await call("status");
  check("status", status.version === hello.server.version, status);
  const presence = await call("system-presence");
  check("system-presence", presence.some((peer) => peer.host === "gateway-client"), presence);
  await reads(first.availableMethods, call);

  const log = signal();
  first.on("event", (event) => event.event === "log" && log.resolve(event));
  const entries = [{ level: "info", message: MESSAGE }];
  const { lastCursor } = await call("logs.append", { entries });
  const event = await within(5_000, "log event", log.promise);
  check("log event", event.payload.message === MESSAGE && Number.isInteger(event.seq), event);
  const tail = await call("logs.tail", {});
  const read = tail.entries.at(-1)?.message === MESSAGE && tail.lines.at(-1)?.endsWith(MESSAGE);
  check("logs.tail", read && tail.cursor === lastCursor, tail);
  await chats(first);
  await first.disconnect();

  const again = client("device.json", undefined);
  const helloAgain = await within(5_000, "connect again", again.connect());
  const token = helloAgain.auth.deviceToken;
  check("the device token alone is enough, and given again", token === stored, token);
  await again.disconnect();

  const wrong = await refused(client("wrong.json", "not-the-secret"));
  check("a wrong secret", wrong.error.details.code === "AUTH_TOKEN_MISMATCH", wrong);
  const stranger = client("stranger.json", undefined);
  const pairing = signal();
  stranger.on("pairingRequired", (found) => pairing.resolve(found));
  const { error } = await refused(stranger);
  const found = await within(1_000, "pairingRequired", pairing.promise);
  const asked = found.requestId && found.requestId === error.details.requestId;
  check("a stranger waits, and the close reason says for which request", asked, found);
});
