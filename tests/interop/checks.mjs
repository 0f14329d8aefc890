// What the Node.js drivers share: named checks, and the reads that a gateway may or may not have.

import { readFileSync } from "node:fs";

export const [url, secret, directory] = process.argv.slice(2);

/** Fails the driver unless `good`, naming what was seen instead. */
export function check(name, good, seen) {
  if (!good) throw new Error(`${name}: ${JSON.stringify(seen)}`);
  console.log(`ok ${name}`);
}

/** The value of a promise, or a failure that says what did not come. */
export function within(milliseconds, name, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    const fail = () => reject(new Error(`${name}: nothing in ${milliseconds} ms`));
    timer = setTimeout(fail, milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A promise with its `resolve` beside it (`Promise.withResolvers` needs Node.js 22). */
export function signal() {
  let resolve;
  const promise = new Promise((settle) => (resolve = settle));
  return { promise, resolve };
}

/**
 * Every read that the clients have a helper for: one that the answer to `connect` lists has to
 * work and carry its lists, any other has to be `unknown method`.
 */
export async function reads(methods, call) {
  const known = JSON.parse(readFileSync(new URL("reads.json", import.meta.url)));
  for (const [method, lists] of Object.entries(known)) {
    if (methods.includes(method)) {
      const body = await call(method);
      const whole = lists === null || lists.every((list) => Array.isArray(body?.[list]));
      check(`${method} is listed and answers`, whole, body);
    } else {
      const error = await call(method).then(() => null, (error) => error.message);
      check(`${method} is not listed and not known`, error === `unknown method: ${method}`, error);
    }
  }
}

/** Runs a driver to its end, whatever the client still keeps open. */
export function drive(run) {
  run().then(
    () => process.exit(0),
    (error) => {
      console.log(`FAILED ${error.message}`);
      process.exit(1);
    },
  );
}
