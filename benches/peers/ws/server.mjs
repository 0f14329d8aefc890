// Peer N: the benchmark's work on Node's `ws`, in the smallest form that does it.
// The handshake with one Ed25519 verification, `ping`, and `logs.append` broadcast to operators.

import crypto from 'node:crypto';
import { WebSocketServer } from 'ws';

const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const operators = new Set();
let seq = 0;

function isProven({ client, role, scopes, device }, nonce) {
  const text = ['v2', device.id, client.id, client.mode, role, scopes.join(','), device.signedAt, '', nonce].join('|');
  const der = Buffer.concat([SPKI_PREFIX, Buffer.from(device.publicKey, 'base64url')]);
  const key = crypto.createPublicKey({ key: der, format: 'der', type: 'spki' });
  return crypto.verify(null, Buffer.from(text), key, Buffer.from(device.signature, 'base64url'));
}

function broadcast(entry) {
  seq += 1;
  const text = JSON.stringify({ type: 'event', event: 'log', payload: entry, seq });
  for (const operator of operators) operator.send(text);
}

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });

server.on('connection', (socket) => {
  const nonce = crypto.randomBytes(24).toString('base64url');
  let connected = false;
  socket.on('error', () => {});
  socket.on('close', () => operators.delete(socket));
  socket.on('message', (data) => {
    const { id, method, params } = JSON.parse(data);
    if (!connected) {
      if (method !== 'connect' || !isProven(params, nonce)) return socket.close(1008);
      connected = true;
      if (params.role === 'operator') operators.add(socket);
      return socket.send(JSON.stringify({ type: 'res', id, ok: true, payload: { type: 'hello-ok' } }));
    }
    if (method === 'logs.append') for (const entry of params.entries) broadcast(entry);
    socket.send(JSON.stringify({ type: 'res', id, ok: true }));
  });
  socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce } }));
});

server.on('listening', () => console.log(JSON.stringify({ url: `ws://127.0.0.1:${server.address().port}` })));
